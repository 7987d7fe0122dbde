"""Targeted items whose reader or writer is given up or killed: read once, and kept (R-01, R-11)."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable
from itertools import count
from pathlib import Path

import pytest

from e2ee.arrival import Arrival
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from pubsub_encryption.targeted_reading import OpenedTargeted
from tests.support.cancellation import cancel_at
from tests.support.hooked_store import HookedStore, Moment, waiting
from tests.support.node_world import entry
from tests.support.omemo_worker import on_disk
from tests.support.omemo_world import Party, World, copied, dump
from tests.support.source import ROOT
from tests.support.targeted_worker import command
from tests.support.targeted_world import at, kept, published, said, stood, targeted

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
TRUST = BlindTrustBeforeVerification()
ITEMS = 2


@pytest.fixture
async def pair() -> tuple[Party, Party]:
    world = World()
    juliet, romeo = [await world.device(jid, trust=TRUST) for jid in (JULIET, ROMEO)]
    await romeo.hear_of(juliet)
    return juliet, romeo


@pytest.fixture
async def page(pair: tuple[Party, Party]) -> list[tuple[Element, Arrival]]:
    """Two items in one session, which the first of them begins."""
    juliet, romeo = pair
    return [
        (await published(juliet, romeo, text=f"item {n}", place=at(f"{n}")), stood(at(f"{n}")))
        for n in range(ITEMS)
    ]


async def test_r_11_wherever_reading_is_given_up_each_item_is_read_once_and_kept(
    pair: tuple[Party, Party], page: list[tuple[Element, Arrival]]
) -> None:
    _, romeo = pair
    before = await dump(romeo.store)
    for step in count():
        party = romeo.reopened(await copied(romeo.store))
        hooked = party.reopened(waiting(party.store))
        try:
            await cancel_at(_awaited(targeted(hooked).decrypt_many(page)), step)
            lived = True
        except asyncio.CancelledError:
            lived = False
        is_kept = await kept(party, at("0")) is not None
        assert is_kept or (not lived and await dump(party.store) == before)
        assert (await kept(party, at("1")) is not None) == is_kept
        results = await targeted(party).decrypt_many(page)
        assert all(isinstance(result, OpenedTargeted) for result in results)
        assert [said(result) for result in results] == ["item 0", "item 1"]
        assert await party.sessions.undelivered() == ()
        if lived:
            break
    assert step > 3


async def test_r_11_wherever_writing_is_given_up_no_position_is_used_twice(
    pair: tuple[Party, Party],
) -> None:
    juliet, romeo = pair
    await juliet.gather(romeo)
    party = juliet.reopened(await copied(juliet.store))
    for step in count():
        hooked = party.reopened(waiting(party.store))
        work = targeted(hooked).encrypt(entry("given up"), {romeo.jid}, at("draft"))
        try:
            await cancel_at(_awaited(work), step)
            break
        except asyncio.CancelledError:
            place = at(f"step {step}")
            payload = await published(party, romeo, text=f"step {step}", place=place)
            opened = await targeted(romeo).decrypt(payload, stood(place))
            assert said(opened) == f"step {step}"


async def test_r_03_what_cannot_be_stored_was_not_decrypted(
    pair: tuple[Party, Party], page: list[tuple[Element, Arrival]]
) -> None:
    _, romeo = pair
    before = await dump(romeo.store)

    async def full(moment: Moment) -> None:
        if moment is Moment.BEFORE_COMMIT:
            raise StoreFailed(ErrorCode.STORE_FULL, "the disk is full")

    with pytest.raises(StoreFailed):
        await targeted(romeo.reopened(HookedStore(romeo.store, full))).decrypt_many(page)
    assert await dump(romeo.store) == before
    results = await targeted(romeo).decrypt_many(page)
    assert [said(result) for result in results] == ["item 0", "item 1"]


@pytest.mark.slow
async def test_r_01_a_reader_killed_anywhere_loses_no_item(
    pair: tuple[Party, Party], page: list[tuple[Element, Arrival]], tmp_path: Path
) -> None:
    """Between decryption and what is kept there is no moment: they are one commit."""
    _, romeo = pair
    (tmp_path / "template").mkdir()
    await on_disk(romeo, tmp_path / "template" / "romeo.db")
    lines = tmp_path / "page"
    lines.write_text(
        "".join(
            json.dumps([write_xml(payload), arrival.item_id]) + "\n" for payload, arrival in page
        )
    )
    done = subprocess.run(
        command(tmp_path / "romeo.db", lines),
        cwd=ROOT,
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    deaths, unread = map(int, done.stdout.split())
    assert 0 < unread < deaths, "some died before the commit, and some after it"


async def _awaited(work: Awaitable[object]) -> object:
    return await work
