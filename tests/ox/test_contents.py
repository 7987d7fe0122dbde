"""The three content elements: what OpenPGP does to each, and what is refused of each.

Rule: ``<signcrypt/>`` is attacked in ``test_hostile_messages.py``; here are the other two, and what
tells the three apart. Each refusal is one typed error, and leaves the store as it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import ns
from e2ee.arrival import StanzaKind
from e2ee.errors import ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.names import BareJid, Fingerprint
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.certificates import check_certificate
from ox.container import unwrap
from ox.elements import Content, ContentKind, read_openpgp, write_openpgp
from ox.grammar import check_encrypted_message, check_signed_payload, check_unsigned_payload
from ox.packets import Tag, first_tag, write_literal, write_packet
from tests.support.forge import forged, one_pass_message, sign
from tests.support.openpgp import decryption_keys_of
from tests.support.ox_keys import key_id
from tests.support.ox_stage import JULIET, MERCUTIO, ROMEO, Stage, staged, text
from tests.support.ox_world import World, body, recipients, refused
from tests.support.unfit import UNFIT, Unfit

SIGN, CRYPT, SIGNCRYPT = ContentKind.SIGN, ContentKind.CRYPT, ContentKind.SIGNCRYPT
TIME = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
STAMP = "<time stamp='2026-11-22T12:00:00Z'/>"
PAYLOAD = "<payload><body xmlns='jabber:client'>Good pilgrim</body></payload>"
TO = f"<to jid='{JULIET}'/>"
JIDS = st.sampled_from([BareJid.parse(jid) for jid in (JULIET, ROMEO, MERCUTIO)])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Cs")), max_size=20)


@pytest.fixture
async def stage() -> Stage:
    return await staged()


def content(inner: str, kind: ContentKind) -> Content:
    return Content.from_xml(parse_xml(f"<{kind} xmlns='urn:xmpp:openpgp:0'>{inner}</{kind}>"), kind)


def in_clear(data: bytes, *signatures: bytes) -> Element:
    """Return a signed message that anybody can read."""
    return write_openpgp(one_pass_message(data, *signatures))


def compressed(packets: bytes) -> bytes:
    return write_packet(Tag.COMPRESSED, b"\x02" + zlib.compress(packets))


def same(found: tuple[Element, ...], expected: tuple[Element, ...]) -> bool:
    return len(found) == len(expected) and all(map(Element.same_content, found, expected))


class TestElements:
    def test_sign_and_crypt_are_written_as_the_specification_has_them(self) -> None:
        to, payload = (BareJid.parse(JULIET),), (body("Good pilgrim"),)
        assert write_xml(Content(SIGN, to, TIME, payload).to_xml()) == (
            f"<sign xmlns='urn:xmpp:openpgp:0'>{TO}{STAMP}{PAYLOAD}</sign>"
        )
        assert write_xml(Content(CRYPT, (), TIME, payload, "x").to_xml()) == (
            f"<crypt xmlns='urn:xmpp:openpgp:0'>{STAMP}<rpad>x</rpad>{PAYLOAD}</crypt>"
        )

    @given(
        kind=st.sampled_from(ContentKind),
        to=st.lists(JIDS, min_size=1, max_size=3),
        time=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
        said=st.lists(TEXTS, max_size=3),
        padding=st.none() | TEXTS,
    )
    def test_each_is_read_as_it_was_written(
        self,
        kind: ContentKind,
        to: list[BareJid],
        time: datetime,
        said: list[str],
        padding: str | None,
    ) -> None:
        payload = tuple(
            element(ns.CLIENT, "body", None, *([each] if each else [])) for each in said
        )
        named = () if kind is CRYPT else tuple(to)
        value = Content(kind, named, time.replace(microsecond=0), payload, padding)
        read = Content.from_xml(parse_xml(write_xml(value.to_xml())), kind)
        assert same(read.payload, payload)
        assert replace(read, payload=payload) == value

    @pytest.mark.parametrize("kind", ContentKind)
    def test_g_06_who_is_meant_is_said_but_in_crypt(self, kind: ContentKind) -> None:
        assert content(TO + STAMP + PAYLOAD, kind).to == (BareJid.parse(JULIET),)
        if kind is CRYPT:
            assert content(STAMP + PAYLOAD, kind).to == ()
            return
        with pytest.raises(PeerMisbehaved):
            content(STAMP + PAYLOAD, kind)

    @pytest.mark.parametrize("kind", ContentKind)
    @pytest.mark.parametrize(
        "inner",
        [
            TO + PAYLOAD,
            TO + STAMP,
            TO + STAMP + STAMP + PAYLOAD,
            TO + STAMP + PAYLOAD + PAYLOAD,
            TO + STAMP + PAYLOAD + "<rpad/><rpad/>",
            "<to/>" + STAMP + PAYLOAD,
            "<to jid='@'/>" + STAMP + PAYLOAD,
            TO + STAMP + "<payload><body xmlns=''/></payload>",
        ],
    )
    def test_g_07_broken_children_are_refused_in_each(self, kind: ContentKind, inner: str) -> None:
        with pytest.raises(PeerMisbehaved) as caught:
            content(inner, kind)
        assert caught.value.code is ErrorCode.MALFORMED

    @pytest.mark.parametrize("kind", ContentKind)
    @pytest.mark.parametrize("expected", ContentKind)
    def test_g_02_none_passes_for_another(self, kind: ContentKind, expected: ContentKind) -> None:
        source = Content(kind, (BareJid.parse(JULIET),), TIME, ()).to_xml()
        if kind is expected:
            assert Content.from_xml(source, expected).kind is kind
            return
        with pytest.raises(PeerMisbehaved) as caught:
            Content.from_xml(source, expected)
        assert caught.value.code is ErrorCode.FORBIDDEN


class TestSign:
    async def letter(self, stage: Stage, *to: BareJid) -> Element:
        return await stage.romeo.ox.sign((body("My name is Romeo"),), to or {stage.juliet.jid})

    async def test_it_is_signed_and_anybody_reads_it(self, stage: Stage) -> None:
        letter = await self.letter(stage)
        written = check_signed_payload(read_openpgp(letter)).data
        value = Content.from_xml(parse_xml(written), SIGN)
        assert value.padding is None
        opened = await stage.juliet.open(letter, stage.romeo)
        assert (opened.kind, opened.sender) == (SIGN, stage.romeo.jid)
        assert opened.signer == stage.romeos_key.name
        assert opened.to == (stage.juliet.jid,)
        assert same(opened.content, (body("My name is Romeo"),))

    async def test_to_believe_one_needs_no_key_of_our_own(self, stage: Stage) -> None:
        nurse = stage.world.stranger("nurse@capulet.lit")
        letter = await self.letter(stage, nurse.jid)
        async with refused(ErrorCode.DATA_MISSING, nurse):
            await nurse.open(letter, stage.romeo)
        await nurse.gather(stage.romeo)
        assert await nurse.open(letter, stage.romeo)

    async def test_who_needs_secrecy_refuses_it(self, stage: Stage) -> None:
        opened = await stage.juliet.open(await self.letter(stage), stage.romeo)
        with pytest.raises(PeerMisbehaved) as caught:
            opened.require_encrypted("XEP-0374 §3.1")
        assert caught.value.code is ErrorCode.FORBIDDEN
        sealed = await stage.juliet.open(await stage.romeo.seal(stage.juliet), stage.romeo)
        sealed.require_encrypted("XEP-0374 §3.1")

    async def test_g_16_it_is_read_compressed_once(self, stage: Stage) -> None:
        once = compressed(read_openpgp(await self.letter(stage)))
        assert (await stage.juliet.open(write_openpgp(once), stage.romeo)).kind is SIGN
        for packets in (compressed(once), compressed(bytes(20 << 20))):
            async with stage.refuses(ErrorCode.LIMIT_EXCEEDED):
                await stage.juliet.open(write_openpgp(packets), stage.romeo)

    async def test_what_is_never_right_is_refused(self, stage: Stage) -> None:
        for to, said in (((), body("x")), ((stage.juliet.jid,), element("", "body"))):
            async with refused(ErrorCode.API_MISUSE, stage.romeo):
                await stage.romeo.ox.sign((said,), to)
            async with refused(ErrorCode.API_MISUSE, stage.romeo):
                await stage.romeo.ox.crypt((said,), to)

    @pytest.mark.parametrize("make", UNFIT.values(), ids=UNFIT)
    async def test_g_03_unfit_signatures(self, make: Callable[[bytes], Unfit]) -> None:
        data = text(kind=SIGN)
        made = make(data)
        stage = await staged(made.key.public)
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(in_clear(data, made.signature), stage.romeo)

    async def test_g_03_by_another_contact(self, stage: Stage) -> None:
        letter = await stage.mercutio.ox.sign((body("x"),), {stage.juliet.jid})
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(letter, stage.romeo)
        assert await stage.juliet.open(letter, stage.mercutio)

    async def test_g_03_altered_on_the_way(self, stage: Stage) -> None:
        genuine = read_openpgp(await self.letter(stage))
        altered = genuine.replace(b"My name is Romeo", b"My name is Paris")
        assert altered != genuine
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(write_openpgp(altered), stage.romeo)

    async def test_g_04_others_beside_the_sender_neither_help_nor_harm(self, stage: Stage) -> None:
        data = text(kind=SIGN)
        good = sign(stage.romeos_key.primary, data)
        bad = sign(forged(f"xmpp:{ROMEO}").primary, data)
        for signatures in ((good, bad), (bad, good), (bad, good, bad)):
            opened = await stage.juliet.open(in_clear(data, *signatures), stage.romeo)
            assert opened.signer == stage.romeos_key.name
        async with stage.refuses(ErrorCode.BAD_SIGNATURE):
            await stage.juliet.open(in_clear(data, bad), stage.romeo)

    async def test_g_05_signed_for_another(self, stage: Stage) -> None:
        letter = await self.letter(stage, stage.mercutio.jid)
        async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
            await stage.juliet.open(letter, stage.romeo)
        async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
            await stage.juliet.open(letter, stage.romeo, to=stage.mercutio)

    async def test_g_05_signed_in_clear_and_encrypted_by_another(self, stage: Stage) -> None:
        """What Romeo said openly does not become his secret, nor the other way round."""
        signed = read_openpgp(await self.letter(stage))
        async with stage.refuses(ErrorCode.FORBIDDEN):
            await stage.juliet.open(stage.to_juliet(signed), stage.romeo)
        letter = await stage.romeo.seal(stage.juliet)
        material = (await stage.juliet.ox.own_key()).material
        message = check_encrypted_message(read_openpgp(letter))
        inner = unwrap(message, decryption_keys_of(material), bytes)
        async with stage.refuses(ErrorCode.FORBIDDEN):
            await stage.juliet.open(write_openpgp(inner), stage.romeo)

    async def test_g_07_a_hoarded_one_is_no_news(self, stage: Stage) -> None:
        letter, stamp = await self.letter(stage), stage.world.clock()
        stage.world.ahead = 2 * DAY
        async with refused(ErrorCode.STALE, stage.juliet):
            await stage.juliet.open(letter, stage.romeo)
        assert await stage.juliet.open(letter, stage.romeo, stamp=stamp)

    async def test_g_07_its_stamp_is_the_signatures_own(self, stage: Stage) -> None:
        data = text(kind=SIGN)
        signature = sign(stage.romeos_key.primary, data, created=datetime.now(UTC) - HOUR)
        async with stage.refuses(ErrorCode.STALE):
            await stage.juliet.open(in_clear(data, signature), stage.romeo)

    async def test_g_08_a_second_delivery_is_refused(self, stage: Stage) -> None:
        letter = await self.letter(stage)
        await stage.juliet.ox.mark_handled(await stage.juliet.open(letter, stage.romeo))
        async with stage.refuses(ErrorCode.REPLAY):
            await stage.juliet.open(letter, stage.romeo)

    async def test_g_11_by_a_key_that_nobody_decided_about(self, stage: Stage) -> None:
        ghost, data = forged(f"xmpp:{ROMEO}"), text(kind=SIGN)
        stage.world.announce(ROMEO, stage.romeos_key.public, ghost.public)
        await stage.juliet.hear_of(stage.romeo)
        async with stage.refuses(ErrorCode.UNDECIDED):
            await stage.juliet.open(in_clear(data, sign(ghost.primary, data)), stage.romeo)


class TestCrypt:
    async def letter(self, stage: Stage) -> Element:
        return await stage.romeo.ox.crypt((body("Guess who"),), {stage.juliet.jid})

    def forged(self, stage: Stage, data: bytes) -> Element:
        return stage.to_juliet(write_literal(data))

    async def test_it_says_what_and_not_who(self, stage: Stage) -> None:
        letter = await self.letter(stage)
        opened = await stage.juliet.ox.open_crypt(letter, stage.juliet.arrival(stage.romeo))
        assert same(opened.content, (body("Guess who"),))
        assert not hasattr(opened, "sender")
        assert not hasattr(opened, "signer")
        material = (await stage.juliet.ox.own_key()).material
        message = check_encrypted_message(read_openpgp(letter))
        data = check_unsigned_payload(unwrap(message, decryption_keys_of(material), bytes))
        value = Content.from_xml(parse_xml(data), CRYPT)
        assert value.to == ()
        assert value.padding is not None

    async def test_we_read_what_we_wrote(self, stage: Stage) -> None:
        arrival = stage.romeo.arrival(stage.romeo, to=stage.juliet)
        assert await stage.romeo.ox.open_crypt(await self.letter(stage), arrival)

    async def test_it_is_encrypted_to_every_accepted_key_and_to_ours(self, stage: Stage) -> None:
        ghost = forged(f"xmpp:{ROMEO}")
        stage.world.announce(ROMEO, stage.romeos_key.public, ghost.public)
        await stage.juliet.hear_of(stage.romeo)
        letter = await stage.juliet.ox.crypt((body("x"),), {stage.romeo.jid})
        ours = check_certificate(stage.juliets_certificate)[-1].key_id
        assert recipients(letter) == {ours, key_id(stage.romeos_key)}

    async def test_g_01_what_is_not_encrypted(self, stage: Stage) -> None:
        data = text(kind=CRYPT)
        for plain in (
            write_openpgp(write_literal(data)),
            in_clear(data, sign(stage.romeos_key.primary, data)),
            await stage.romeo.ox.sign((body("x"),), {stage.juliet.jid}),
        ):
            async with stage.refuses(ErrorCode.NOT_ENCRYPTED):
                await stage.juliet.ox.open_crypt(plain, stage.juliet.arrival(stage.romeo))

    async def test_g_02_nobody_takes_one_kind_for_the_other(self, stage: Stage) -> None:
        arrival = stage.juliet.arrival(stage.romeo)
        async with stage.refuses(ErrorCode.FORBIDDEN):
            await stage.juliet.ox.open_crypt(await stage.romeo.seal(stage.juliet), arrival)
        async with stage.refuses(ErrorCode.FORBIDDEN):
            await stage.juliet.ox.open(await self.letter(stage), arrival)
        for kind in (SIGN, SIGNCRYPT):
            async with stage.refuses(ErrorCode.FORBIDDEN):
                await stage.juliet.ox.open_crypt(self.forged(stage, text(kind=kind)), arrival)
        signed = stage.letter(text(kind=CRYPT))
        async with stage.refuses(ErrorCode.FORBIDDEN):
            await stage.juliet.ox.open_crypt(signed, arrival)

    async def test_g_06_a_recipient_is_tolerated_if_it_is_us(self, stage: Stage) -> None:
        arrival = stage.juliet.arrival(stage.romeo)
        assert await stage.juliet.ox.open_crypt(self.forged(stage, text(kind=CRYPT)), arrival)
        other = self.forged(stage, text(to=MERCUTIO, kind=CRYPT))
        async with stage.refuses(ErrorCode.CONTEXT_MISMATCH):
            await stage.juliet.ox.open_crypt(other, arrival)

    @pytest.mark.parametrize("age", [-HOUR, 2 * DAY])
    async def test_g_07_it_is_of_its_own_time(self, stage: Stage, age: timedelta) -> None:
        time = datetime.now(UTC) - age
        letter = self.forged(stage, text(time=time, kind=CRYPT))
        async with stage.refuses(ErrorCode.STALE):
            await stage.juliet.ox.open_crypt(letter, stage.juliet.arrival(stage.romeo))
        stamped = stage.juliet.arrival(stage.romeo, stamp=time)
        if age > timedelta(0):
            assert await stage.juliet.ox.open_crypt(letter, stamped)

    async def test_g_08_a_second_delivery_is_refused_whoever_it_is_from(self, stage: Stage) -> None:
        letter, ox = await self.letter(stage), stage.juliet.ox
        opened = await ox.open_crypt(letter, stage.juliet.arrival(stage.romeo))
        async with refused(ErrorCode.API_MISUSE, stage.mercutio):
            await stage.mercutio.ox.mark_handled(opened)
        await ox.mark_handled(opened)
        for sender in (stage.romeo, stage.mercutio):
            async with stage.refuses(ErrorCode.REPLAY):
                await ox.open_crypt(letter, stage.juliet.arrival(sender))

    async def test_g_15_altered_on_the_way(self, stage: Stage) -> None:
        raw = read_openpgp(await self.letter(stage))
        altered = raw[:-30] + bytes((raw[-30] ^ 1,)) + raw[-29:]
        async with stage.refuses(ErrorCode.CANNOT_DECRYPT):
            arrival = stage.juliet.arrival(stage.romeo)
            await stage.juliet.ox.open_crypt(write_openpgp(altered), arrival)


class TestRooms:
    @pytest.mark.parametrize("kind", ContentKind)
    async def test_nothing_from_a_room_is_opened_unasked(
        self, stage: Stage, kind: ContentKind
    ) -> None:
        ox, to = stage.romeo.ox, {stage.juliet.jid}
        make = {SIGNCRYPT: ox.seal, SIGN: ox.sign, CRYPT: ox.crypt}
        letter = await make[kind]((body("x"),), to)
        opener = stage.juliet.ox.open_crypt if kind is CRYPT else stage.juliet.ox.open
        plain = stage.juliet.arrival(stage.romeo)
        for arrival in (
            replace(plain, kind=StanzaKind.GROUPCHAT, occupant=stage.romeo.jid),
            replace(plain, kind=StanzaKind.GROUPCHAT),
            replace(plain, occupant=stage.romeo.jid),  # whispered
        ):
            async with stage.refuses(ErrorCode.FORBIDDEN):
                await opener(letter, arrival)
        assert await opener(letter, plain)


class TestRecipients:
    async def test_g_11_what_is_encrypted_to_and_what_is_left_out_is_told(self) -> None:
        world, real, ghost, old = World(), *(forged(f"xmpp:{ROMEO}") for _ in range(3))
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, real.public, old.revoked().public)
        await juliet.gather(romeo)
        world.announce(ROMEO, real.public, old.revoked().public, ghost.public)
        await juliet.hear_of(romeo)
        names = [Fingerprint(key.name) for key in (real, ghost, old)]
        found = (await juliet.ox.recipients({romeo.jid}))[romeo.jid]
        assert found.keys == {names[0]: Trust.AUTOMATIC}
        assert found.passed_over == {names[1]: Trust.UNDECIDED, names[2]: Trust.AUTOMATIC}
        await juliet.ox.decide(romeo.jid, names[1], Trust.DISTRUSTED)
        found = (await juliet.ox.recipients({romeo.jid}))[romeo.jid]
        assert set(found.passed_over) == {names[2]}
        assert recipients(await juliet.seal(romeo)) >= {key_id(real)}

    async def test_g_11_an_unverified_key_beside_a_verified_one_is_seen(self) -> None:
        world, real, ghost = World(), forged(f"xmpp:{ROMEO}"), forged(f"xmpp:{ROMEO}")
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        world.announce(ROMEO, real.public, ghost.public)
        await juliet.gather(romeo)
        await juliet.ox.decide(romeo.jid, Fingerprint(real.name), Trust.AUTHENTICATED)
        found = await juliet.ox.recipients({romeo.jid, juliet.jid})
        assert found[romeo.jid].keys == {Fingerprint(real.name): Trust.AUTHENTICATED}
        assert found[romeo.jid].passed_over == {Fingerprint(ghost.name): Trust.AUTOMATIC}
        own = (await juliet.ox.own_key()).certificate.fingerprint
        assert found[juliet.jid].keys == {own: Trust.AUTHENTICATED}

    async def test_who_was_never_heard_of_has_none(self, stage: Stage) -> None:
        paris = BareJid.parse("paris@verona.lit")
        found = await stage.juliet.ox.recipients({paris})
        assert (found[paris].keys, found[paris].passed_over) == ({}, {})


async def test_the_outermost_packets_say_which_kind_it_is(stage: Stage) -> None:
    to = {stage.juliet.jid}
    for make, tag in (
        (stage.romeo.ox.seal, Tag.PKESK),
        (stage.romeo.ox.crypt, Tag.PKESK),
        (stage.romeo.ox.sign, Tag.ONE_PASS_SIGNATURE),
    ):
        assert first_tag(read_openpgp(await make((body("x"),), to))) == tag


async def test_g_11_nobody_is_written_to_unsigned_either(stage: Stage) -> None:
    await stage.juliet.ox.decide(
        stage.romeo.jid, Fingerprint(stage.romeos_key.name), Trust.UNDECIDED
    )
    with pytest.raises(TrustUndecided):
        await stage.juliet.ox.crypt((body("x"),), {stage.romeo.jid})
