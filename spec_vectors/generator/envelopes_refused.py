"""Envelopes that must be refused: made for another context, from another time, not well made.

Rule: no outcome here is ``opened``.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.envelope import (
    BODY,
    CHAT,
    IQ,
    ITEM,
    OMEMO,
    ROOM,
    ROOM_JID,
    ROOMS,
    SCE,
    arrival,
    envelope,
    envelope_case,
)
from spec_vectors.generator.hostile_xml import hostile
from spec_vectors.generator.world import JULIET, NURSE, ROMEO, TYBALT

__all__ = ["cases"]

MISMATCH = {"outcome": "context-mismatch"}
MALFORMED = {"outcome": "malformed"}
STALE = {"outcome": "stale"}

_PRIVATE = arrival("message", f"{ROOM_JID}/jule", f"{ROMEO}/orchard", occupant=JULIET)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _addresses()
    yield from _contexts()
    yield from _times()
    yield from _shapes()
    for found in hostile(envelope()):
        yield envelope_case(
            f"xml-{found.id}",
            [found.flag],
            f"decrypted: {found.comment}",
            found.document,
            {"outcome": found.code},
        )
    yield envelope_case(
        "xml-many-elements",
        ["X-09"],
        "10,001 elements",
        envelope("<x/>" * 9_995),
        {"outcome": "limit-exceeded"},
    )


def _addresses() -> Iterator[Case]:
    for name, flag, comment, xml in (
        ("from-missing", "S-01", "no sender, where one is required", envelope(from_=None)),
        ("from-other", "S-01", "another sender", envelope(from_=TYBALT)),
        ("from-recipient", "S-01", "the recipient as sender", envelope(from_=ROMEO)),
        ("from-domain", "S-01", "the sender's server", envelope(from_="capulet.example")),
        ("from-longer", "X-26", "a domain that begins alike",
         envelope(from_=f"{JULIET}.evil.example")),
        ("from-cyrillic", "X-26", "a Cyrillic letter",
         envelope(from_="jul\u0456et@capulet.example")),
        ("to-other", "S-02", "made for somebody else, and passed on", envelope(to=NURSE)),
        ("to-sender", "S-02", "the sender as recipient", envelope(to=JULIET)),
        ("to-domain", "S-02", "the recipient's server", envelope(to="montague.example")),
        ("from-in-content", "S-10", "the sender inside the content",
         envelope(f"<from xmlns='{SCE}' jid='{JULIET}'/>", from_=None)),
        ("from-other-namespace", "S-10", "the sender in another namespace",
         envelope(from_=None, more=f"<from xmlns='urn:xmpp:sce:0' jid='{JULIET}'/>")),
        ("from-in-affix", "S-10", "the sender inside another affix",
         envelope(rpad=f"<from jid='{JULIET}'/>", from_=None)),
    ):  # fmt: skip
        yield envelope_case(name, [flag], comment, xml, MISMATCH)
    for affix in ("from", "to"):
        jid = {"from": JULIET, "to": ROMEO}[affix]
        left_out = {"from_": None} if affix == "from" else {"to": None}
        for name, flag, comment, written in (
            ("twice", "X-14", "twice the same", f"<{affix} jid='{jid}'/>" * 2),
            ("two", "X-14", "two, of which one is right",
             f"<{affix} jid='{jid}'/><{affix} jid='{TYBALT}'/>"),
            ("no-jid", "S-01", "without a JID", f"<{affix}/>"),
            ("x-jid", "X-13", "with x:jid", f"<{affix} xmlns:x='{SCE}' x:jid='{jid}'/>"),
            ("text", "S-01", "the JID as text", f"<{affix}>{jid}</{affix}>"),
            ("empty-jid", "X-26", "an empty JID", f"<{affix} jid=''/>"),
            ("two-at", "X-26", "two @", f"<{affix} jid='a@{jid}'/>"),
            ("space", "X-26", "a blank after the JID", f"<{affix} jid='{jid} '/>"),
            ("empty-resource", "X-26", "an empty resource", f"<{affix} jid='{jid}/'/>"),
        ):  # fmt: skip
            yield envelope_case(
                f"{affix}-{name}", [flag], comment, envelope(**left_out, more=written), MALFORMED
            )


def _contexts() -> Iterator[Case]:
    for name, flag, comment, xml, arrived, requires in (
        ("room-no-to", "S-02", "no recipient in a room", envelope(to=None), ROOM, ROOMS),
        ("room-to-us", "S-12", "a message to one, shown in a room", envelope(), ROOM, ROOMS),
        ("room-other-room", "S-12", "made for another room",
         envelope(to="hall@rooms.capulet.example"), ROOM, ROOMS),
        ("room-from-room", "S-01", "the room as sender", envelope(to=ROOM_JID, from_=ROOM_JID),
         ROOM, ROOMS),
        ("room-from-nick", "S-01", "the occupant's JID in the room as sender",
         envelope(to=ROOM_JID, from_=f"{ROOM_JID}/jule"), ROOM, ROOMS),
        ("room-other-occupant", "S-01", "another occupant", envelope(to=ROOM_JID),
         {**ROOM, "occupant": TYBALT}, ROOMS),
        ("room-anonymous", "S-01", "a room that hides real JIDs", envelope(to=ROOM_JID),
         {**ROOM, "occupant": None}, ROOMS),
        ("private-from-room", "S-12", "a room's message, shown as a private one",
         envelope(to=ROOM_JID), _PRIVATE, ROOMS),
        ("chat-from-room", "S-12", "a room's message, shown as a message to one",
         envelope(to=ROOM_JID), CHAT, OMEMO),
        ("iq-bare", "S-03", "bare addresses in an IQ", envelope(), IQ, OMEMO),
        ("iq-other-resource", "S-03", "another device's request",
         envelope(to=f"{ROMEO}/orchard", from_=f"{JULIET}/tower"), IQ, OMEMO),
        ("iq-other-recipient", "S-03", "a request to another device",
         envelope(to=f"{ROMEO}/street", from_=f"{JULIET}/balcony"), IQ, OMEMO),
        ("item-from-message", "S-12", "a message, shown as an item", envelope(), ITEM, OMEMO),
        ("item-to-us", "S-12", "an item is for nobody", envelope(), {**ITEM, "to": ROMEO}, OMEMO),
        ("message-without-to", "S-12", "a stanza without the recipient that the envelope names",
         envelope(), {**CHAT, "to": None}, OMEMO),
        ("chat-other-sender", "S-01", "another stanza's sender", envelope(),
         {**CHAT, "from": f"{TYBALT}/street"}, OMEMO),
        ("chat-other-recipient", "S-02", "another stanza's recipient", envelope(),
         {**CHAT, "to": NURSE}, OMEMO),
    ):  # fmt: skip
        yield envelope_case(
            name, [flag], comment, xml, MISMATCH, arrived=arrived, requires=requires
        )


def _times() -> Iterator[Case]:
    for name, comment, time in (
        ("old", "half an hour and a second old", "2026-03-01T11:29:59Z"),
        ("year-old", "a year old", "2025-03-01T12:00:00Z"),
        ("future", "five minutes and a second ahead", "2026-03-01T12:05:01Z"),
        ("far-future", "a year ahead", "2027-03-01T12:00:00Z"),
        ("old-by-offset", "an hour old by its offset", "2026-03-01T12:00:00+01:00"),
    ):
        yield envelope_case(f"time-{name}", ["S-04"], comment, envelope(time=time), STALE)
    yield envelope_case(
        "time-missing",
        ["S-04"],
        "no time, where one is required",
        envelope(time=None),
        MALFORMED,
        requires=("time",),
    )
    for name, comment, time in (
        ("empty", "nothing", ""),
        ("naive", "without a zone", "2026-03-01T11:59:58"),
        ("date", "a date alone", "2026-03-01"),
        ("blank", "a blank for T", "2026-03-01 11:59:58Z"),
        ("spaced", "blanks around", " 2026-03-01T11:59:58Z "),
        ("second-60", "second 60", "2026-03-01T11:59:60Z"),
        ("february-30", "30 February", "2026-02-30T11:59:58Z"),
        ("offset-no-colon", "an offset without a colon", "2026-03-01T11:59:58+0000"),
        ("seconds", "seconds since 1970", "1772366398"),
    ):
        yield envelope_case(f"time-{name}", ["S-04"], comment, envelope(time=time), MALFORMED)
    for name, flag, comment, written in (
        ("twice", "X-14", "twice", "<time stamp='2026-03-01T11:59:58Z'/>" * 2),
        ("no-stamp", "S-04", "without a stamp", "<time/>"),
        (
            "x-stamp",
            "X-13",
            "with x:stamp",
            f"<time xmlns:x='{SCE}' x:stamp='2026-03-01T11:59:58Z'/>",
        ),
        ("text", "S-04", "as text", "<time>2026-03-01T11:59:58Z</time>"),
    ):
        yield envelope_case(
            f"time-{name}", [flag], comment, envelope(time=None, more=written), MALFORMED
        )


def _shapes() -> Iterator[Case]:
    sound = envelope()
    content = f"<content>{BODY}</content>"
    for name, flag, comment, xml in (
        ("other-version", "X-11", "another version's namespace",
         sound.replace(SCE, "urn:xmpp:sce:0")),
        ("no-namespace", "X-11", "no namespace", sound.replace(f" xmlns='{SCE}'", "")),
        ("other-root", "X-11", "<content/> for <envelope/>",
         f"<content xmlns='{SCE}'>{BODY}</content>"),
        ("wrapped", "S-07", "an envelope inside something else",
         f"<x xmlns='urn:example:x'>{sound}</x>"),
        ("in-stanza", "S-07", "a whole stanza",
         f"<message xmlns='jabber:client'>{sound}</message>"),
        ("no-content", "S-07", "no content", sound.replace(content, "")),
        ("two-contents", "X-14", "two contents", sound.replace(content, content * 2)),
        ("foreign-content", "X-11", "the content in another namespace",
         sound.replace("<content>", "<content xmlns='urn:example:x'>")),
        ("two-paddings", "X-14", "two paddings", envelope(more="<rpad/>")),
        ("child-without-namespace", "S-11", "a body in no namespace",
         envelope("<body xmlns=''>hi</body>")),
        ("one-child-without-namespace", "S-11", "one of two in no namespace",
         envelope(f"{BODY}<x xmlns=''/>")),
        ("child-inherits-namespace", "S-11", "a body in the envelope's own namespace",
         envelope("<body>hi</body>")),
        ("text-in-content", "S-11", "text directly in the content", envelope(f"hi{BODY}")),
        ("text-in-envelope", "S-11", "text directly in the envelope", envelope(more="hi")),
        ("unicode-space-in-content", "X-18", "U+00A0 is text", envelope(f"\xa0{BODY}")),
    ):  # fmt: skip
        yield envelope_case(name, [flag], comment, xml, MALFORMED)
