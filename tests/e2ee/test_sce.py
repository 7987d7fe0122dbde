"""SCE envelopes: what is sealed, what is believed of what arrives, and what never is.

Rule: plaintext only; ciphers have their own tests.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Jid, NodeAddress
from e2ee.primitives import NativePrimitives
from e2ee.sce import (
    GROUPCHAT,
    MIN_ENVELOPE_BYTES,
    OMEMO,
    Envelope,
    OpenedEnvelope,
    Remark,
    SceProfile,
    open_envelope,
    outside,
    seal_envelope,
)
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from tests.support.xml import Parse, elements

NOW = datetime(2026, 11, 22, 15, 1, 53, tzinfo=UTC)
ROMEO, JULIET = Jid.parse("romeo@montague.example/orchard"), Jid.parse("juliet@capulet.example/x")
ROOM = Jid.parse("chapel@rooms.example/juliet")
BODY = element(ns.CLIENT, "body", {}, "Wherefore art thou, Romeo?")

MESSAGE = Arrival(StanzaKind.MESSAGE, sender=JULIET, to=ROMEO)
IQ = Arrival(StanzaKind.IQ, sender=JULIET, to=ROMEO)
ITEM = Arrival(
    StanzaKind.ITEM,
    sender=JULIET,
    to=ROMEO,
    node=NodeAddress(JULIET.bare, "blog"),
)
IN_ROOM = Arrival(StanzaKind.GROUPCHAT, sender=ROOM, to=ROMEO, occupant=JULIET.bare)
PRIVATE = Arrival(StanzaKind.MESSAGE, sender=ROOM, to=ROMEO, occupant=JULIET.bare)

FROM = "<from jid='juliet@capulet.example'/>"
TO = "<to jid='romeo@montague.example'/>"
TIME = "<time stamp='2026-11-22T15:01:53Z'/>"
RPAD = "<rpad>abc</rpad>"
CONTENT = "<content><body xmlns='jabber:client'>Hi</body></content>"
AFFIXES = RPAD + TIME + TO + FROM
NOTHING_REQUIRED = SceProfile()


def envelope(inside: str) -> bytes:
    return f"<envelope xmlns='urn:xmpp:sce:1'>{inside}</envelope>".encode()


def opened(
    inside: str, arrival: Arrival = MESSAGE, profile: SceProfile = OMEMO, now: datetime = NOW
) -> OpenedEnvelope:
    return open_envelope(envelope(inside), arrival, profile, now)


def refused(inside: str, **context: Any) -> ErrorCode:
    with pytest.raises(PeerMisbehaved) as caught:
        opened(inside, **context)
    assert "canary" not in str(caught.value)
    return caught.value.code


def sealed(profile: SceProfile = OMEMO, **fields: Any) -> bytes:
    made = Envelope(**{"content": (BODY,), "from_": Jid(JULIET.bare), "time": NOW, **fields})
    return seal_envelope(made, profile, NativePrimitives())


def same(one: tuple[Element, ...], other: tuple[Element, ...]) -> bool:
    return len(one) == len(other) and all(
        a.same_content(b) for a, b in zip(one, other, strict=True)
    )


# Sealing


def test_what_is_sealed_opens_to_the_same() -> None:
    made = Envelope((BODY,), to=Jid(ROMEO.bare), from_=Jid(JULIET.bare), time=NOW)
    result = open_envelope(seal_envelope(made, OMEMO, NativePrimitives()), MESSAGE, OMEMO, NOW)
    assert replace(result.envelope, rpad=None, content=made.content) == made
    assert same(result.envelope.content, made.content)
    assert result.dropped == ()
    assert result.remarks == frozenset()


def test_the_sealed_text_is_as_others_write_it() -> None:
    """Default namespaces and single quotes, in Libervia's order (WIRE.md 3.4)."""
    text = sealed(to=Jid(ROMEO.bare)).decode()
    rpad = parse_xml(text).only(ns.SCE, "rpad").text
    assert text == (
        "<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>"
        f"Wherefore art thou, Romeo?</body></content><rpad>{rpad}</rpad>{TIME}{TO}{FROM}</envelope>"
    )


def test_only_what_is_given_is_sealed() -> None:
    root = parse_xml(sealed(NOTHING_REQUIRED, from_=None, time=None))
    assert [child.name for child in root.elements] == ["content", "rpad"]


def test_prefixes_are_not_sealed() -> None:
    content = Element(
        "u:1",
        "a",
        (Attribute("x", "1", "u:2", "q"),),
        (Element("u:2", "b", prefix="q"),),
        "p",
        (("p", "u:1"), ("q", "u:2"), ("", "u:0")),
    )
    text = sealed(content=(content,)).decode()
    assert "<p:" not in text
    assert "<q:" not in text
    assert parse_xml(text).only(ns.SCE, "content").elements[0].same_content(content)


@given(st.lists(elements(depth=1).filter(lambda it: it.namespace not in ("", ns.SCE)), max_size=3))
def test_whatever_content_survives(content: list[Element]) -> None:
    result = open_envelope(sealed(content=tuple(content)), MESSAGE, OMEMO, NOW)
    assert same(result.envelope.content, tuple(content))


@pytest.mark.parametrize(
    ("profile", "fields"),
    [
        (OMEMO, {"from_": None}),
        (GROUPCHAT, {"to": None}),
        (SceProfile(time=True), {"time": None}),
        (OMEMO, {"rpad": "chosen"}),
        (OMEMO, {"time": NOW.replace(tzinfo=None)}),
        (OMEMO, {"content": (element("", "body"),)}),
        (OMEMO, {"content": (element(ns.SCE, "body"),)}),
        *(
            (OMEMO, {"content": (BODY, element(namespace, name))})
            for namespace, name in [
                (ns.HINTS, "store"),
                (ns.SID, "stanza-id"),
                (ns.ADDRESS, "addresses"),
                (ns.EME, "encryption"),
                (ns.DELAY, "delay"),
                (ns.CARBONS, "private"),
                (ns.MAM, "result"),
                (ns.FORWARD, "forwarded"),
                (ns.SCE, "envelope"),
                (ns.SCE, "to"),
            ]
        ),
    ],
    ids=repr,
)
def test_what_must_not_be_sealed_is_refused(profile: SceProfile, fields: dict[str, Any]) -> None:
    with pytest.raises(ApiMisuse):
        sealed(profile, **fields)


def test_ids_of_our_own_are_sealed() -> None:
    """XEP-0420 keeps out what servers give; an origin-id is the sender's."""
    origin = element(ns.SID, "origin-id", {"id": "1"})
    result = open_envelope(sealed(content=(BODY, origin)), MESSAGE, OMEMO, NOW)
    assert same(result.envelope.content, (BODY, origin))
    assert result.dropped == ()


def test_nothing_of_the_content_is_printed() -> None:
    result = opened(CONTENT.replace("Hi", "canary") + AFFIXES)
    assert "canary" not in repr(result)


# Libervia


def libervia() -> list[dict[str, Any]]:
    path = Path(__file__).resolve().parents[2] / "../shared/peers/libervia/sce_envelopes.json"
    return json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else []


def in_client(stanza: str) -> str:
    default = "" if "xmlns=" in stanza[:40] else f" xmlns='{ns.CLIENT}'"
    return stanza.replace("<message", f"<message{default}")


@pytest.mark.skipif(not libervia(), reason="no shared/peers/libervia beside the project")
@pytest.mark.parametrize("case", libervia(), ids=lambda case: case["id"])
def test_envelopes_of_libervia_open(case: dict[str, Any]) -> None:
    """Its stanzas were made by hand, all one to one, whatever the profile's name."""
    stanza = parse_xml(in_client(case["stanza"]))
    told = case["libervia_unpacks"]
    sender = Jid.parse(stanza.get("from") or "juliet@capulet.example")
    arrival = Arrival(StanzaKind.MESSAGE, sender=sender, to=Jid.parse(stanza.require("to")))
    now = datetime.fromisoformat(told["time"])
    profile = SceProfile(rpad=True, to=case["profile"] == "groupchat")
    result = open_envelope(case["envelope"].encode(), arrival, profile, now)
    assert result.envelope.rpad == told["rpad"]
    assert result.envelope.time == now
    assert str(result.envelope.to) == told["to"]
    assert result.envelope.from_ == (Jid.parse(told["from"]) if told["from"] else None)
    assert same(result.envelope.content, parse_xml(in_client(told["stanza"])).elements)
    assert result.dropped == ()
    assert result.remarks == frozenset()


# The attack catalogue


def test_x_01_doctype_inside_an_envelope_is_refused() -> None:
    document = b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + envelope(
        f"<content><body xmlns='jabber:client'>&x;</body></content>{AFFIXES}"
    )
    with pytest.raises(PeerMisbehaved) as caught:
        open_envelope(document, MESSAGE, OMEMO, NOW)
    assert caught.value.code is ErrorCode.MALFORMED


def test_x_06_comments_inside_an_envelope_are_refused() -> None:
    for inside in ("<!-- -->", "<?p?>"):
        assert refused(CONTENT + AFFIXES + inside) is ErrorCode.MALFORMED


def test_x_11_envelope_and_content_have_their_namespace() -> None:
    inside = CONTENT + AFFIXES
    for document in (
        f"<envelope>{inside}</envelope>",
        f"<envelope xmlns='urn:xmpp:sce:0'>{inside}</envelope>",
        f"<payload xmlns='urn:xmpp:sce:1'>{inside}</payload>",
        "<body xmlns='jabber:client'>Hi</body>",
    ):
        with pytest.raises(PeerMisbehaved) as caught:
            open_envelope(document.encode(), MESSAGE, OMEMO, NOW)
        assert caught.value.code is ErrorCode.MALFORMED
    evil = CONTENT.replace("<content>", "<content xmlns='evil'>")
    assert refused(evil + AFFIXES) is ErrorCode.MALFORMED
    assert opened(evil + CONTENT + AFFIXES).envelope.content[0].text == "Hi"


def test_x_12_a_prefixed_envelope_is_the_same(parse: Parse) -> None:
    prefixed = (
        f"<s:envelope xmlns:s='urn:xmpp:sce:1' xmlns='jabber:client'><s:content><body>Hi</body>"
        f"</s:content><s:rpad>abc</s:rpad><s:from jid='{JULIET.bare}'/></s:envelope>"
    )
    assert parse(prefixed)
    result = open_envelope(prefixed.encode(), MESSAGE, OMEMO, NOW)
    plain = opened(CONTENT + RPAD + FROM)
    assert result.envelope.content[0].same_content(plain.envelope.content[0])
    assert replace(result.envelope, content=()) == replace(plain.envelope, content=())


def test_x_13_an_address_in_a_namespaced_attribute_is_none() -> None:
    evil = "<from xmlns:p='urn:xmpp:sce:1' p:jid='juliet@capulet.example'/>"
    assert refused(CONTENT + evil) is ErrorCode.MALFORMED


@pytest.mark.parametrize("affix", [CONTENT, RPAD, TIME, TO, FROM, "<content/>"])
def test_x_14_duplicate_affixes_are_refused(affix: str) -> None:
    assert refused(CONTENT + AFFIXES + affix) is ErrorCode.MALFORMED


def test_x_27_unknown_affixes_and_attributes_are_ignored() -> None:
    future = "<priority/><x xmlns='urn:future'>text</x>"
    inside = (CONTENT + AFFIXES).replace("<content>", "<content new='1'>")
    assert opened(future + inside).envelope == opened(CONTENT + AFFIXES).envelope


def test_x_28_one_envelope_and_nothing_else() -> None:
    good = envelope(CONTENT + AFFIXES)
    for document in (
        b"\xef\xbb\xbf" + good,
        good + b"x",
        good + good,
        good + b"\0",
        b"",
        good[:-1],
    ):
        with pytest.raises(PeerMisbehaved) as caught:
            open_envelope(document, MESSAGE, OMEMO, NOW)
        assert caught.value.code is ErrorCode.MALFORMED
    assert open_envelope(b" " + good + b"\n", MESSAGE, OMEMO, NOW)


def test_text_directly_in_an_envelope_is_refused() -> None:
    assert refused("canary" + CONTENT + AFFIXES) is ErrorCode.MALFORMED
    assert refused("<content>canary</content>" + AFFIXES) is ErrorCode.MALFORMED
    assert refused("<content>\u00a0</content>" + AFFIXES) is ErrorCode.MALFORMED
    assert opened(f"\n  {CONTENT}\n  {AFFIXES}\n").envelope == opened(CONTENT + AFFIXES).envelope


def test_s_01_the_sender_is_required_and_compared() -> None:
    assert opened(CONTENT + RPAD + FROM).envelope.from_ == Jid(JULIET.bare)
    assert refused(CONTENT + RPAD) is ErrorCode.CONTEXT_MISMATCH
    for other in (
        "mallory@capulet.example",
        "juliet@capulet.example.evil.example",
        "capulet.example",
    ):
        evil = f"<from jid='{other}'/>"
        assert refused(CONTENT + RPAD + evil) is ErrorCode.CONTEXT_MISMATCH
        assert refused(CONTENT + evil, profile=NOTHING_REQUIRED) is ErrorCode.CONTEXT_MISMATCH
    for broken in ("<from/>", "<from jid=''/>", "<from jid='a@b@c'/>", "<from>juliet@x</from>"):
        assert refused(CONTENT + broken) is ErrorCode.MALFORMED
    assert opened(CONTENT, profile=NOTHING_REQUIRED).envelope.from_ is None


def test_s_02_the_recipient_is_the_room_in_a_room() -> None:
    room = "<to jid='chapel@rooms.example'/>"
    in_room: dict[str, Any] = {"arrival": IN_ROOM, "profile": GROUPCHAT}
    assert opened(CONTENT + RPAD + FROM + room, **in_room).envelope.to == Jid(ROOM.bare)
    for other in ("", TO, "<to jid='other@rooms.example'/>"):
        assert refused(CONTENT + RPAD + FROM + other, **in_room) is ErrorCode.CONTEXT_MISMATCH
    assert refused(CONTENT + FROM + TO.replace("romeo", "paris")) is ErrorCode.CONTEXT_MISMATCH


def test_s_02_an_address_that_nothing_can_be_compared_with_is_refused() -> None:
    nowhere = replace(MESSAGE, to=None)
    assert refused(CONTENT + FROM + TO, arrival=nowhere) is ErrorCode.CONTEXT_MISMATCH
    anonymous = replace(IN_ROOM, occupant=None)
    room = "<to jid='chapel@rooms.example'/>"
    for sender in (FROM, "<from jid='chapel@rooms.example/juliet'/>"):
        code = refused(CONTENT + sender + room, arrival=anonymous, profile=GROUPCHAT)
        assert code is ErrorCode.CONTEXT_MISMATCH


@pytest.mark.parametrize("text", ["juliet@capulet.example", "juliet@capulet.example/x"])
def test_s_03_messages_compare_without_resources(text: str) -> None:
    sender = f"<from jid='{text}'/>"
    for jid in (JULIET, Jid(JULIET.bare), Jid(JULIET.bare, "another")):
        assert opened(CONTENT + RPAD + sender, arrival=replace(MESSAGE, sender=jid))
    assert opened(CONTENT + "<from jid='JULIET@Capulet.Example.'/>")


def test_s_03_iqs_compare_with_resources() -> None:
    full = f"<from jid='{JULIET}'/><to jid='{ROMEO}'/>"
    assert opened(CONTENT + full, arrival=IQ).envelope.to == ROMEO
    for wrong in (
        FROM + TO,
        full.replace("orchard", "balcony"),
        full.replace("example/x", "example/y"),
    ):
        assert refused(CONTENT + wrong, arrival=IQ) is ErrorCode.CONTEXT_MISMATCH
    account = replace(IQ, sender=Jid(JULIET.bare))
    assert opened(CONTENT + FROM, arrival=account).envelope.from_ == Jid(JULIET.bare)


def at(moment: datetime) -> str:
    return f"<time stamp='{moment:%Y-%m-%dT%H:%M:%SZ}'/>"


def test_s_04_live_times_are_compared_with_the_present() -> None:
    minute = timedelta(minutes=1)
    for age in (timedelta(), minute, limits.MAX_ENVELOPE_AGE, -limits.MAX_CLOCK_SKEW):
        assert opened(CONTENT + FROM + at(NOW - age)).envelope.time == NOW - age
    for age in (
        limits.MAX_ENVELOPE_AGE + minute,
        timedelta(hours=1),
        timedelta(days=365),
        -limits.MAX_CLOCK_SKEW - minute,
        timedelta(hours=-1),
        timedelta(days=-365),
    ):
        assert refused(CONTENT + FROM + at(NOW - age)) is ErrorCode.STALE


def test_s_04_archived_times_are_compared_with_the_stamp() -> None:
    """A mismatch is marked, not dropped: the archive's stamp proves as little as none."""
    stamp = NOW - timedelta(days=400)
    archived = replace(MESSAGE, stamp=stamp)
    assert opened(CONTENT + RPAD + FROM + at(stamp), arrival=archived).remarks == frozenset()
    for moment in (NOW, stamp - timedelta(hours=1), stamp + timedelta(hours=1)):
        result = opened(CONTENT + RPAD + FROM + at(moment), arrival=archived)
        assert result.remarks == {Remark.TIME_UNVERIFIABLE}
        assert result.envelope.content


def test_s_04_missing_and_malformed_times_are_refused() -> None:
    assert refused(CONTENT, profile=SceProfile(time=True)) is ErrorCode.MALFORMED
    for broken in (
        "<time/>",
        "<time stamp=''/>",
        "<time stamp='2026-11-22T15:01:53'/>",
        "<time stamp='20261122T15:01:53'/>",
        "<time stamp='now'/>",
        "<time>2026-11-22T15:01:53Z</time>",
        TIME * 2,
    ):
        assert refused(CONTENT + FROM + broken) is ErrorCode.MALFORMED


def test_s_05_missing_padding_is_remarked_and_long_padding_accepted() -> None:
    assert opened(CONTENT + FROM).remarks == {Remark.UNPADDED}
    assert opened(CONTENT + FROM, profile=NOTHING_REQUIRED).remarks == frozenset()
    for length in (0, 1, 200, 5_000, limits.MAX_TEXT_BYTES):
        result = opened(f"{CONTENT}<rpad>{'x' * length}</rpad>{FROM}")
        assert result.envelope.rpad == "x" * length
        assert result.remarks == frozenset()


class Counting(NativePrimitives):
    """Randomness that repeats a seed, so that only lengths can differ."""

    def __init__(self, extra: int) -> None:
        self._extra = extra

    def random(self, count: int) -> bytes:
        return self._extra.to_bytes(8) if count == 8 else bytes(count)


@pytest.mark.parametrize("size", [0, 1, 23, 100, 5_000])
def test_s_06_every_length_above_the_minimum_is_reached_evenly(size: int) -> None:
    """All 201 of them, whatever the content; the generator decides, the content does not."""
    content = (element(ns.CLIENT, "body", {}, *(["x" * size] if size else [])),)
    made = Envelope(content, from_=Jid(JULIET.bare), time=NOW)
    lengths = [len(seal_envelope(made, OMEMO, Counting(extra))) for extra in range(402)]
    bare = min(lengths)
    assert bare >= MIN_ENVELOPE_BYTES
    assert size > 400 or bare == MIN_ENVELOPE_BYTES
    assert Counter(lengths) == dict.fromkeys(range(bare, bare + 201), 2)


def test_s_06_padding_is_random_and_counts_bytes_not_characters() -> None:
    short = [sealed(content=(element(ns.CLIENT, "body", {}, text),)) for text in ("a", "é", "🔒")]
    assert all(MIN_ENVELOPE_BYTES <= len(it) <= MIN_ENVELOPE_BYTES + 200 for it in short)
    pads = [parse_xml(sealed()).only(ns.SCE, "rpad").text for _ in range(200)]
    assert len(set(pads)) == 200
    assert len({len(pad) for pad in pads}) > 60
    assert set("".join(pads)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )
    assert len(set("".join(pads))) == 64


def test_s_07_nested_envelopes_are_dropped_unread() -> None:
    nested = f"<envelope xmlns='urn:xmpp:sce:1'>{CONTENT.replace('Hi', 'evil')}</envelope>"
    inside = CONTENT.replace("</content>", f"{nested}</content>")
    result = opened(inside + AFFIXES)
    assert [child.text for child in result.envelope.content] == ["Hi"]
    assert [child.name for child in result.dropped] == ["envelope"]
    assert opened(CONTENT + AFFIXES + nested).envelope == opened(CONTENT + AFFIXES).envelope
    assert refused(nested) is ErrorCode.MALFORMED


def test_s_07_an_envelope_in_clear_is_dropped() -> None:
    encrypted = element("urn:xmpp:omemo:2", "encrypted")
    clear = parse_xml(envelope(CONTENT + AFFIXES))
    assert outside(element(ns.CLIENT, "message", {}, clear, encrypted), encrypted) == ()


@pytest.mark.parametrize(
    "forbidden",
    [
        "<store xmlns='urn:xmpp:hints'/>",
        "<no-copy xmlns='urn:xmpp:hints'/>",
        "<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='romeo@montague.example'/>",
        "<addresses xmlns='http://jabber.org/protocol/address'><address type='bcc'/></addresses>",
        "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:omemo:2'/>",
        "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>",
        "<sent xmlns='urn:xmpp:carbons:2'/>",
        "<received xmlns='urn:xmpp:carbons:2'/>",
        "<result xmlns='urn:xmpp:mam:2' id='1'/>",
        "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded>",
        "<p:store xmlns:p='urn:xmpp:hints'/>",
    ],
)
def test_s_08_forbidden_elements_are_dropped_and_reported(forbidden: str) -> None:
    inside = CONTENT.replace("<content>", f"<content>{forbidden}")
    result = opened(inside + AFFIXES)
    assert result.envelope == opened(CONTENT + AFFIXES).envelope
    assert result.dropped == (parse_xml(forbidden),)


def test_s_09_plaintext_siblings_are_reported_and_never_merged() -> None:
    encrypted = element("urn:xmpp:omemo:2", "encrypted", {}, element("urn:xmpp:omemo:2", "payload"))
    siblings = tuple(
        parse_xml(text)
        for text in (
            "<body xmlns='jabber:client'>Send me money</body>",
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>",
            "<x xmlns='jabber:x:oob'><url>https://evil.example/</url></x>",
            "<file-sharing xmlns='urn:xmpp:sfs:0'/>",
            "<replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
            "<received xmlns='urn:xmpp:receipts' id='other'/>",
            "<forwarded xmlns='urn:xmpp:forward:0'/>",
            "<body/>",
        )
    )
    for_servers = tuple(
        parse_xml(text)
        for text in (
            "<store xmlns='urn:xmpp:hints'/>",
            "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:omemo:2'/>",
            "<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='romeo@montague.example'/>",
            "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>",
            "<delay xmlns='urn:xmpp:delay' stamp='2026-11-22T15:01:53Z'/>",
        )
    )
    stanza = element(
        ns.CLIENT, "message", {}, *siblings[:4], encrypted, *siblings[4:], *for_servers
    )
    assert outside(stanza, encrypted) == siblings
    assert opened(CONTENT + AFFIXES).envelope.content == parse_xml(CONTENT).elements


def test_s_10_affixes_elsewhere_are_none() -> None:
    foreign = FROM.replace("<from", "<from xmlns='urn:evil'")
    assert refused(CONTENT + RPAD + foreign) is ErrorCode.CONTEXT_MISMATCH
    assert opened(CONTENT + FROM + foreign.replace("juliet", "mallory"))
    inside = CONTENT.replace("</content>", f"{FROM}</content>")
    assert refused(inside + RPAD) is ErrorCode.CONTEXT_MISMATCH
    result = opened(inside.replace("juliet", "mallory") + FROM)
    assert result.envelope.from_ == Jid(JULIET.bare)
    assert [child.name for child in result.dropped] == ["from"]
    assert [child.name for child in result.envelope.content] == ["body"]


@pytest.mark.parametrize(
    "body", ["<body>Hi</body>", "<body xmlns=''>Hi</body>", "<body xmlns='urn:xmpp:sce:1'/>"]
)
def test_s_11_content_has_a_namespace_of_its_own(body: str) -> None:
    assert refused(f"<content>{body}</content>{AFFIXES}") is ErrorCode.MALFORMED


def test_s_12_content_of_one_kind_of_stanza_is_refused_in_another() -> None:
    """Message, IQ, item, room and private message: each sealed envelope opens where it belongs."""
    room, mine = Jid(ROOM.bare), Jid(ROMEO.bare)
    made = {
        "message": (sealed(to=mine), MESSAGE, OMEMO),
        "iq": (sealed(from_=JULIET, to=ROMEO), IQ, OMEMO),
        "item": (sealed(), ITEM, OMEMO),
        "room": (sealed(GROUPCHAT, to=room), IN_ROOM, GROUPCHAT),
        "private": (sealed(to=mine), PRIVATE, OMEMO),
    }
    alike = {("message", "private"), ("private", "message")}  # both go to the same person alone
    # The specifications allow messages without <to/>, and full JIDs in them.
    laxer = {("iq", "message"), ("iq", "private"), ("item", "message"), ("item", "private")}
    for origin, (document, _, _) in made.items():
        for place, (_, arrival, profile) in made.items():
            if origin == place:
                result = open_envelope(document, arrival, profile, NOW)
                assert same(result.envelope.content, (BODY,))
            elif (origin, place) not in alike | laxer:
                with pytest.raises(PeerMisbehaved) as caught:
                    open_envelope(document, arrival, profile, NOW)
                assert caught.value.code is ErrorCode.CONTEXT_MISMATCH


def test_s_13_our_own_envelope_coming_back_is_not_the_peers() -> None:
    """Whatever an error stanza reflects says that it is from us."""
    ours = sealed(from_=Jid(ROMEO.bare), to=Jid(JULIET.bare))
    with pytest.raises(PeerMisbehaved) as caught:
        open_envelope(ours, MESSAGE, OMEMO, NOW)
    assert caught.value.code is ErrorCode.CONTEXT_MISMATCH


def test_s_14_a_forged_wrapper_cannot_lend_another_sender() -> None:
    """What Mallory sealed is hers, whoever the stanza inside a wrapper says it is from."""
    hers = sealed(from_=Jid.parse("mallory@evil.example"), to=Jid(ROMEO.bare))
    with pytest.raises(PeerMisbehaved) as caught:
        open_envelope(hers, MESSAGE, OMEMO, NOW)
    assert caught.value.code is ErrorCode.CONTEXT_MISMATCH


def test_the_intact_envelope_opens_after_failures() -> None:
    for inside in ("", CONTENT, CONTENT + FROM * 2, CONTENT + FROM + at(NOW + timedelta(days=1))):
        with pytest.raises(PeerMisbehaved):
            opened(inside)
        assert opened(CONTENT + AFFIXES).envelope.from_ == Jid(BareJid("capulet.example", "juliet"))
