"""Many at work on one keychain: tasks of one process, and several processes (R-06)."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from e2ee import ns
from e2ee.errors import ApiMisuse, ErrorCode
from e2ee.names import BareJid, SecretId
from e2ee.storage import Put
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import OpenedItem
from pubsub_encryption.node_secret import SecretState
from tests.support.blog import Stage
from tests.support.device import BLOG, JULIET, command, noted, recorded
from tests.support.hooked_store import waiting
from tests.support.node_world import Person, entry, stood_in
from tests.support.ox_world import dump
from tests.support.source import ROOT

TASKS = 32


class Crowd:
    """Everybody's devices on one store, and tasks that do with them what a seed says."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.items: list[Element] = []
        self.rotations: list[SecretId] = []
        self.did: Counter[str] = Counter()

    async def one_task(self, random: Random) -> None:
        steps = [self.publish, self.publish, self.read_letter, self.read_letter, self.read_item]
        for step in random.choices([*steps, self.rotate, self.grant], k=5):
            await step(random)
            self.did[step.__name__] += 1

    async def publish(self, random: Random) -> None:
        author = random.choice(["juliet", "romeo", "nurse"])
        try:
            self.items.append(await self.stage.node(author).encrypt(entry("of a task")))
        except ApiMisuse as error:
            if error.code is not ErrorCode.NO_ACTIVE_SECRET or author == "juliet":
                raise  # only a member may be between a revocation and the new secret

    async def read_letter(self, random: Random) -> None:
        letter = random.choice(self.stage.network.letters)
        await self.stage[letter.to.local].took_in(letter)

    async def read_item(self, random: Random) -> None:
        if self.items:
            item = random.choice(self.items)
            (result,) = await self.stage.owner.decrypt_many([(item, stood_in(self.stage.blog))])
            assert isinstance(result, OpenedItem)

    async def rotate(self, random: Random) -> None:
        leaving = {self.stage["tybalt"].jid} if random.random() < 0.5 else set()
        self.rotations.append((await self.stage.owner.rotate(revoke=leaving)).secret_id)
        await self.stage.juliet.flush()

    async def grant(self, random: Random) -> None:
        await self.stage.owner.grant(self.stage[random.choice(["nurse", "tybalt"])].jid)


async def read_all(stage: Stage) -> None:
    """Let everybody read every message to them, in order, repetitions included."""
    for letter in stage.network.letters:
        await stage[letter.to.local].took_in(letter)


async def assert_consistent(
    stage: Stage, items: Sequence[Element], rotations: Sequence[SecretId]
) -> None:
    """Expect that nothing was lost, nobody was sent anything twice, and all agree."""
    owners = await stage.owner.keychain()
    first, *later = owners.secrets
    assert sorted(secret.id for secret in later) == sorted(rotations)
    assert [s.id for s in owners.secrets if s.state is SecretState.ACTIVE] == [owners.current.id]

    letters = {letter.id: letter for letter in stage.network.letters}
    assert all(letter == letters[letter.id] for letter in stage.network.letters)
    device = await stage.juliet.another_device()
    shared: Counter[tuple[BareJid, str | None]] = Counter()
    for letter in letters.values():
        (content,) = (await device.open_letter(letter)).content
        if content.is_(ns.OX_PUBSUB, "shared-secret"):
            shared[letter.to, content.get("id")] += 1
    assert set(shared.values()) == {1}
    for person in stage.people.values():
        expected = {s.id for s in owners.secrets if person.jid in {*s.shared_with, JULIET}}
        assert {name for to, name in shared if to == person.jid} == expected

    for person in stage.people.values():
        has = (await person.node(stage.blog).keychain()).secrets
        results = await person.node(stage.blog).decrypt_many(
            [(item, stood_in(stage.blog)) for item in items]
        )
        for item, result in zip(items, results, strict=True):
            entitled = EncryptedItem.from_xml(item).secret_id in {secret.id for secret in has}
            assert isinstance(result, OpenedItem) is entitled
        if person.jid in owners.members | {JULIET}:
            assert {secret.id for secret in has} == {first.id, *rotations}
            assert (await person.node(stage.blog).keychain()).current.id == owners.current.id


@pytest.mark.slow
async def test_r_06_32_tasks_on_one_keychain_end_consistent(tmp_path: Path) -> None:
    async with await SqliteStore.open(tmp_path / "store.db") as store:
        stage = await Stage.set("romeo", "nurse", "tybalt", store=waiting(store))
        crowd = Crowd(stage)
        async with asyncio.TaskGroup() as group:
            for number in range(TASKS):
                group.create_task(crowd.one_task(Random(number)))
        assert len(crowd.did) == 5  # every kind of step was among them
        await stage.juliet.flush()
        await read_all(stage)
        await assert_consistent(stage, crowd.items, crowd.rotations)


@pytest.mark.slow
async def test_r_06_4_processes_on_one_keychain_end_consistent(tmp_path: Path) -> None:
    stage = await Stage.set("romeo", "nurse", "tybalt")
    async with await SqliteStore.open(tmp_path / "juliet.db") as store:
        async with store.exclusive(()) as tx:
            rows = await dump(stage.juliet.store)
            await tx.commit([Put(key, value) for key, value in rows.items()])
        (tmp_path / "service.log").touch()
        workers = [
            subprocess.Popen(command("worker", tmp_path, f"{seed}"), cwd=ROOT) for seed in range(4)
        ]
        assert [worker.wait(60) for worker in workers] == [0] * 4
        juliet = Person(stage.network, JULIET, store)
        stage.people["juliet"], stage.juliet, stage.owner = juliet, juliet, juliet.node(BLOG)
        assert await juliet.outbox.pending() == ()
        for effect in recorded(tmp_path):
            juliet.perform(effect)
        await read_all(stage)
        items = [parse_xml(text) for text in noted(tmp_path, "item")]
        rotations = [SecretId(name) for name in noted(tmp_path, "rotation")]
        assert len(items) > 3
        assert len(rotations) > 3
        await assert_consistent(stage, items, rotations)
