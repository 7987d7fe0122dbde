"""Envelopes that must open, what of them is dropped, and what is remarked.

Rule: every outcome here is ``opened``.
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
    SEALED,
    arrival,
    envelope,
    envelope_case,
    opened,
)
from spec_vectors.generator.world import JULIET, ROMEO

__all__ = ["cases"]

_SERVERS = (
    ("urn:xmpp:hints", "store", "<store xmlns='urn:xmpp:hints'/>"),
    ("urn:xmpp:sid:0", "stanza-id", f"<stanza-id xmlns='urn:xmpp:sid:0' id='x' by='{ROMEO}'/>"),
    (
        "http://jabber.org/protocol/address",
        "addresses",
        "<addresses xmlns='http://jabber.org/protocol/address'/>",
    ),
    ("urn:xmpp:eme:0", "encryption", "<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>"),
    ("urn:xmpp:delay", "delay", f"<delay xmlns='urn:xmpp:delay' stamp='{SEALED}'/>"),
    ("urn:xmpp:carbons:2", "received", "<received xmlns='urn:xmpp:carbons:2'/>"),
    ("urn:xmpp:mam:2", "result", "<result xmlns='urn:xmpp:mam:2' id='x'/>"),
    ("urn:xmpp:forward:0", "forwarded", "<forwarded xmlns='urn:xmpp:forward:0'/>"),
)
"""What only servers say: namespace, name, element (XEP-0420 §9, and what wraps stanzas)."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    good = opened(BODY)
    yield envelope_case("message", ["S-01"], "all affixes", envelope(), good)
    yield envelope_case(
        "room",
        ["S-02"],
        "in a room the sender is the occupant's real JID, the recipient the room",
        envelope(to=ROOM_JID),
        good,
        arrived=ROOM,
        requires=ROOMS,
    )
    yield envelope_case(
        "room-private",
        ["S-02"],
        "a private message in a room is to us",
        envelope(),
        good,
        arrived=arrival("message", f"{ROOM_JID}/jule", f"{ROMEO}/orchard", occupant=JULIET),
        requires=ROOMS,
    )
    yield envelope_case(
        "iq",
        ["S-03"],
        "an IQ's addresses have resources",
        envelope(to=f"{ROMEO}/orchard", from_=f"{JULIET}/balcony"),
        good,
        arrived=IQ,
    )
    yield envelope_case(
        "item", ["S-01"], "an item has no recipient", envelope(to=None), good, arrived=ITEM
    )
    yield envelope_case(
        "resources",
        ["S-03"],
        "a message's addresses are compared without resources",
        envelope(to=f"{ROMEO}/nowhere", from_=f"{JULIET}/nowhere"),
        good,
    )
    yield envelope_case(
        "jids-in-other-case",
        ["X-26"],
        "JIDs are prepared before they are compared",
        envelope(to="Romeo@MONTAGUE.example", from_="JULIET@capulet.example."),
        good,
    )
    yield envelope_case(
        "least",
        ["S-01"],
        "no affix, where none is required",
        envelope(rpad=None, time=None, to=None, from_=None),
        good,
        requires=(),
    )
    yield envelope_case(
        "unpadded",
        ["S-05"],
        "missing padding harms the sender alone: remarked, not refused",
        envelope(rpad=None),
        opened(BODY, remarks=["unpadded"]),
    )
    yield envelope_case(
        "padding-long", ["S-05"], "longer padding than expected", envelope(rpad="x" * 5000), good
    )
    yield envelope_case(
        "padding-odd",
        ["S-05"],
        "empty padding with an attribute",
        envelope(rpad=None, more="<rpad x='y'/>"),
        good,
    )
    for name, comment, time in (
        ("offset", "an offset", "2026-03-01T12:59:58+01:00"),
        ("fraction", "a fraction", "2026-03-01T11:59:58.123456789Z"),
        ("half-an-hour", "half an hour old", "2026-03-01T11:30:00Z"),
        ("five-minutes-ahead", "five minutes ahead", "2026-03-01T12:05:00Z"),
    ):
        yield envelope_case(f"time-{name}", ["S-04"], comment, envelope(time=time), good)
    yield envelope_case(
        "archived",
        ["S-04"],
        "from an archive: compared with its stamp, not with the present",
        envelope(),
        good,
        arrived={**CHAT, "stamp": SEALED},
        now="2027-01-01T00:00:00Z",
    )
    yield envelope_case(
        "archived-late",
        ["S-04"],
        "far from the archive's stamp, which is the server's word: remarked, not refused",
        envelope(),
        opened(BODY, remarks=["time-unverifiable"]),
        arrived={**CHAT, "stamp": "2026-03-02T00:00:00Z"},
    )
    yield envelope_case(
        "servers-elements",
        ["S-08"],
        "what only servers say is dropped, the rest is delivered",
        envelope("".join(written for _, _, written in _SERVERS) + BODY),
        opened(BODY, dropped=[(namespace, name) for namespace, name, _ in _SERVERS]),
    )
    origin = "<origin-id xmlns='urn:xmpp:sid:0' id='x'/>"
    yield envelope_case(
        "origin-id", ["S-08"], "an origin id is the sender's own", envelope(origin), opened(origin)
    )
    yield envelope_case(
        "nested",
        ["S-07"],
        "an envelope inside the content is dropped, not opened",
        envelope(envelope() + BODY),
        opened(BODY, dropped=[(SCE, "envelope")]),
    )
    affix = f"<from xmlns='{SCE}' jid='mallory@evil.example'/>"
    yield envelope_case(
        "affix-in-content",
        ["S-10"],
        "an affix inside the content counts for nothing",
        envelope(BODY + affix),
        opened(BODY, dropped=[(SCE, "from")]),
    )
    yield envelope_case(
        "affix-unknown",
        ["X-27", "S-10"],
        "unknown affixes, and known ones of another namespace, are ignored",
        envelope(more="<subject/><from xmlns='urn:example:x' jid='mallory@evil.example'/>"),
        good,
    )
    yield envelope_case("empty", ["S-08"], "no content", envelope(""), opened())
    yield envelope_case(
        "prefixed",
        ["X-12"],
        "the same by prefixes, in another order",
        f"<s:envelope xmlns:s='{SCE}' x='y'>\n <s:from jid='{JULIET}' x='y'/>\n <s:rpad/>\n"
        f" <s:content>\n  <c:body xmlns:c='jabber:client'>a&#38;<![CDATA[b]]></c:body>\n"
        " </s:content>\n</s:envelope>\n",
        opened("<body xmlns='jabber:client'>a&amp;b</body>"),
        requires=OMEMO,
    )
