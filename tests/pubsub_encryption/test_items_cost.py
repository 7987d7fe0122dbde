"""What a page of items costs (N-21), as counted work: derivations, and octets hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from e2ee.primitives import NativePrimitives
from e2ee.xmlwrite import write_xml
from ox import s2k
from ox.engine import S2kCount
from ox.engine_sequoia import SequoiaEngine
from pubsub_encryption.items import (
    OpenedItem,
    open_items,
    seal_item,
)
from tests.support.node_items import (
    ENGINE,
    ENTRY,
    KEYCHAIN,
    NODE,
    OTHER_NODE,
    TEXT,
    holding,
    holds,
    item,
    secret,
)
from tests.support.node_world import entry, stood_in


class Work:
    """Counts what the S2K hashes."""

    def __init__(self) -> None:
        self.derivations = 0
        self.octets = 0

    def new(self, name: str, **options: Any) -> Any:
        work, real = self, hashlib.new(name, **options)

        class Counting:
            digest_size = real.digest_size

            def update(self, data: bytes) -> None:
                work.octets += len(data)
                real.update(data)

            def digest(self) -> bytes:
                work.derivations += 1
                return real.digest()

        return Counting()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    counted = Work()
    monkeypatch.setattr(s2k, "hashlib", counted)
    return counted


class AtOnce(Executor):
    """Has the result before anybody can wait for it: the tightest race there is."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class TestCost:
    """N-21, as counted work: derivations and octets hashed."""

    async def test_n_21_our_items_cost_one_derivation_of_a_kilobyte_each(self, work: Work) -> None:
        page = [
            (await seal_item(ENGINE, secret(), entry(str(n))), stood_in(NODE)) for n in range(50)
        ]
        assert (work.derivations, work.octets) == (50, 50 * 1024)
        results = await open_items(ENGINE, KEYCHAIN, page)
        assert all(isinstance(result, OpenedItem) for result in results)
        assert (work.derivations, work.octets) == (100, 100 * 1024)

    @pytest.mark.parametrize("executor", [None, AtOnce()])
    async def test_n_21_costly_items_are_derived_once_and_never_again(
        self, work: Work, executor: Executor | None
    ) -> None:
        costly = 0xA0  # 1 MiB: the least that counts as costly
        page = [
            (item(holds(write_xml(entry(str(n))), TEXT, costly)), stood_in(NODE))  # type: ignore[arg-type]
            for n in range(6)
        ]
        page += page[:3]  # the same item on another page, or by a notification
        work.derivations = 0
        engine = SequoiaEngine(NativePrimitives(), executor)
        for _ in range(2):
            results = await open_items(engine, KEYCHAIN, page)
            assert all(isinstance(result, OpenedItem) for result in results)
        assert work.derivations == 6

    async def test_n_21_a_second_reading_costs_only_the_items_that_need_it(
        self, work: Work
    ) -> None:
        spaced = f" {TEXT} "
        page = [
            (item(holds(write_xml(ENTRY), meant)), stood_in(NODE)) for meant in [TEXT, spaced, TEXT]
        ]
        work.derivations = 0
        await open_items(ENGINE, holding(secret(value=spaced)), page)
        assert work.derivations == 3 + 1

    async def test_n_21_what_is_refused_is_refused_before_it_is_hashed(self, work: Work) -> None:
        message = holds(write_xml(ENTRY), count=S2kCount.PASSPHRASE)
        work.derivations = 0
        page = [
            (item(message, "unknown"), stood_in(NODE)),
            (item(message), stood_in(OTHER_NODE)),
            (
                item(message[: message.index(b"\x09\x03\x08")] + b"\x09\x04" + bytes(40)),
                stood_in(NODE),
            ),
            (item(message[: 2 + message[1]] + message), stood_in(NODE)),
            (ENTRY, stood_in(NODE)),
        ]
        assert not any(isinstance(r, OpenedItem) for r in await open_items(ENGINE, KEYCHAIN, page))
        assert work.derivations == 0

    @pytest.mark.parametrize(
        ("value", "octets"), [("x" * 43, 1024), ("x" * 42, 65_011_712), ("é" * 43, 65_011_712)]
    )
    async def test_n_21_only_256_random_bits_are_not_stretched(
        self, work: Work, value: str, octets: int
    ) -> None:
        await seal_item(ENGINE, secret(value=value), ENTRY)
        assert (work.derivations, work.octets) == (1, octets)
