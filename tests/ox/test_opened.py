"""From a verified signature to an opened message: by whom, for whom, when, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import E2eeError, ErrorCode, TrustUndecided
from e2ee.names import BareJid, Fingerprint, Jid
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml
from ox.elements import Content, ContentKind
from ox.engine import Signed
from ox.keys import KeyRing
from ox.known_key import KnownKey
from ox.opened import OpenedOx, check_signed

JULIET, ROMEO, MERCUTIO = (
    BareJid.parse(jid)
    for jid in ("juliet@capulet.lit", "romeo@montague.lit", "mercutio@verona.lit")
)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY, OTHER = Fingerprint("A" * 40), Fingerprint("B" * 40)
BODY = element(ns.CLIENT, "body", None, "Good pilgrim")
SIGNCRYPT = ContentKind.SIGNCRYPT
SECOND = timedelta(seconds=1)
SKEW, AGE = limits.MAX_CLOCK_SKEW, limits.MAX_OX_AGE


def ring(trust: Trust = Trust.AUTOMATIC, jid: BareJid = ROMEO) -> KeyRing:
    return KeyRing(jid, (KnownKey(KEY, trust, announced=True, raw=b"raw"),), listed=True)


def struck_ours() -> KeyRing:
    return ring(Trust.AUTHENTICATED).withdraw(KEY)


def signed(
    *to: BareJid, time: datetime = NOW, created: datetime | None = None, by: Fingerprint = KEY
) -> Signed:
    data = write_xml(Content(SIGNCRYPT, to or (JULIET,), time, (BODY,)).to_xml()).encode()
    return Signed(data, {by: created or time})


def arrival(
    sender: BareJid = ROMEO, to: BareJid | None = JULIET, stamp: datetime | None = None
) -> Arrival:
    at = None if to is None else Jid(to, "balcony")
    return Arrival(StanzaKind.MESSAGE, Jid(sender, "orchard"), at, stamp)


def check(
    what: Signed,
    where: Arrival | None = None,
    keys: KeyRing | None = None,
    now: datetime = NOW,
) -> OpenedOx:
    return check_signed(what, SIGNCRYPT, keys or ring(), where or arrival(), JULIET, now)


def refuse(code: ErrorCode, what: Signed, where: Arrival | None = None, **other: object) -> None:
    with pytest.raises(E2eeError) as caught:
        check(what, where, **other)  # type: ignore[arg-type]
    assert caught.value.code is code, caught.value


def test_what_is_opened_says_all_that_was_checked() -> None:
    what, where = signed(JULIET, MERCUTIO), arrival()
    content = Content.from_xml(parse_xml(what.data), SIGNCRYPT).payload
    assert content[0].same_content(BODY)
    assert check(what, where) == OpenedOx(
        kind=SIGNCRYPT,
        account=JULIET,
        sender=ROMEO,
        signer=KEY,
        to=(JULIET, MERCUTIO),
        time=NOW,
        content=content,
        arrival=where,
        digest=sha256(b"\0\0\0\x12romeo@montague.lit" + what.data).digest(),
    )


class TestWho:
    @pytest.mark.parametrize("trust", [Trust.AUTHENTICATED, Trust.AUTOMATIC])
    def test_an_accepted_key_is_believed(self, trust: Trust) -> None:
        assert check(signed(), keys=ring(trust)).signer == KEY

    def test_another_one_is_not(self) -> None:
        with pytest.raises(TrustUndecided) as caught:
            check(signed(), keys=ring(Trust.UNDECIDED))
        assert caught.value.subjects == (KEY,)
        refuse(ErrorCode.BAD_SIGNATURE, signed(), keys=ring(Trust.DISTRUSTED))

    def test_a_key_that_the_sender_never_announced_is_not(self) -> None:
        refuse(ErrorCode.BAD_SIGNATURE, signed(by=OTHER))

    def test_g_11_a_key_that_was_struck_signs_no_more_news(self) -> None:
        for trust in Trust:
            struck = ring(trust).withdraw(KEY)
            refuse(ErrorCode.BAD_SIGNATURE, signed(), keys=struck)
            if trust.accepts:  # the archive is from before
                assert check(signed(), arrival(stamp=NOW), keys=struck).signer == KEY
        assert check(signed(), keys=replace(struck_ours(), ours=KEY)).signer == KEY
        refuse(ErrorCode.BAD_SIGNATURE, signed(), keys=struck_ours())

    def test_g_11_first_sight_proves_nothing_beside_a_key_that_was_vouched_for(self) -> None:
        seen = KnownKey(OTHER, Trust.AUTOMATIC, announced=True, raw=b"raw")
        both = replace(ring(Trust.AUTHENTICATED), keys=(*ring(Trust.AUTHENTICATED).keys, seen))
        assert check(signed(), keys=both).signer == KEY
        for keys in (both, both.withdraw(KEY)):
            for where in (arrival(), arrival(stamp=NOW)):
                refuse(ErrorCode.UNDECIDED, signed(by=OTHER), where, keys=keys)

    def test_g_04_one_accepted_signer_among_others_suffices(self) -> None:
        what = replace(signed(), signers={OTHER: NOW - AGE, KEY: NOW})
        assert check(what).signer == KEY
        undecided = KnownKey(OTHER, Trust.UNDECIDED, announced=True, raw=b"raw")
        both = replace(ring(), keys=(undecided, *ring().keys))
        assert check(what, keys=both).signer == KEY

    def test_nothing_is_parsed_for_a_stranger(self) -> None:
        refuse(ErrorCode.BAD_SIGNATURE, Signed(b"no XML at all", {OTHER: NOW}))


class TestForWhom:
    def test_g_05_signed_for_another_and_encrypted_again_for_us(self) -> None:
        refuse(ErrorCode.CONTEXT_MISMATCH, signed(MERCUTIO))

    def test_g_06_one_of_several_must_be_us(self) -> None:
        assert check(signed(MERCUTIO, JULIET)).to == (MERCUTIO, JULIET)
        refuse(ErrorCode.CONTEXT_MISMATCH, signed(MERCUTIO, ROMEO))

    def test_g_06_the_stanza_must_be_for_us(self) -> None:
        refuse(ErrorCode.CONTEXT_MISMATCH, signed(JULIET, MERCUTIO), arrival(to=MERCUTIO))
        refuse(ErrorCode.CONTEXT_MISMATCH, signed(MERCUTIO), arrival(to=MERCUTIO))

    def test_g_06_a_stanza_without_to_is_for_us(self) -> None:
        assert check(signed(JULIET), arrival(to=None)).to == (JULIET,)
        refuse(ErrorCode.CONTEXT_MISMATCH, signed(MERCUTIO), arrival(to=None))

    def test_g_06_a_copy_of_what_we_sent_is_for_others(self) -> None:
        ours = ring(jid=JULIET)
        copy = arrival(sender=JULIET, to=ROMEO)
        assert check(signed(ROMEO), copy, keys=ours).sender == JULIET
        refuse(ErrorCode.CONTEXT_MISMATCH, signed(MERCUTIO), copy, keys=ours)
        to_us = arrival(sender=JULIET, to=JULIET)
        assert check(signed(JULIET), to_us, keys=ours).to == (JULIET,)
        refuse(ErrorCode.CONTEXT_MISMATCH, signed(ROMEO), to_us, keys=ours)


class TestWhen:
    @pytest.mark.parametrize("distance", [timedelta(0), -SKEW, SKEW, -AGE])
    def test_g_07_live_traffic_is_of_now(self, distance: timedelta) -> None:
        assert check(signed(time=NOW + distance)).time == NOW + distance

    @pytest.mark.parametrize("distance", [SKEW + SECOND, -AGE - SECOND, timedelta(days=3650)])
    def test_g_07_anything_else_is_stale(self, distance: timedelta) -> None:
        refuse(ErrorCode.STALE, signed(time=NOW + distance))

    @pytest.mark.parametrize("distance", [timedelta(0), -SKEW, SKEW, -AGE])
    def test_g_07_the_archive_is_of_its_own_time(self, distance: timedelta) -> None:
        stamp = NOW - timedelta(days=1000)
        assert check(signed(time=stamp + distance), arrival(stamp=stamp)).time == stamp + distance

    @pytest.mark.parametrize("distance", [SKEW + SECOND, -AGE - SECOND])
    def test_g_07_the_archive_does_not_excuse_another_time(self, distance: timedelta) -> None:
        stamp = NOW - timedelta(days=1000)
        refuse(ErrorCode.STALE, signed(time=stamp + distance), arrival(stamp=stamp))
        refuse(ErrorCode.STALE, signed(time=NOW), arrival(stamp=stamp))

    def test_g_07_the_archive_cannot_tell_the_future(self) -> None:
        later = NOW + timedelta(hours=2)
        refuse(ErrorCode.STALE, signed(time=later), arrival(stamp=later))

    def test_g_07_nor_do_others_that_signed_it(self) -> None:
        hour = timedelta(hours=1)
        for ours, theirs in ((NOW, NOW - hour), (NOW - hour, NOW)):
            for signers in ({KEY: ours, OTHER: theirs}, {OTHER: theirs, KEY: ours}):
                what = replace(signed(), signers=signers)
                if ours == NOW:
                    assert check(what)
                else:
                    refuse(ErrorCode.STALE, what)

    @pytest.mark.parametrize("year", [1, 9999])
    def test_g_07_the_ends_of_the_calendar_are_times_like_others(self, year: int) -> None:
        edge = datetime(year, 1, 1, tzinfo=UTC) if year == 1 else datetime.max.replace(tzinfo=UTC)
        refuse(ErrorCode.STALE, signed(), arrival(stamp=edge), now=max(edge, NOW))
        refuse(ErrorCode.STALE, signed(time=edge.replace(microsecond=0)))

    @pytest.mark.parametrize("distance", [SKEW, -SKEW])
    def test_g_07_the_signature_is_as_old_as_its_stamp(self, distance: timedelta) -> None:
        assert check(signed(created=NOW + distance))
        refuse(ErrorCode.STALE, signed(created=NOW + distance + distance / 300))


class TestTwice:
    def test_g_08_another_sender_of_the_same_text_is_another_message(self) -> None:
        what = signed(JULIET)
        theirs = check(what, arrival(MERCUTIO), keys=ring(jid=MERCUTIO))
        assert check(what).digest != theirs.digest
        assert check(what).digest == check(replace(what, signers={KEY: NOW + SECOND})).digest


class TestWhat:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"", ErrorCode.MALFORMED),
            (b"hello", ErrorCode.MALFORMED),
            (b"\xff", ErrorCode.MALFORMED),
            (b"<?xml version='1.0'?><signcrypt xmlns='urn:xmpp:openpgp:0'/>", ErrorCode.MALFORMED),
            (b"<!DOCTYPE x><signcrypt xmlns='urn:xmpp:openpgp:0'/>", ErrorCode.MALFORMED),
            (b"<body xmlns='jabber:client'>hello</body>", ErrorCode.MALFORMED),
            (b"<sign xmlns='urn:xmpp:openpgp:0'/>", ErrorCode.FORBIDDEN),
            (b"<crypt xmlns='urn:xmpp:openpgp:0'/>", ErrorCode.FORBIDDEN),
        ],
    )
    def test_g_02_anything_but_one_signcrypt_is_refused(self, data: bytes, code: ErrorCode) -> None:
        refuse(code, Signed(data, {KEY: NOW}))

    def test_x_28_a_second_document_behind_it_is_refused(self) -> None:
        what = signed()
        for data in (what.data + what.data, what.data + b"x", b"\xef\xbb\xbf" + what.data):
            refuse(ErrorCode.MALFORMED, replace(what, data=data))

    @given(st.binary())
    def test_any_octets_are_an_error_of_ours(self, data: bytes) -> None:
        with pytest.raises(E2eeError):
            check(Signed(data, {KEY: NOW}))

    def test_does_not_print_what_it_holds(self) -> None:
        assert "pilgrim" not in repr(check(signed()))
