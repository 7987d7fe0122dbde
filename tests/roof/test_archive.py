"""Archives, read into a store: every encryption, further and further, and nothing twice."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest

from e2ee.effects import Publish
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import NodeAddress
from e2ee.storage import Put
from e2ee.stores.memory import MemoryStore
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from tests.support.archives import (
    BLOG,
    JULIET,
    ROMEO,
    Verona,
    answer,
    cached,
    page,
    result,
    texts,
)
from tests.support.hooked_store import waiting
from tests.support.node_world import entry
from tests.support.omemo_world import body
from tests.support.ox_world import dump
from xmpp_e2ee import archive as archive_module
from xmpp_e2ee.archive_record import Outcome


@pytest.fixture
async def verona() -> Verona:
    return await Verona.found()


async def test_everything_is_read_by_its_own_encryption(verona: Verona, tmp_path: Path) -> None:
    await verona.everything()
    (report,) = await verona.read(page(tmp_path / "page.xml", *verona.stanzas))
    assert report.left == ()
    assert report.counts == {
        Outcome.MESSAGES: 3,
        Outcome.SECRETS: 1,
        Outcome.ITEMS: 3,
        Outcome.CLEAR: 1,
    }
    assert await texts(verona.juliets_device) == ["Good pilgrim", "Saints do not move"]
    assert await cached(verona, verona.juliet.store) == ["one", "three", "two"]


async def test_reading_again_changes_nothing(verona: Verona, tmp_path: Path) -> None:
    await verona.everything()
    file = page(tmp_path / "page.xml", *verona.stanzas)
    first = await verona.read(file)
    rows = await dump(verona.juliet.store)
    assert await verona.read(file) == first
    assert await dump(verona.juliet.store) == rows


async def test_a_file_is_known_wherever_it_lies(verona: Verona, tmp_path: Path) -> None:
    await verona.everything()
    file = page(tmp_path / "page.xml", *verona.stanzas)
    (first,) = await verona.read(file)
    rows = await dump(verona.juliet.store)
    (again,) = await verona.read(file.rename(tmp_path / "moved.xml"))
    assert again.counts == first.counts
    assert await dump(verona.juliet.store) == rows


async def test_o_01_what_another_file_has_too_is_known(verona: Verona, tmp_path: Path) -> None:
    """Whether it waits in the inbox still, or was taken in since."""
    for text in ("Good pilgrim", "Saints do not move"):
        await verona.say(text)
    await verona.read(page(tmp_path / "one.xml", verona.stanzas[0]))
    (both,) = await verona.read(page(tmp_path / "two.xml", *verona.stanzas, *verona.stanzas))
    assert both.counts == {Outcome.MESSAGES: 1, Outcome.KNOWN: 3}
    assert await texts(verona.juliets_device) == ["Good pilgrim", "Saints do not move"]
    sessions = verona.juliets_device.sessions
    await sessions.delivered(await sessions.undelivered())
    verona.archive([body("another file")])
    (after,) = await verona.read(page(tmp_path / "three.xml", *verona.stanzas))
    assert after.counts == {Outcome.KNOWN: 2, Outcome.CLEAR: 1}
    assert await texts(verona.juliets_device) == []


async def test_secrets_may_be_in_a_later_file(verona: Verona, tmp_path: Path) -> None:
    await verona.everything()
    folder = tmp_path / "export"
    folder.mkdir()
    for number, stanza in enumerate(verona.stanzas):
        page(folder / f"page {number}.xml", stanza)
    reports = await verona.read(folder)
    assert [left for report in reports for left in report.left] == []
    assert await cached(verona, verona.juliet.store) == ["one", "three", "two"]


async def test_what_lacks_something_is_read_once_it_is_there(
    verona: Verona, tmp_path: Path
) -> None:
    await verona.romeo.node(BLOG).create()
    await verona.post("one")
    items = page(tmp_path / "items.xml", *verona.stanzas)
    (before,) = await verona.read(items)
    (left,) = before.left
    assert (left.number, left.what, left.code) == (
        0,
        f"item one in {BLOG}",
        ErrorCode.UNKNOWN_SECRET,
    )
    await verona.share()
    await verona.read(page(tmp_path / "messages.xml", verona.stanzas[-1]))
    (after,) = await verona.read(items)
    assert (after.left, after.counts) == ((), {Outcome.ITEMS: 1})


async def test_an_unknown_device_is_left_until_a_client_has_looked(
    verona: Verona, tmp_path: Path
) -> None:
    await verona.say("Good pilgrim")
    new = await verona.world.device(str(ROMEO))
    await new.decide_all(ROMEO)
    encrypted = await new.encrypt(verona.juliets_device, content=(body("by a new device"),))
    verona.archive(encrypted.elements)
    verona.world.wait(timedelta(minutes=2))  # since the list was fetched
    file = page(tmp_path / "page.xml", *verona.stanzas)
    (before,) = await verona.read(file)
    assert [left.code for left in before.left] == [ErrorCode.DATA_MISSING]
    assert await texts(verona.juliets_device) == ["Good pilgrim"]
    await verona.juliets_device.hear_of(ROMEO)
    (after,) = await verona.read(file)
    assert after.left == ()
    assert await texts(verona.juliets_device) == ["Good pilgrim", "by a new device"]


async def test_a_bad_one_stops_no_other(verona: Verona, tmp_path: Path) -> None:
    await verona.everything()
    encrypted = verona.stanzas[:-1]
    mixed = [each for stanza in encrypted for each in (_damaged(stanza), stanza)]
    (report,) = await verona.read(page(tmp_path / "page.xml", *mixed))
    assert await texts(verona.juliets_device) == ["Good pilgrim", "Saints do not move"]
    assert await cached(verona, verona.juliet.store) == ["one", "three", "two"]
    assert report.counts[Outcome.MESSAGES] == 3
    assert len(report.left) == len(encrypted) + 1  # one stanza has two items
    assert {left.code for left in report.left} <= {
        ErrorCode.MALFORMED,
        ErrorCode.CANNOT_DECRYPT,
        ErrorCode.BAD_SIGNATURE,
    }


async def test_what_this_device_wrote_is_its_own(verona: Verona, tmp_path: Path) -> None:
    """An archive is full of it, and no key to it was ever kept."""
    encrypted = await verona.juliets_device.encrypt(verona.romeos_device)
    verona.archive(encrypted.elements, sent=True)
    (report,) = await verona.read(page(tmp_path / "page.xml", *verona.stanzas))
    assert (report.left, report.counts) == ((), {Outcome.OWN: 1})


async def test_what_another_device_of_ours_wrote_is_read(verona: Verona, tmp_path: Path) -> None:
    other = await verona.world.device(str(JULIET))
    await other.decide_all(JULIET)
    await verona.juliets_device.hear_of(JULIET)
    encrypted = await other.encrypt(verona.romeos_device, content=(body("By whose direction?"),))
    verona.archive(encrypted.elements, sent=True)
    (report,) = await verona.read(page(tmp_path / "page.xml", *verona.stanzas))
    assert (report.left, report.counts) == ((), {Outcome.MESSAGES: 1})
    assert await texts(verona.juliets_device) == ["By whose direction?"]


async def test_an_account_without_omemo_reads_the_rest(verona: Verona, tmp_path: Path) -> None:
    await verona.everything()
    store = MemoryStore()
    async with store.exclusive(()) as tx:
        rows = await dump(verona.juliet.store)
        await tx.commit([Put(key, value) for key, value in rows.items() if key[1] != "omemo"])
    (report,) = await verona.read(page(tmp_path / "page.xml", *verona.stanzas), store=store)
    assert {left.code for left in report.left} == {ErrorCode.API_MISUSE}
    assert len(report.left) == 3
    assert await cached(verona, store) == ["one", "two"]


async def test_n_13_an_export_cannot_put_one_item_for_another(
    verona: Verona, tmp_path: Path
) -> None:
    await verona.romeo.node(BLOG).create()
    await verona.share()
    sealed = {name: await verona.romeo.node(BLOG).encrypt(entry(name)) for name in ("old", "new")}
    await verona.read(
        page(
            tmp_path / "today.xml",
            *verona.stanzas,
            answer(BLOG, {"1": sealed["old"]}),
            answer(BLOG, {"1": sealed["new"]}),
        )
    )
    (report,) = await verona.read(
        page(
            tmp_path / "other.xml",
            answer(BLOG, {"1": sealed["old"], "2": sealed["new"]}),
        )
    )
    assert report.counts == {Outcome.ROLLED_BACK: 1, Outcome.MOVED: 1}
    assert await cached(verona, verona.juliet.store) == ["new"]


async def test_lists_of_devices_are_no_news_in_an_archive(verona: Verona, tmp_path: Path) -> None:
    """An old list would strike the devices that came since."""
    await verona.everything()
    published = [each for each in verona.world.done if isinstance(each, Publish)]
    assert published
    answers = [answer(each.address, {each.item_id or "1": each.payload}) for each in published]
    none = element("urn:xmpp:omemo:2", "devices")
    lost = answer(NodeAddress(ROMEO, "urn:xmpp:omemo:2:devices"), {"current": none})
    file = page(tmp_path / "page.xml", *answers, lost, *verona.stanzas)
    (report,) = await verona.read(file)
    assert report.left == ()
    assert report.counts[Outcome.CLEAR] == len(answers) + 2


async def test_the_encryption_of_others_is_left(verona: Verona, tmp_path: Path) -> None:
    verona.archive([element("jabber:x:encrypted", "x", None, "…")])
    fallback = body("This message is encrypted.")
    hint = element("urn:xmpp:eme:0", "encryption", {"namespace": "urn:example:nothing"})
    verona.archive([fallback, hint])
    (report,) = await verona.read(page(tmp_path / "page.xml", *verona.stanzas))
    assert [left.code for left in report.left] == [ErrorCode.UNSUPPORTED_ALGORITHM] * 2


async def test_s_14_another_accounts_archive_is_refused(verona: Verona, tmp_path: Path) -> None:
    """Whoever wraps chooses the sender: only our own archive may."""
    encrypted = await verona.romeos_device.encrypt(verona.juliets_device, content=[body("Hark")])
    openpgp = await verona.romeo.ox.seal([body("Hark")], {JULIET})
    forged = [
        result([sealed], wrapper=wrapper)
        for sealed in (*encrypted.elements, openpgp)
        for wrapper in (
            {"from": str(ROMEO)},
            {"from": "capulet.lit"},
            {"from": f"{JULIET}/balcony"},
            {"from": "juliet@capulet.lit.example"},
            {"to": str(ROMEO)},
        )
    ]
    (report,) = await verona.read(page(tmp_path / "page.xml", *forged))
    assert [left.code for left in report.left] == [ErrorCode.FORBIDDEN] * len(forged)
    assert report.counts == {}
    assert await texts(verona.juliets_device) == []
    intact = [result(encrypted.elements), result([openpgp], wrapper={"from": str(JULIET)})]
    (after,) = await verona.read(page(tmp_path / "intact.xml", *intact))
    assert (after.left, after.counts) == ((), {Outcome.MESSAGES: 2})


async def test_s_14_a_servers_export_holds_the_archives_of_others_too(
    verona: Verona, tmp_path: Path
) -> None:
    """XEP-0227: each user has theirs."""
    await verona.everything()
    results = [write_xml(each.elements[0]) for each in verona.stanzas if each.name == "message"]
    users = "".join(
        f"<user name='{name}'><archive xmlns='urn:xmpp:pie:0#mam'>{''.join(found)}</archive></user>"
        for name, found in (("nurse", results[:2]), ("juliet", results))
    )
    file = tmp_path / "server.xml"
    file.write_text(
        f"<server-data xmlns='urn:xmpp:pie:0'><host jid='capulet.lit'>{users}</host></server-data>"
    )
    (report,) = await verona.read(file)
    assert [left.code for left in report.left] == [ErrorCode.FORBIDDEN] * 2
    assert report.counts == {Outcome.MESSAGES: 3, Outcome.SECRETS: 1, Outcome.CLEAR: 1}
    assert await texts(verona.juliets_device) == ["Good pilgrim", "Saints do not move"]


async def test_two_who_read_at_the_same_time_count_everything_once(
    verona: Verona, tmp_path: Path
) -> None:
    await verona.everything()
    file = page(tmp_path / "page.xml", *verona.stanzas)
    store = waiting(verona.juliet.store)
    await asyncio.gather(*[verona.read(file, store=store) for _ in range(3)])
    (report,) = await verona.read(file)
    assert (report.left, sum(report.counts.values())) == ((), 8)
    assert await texts(verona.juliets_device) == ["Good pilgrim", "Saints do not move"]


async def test_a_store_in_a_file_is_read_into_page_by_page(
    verona: Verona, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "_PAGE", 2)
    await verona.everything()
    file = page(tmp_path / "page.xml", *verona.stanzas)
    path = tmp_path / "juliet.sqlite"
    await verona.on_disk(path)
    async with await SqliteStore.open(path) as store:
        (report,) = await verona.read(file, store=store)
        assert (report.left, sum(report.counts.values())) == ((), 8)
        assert await cached(verona, store) == ["one", "three", "two"]
        device = verona.world.party(str(JULIET), store=store)
        assert await texts(device) == ["Good pilgrim", "Saints do not move"]


async def test_a_damaged_progress_is_no_fresh_start(verona: Verona, tmp_path: Path) -> None:
    await verona.everything()
    file = page(tmp_path / "page.xml", *verona.stanzas)
    await verona.read(file)
    store = verona.juliet.store
    (row,) = [key for key in await dump(store) if key[1] == "archive"]
    for damage in (b"", b'{"kind":"archive-progress","format":1,"done":-1,"counts":{}}'):
        async with store.exclusive((str(JULIET),)) as tx:
            await tx.commit([Put(row, damage)])
        with pytest.raises(StoreFailed) as failure:
            await verona.read(file)
        assert failure.value.code is ErrorCode.STORE_CORRUPT


def _damaged(stanza: Element) -> Element:
    """Return a stanza of which every long piece of base64 has other octets in its middle."""

    def other(found: re.Match[str]) -> str:
        middle = len(found[0]) // 8 * 4
        changed = "AAAA" if found[0][middle : middle + 4] != "AAAA" else "BBBB"
        return found[0][:middle] + changed + found[0][middle + 4 :]

    return parse_xml(re.sub(r"[A-Za-z0-9+/]{40,}", other, write_xml(stanza)))
