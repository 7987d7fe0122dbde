"""The outbox against a model: whatever happens in whatever order, no effect is lost or disordered.

A crash is modelled as what a killed process leaves: the files as they lie at that moment, opened
anew elsewhere, while what the process was about to do next is never done.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from e2ee.effects import Affiliate, Affiliation, Effect, Send, Subscribe
from e2ee.names import BareJid, NodeAddress
from e2ee.outbox import PREDECESSOR_FAILED, Job, Outbox, Refused, queued
from e2ee.storage import Put, Store
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore

T = TypeVar("T")

JULIET = BareJid.parse("juliet@capulet.lit")
ROMEO = BareJid.parse("romeo@montague.lit")
SCOPE = (str(JULIET),)
STATE = (*SCOPE, "operations")
EFFECTS = st.one_of(
    st.builds(Send, st.just(ROMEO), st.just(()), st.text("abc", max_size=3)),
    st.builds(
        Subscribe,
        st.builds(NodeAddress, st.just(JULIET), st.text("ab", min_size=1, max_size=2)),
    ),
    st.builds(
        Affiliate,
        st.just(NodeAddress(JULIET, "blog")),
        st.just(ROMEO),
        st.sampled_from(Affiliation),
    ),
)
CONDITIONS = st.sampled_from(["forbidden", "conflict", "item-not-found"])


class OutboxModel(RuleBasedStateMachine):
    """What the outbox should hold, beside what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = self.first_store()
        self.operations = 0
        self.waiting: dict[int, Effect] = {}
        self.following: dict[int, int] = {}
        self.refused: dict[int, Refused] = {}
        self.performed: list[int] = []
        self.never_tried: set[int] = set()
        self.last = 0

    def first_store(self) -> Store:
        return MemoryStore()

    def store_after_crash(self) -> Store:
        return self.store

    def teardown(self) -> None:
        self.loop.close()

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.store, JULIET)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    # -- what an account does

    async def operate(self, effects: list[Effect], chained: bool, commit: bool) -> None:
        async with self.store.exclusive(SCOPE) as transaction:
            changes = await queued(transaction, JULIET, effects, chained=chained)
            state = Put(STATE, str(self.operations + 1).encode())
            if commit:
                await transaction.commit([state, *changes])

    @rule(effects=st.lists(EFFECTS, max_size=4), chained=st.booleans())
    def operation(self, effects: list[Effect], chained: bool) -> None:
        self.run(self.operate(effects, chained, commit=True))
        self.operations += 1
        ids = range(self.last + 1, self.last + 1 + len(effects))
        self.waiting |= zip(ids, effects, strict=True)
        if chained:
            self.following |= pairwise(ids)
        self.last += len(effects)

    @rule(effects=st.lists(EFFECTS, max_size=4))
    def operation_that_fails(self, effects: list[Effect]) -> None:
        self.run(self.operate(effects, False, commit=False))

    # -- what a roof does

    def perform_first(self) -> Job:
        (job,) = self.run(self.outbox.pending(limit=1))
        assert job.effect == self.waiting[job.id]
        self.performed.append(job.id)
        return job

    @precondition(lambda self: self.waiting)
    @rule(reports=st.integers(1, 2))
    def success(self, reports: int) -> None:
        job = self.perform_first()
        for _ in range(reports):
            self.run(self.outbox.done(job.id))
        del self.waiting[job.id]

    @precondition(lambda self: self.waiting)
    @rule()
    def success_that_is_not_reported(self) -> None:
        self.perform_first()
        self.crash()

    @precondition(lambda self: self.waiting)
    @rule(condition=CONDITIONS, reports=st.integers(1, 2))
    def refusal(self, condition: str, reports: int) -> None:
        job = self.perform_first()
        for _ in range(reports):
            self.run(self.outbox.failed(job.id, condition))
        refused: int | None = job.id
        while refused in self.waiting:
            self.refused[refused] = Refused(refused, self.waiting.pop(refused), condition)
            condition = PREDECESSOR_FAILED
            refused = self.following.get(refused)
            self.never_tried |= self.waiting.keys() & {refused}

    @rule(number=st.integers(0, 60))
    def report_of_nothing(self, number: int) -> None:
        if number not in self.waiting:
            self.run(self.outbox.done(number))
            self.run(self.outbox.failed(number, "late"))

    @rule(number=st.integers(0, 60))
    def user_is_told(self, number: int) -> None:
        self.run(self.outbox.forget(number))
        self.refused.pop(number, None)

    @rule()
    def crash(self) -> None:
        self.store = self.store_after_crash()

    # -- what always holds

    @invariant()
    def the_store_is_the_model(self) -> None:
        pending = self.run(self.outbox.pending(1000))
        assert pending == tuple(
            Job(number, self.waiting[number]) for number in sorted(self.waiting)
        )
        refused = self.run(self.outbox.refused(1000))
        assert refused == tuple(self.refused[number] for number in sorted(self.refused))
        assert self.run(self.stored_operations()) == self.operations

    async def stored_operations(self) -> int:
        async with self.store.exclusive(SCOPE) as transaction:
            return int(await transaction.get(STATE) or 0)

    @invariant()
    def effects_are_performed_in_order_and_at_least_once(self) -> None:
        assert self.performed == sorted(self.performed)
        settled = set(range(1, self.last + 1)) - self.waiting.keys()
        assert settled == set(self.performed) - self.waiting.keys() | self.never_tried


class SqliteOutboxModel(OutboxModel):
    """The same on files, of which a crash leaves copies."""

    def first_store(self) -> Store:
        self.directory = TemporaryDirectory()
        self.crashes = 0
        self.opened = [self.open()]
        return self.opened[-1]

    def store_after_crash(self) -> Store:
        before = self.path
        self.crashes += 1
        for found in before.parent.glob(f"{before.name}*"):
            if not found.name.endswith("-shm"):  # shared memory, lost with the processes
                shutil.copy(found, found.with_name(found.name.replace(before.name, self.path.name)))
        self.opened.append(self.open())
        return self.opened[-1]

    def open(self) -> SqliteStore:
        return self.run(SqliteStore.open(self.path))

    @property
    def path(self) -> Path:
        return Path(self.directory.name, f"after-{self.crashes}-crashes.db")

    def teardown(self) -> None:
        for store in self.opened:
            self.run(store.close())
        self.directory.cleanup()
        super().teardown()


EXAMPLES = settings().max_examples  # of the profile

TestOutbox = OutboxModel.TestCase
TestOutbox.settings = settings(max_examples=EXAMPLES // 2)

TestOutboxOnSqlite = pytest.mark.slow(SqliteOutboxModel.TestCase)
TestOutboxOnSqlite.settings = settings(max_examples=EXAMPLES // 10)  # every commit reaches the disk
