"""URIs of fingerprints: both forms, strictly, and nothing trusted on a mismatch."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fingerprint
from e2ee.trust import Trust
from ox.uri import KeyUri
from tests.support.forge import forged
from tests.support.ox_world import Person, World, meet, refused

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
A, B = Fingerprint("A" * 40), Fingerprint("B" * 40)
BEGIN = f"xmpp:{JULIET}?trust-message;encryption=urn:xmpp:openpgp:0"


def test_a_trust_message_uri_names_somebody_and_keys() -> None:
    text = f"{BEGIN};trust={A.lower()};distrust={B.lower()}"
    uri = KeyUri.parse(text)
    assert uri == KeyUri(BareJid.parse(JULIET), (A,), (B,))
    assert str(uri) == text
    assert KeyUri.parse(f"XMPP{text[4:]}") == uri


def test_a_fingerprint_uri_names_nobody() -> None:
    uri = KeyUri.parse(f"OPENPGP4FPR:{A.lower()}")
    assert uri == KeyUri(None, (A,))
    assert str(uri) == f"openpgp4fpr:{A}"


@given(
    st.sampled_from([JULIET, "d'artagnan@garçon.example", "ü&=;#?@example.org", "[::1]", "a b@c"]),
    st.lists(st.sampled_from("0123456789ABCDEF").map(lambda x: Fingerprint(x * 40)), unique=True),
    st.integers(0, 16),
)
def test_what_is_written_is_read(jid: str, keys: list[Fingerprint], cut: int) -> None:
    try:
        owner = BareJid.parse(jid)
    except PeerMisbehaved:
        return
    uri = KeyUri(owner, tuple(keys[:cut]), tuple(keys[cut:]))
    if keys:
        assert KeyUri.parse(str(uri)) == uri
        assert str(uri).isascii()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.org",
        f"xmpp:{JULIET}",
        f"xmpp:{JULIET}?message",
        BEGIN,
        f"{BEGIN};",
        f"{BEGIN};trust={A};",
        f"{BEGIN};trust={A}\n",
        f" {BEGIN};trust={A}",
        f"{BEGIN};trust={A[:-1]}",
        f"{BEGIN};trust={A}0",
        f"{BEGIN};Trust={A}",
        f"{BEGIN};trust={A};trust={A.lower()}",
        f"{BEGIN};trust={A};distrust={A}",
        f"{BEGIN};encryption=urn:xmpp:openpgp:0;trust={A}",
        f"{BEGIN};usage=urn:xmpp:atm:1;trust={A}",
        f"{BEGIN};trust={A}#x",
        f"xmpp:{JULIET}/balcony?trust-message;encryption=urn:xmpp:openpgp:0;trust={A}",
        f"xmpp:?trust-message;encryption=urn:xmpp:openpgp:0;trust={A}",
        f"xmpp:a%zz@b.c?trust-message;encryption=urn:xmpp:openpgp:0;trust={A}",
        f"xmpp:a%ff@b.c?trust-message;encryption=urn:xmpp:openpgp:0;trust={A}",
        f"xmpp:é@b.c?trust-message;encryption=urn:xmpp:openpgp:0;trust={A}",
        f"xmpp:{JULIET}?trust-message;trust={A};encryption=urn:xmpp:openpgp:0",
        f"openpgp4fpr:{A} ",
        f"openpgp4fpr:{A[:-1]}",
        f"openpgp4fpr:{A[-16:]}",
        f"openpgp4fpr://{A}",
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        KeyUri.parse(text)
    assert caught.value.code is ErrorCode.MALFORMED


def test_keys_of_another_protocol_are_not_taken_for_ours() -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        KeyUri.parse(f"xmpp:{JULIET}?trust-message;encryption=urn:xmpp:omemo:2;trust={A}")
    assert caught.value.code is ErrorCode.UNSUPPORTED_ALGORITHM


def test_a_uri_is_bounded() -> None:
    many = "".join(f";trust={n:040X}" for n in range(33))
    for text in (f"{BEGIN}{many}", f"xmpp:{'a' * 20_000}@b.c?trust-message"):
        with pytest.raises(PeerMisbehaved) as caught:
            KeyUri.parse(text)
        assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


@given(st.text(max_size=200))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"{BEGIN};{text}", f"openpgp4fpr:{text}"):
        with suppress(E2eeError):
            KeyUri.parse(candidate)


class TestVerify:
    @pytest.fixture
    async def two(self) -> tuple[Person, Person]:
        world = World()
        juliet, romeo = await world.person(JULIET), await world.person(ROMEO)
        await meet(juliet, romeo)
        return juliet, romeo

    async def trust(self, juliet: Person, romeo: Person) -> Trust:
        ring = await juliet.ox.keys(romeo.jid)
        return ring.keys[0].trust

    async def test_both_forms_vouch_for_a_key(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        key = (await romeo.ox.own_key()).certificate.fingerprint
        for uri in (KeyUri(romeo.jid, (key,)), KeyUri(None, (key,))):
            await juliet.ox.decide(romeo.jid, key, Trust.AUTOMATIC)
            await juliet.ox.verify(romeo.jid, str(uri))
            assert await self.trust(juliet, romeo) is Trust.AUTHENTICATED
        await juliet.ox.verify(romeo.jid, str(KeyUri(romeo.jid, (), (key, A))))
        assert await self.trust(juliet, romeo) is Trust.DISTRUSTED

    async def test_z_13_another_key_or_another_account_is_never_trusted(
        self, two: tuple[Person, Person]
    ) -> None:
        juliet, romeo = two
        key = (await romeo.ox.own_key()).certificate.fingerprint
        for uri in (
            KeyUri(BareJid.parse("mercutio@montague.lit"), (key,)),
            KeyUri(romeo.jid, (A,)),
            KeyUri(romeo.jid, (key, A)),
            KeyUri(None, (A,)),
        ):
            async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
                await juliet.ox.verify(romeo.jid, str(uri))
        assert await self.trust(juliet, romeo) is Trust.AUTOMATIC

    async def test_z_13_a_key_swapped_after_it_was_shown_is_not_the_one_decided_about(
        self, two: tuple[Person, Person]
    ) -> None:
        juliet, romeo = two
        shown = (await juliet.ox.keys(romeo.jid)).keys[0].fingerprint
        other = forged(f"xmpp:{ROMEO}")
        juliet.world.announce(ROMEO, other.public)
        await juliet.hear_of(romeo)
        await juliet.ox.decide(romeo.jid, shown, Trust.AUTHENTICATED)
        found = (await juliet.ox.keys(romeo.jid)).find(Fingerprint(other.name))
        assert found is not None
        assert found.trust is Trust.UNDECIDED
