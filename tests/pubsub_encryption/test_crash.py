"""kill -9 of the owner and of a member, at every commit: nothing is lost and nothing is doubled."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from e2ee.effects import Affiliate, Affiliation, Effect, Send, Unsubscribe
from e2ee.errors import CannotDecrypt, SecretMissing
from e2ee.storage import Put
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmltree import Element
from pubsub_encryption.node_secret import SecretState
from tests.support.blog import Stage
from tests.support.device import BLOG, JULIET, ROMEO, TYBALT, command, recorded
from tests.support.node_world import Network, Person, entry, stood_in
from tests.support.ox_world import dump
from tests.support.source import ROOT

EFFECTS = 9  # of the rotation: two for Tybalt, four revocations, three secrets
OWNERS_COMMITS = 1 + EFFECTS  # the rotation itself, and the end of each effect
MEMBERS_COMMITS = 2  # the revocation and the new secret
KILLED = -9


@dataclass
class Prepared:
    """Everybody before the rotation; Juliet's and Romeo's stores as files in ``folder``."""

    stage: Stage
    folder: Path
    item: Element


@pytest.fixture
async def prepared(tmp_path: Path) -> Prepared:
    stage = await Stage.set("nurse", "romeo", "tybalt")
    for name in ("juliet", "romeo"):
        rows = await dump(stage[name].store)
        path = tmp_path / f"{name}.db"
        async with await SqliteStore.open(path) as store, store.exclusive(()) as tx:
            await tx.commit([Put(key, value) for key, value in rows.items()])
    (tmp_path / "service.log").touch()
    return Prepared(stage, tmp_path, await stage.owner.encrypt(entry("before")))


def play(role: str, folder: Path, *moment: str) -> int:
    """Play a role in a process of its own; return how it ended."""
    return subprocess.run(
        command(role, folder, *moment), cwd=ROOT, check=False, timeout=60
    ).returncode


def once_each(effects: list[Effect]) -> list[Effect]:
    """Return the effects without repetitions, which may only follow each other."""
    distinct = [
        effect
        for before, effect in zip([None, *effects], effects, strict=False)
        if effect != before
    ]
    assert all(distinct.count(effect) == 1 for effect in distinct)
    return distinct


async def assert_sound(prepared: Prepared) -> None:
    """Expect one rotation, whole, told to everybody, whatever happened on the way."""
    stage, folder = prepared.stage, prepared.folder
    effects = recorded(folder)
    leave, lose, *sent = once_each(effects)
    assert leave == Unsubscribe(BLOG, TYBALT)
    assert lose == Affiliate(BLOG, TYBALT, Affiliation.NONE)
    assert [effect.to.local for effect in sent if isinstance(effect, Send)] == [
        *("juliet", "nurse", "romeo", "tybalt"),
        *("juliet", "nurse", "romeo"),
    ]
    async with await SqliteStore.open(folder / "juliet.db") as store:
        juliet = Person(Network(), JULIET, store)
        keychain = await juliet.node(BLOG).keychain()
        assert await juliet.outbox.pending() == ()
        item = await juliet.node(BLOG).encrypt(entry("after"))
    assert [s.state for s in keychain.secrets] == [SecretState.REVOKED, SecretState.ACTIVE]
    assert keychain.members == {stage["nurse"].jid, ROMEO}

    network = Network()
    sender = Person(network, JULIET)
    for effect in effects:
        sender.perform(effect)
    for name, readable in (("nurse", True), ("romeo", True), ("tybalt", False)):
        person = await stage[name].copied()
        taken = 0
        for letter in network.letters:
            if letter.to != person.jid:
                with pytest.raises(CannotDecrypt):
                    await person.open_letter(letter)
                continue
            taken += await person.took_in(letter)
        assert taken == (2 if readable else 1)
        await assert_reads(person, prepared.item, item, readable)


async def assert_reads(person: Person, before: Element, after: Element, readable: bool) -> None:
    node = person.node(BLOG)
    assert await node.decrypt(before, stood_in(BLOG))
    if readable:
        assert await node.decrypt(after, stood_in(BLOG))
    else:
        with pytest.raises(SecretMissing):
            await node.decrypt(after, stood_in(BLOG))


@pytest.mark.slow
async def test_r_01_without_a_crash_the_commits_are_as_many_as_these_tests_think(
    prepared: Prepared,
) -> None:
    for when in ("before", "after"):
        assert play("owner", prepared.folder, when, str(OWNERS_COMMITS)) == 0
        assert len(recorded(prepared.folder)) == EFFECTS
    await assert_sound(prepared)
    assert play("member", prepared.folder, "after", str(MEMBERS_COMMITS)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", range(OWNERS_COMMITS))
async def test_r_01_an_owner_killed_at_a_commit_of_a_rotation_goes_on_with_it(
    prepared: Prepared, commit: int, when: str
) -> None:
    assert play("owner", prepared.folder, when, str(commit)) == KILLED
    assert play("owner", prepared.folder) == 0
    repeated = 1 if when == "before" and commit else 0  # performed, and not yet reported
    assert len(recorded(prepared.folder)) == EFFECTS + repeated
    await assert_sound(prepared)


@pytest.mark.slow
async def test_r_01_an_owner_who_is_killed_at_every_second_commit_ends_as_well(
    prepared: Prepared,
) -> None:
    runs = 1
    while play("owner", prepared.folder, "before", "1") == KILLED:
        runs += 1
    assert runs > EFFECTS / 2
    await assert_sound(prepared)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", range(MEMBERS_COMMITS))
async def test_r_01_a_member_killed_at_a_commit_takes_in_every_message_once(
    prepared: Prepared, commit: int, when: str
) -> None:
    assert play("owner", prepared.folder) == 0
    assert play("member", prepared.folder, when, str(commit)) == KILLED
    assert play("member", prepared.folder) == 0
    async with await SqliteStore.open(prepared.folder / "juliet.db") as store:
        item = await Person(Network(), JULIET, store).node(BLOG).encrypt(entry("after"))
    async with await SqliteStore.open(prepared.folder / "romeo.db") as store:
        romeo = Person(Network(), ROMEO, store)
        keychain = await romeo.node(BLOG).keychain()
        assert [s.state for s in keychain.secrets] == [SecretState.REVOKED, SecretState.ACTIVE]
        await assert_reads(romeo, prepared.item, item, True)


@pytest.mark.soak
async def test_r_01_an_owner_killed_at_fifty_random_times_ends_as_well(
    prepared: Prepared, soak_random: Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    original = prepared.folder
    took = 0.0
    for number in range(51):  # the first one lives, and shows how long the others may
        prepared.folder = tmp_path_factory.mktemp("killed") / "copy"
        shutil.copytree(original, prepared.folder)
        lived = work_for(prepared.folder, soak_random.uniform(0, took) if number else None)
        took = took or lived
        assert play("owner", prepared.folder) == 0
        await assert_sound(prepared)


def work_for(folder: Path, seconds: float | None) -> float:
    """Let the owner work for so long, or to its end, and return how long it was."""
    with subprocess.Popen(command("owner", folder), cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        begun = time.monotonic()
        if seconds is None:
            child.stdout.read()
        else:
            time.sleep(seconds)
            child.kill()
        return time.monotonic() - begun
