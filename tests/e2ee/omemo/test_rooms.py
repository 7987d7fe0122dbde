"""For whom a message in a room is encrypted: its lists, and whatever changes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2ee import ns
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.omemo.rooms import RoomAffiliation, RoomRoster
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element

ROOM = BareJid.parse("balcony@rooms.example")
JULIET, ROMEO, NURSE = (BareJid.parse(f"{name}@x.example") for name in ("juliet", "romeo", "nurse"))
FEATURES = {"muc_nonanonymous", "muc_membersonly", "muc_persistent"}
OWNER, ADMIN, MEMBER = RoomAffiliation.OWNER, RoomAffiliation.ADMIN, RoomAffiliation.MEMBER


def query(*jids: object) -> Element:
    items = [element(ns.MUC_ADMIN, "item", {"jid": str(jid)}) for jid in jids]
    return element(ns.MUC_ADMIN, "query", None, *items)


def said(**attributes: str) -> Element:
    return element(ns.MUC_USER, "x", None, element(ns.MUC_USER, "item", attributes))


@pytest.fixture
def roster() -> RoomRoster:
    """Return the roster of a room whose lists are complete."""
    roster = RoomRoster.of(ROOM, FEATURES)
    roster = roster.list(OWNER, query(JULIET)).list(ADMIN, query())
    return roster.list(MEMBER, query(ROMEO))


def refused(code: ErrorCode, act: Callable[[], object]) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        act()
    assert caught.value.code is code


def test_the_three_lists_make_the_recipients() -> None:
    """Whoever is away reads later, and the same one may be in two lists."""
    roster = RoomRoster.of(ROOM, FEATURES)
    assert roster.missing == {OWNER, ADMIN, MEMBER}
    roster = roster.list(OWNER, query(JULIET)).list(MEMBER, query(f"{ROMEO}/orchard", JULIET))
    assert roster.missing == {ADMIN}
    with pytest.raises(ApiMisuse, match="admin"):
        _ = roster.recipients
    assert roster.list(ADMIN, query()).recipients == {JULIET, ROMEO}


def test_a_room_that_hides_who_is_in_it_is_refused() -> None:
    refused(ErrorCode.FORBIDDEN, lambda: RoomRoster.of(ROOM, {"muc_semianonymous"}))
    refused(ErrorCode.FORBIDDEN, lambda: RoomRoster.of(ROOM, ()))


def test_an_open_room_is_told() -> None:
    assert RoomRoster.of(ROOM, {"muc_nonanonymous", "muc_open"}).is_open
    assert not RoomRoster.of(ROOM, FEATURES).is_open


@pytest.mark.parametrize("affiliation", ["owner", "admin", "member"])
def test_a_newcomer_reads_from_now_on(roster: RoomRoster, affiliation: str) -> None:
    heard = roster.heard(said(jid=f"{NURSE}/hall", affiliation=affiliation, role="none"))
    assert heard.recipients == {JULIET, ROMEO, NURSE}


@pytest.mark.parametrize("affiliation", ["none", "outcast"])
def test_who_is_removed_reads_no_more(roster: RoomRoster, affiliation: str) -> None:
    assert roster.heard(said(jid=str(ROMEO), affiliation=affiliation)).recipients == {JULIET}


@pytest.mark.parametrize("affiliation", ["none", "outcast"])
def test_a_guest_of_an_open_room_reads_nothing(roster: RoomRoster, affiliation: str) -> None:
    heard = roster.heard(said(jid=f"{NURSE}/hall", affiliation=affiliation, role="participant"))
    assert heard == roster


@pytest.mark.parametrize("attributes", [{"affiliation": "none"}, {"jid": f"{ROMEO}"}, {}])
def test_what_names_nobody_changes_nothing(roster: RoomRoster, attributes: dict[str, str]) -> None:
    assert roster.heard(said(**attributes)) == roster


def test_several_changes_in_one_notice(roster: RoomRoster) -> None:
    """A message of the room names all of them (XEP-0045 §9.5)."""
    notice = parse_xml(
        f"<x xmlns='{ns.MUC_USER}'><item jid='{NURSE}' affiliation='member'/>"
        f"<item jid='{ROMEO}' affiliation='none'/><status code='101'/></x>"
    )
    assert roster.heard(notice).recipients == {JULIET, NURSE}


def test_p5_a_list_that_is_read_again_takes_the_place_of_the_one_before(
    roster: RoomRoster,
) -> None:
    again = roster.list(MEMBER, query(NURSE))
    assert again.recipients == {JULIET, NURSE}
    assert again.list(OWNER, query()).recipients == {NURSE}
    promoted = roster.heard(said(jid=str(ROMEO), affiliation="admin"))
    assert promoted.list(MEMBER, query()).recipients == {JULIET, ROMEO}
    assert promoted.list(ADMIN, query()).recipients == {JULIET}


def of(affiliation: str) -> Element:
    item = element(ns.MUC_ADMIN, "item", {"jid": str(NURSE), "affiliation": affiliation})
    return element(ns.MUC_ADMIN, "query", None, item)


def test_an_item_may_say_what_was_asked_for(roster: RoomRoster) -> None:
    assert roster.list(MEMBER, of("member")).recipients == {JULIET, NURSE}


NOBODY = element(ns.MUC_ADMIN, "query", None, element(ns.MUC_ADMIN, "item"))


@pytest.mark.parametrize(
    ("affiliation", "source"),
    [
        (MEMBER, NOBODY),
        (MEMBER, element(ns.MUC_USER, "query")),
        (MEMBER, query("not@a@jid")),
        (RoomAffiliation.OUTCAST, query(NURSE)),
        (MEMBER, of("outcast")),
    ],
)
def test_what_is_no_list_is_refused(
    roster: RoomRoster, affiliation: RoomAffiliation, source: Element
) -> None:
    refused(ErrorCode.MALFORMED, lambda: roster.list(affiliation, source))


@pytest.mark.parametrize(
    "source",
    [
        element(ns.MUC_ADMIN, "x"),
        said(jid="not@a@jid", affiliation="member"),
        said(jid=str(NURSE), affiliation="king"),
    ],
)
def test_what_is_no_notice_is_refused(roster: RoomRoster, source: Element) -> None:
    refused(ErrorCode.MALFORMED, lambda: roster.heard(source))
