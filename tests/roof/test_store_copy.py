"""``xmpp-e2ee store copy``: everything arrives, nothing is overwritten, nothing is half."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid, NodeAddress
from e2ee.search import Document, Forgotten, Query
from e2ee.storage import Put, Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from tests.roof.stores import CLI, HOSTILE, KINDS, Rows, StoreFile, make, run
from tests.support.hooked_store import HookedStore, Moment
from tests.support.source import ROOT
from xmpp_e2ee import store_copy, store_survey
from xmpp_e2ee.store_copy import Copied, CopyRefused, copy
from xmpp_e2ee.store_survey import Step

ROMEO = ("romeo@montague.lit",)
JULIET = ("juliet@capulet.lit",)
TWO: Rows = {(*JULIET, "a"): b"1", (*JULIET, "b"): b"2", (*ROMEO, "a"): b"1"}


def quiet(label: str, total: int | None) -> nullcontext[Step]:
    return nullcontext(lambda steps: None)


async def filled(rows: Rows) -> MemoryStore:
    store = MemoryStore()
    async with store.exclusive(()) as tx:
        await tx.commit([Put(key, value) for key, value in rows.items()])
    return store


async def rows_of(store: Store) -> Rows:
    async with store.exclusive(()) as tx:
        return dict(await tx.scan((), limit=10**9))


class TestCopy:
    """The copy itself, whatever the stores are."""

    async def test_everything_arrives(self) -> None:
        source, destination = await filled(HOSTILE), MemoryStore()
        copied = await copy(source, destination, quiet)
        assert await rows_of(destination) == HOSTILE == await rows_of(source)
        size = sum(map(len, HOSTILE.values()))
        assert copied == Copied(accounts=16, present=0, rows=64, bytes=size)

    async def test_what_is_found_by_its_words_is_found_in_the_copy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And nothing of what was forgotten, of which the source's file still has the words."""
        monkeypatch.setattr(store_copy, "_PAGE", 2)
        node = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "blog")
        keys = [(*account, str(number)) for account in (JULIET, ROMEO) for number in range(3)]
        documents = [Document(key, node, "A rose", f"text {key}", author="juliet") for key in keys]
        async with (
            await SqliteStore.open(tmp_path / "source.db") as source,
            await SqliteStore.open(tmp_path / "copy.db") as destination,
        ):
            async with source.exclusive(()) as tx:
                gone = replace(documents[0], key=(*JULIET, "gone"), text="zyzzyva")
                await tx.commit([Put(key, b"1") for key in keys], [*documents, gone])
            async with source.exclusive(()) as tx:
                await tx.commit([], [Forgotten(gone.key)])
            await copy(source, destination, quiet)
            async with destination.exclusive(()) as tx:
                assert await tx.documents(()) == documents
                assert len(await tx.search(Query("rose"))) == 6
            await copy(source, MemoryStore(), quiet)  # which has none
        assert b"zyzzyva" in (tmp_path / "source.db").read_bytes()
        assert b"zyzzyva" not in (tmp_path / "copy.db").read_bytes()

    async def test_more_than_a_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of accounts, and of the rows of one account; on the borders of pages as well."""
        monkeypatch.setattr(store_survey, "_PAGE", 8)
        monkeypatch.setattr(store_survey, "_STEP", 3)
        for size in (7, 8, 9, 16, 20):
            rows: Rows = {(f"{n:05}", "x"): b"" for n in range(size)}
            rows |= {("big", str(n)): b"" for n in range(size)}
            source, destination = await filled(rows), MemoryStore()
            copied = await copy(source, destination, quiet)
            assert (copied.accounts, copied.rows) == (size + 1, 2 * size)
            assert await rows_of(destination) == rows

    async def test_other_accounts_stay(self) -> None:
        destination = await filled({("nurse@capulet.lit", "a"): b"3"})
        await copy(await filled(TWO), destination, quiet)
        assert await rows_of(destination) == TWO | {("nurse@capulet.lit", "a"): b"3"}

    async def test_a_second_copy_finds_everything_there(self) -> None:
        source, destination = await filled(TWO), MemoryStore()
        await copy(source, destination, quiet)
        assert await copy(source, destination, quiet) == Copied(2, 2, 3, 3)

    async def test_an_empty_store_is_copied(self) -> None:
        assert await copy(MemoryStore(), MemoryStore(), quiet) == Copied(0, 0, 0, 0)

    @pytest.mark.parametrize(
        "there",
        [
            {(*ROMEO, "a"): b"2"},
            {(*ROMEO, "b"): b"1"},
            {(*ROMEO, "a"): b"1", (*ROMEO, "b"): b""},
            {(*ROMEO, "a", ""): b"1"},
            {ROMEO: b""},
        ],
    )
    async def test_an_account_that_differs_is_refused_before_anything_is_written(
        self, there: Rows
    ) -> None:
        destination = await filled(there)
        with pytest.raises(CopyRefused) as refused:
            await copy(await filled(TWO), destination, quiet)
        assert refused.value.accounts == ROMEO
        assert await rows_of(destination) == there

    async def test_an_account_that_appears_meanwhile_is_not_overwritten(self) -> None:
        """Between the look and the commit somebody else writes it."""
        destination = MemoryStore()
        entered = 0

        async def hook(moment: Moment) -> None:
            nonlocal entered
            entered += moment is Moment.ENTER
            if moment is Moment.ENTER and entered == 3:  # two looks, and then the first commit
                async with destination.exclusive(JULIET) as tx:
                    await tx.commit([Put((*JULIET, "a"), b"theirs")])

        with pytest.raises(CopyRefused):
            await copy(await filled(TWO), HookedStore(destination, hook), quiet)
        assert await rows_of(destination) == {(*JULIET, "a"): b"theirs"}

    async def test_what_reads_back_otherwise_is_found(self) -> None:
        destination = MemoryStore()

        async def hook(moment: Moment) -> None:
            if moment is Moment.LEAVE and await rows_of(destination):
                async with destination.exclusive(JULIET) as tx:
                    await tx.commit([Put((*JULIET, "a"), b"0")])

        with pytest.raises(CopyRefused, match="reads back otherwise"):
            await copy(await filled(TWO), HookedStore(destination, hook), quiet)

    @pytest.mark.parametrize("moment", list(Moment))
    @pytest.mark.parametrize("at", range(1, 6))
    async def test_r_11_an_interrupted_copy_is_whole_accounts_and_goes_on(
        self, moment: Moment, at: int
    ) -> None:
        source, destination = await filled(TWO), MemoryStore()
        seen = 0

        async def hook(found: Moment) -> None:
            nonlocal seen
            seen += found is moment
            if found is moment and seen == at:
                raise asyncio.CancelledError

        try:
            await copy(source, HookedStore(destination, hook), quiet)
        except asyncio.CancelledError:
            there = await rows_of(destination)
            juliet = {key: value for key, value in TWO.items() if key[:1] == JULIET}
            assert there in ({}, juliet, TWO)
        copied = await copy(source, destination, quiet)
        assert copied.accounts == 2
        assert await rows_of(destination) == TWO

    async def test_sealed_rows_without_their_seal_are_no_accounts(self) -> None:
        """Somebody took the seal out; what is left is not copied as if it were plain."""
        source = await filled({("0" * 32,): b"\x01" + bytes(60)})
        destination = MemoryStore()
        with pytest.raises(StoreFailed) as failure:
            await copy(source, destination, quiet)
        assert failure.value.code is ErrorCode.STORE_CORRUPT
        assert await rows_of(destination) == {}


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        pytest.param(
            source,
            destination,
            marks=[] if source == destination == "sqlite" else [pytest.mark.slow],
        )
        for source in KINDS
        for destination in KINDS
    ],
)
def test_every_kind_is_copied_to_every_kind(
    source: str, destination: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With hostile keys, and again, when everything is there."""
    here = make(source, tmp_path / "here", request, HOSTILE)
    there = make(destination, tmp_path / "there", request, {})
    options = [*here.unlock("from-"), *there.unlock("to-")]
    if here.sealed and not there.sealed:
        options.append("--plain")
    for told in ("equal in both stores.\n", "16 of the accounts were there before.\n"):
        result = run("copy", here.address, there.address, *options)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.endswith(told)
    assert there.rows() == HOSTILE == here.rows()
    there.put({next(iter(HOSTILE)): b"changed"})
    result = run("copy", here.address, there.address, *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("so nothing was written: juliet@capulet.lit\n")


class TestNewDestination:
    def test_a_file_is_made(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        here = make("sqlite", tmp_path, request, TWO)
        there = StoreFile(str(tmp_path / "new.sqlite"), tmp_path, sealed=False)
        assert run("copy", here.address, there.address).exit_code == 0
        assert there.rows() == TWO

    def test_it_is_sealed_if_one_says_so(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        here = make("sqlite", tmp_path, request, TWO)
        there = StoreFile(str(tmp_path / "new.sqlite"), tmp_path, sealed=True)
        for _ in range(2):  # the second time it is sealed already, as after an interruption
            result = run("copy", here.address, there.address, "--seal", *there.unlock("to-"))
            assert (result.exit_code, result.stderr) == (0, "")
        assert there.rows() == TWO
        assert b"juliet" not in Path(there.address).read_bytes()

    def test_r_10_a_wrong_passphrase_of_the_source_makes_nothing(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        here = make("sealed-sqlite", tmp_path, request, TWO)
        there = tmp_path / "new.sqlite"
        wrong, right = here.secret_file("wrong"), here.secret_file()
        result = run("copy", here.address, there, "--from-passphrase-file", wrong,
                     "--seal", "--to-passphrase-file", right)  # fmt: skip
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith("Error: store-wrong-key: ")
        assert result.stderr.count("\n") == 1
        assert not there.exists()

    def test_a_sealed_store_is_not_laid_open_by_mistake(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        here = make("sealed-sqlite", tmp_path, request, TWO)
        there = tmp_path / "new.sqlite"
        result = run("copy", here.address, there, *here.unlock("from-"))
        assert result.exit_code == 2
        assert "--seal or --plain?" in result.stderr
        assert not there.exists()

    @pytest.mark.parametrize("options", [["--plain"], ["--seal", "--plain"]])
    def test_plain_is_for_plain_ones(
        self, options: list[str], tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        here = make("sealed-sqlite", tmp_path, request, TWO)
        (tmp_path / "b").mkdir()
        there = make("sealed-sqlite", tmp_path / "b", request, {})
        result = run("copy", here.address, there.address, *options)
        assert result.exit_code == 2

    def test_a_plain_one_with_rows_is_not_sealed_along_the_way(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        here = make("sqlite", tmp_path / "a", request, TWO)
        there = make("sqlite", tmp_path / "b", request, {("nurse", "a"): b""})
        secret = here.secret_file()
        result = run("copy", here.address, there.address, "--seal", "--to-passphrase-file", secret)
        assert result.exit_code == 2
        assert "store seal" in result.stderr
        assert there.rows() == {("nurse", "a"): b""}

    def test_a_store_is_not_copied_to_itself(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        here = make("sqlite", tmp_path, request, TWO)
        result = run("copy", here.address, tmp_path / ".." / tmp_path.name / "sqlite.sqlite")
        assert result.exit_code == 2
        assert "are one store" in result.stderr


@pytest.mark.slow
class TestKilled:
    """SIGKILL at a commit of the destination, then the same command again."""

    @pytest.mark.parametrize("commits", [1, 2, 5, 19])
    @pytest.mark.parametrize("kind", ["sqlite", "sealed-sqlite"])
    def test_r_01_what_is_there_is_whole_and_the_next_run_completes_it(
        self, kind: str, commits: int, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        rows: Rows = {
            (f"account{n:02}@capulet.lit", str(row)): bytes(50)
            for n in range(20)
            for row in range(30)
        }
        here = make("sqlite", tmp_path / "here", request, rows)
        there = make(kind, tmp_path / "there", request, {})
        arguments = ["copy", here.address, there.address, *there.unlock("to-")]
        program = dedent(f"""
            import os, signal
            from e2ee.stores import sqlite
            from xmpp_e2ee import store_copy
            put, left = store_copy._put, {commits}
            async def killing(*arguments):
                global left
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                await put(*arguments)
            store_copy._put = killing
            from xmpp_e2ee.cli import main
            main({["store", *arguments]!r})
        """)
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL
        found = there.rows()
        accounts = {key[0] for key in found}
        assert len(accounts) == commits - 1
        assert found == {key: value for key, value in rows.items() if key[0] in accounts}
        result = run(*arguments)
        assert result.exit_code == 0
        assert f"\n{commits - 1} of the accounts" in result.stdout or commits == 1
        assert there.rows() == rows

    def test_r_01_killed_at_any_moment(
        self, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """From outside, while it is at work."""
        rows: Rows = {
            (f"account{n:03}", str(row)): bytes(500) for n in range(100) for row in range(50)
        }
        here = make("sqlite", tmp_path / "here", request, rows)
        there = StoreFile(str(tmp_path / "there.sqlite"), tmp_path, sealed=False)
        with subprocess.Popen([*CLI, "copy", here.address, there.address], cwd=ROOT) as process:
            while not _grown(there.address, 200_000):
                assert process.poll() is None
            process.kill()
        found = there.rows()
        accounts = {key[0] for key in found}
        assert 0 < len(accounts) < 100
        assert found == {key: value for key, value in rows.items() if key[0] in accounts}
        assert run("copy", here.address, there.address).exit_code == 0
        assert there.rows() == rows


def _grown(path: str, size: int) -> bool:
    return os.path.exists(path) and os.path.getsize(path) > size
