"""``xmpp-e2ee key generate|show|trust|revoke``, guarded accounts, and how every command ends."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from e2ee.effects import Publish
from e2ee.key_events import KeyEvents
from e2ee.lexical import parse_time
from e2ee.trust import Trust
from ox.uri import KeyUri
from tests.roof.keys import Home
from tests.roof.stores import KINDS, make
from tests.support.forge import certify, forged, new_ed25519
from tests.support.ox_keys import JULIET, ROMEO
from tests.support.ox_world import Person
from tests.support.postgres import PASSWORD
from xmpp_e2ee.cli import main
from xmpp_e2ee.cli.key_screen import grouped

COMPROMISED = ("--reason", "compromised", "--yes")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def anchors(tmp_path: Path) -> str:
    folder = tmp_path / "anchors"
    folder.mkdir(mode=0o700)
    return str(folder)


def renewed(home: Home, anchors: str) -> dict[str, Any]:
    result = CliRunner().invoke(
        main,
        ["store", "renew", home.address, "--account", JULIET, "--anchors", anchors, "--json"],
    )
    assert result.exit_code == 0, result.output
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def keys_of(home: Home, jid: str) -> list[dict[str, Any]]:
    (person,) = home.told("show", jid)["people"]
    assert person["jid"] == jid
    keys: list[dict[str, Any]] = person["keys"]
    return keys


class TestGenerate:
    def test_a_key_is_made_and_waits_to_be_announced(self, home: Home) -> None:
        made = home.told("generate", "--only-key")
        assert made["waiting"] == 2

        async def flush(juliet: Person) -> list[object]:
            own = await juliet.ox.own_key()
            assert own.certificate.fingerprint == made["fingerprint"]
            assert own.certificate.user_ids == (f"xmpp:{JULIET}",)
            return [*await juliet.flush()]

        data, metadata = home.use(flush)
        assert isinstance(data, Publish)
        assert isinstance(metadata, Publish)
        assert data.address.node.endswith(made["fingerprint"])
        assert home.told("show", JULIET)["people"][0]["keys"][0]["ours"]

    def test_people_are_told(self, home: Home) -> None:
        result = home.run("generate", "--only-key")
        assert result.stdout.splitlines()[0].endswith(f" of {JULIET} is made.")
        assert "2 changes wait to be sent by the client that connects next." in result.stdout
        assert result.stderr == ""

    @pytest.mark.slow
    def test_rsa_on_request(self, home: Home) -> None:
        home.told("generate", "--only-key", "--rsa")

        async def size(juliet: Person) -> int:
            return len((await juliet.ox.own_key()).certificate.raw)

        assert home.use(size) > 800

    def test_g_12_without_the_list_nothing_is_announced(self, home: Home) -> None:
        """A list of one would strike the keys of the account's other devices."""
        result = home.run("generate", status=2)
        assert "connect a client, or say --only-key" in result.stderr
        assert keys_of(home, JULIET) == []
        assert home.told("generate", "--only-key")["waiting"] == 2

    def test_g_12_other_keys_of_the_account_stay_listed(self, home: Home) -> None:
        async def hear_of_another_device(juliet: Person) -> None:
            await juliet.gather(await home.world.person(JULIET))

        home.use(hear_of_another_device)
        (other,) = keys_of(home, JULIET)
        assert (other["trust"], other["accepted"], other["waits"]) == ("undecided", False, True)
        assert "undecided, waits for your decision, announced" in home.run("show").stdout
        home.told("generate")  # the list is known
        assert [key["announced"] for key in keys_of(home, JULIET)] == [True, True]

    def test_g_12_only_key_is_no_word_against_what_is_known(self, home: Home, anchors: str) -> None:
        """After a renewal, the list must be fetched again."""

        async def hear_of_another_device(juliet: Person) -> None:
            await juliet.gather(await home.world.person(JULIET))

        home.use(hear_of_another_device)
        assert renewed(home, anchors)["dropped"] == 0
        result = home.run("generate", "--only-key", "--anchors", anchors, status=2)
        assert f"the list of keys that {JULIET} has announced is not known" in result.stderr
        assert home.secrets() == []

    def test_a_second_key_is_refused(self, home: Home) -> None:
        home.told("generate", "--only-key")
        result = home.run("generate", "--only-key", status=3)
        assert result.stderr == f"Error: api-misuse: {JULIET} has an OpenPGP key already\n"


class TestShow:
    def test_everybody_is_shown_ourselves_first(self, home: Home) -> None:
        ours, romeos = home.meet_romeo()
        people = home.told("show")["people"]
        assert [person["jid"] for person in people] == [JULIET, ROMEO]
        assert [[key["fingerprint"] for key in person["keys"]] for person in people] == [
            [ours],
            [romeos],
        ]
        (own,), (his,) = (person["keys"] for person in people)
        assert (own["ours"], own["trust"], own["accepted"]) == (True, "authenticated", True)
        assert (his["ours"], his["trust"], his["accepted"]) == (False, "automatic", True)
        assert his["certificate"]["user_ids"] == [f"xmpp:{ROMEO}"]
        assert (his["certificate"]["expires"], his["certificate"]["revoked"]) == (None, False)

    def test_people_are_told(self, home: Home) -> None:
        ours, romeos = home.meet_romeo()
        shown = home.run("show").stdout
        for fingerprint in (ours, romeos):
            assert f"    {grouped(fingerprint)}\n" in shown
        assert "        ours, authenticated, announced\n" in shown
        assert "        automatic, announced\n" in shown
        assert f", never expires\n        xmpp:{ROMEO}\n" in shown

    def test_strangers_and_the_unfetched(self, home: Home) -> None:
        assert home.told("generate", "--only-key")
        assert keys_of(home, "nurse@capulet.lit") == []
        assert "nothing is known of any key" in home.run("show", "nurse@capulet.lit").stdout

        async def hear(juliet: Person) -> None:
            romeo = await home.world.person(ROMEO)
            for fetch in await juliet.ox.missing({romeo.jid}):
                await juliet.ox.feed(fetch, home.world.nodes[fetch.address])

        home.use(hear)
        (key,) = keys_of(home, ROMEO)
        assert (key["certificate"], key["named"]) == (None, False)
        assert "not fetched yet" in home.run("show", ROMEO).stdout

    def test_what_a_terminal_would_obey_is_written_out(self, home: Home) -> None:
        home.told("generate", "--only-key")
        result = home.run("show", "romeo@montague.lit/\x1b[31m", status=2)
        assert "\x1b" not in result.stderr
        assert "forbidden character" in result.stderr

    def test_the_day_of_expiry_is_shown(self, home: Home) -> None:
        home.told("generate", "--only-key")
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)

        async def limit(juliet: Person) -> None:
            await juliet.ox.extend(until)

        home.use(limit)
        assert f", expires on {until:%Y-%m-%d}\n" in home.run("show", JULIET).stdout
        assert parse_time(keys_of(home, JULIET)[0]["certificate"]["expires"]) == until

    def test_an_expired_key_is_named_so(self, home: Home) -> None:
        home.told("generate", "--only-key")
        primary = new_ed25519()
        certified = certify(primary, f"xmpp:{ROMEO}".encode(), key_lasts=timedelta(days=1))
        home.world.announce(ROMEO, forged(primary=primary, certified=certified).public)

        async def meet(juliet: Person) -> None:
            await juliet.learn(home.world.stranger(ROMEO).jid)

        home.use(meet)
        assert "        EXPIRED\n" in home.run("show", ROMEO).stdout

    def test_what_happened_to_keys_is_shown_until_a_client_has_shown_it(self, home: Home) -> None:
        _, romeos = home.meet_romeo()
        home.told("trust", ROMEO, romeos, "authenticated")
        assert keys_of(home, ROMEO)[0]["events"] == []
        ghost = forged(f"xmpp:{ROMEO}")
        home.world.announce(ROMEO, ghost.public)

        async def hear(juliet: Person) -> None:
            await juliet.hear_of(home.world.stranger(ROMEO))

        home.use(hear)
        for _ in range(2):
            events = {key["fingerprint"]: key["events"] for key in keys_of(home, ROMEO)}
            assert [event["news"] for event in events[romeos]] == ["gone"]
            assert [event["news"] for event in events[ghost.name]] == ["changed"]
        told = home.run("show", ROMEO).stdout
        assert "gone: it was believed, and is announced no more (learned on 2" in told
        assert "new: it appeared beside a key that you authenticated (learned on 2" in told

        async def show(juliet: Person) -> None:
            events = KeyEvents(juliet.store, juliet.jid)
            await events.shown(await events.pending())

        home.use(show)
        assert [key["events"] for key in keys_of(home, ROMEO)] == [[], []]


class TestTrust:
    def test_g_11_beside_an_authenticated_key_the_others_wait(self, home: Home) -> None:
        home.told("generate", "--only-key")
        real, ghost = forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        home.world.announce(ROMEO, real.public, ghost.public)

        async def meet(juliet: Person) -> None:
            await juliet.learn(home.world.stranger(ROMEO).jid)

        home.use(meet)
        assert [key["accepted"] for key in keys_of(home, ROMEO)] == [True, True]
        home.told("trust", ROMEO, real.name, "authenticated")
        keys = {key["fingerprint"]: key for key in keys_of(home, ROMEO)}
        assert (keys[real.name]["accepted"], keys[real.name]["waits"]) == (True, False)
        assert (keys[ghost.name]["accepted"], keys[ghost.name]["waits"]) == (False, True)
        assert "        automatic, waits for your decision, announced\n" in home.run("show").stdout

    def test_a_fingerprint_is_taken_as_it_is_shown(self, home: Home) -> None:
        _, romeos = home.meet_romeo()
        for level, typed in (
            ("authenticated", grouped(romeos)),
            ("distrusted", romeos.lower()),
            ("undecided", romeos),
        ):
            before = keys_of(home, ROMEO)[0]["trust"]
            decided = home.told("trust", ROMEO, typed, level)
            assert decided["decisions"] == [
                {"fingerprint": romeos, "before": before, "after": level}
            ]
            assert keys_of(home, ROMEO)[0]["trust"] == level
        result = home.run("trust", ROMEO, romeos, "distrusted")
        assert result.stdout == (
            f"{grouped(romeos)} of {ROMEO} is no more undecided, but distrusted.\n"
        )
        assert "is still distrusted" in home.run("trust", ROMEO, romeos, "distrusted").stdout

    def test_g_11_a_key_that_was_never_announced_is_refused(self, home: Home) -> None:
        home.meet_romeo()
        result = home.run("trust", ROMEO, "A" * 40, "authenticated", status=3)
        assert result.stderr.startswith("Error: signer-mismatch: ")
        assert keys_of(home, ROMEO)[0]["trust"] == "automatic"

    @pytest.mark.parametrize("named", [True, False])
    def test_a_uri_says_the_same(self, named: bool, home: Home) -> None:
        _, romeos = home.meet_romeo()

        async def uri(juliet: Person) -> str:
            (key,) = (await juliet.ox.keys(romeo)).keys
            return str(KeyUri(romeo if named else None, (key.fingerprint,)))

        romeo = home.world.stranger(ROMEO).jid
        shown = home.use(uri)
        decided = home.told("trust", ROMEO, "--uri", shown)["decisions"]
        assert [(each["before"], each["after"]) for each in decided] == [
            ("automatic", "authenticated")
        ]
        if named:
            other = home.run("trust", "tybalt@capulet.lit", "--uri", shown, status=3)
            assert other.stderr.startswith("Error: signer-mismatch: ")
        assert keys_of(home, ROMEO)[0]["fingerprint"] == romeos

    def test_our_own_key_is_no_question(self, home: Home) -> None:
        ours, _ = home.meet_romeo()
        result = home.run("trust", JULIET, ours, "distrusted", status=2)
        assert "the account's own key" in result.stderr
        assert keys_of(home, JULIET)[0]["trust"] == Trust.AUTHENTICATED

    @pytest.mark.parametrize(
        "arguments",
        [
            (ROMEO,),
            (ROMEO, "A" * 40),
            (ROMEO, "A" * 39, "distrusted"),
            (ROMEO, "A" * 40, "automatic"),
            (ROMEO, "A" * 40, "distrusted", "--uri", f"openpgp4fpr:{'A' * 40}"),
        ],
    )
    def test_wrong_usage(self, arguments: tuple[str, ...], home: Home) -> None:
        home.meet_romeo()
        home.run("trust", *arguments, status=2)


class TestExtend:
    def test_an_end_is_set_and_taken_away(self, home: Home) -> None:
        ours, _ = home.meet_romeo()
        day = datetime.now(UTC).date() + timedelta(days=30)
        extended = home.told("extend", "--until", f"{day}")
        assert (extended["fingerprint"], extended["waiting"]) == (ours, 2)
        until = datetime(day.year, day.month, day.day, tzinfo=UTC)
        assert parse_time(keys_of(home, JULIET)[0]["certificate"]["expires"]) == until
        assert f" of {JULIET} never expires.\n" in home.run("extend", "--never").stdout
        assert keys_of(home, JULIET)[0]["certificate"]["expires"] is None

    @pytest.mark.parametrize(
        "arguments", [(), ("--until", "soon"), ("--until", "2999-01-01", "--never")]
    )
    def test_wrong_usage(self, arguments: tuple[str, ...], home: Home) -> None:
        home.meet_romeo()
        home.run("extend", *arguments, status=2)

    def test_a_day_that_is_over_is_refused(self, home: Home) -> None:
        home.meet_romeo()
        result = home.run("extend", "--until", "2020-01-01", status=3)
        assert result.stderr.startswith("Error: api-misuse: ")
        assert keys_of(home, JULIET)[0]["certificate"]["expires"] is None


class TestRevoke:
    def test_it_is_for_ever_and_waits_to_be_told(self, home: Home) -> None:
        ours, _ = home.meet_romeo()
        revoked = home.told("revoke", *COMPROMISED)
        assert revoked["fingerprint"] == ours
        assert revoked["waiting"] >= 1
        assert keys_of(home, JULIET)[0]["certificate"]["revoked"]
        assert "        REVOKED\n" in home.run("show", JULIET).stdout
        assert home.run("revoke", *COMPROMISED, status=3).stderr.startswith("Error: unusable-key")
        made = home.told("generate")
        assert made["fingerprint"] != ours

    def test_nothing_is_revoked_unasked(self, home: Home) -> None:
        home.meet_romeo()
        result = home.run("revoke", "--reason", "compromised", status=2)
        assert "there is no terminal to ask on; say --yes" in result.stderr
        assert not keys_of(home, JULIET)[0]["certificate"]["revoked"]

    def test_without_a_key(self, home: Home) -> None:
        home.run("generate", status=2)
        result = home.run("revoke", *COMPROMISED, status=3)
        assert result.stderr.startswith("Error: api-misuse: ")


class TestGuarded:
    """The store of an account that is guarded: its anchors are named, or nothing is done."""

    def test_r_05_without_its_anchors_nothing_is_read_or_changed(
        self, home: Home, anchors: str
    ) -> None:
        home.told("generate", "--only-key", "--anchors", anchors)
        before = Path(home.address).read_bytes()
        for command in (["show"], ["revoke", *COMPROMISED], ["generate"]):
            result = home.run(*command, status=2)
            assert "name the directory of its --anchors" in result.stderr
        assert Path(home.address).read_bytes() == before
        assert home.told("show", "--anchors", anchors)["people"]

    def test_r_05_an_older_copy_is_refused_until_it_is_renewed(
        self, home: Home, anchors: str
    ) -> None:
        guard = ("--anchors", anchors)
        home.told("generate", "--only-key", *guard)
        shutil.copy(home.address, home.folder / "copy")
        home.told("revoke", *COMPROMISED, *guard)
        shutil.copy(home.folder / "copy", home.address)
        for command in (["show"], ["revoke", *COMPROMISED]):
            result = home.run(*command, *guard, status=3)
            assert result.stderr.startswith("Error: store-rolled-back: ")
        assert renewed(home, anchors) == {
            "format": 1, "store": home.address, "account": JULIET, "dropped": 2,
        }  # fmt: skip
        assert home.told("show", *guard)["people"]

    def test_r_05_a_lost_anchor_is_told(self, home: Home, anchors: str) -> None:
        home.told("generate", "--only-key", "--anchors", anchors)
        empty = home.folder / "empty"
        empty.mkdir(mode=0o700)
        result = home.run("show", "--anchors", empty, status=3)
        assert result.stderr.startswith("Error: store-rolled-back: the anchor of ")

    def test_a_misspelt_directory_is_not_made(self, home: Home) -> None:
        home.told("generate", "--only-key")
        result = home.run("show", "--anchors", home.folder / "nowhere", status=2)
        assert "does not exist" in result.stderr
        assert not (home.folder / "nowhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_in_stores_of_every_kind(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = make(kind, tmp_path, request, {})
    for command in (["generate", "--only-key"], ["export", "-"], ["show"], ["show", "--bogus"]):
        name, *options = command
        result = CliRunner().invoke(
            main, ["key", name, store.address, "--account", JULIET, *options, *store.unlock()]
        )
        assert result.exit_code == (2 if "--bogus" in options else 0), result.output
        assert PASSWORD not in result.output
    assert any(key[:3] == (JULIET, "ox", "own") for key in store.rows())
