"""The life of an account's own key: RSA, end, revocation, successor, minimal export, and PEP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import limits
from e2ee.effects import Publish
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.key_events import KeyEvents
from e2ee.names import Fetch, Fingerprint, NodeAddress
from e2ee.storage import Remove
from e2ee.trust import Trust
from e2ee.xmltree import Element
from ox.certificates import check_certificate
from ox.elements import (
    PublicKeysList,
    data_node,
    metadata_address,
    read_pubkey,
    write_pubkey,
)
from ox.engine import Revocation
from ox.keys import user_id
from tests.support.forge import (
    ENCRYPT,
    Forged,
    KeyPair,
    bind,
    certify,
    forged,
    new_curve25519,
    new_ed25519,
    new_elgamal,
    new_p256,
    new_rsa,
    revoke,
)
from tests.support.ox_keys import key_id
from tests.support.ox_world import Person, World, body, fingerprint_of, meet, recipients, refused

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
DAY, LATER = timedelta(days=1), timedelta(minutes=1)
NEXT_YEAR = datetime.now(UTC).replace(microsecond=0) + 365 * DAY


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def two(world: World) -> tuple[Person, Person]:
    """Return Juliet with a key that is not of this very second, and Romeo."""
    juliet = await world.person(JULIET, key=forged(f"xmpp:{JULIET}").secret)
    romeo = await world.person(ROMEO)
    await meet(juliet, romeo)
    return juliet, romeo


async def published(person: Person) -> tuple[bytes, PublicKeysList]:
    """Perform what is queued, and return the key and the list that were published by it."""
    key, its_list = await person.flush()
    assert isinstance(key, Publish)
    assert isinstance(its_list, Publish)
    raw = read_pubkey(key.payload)
    assert key.address == NodeAddress(person.jid, data_node(fingerprint_of(raw)))
    assert its_list.address == metadata_address(person.jid)
    return raw, PublicKeysList.from_xml(its_list.payload)


class TestRsa:
    async def test_it_is_made_on_request_and_works(self, world: World) -> None:
        juliet, romeo = world.stranger(JULIET), await world.person(ROMEO)
        await juliet.gather(juliet)
        await juliet.ox.generate(rsa=True)
        raw, _ = await published(juliet)
        assert {key.algorithm for key in check_certificate(raw)} == {1}
        await meet(juliet, romeo)
        assert await romeo.open(await juliet.seal(romeo), juliet)
        assert await juliet.open(await romeo.seal(juliet), romeo)

    async def test_one_that_does_everything_is_adopted(self, world: World) -> None:
        """So Gajim, Profanity and Libervia make them."""
        key = new_rsa(3072)
        made = Forged(
            key, key, (certify(key, user_id(world.stranger(JULIET).jid).encode(), flags=b"\x0f"),)
        )
        juliet, romeo = await world.person(JULIET, key=made.secret), await world.person(ROMEO)
        await meet(juliet, romeo)
        assert await romeo.open(await juliet.seal(romeo), juliet)
        assert await juliet.open(await romeo.seal(juliet), romeo)
        await juliet.ox.extend(NEXT_YEAR)
        await juliet.revoke(Revocation.RETIRED)


class TestExtend:
    async def test_it_is_announced_anew_and_others_learn_it(
        self, two: tuple[Person, Person]
    ) -> None:
        juliet, romeo = two
        juliet.world.ahead = LATER
        await juliet.ox.extend(NEXT_YEAR)
        own = (await juliet.ox.own_key()).certificate
        assert own.expires == NEXT_YEAR
        raw, its_list = await published(juliet)
        assert raw == await juliet.ox.export_public()
        assert [key.fingerprint for key in its_list.keys] == [own.fingerprint]
        await romeo.hear_of(juliet)
        known = (await romeo.ox.keys(juliet.jid)).keys[0]
        assert known.raw is not None
        assert (await romeo.ox.engine.inspect(known.raw)).expires == NEXT_YEAR
        assert known.trust is Trust.AUTOMATIC
        assert await romeo.ox.missing({juliet.jid}) == ()

    async def test_an_expired_key_lives_again(self, world: World) -> None:
        key = new_ed25519()
        name = user_id(world.stranger(JULIET).jid).encode()
        expired = forged(primary=key, certified=certify(key, name, key_lasts=DAY))
        juliet, romeo = await world.person(JULIET, key=expired.secret), await world.person(ROMEO)
        await meet(juliet, romeo)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.seal(romeo)
        world.ahead = LATER
        await juliet.ox.extend(None)
        await juliet.flush()
        await romeo.hear_of(juliet)
        assert await romeo.open(await juliet.seal(romeo), juliet)

    async def test_another_device_with_the_same_key_takes_it_over(self, world: World) -> None:
        phone = await world.person(JULIET, key=forged(f"xmpp:{JULIET}").secret)
        laptop = await world.person(JULIET, key=(await phone.ox.own_key()).material)
        world.ahead = LATER
        await phone.ox.extend(NEXT_YEAR)
        await phone.flush()
        await laptop.hear_of(phone)
        own = await laptop.ox.own_key()
        assert own.certificate.expires == NEXT_YEAR
        again = await laptop.ox.engine.adopt(own.material)
        assert again.certificate.expires == NEXT_YEAR

    async def test_the_keys_of_other_devices_stay_listed_as_they_were(self, world: World) -> None:
        phone = await world.person(JULIET)
        (first,) = (await phone.ox.keys(phone.jid)).keys
        world.ahead = LATER
        laptop = await world.person(JULIET)
        await laptop.ox.extend(NEXT_YEAR)
        _, its_list = await published(laptop)
        assert [key.date for key in its_list.keys if key.fingerprint == first.fingerprint] == [
            first.date
        ]
        assert len(its_list.keys) == 2

    async def test_nothing_is_done_halfway(self, two: tuple[Person, Person]) -> None:
        juliet, _ = two
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.extend(datetime.now(UTC) - DAY)
        async with refused(ErrorCode.API_MISUSE, nobody := juliet.world.stranger("a@b.c")):
            await nobody.ox.extend(None)
        assert await juliet.outbox.pending() == ()


class TestRevoke:
    async def test_g_14_it_is_published_and_nothing_is_signed_with_it(
        self, two: tuple[Person, Person]
    ) -> None:
        juliet, romeo = two
        letter = await romeo.seal(juliet)
        juliet.world.ahead = LATER
        await juliet.revoke(Revocation.COMPROMISED)
        raw, its_list = await published(juliet)
        assert (await romeo.ox.engine.inspect(raw)).revoked
        assert len(its_list.keys) == 1  # XEP-0373 §4.2 wants one or more
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.seal(romeo)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.ox.extend(None)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.revoke(Revocation.RETIRED)
        assert await juliet.open(letter, romeo)  # it still reads what was written to it
        await romeo.hear_of(juliet)
        async with refused(ErrorCode.UNUSABLE_KEY, romeo):
            await romeo.seal(juliet)

    async def test_it_leaves_the_list_where_others_are_in_it(self, world: World) -> None:
        phone, laptop = await world.person(JULIET), await world.person(JULIET)
        romeo = await world.person(ROMEO)
        await romeo.gather(laptop)
        phones = (await phone.ox.own_key()).certificate.fingerprint
        gone = (await laptop.ox.own_key()).certificate.fingerprint
        world.ahead = LATER
        await laptop.revoke(Revocation.SUPERSEDED)
        _, its_list = await published(laptop)
        assert [key.fingerprint for key in its_list.keys] == [phones]
        await romeo.hear_of(laptop)  # the list says that it is gone, its node says why
        known = (await romeo.ox.keys(laptop.jid)).find(gone)
        assert known is not None
        assert known.raw is not None
        assert (await romeo.ox.engine.inspect(known.raw)).revoked
        await laptop.hear_of(phone)
        assert await laptop.flush() == []  # it is not announced again

    async def test_its_successor_is_announced_alone_and_both_open(
        self, two: tuple[Person, Person]
    ) -> None:
        juliet, romeo = two
        letter = await romeo.seal(juliet)
        juliet.world.ahead = LATER
        await juliet.revoke(Revocation.SUPERSEDED)
        await juliet.flush()
        successor = await juliet.ox.generate()
        _, its_list = await published(juliet)
        assert [key.fingerprint for key in its_list.keys] == [successor]
        assert (await juliet.ox.own_key()).certificate.fingerprint == successor
        assert await juliet.open(letter, romeo)
        await romeo.hear_of(juliet)
        ring = await romeo.ox.keys(juliet.jid)
        assert ring.undecided == (successor,)  # Romeo is asked
        await romeo.ox.decide(juliet.jid, successor, Trust.AUTHENTICATED)
        assert await romeo.open(await juliet.seal(romeo), juliet)
        assert await juliet.open(await romeo.seal(juliet), romeo)

    async def test_a_device_that_hears_of_it_signs_no_more(self, world: World) -> None:
        phone, romeo = await world.person(JULIET), await world.person(ROMEO)
        laptop = await world.person(JULIET, key=(await phone.ox.own_key()).material)
        await meet(laptop, romeo)
        world.ahead = LATER
        await phone.revoke(Revocation.COMPROMISED)
        await phone.flush()
        await laptop.hear_of(phone)
        async with refused(ErrorCode.UNUSABLE_KEY, laptop):
            await laptop.seal(romeo)
        assert await laptop.ox.generate()

    async def test_g_14_an_older_copy_does_not_undo_it(self, two: tuple[Person, Person]) -> None:
        juliet, _ = two
        before = await juliet.ox.export_public()
        await juliet.revoke(Revocation.COMPROMISED)
        await juliet.fetch_key(before)
        assert (await juliet.ox.own_key()).certificate.revoked

    async def test_a_key_that_is_replaced_still_opens(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        letter = await romeo.seal(juliet)
        former = (await juliet.ox.own_key()).certificate.fingerprint
        other = forged(f"xmpp:{JULIET}")
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.adopt(other.secret, replacing=fingerprint_of(other.public))
        assert await juliet.adopt(other.secret, replacing=former) == other.name
        _, its_list = await published(juliet)
        assert [key.fingerprint for key in its_list.keys] == [other.name]
        assert await juliet.open(letter, romeo)

    async def test_z_13_only_the_key_that_was_shown_is_revoked(self, world: World) -> None:
        shown, other = forged(f"xmpp:{JULIET}"), forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=shown.secret)
        await juliet.adopt(other.secret, replacing=Fingerprint(shown.name))
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.revoke(Fingerprint(shown.name), Revocation.COMPROMISED)
        await juliet.ox.revoke(Fingerprint(other.name), Revocation.COMPROMISED)

    async def test_what_a_key_signed_that_is_replaced_is_ours_in_the_archive(
        self, world: World
    ) -> None:
        former, key = forged(f"xmpp:{JULIET}"), forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=former.secret)
        romeo = await world.person(ROMEO)
        await meet(juliet, romeo)
        said, stamp = await juliet.seal(romeo), world.clock()
        name = Fingerprint(former.name)
        await juliet.adopt(key.secret, replacing=name)
        await juliet.flush()
        for listed in ((key.public,), (key.public, former.public)):
            world.ahead += LATER
            world.announce(JULIET, *listed)
            await juliet.hear_of(juliet)
            opened = await juliet.open(said, juliet, to=romeo, stamp=stamp)
            assert opened.signer == name
        await juliet.ox.mark_handled(opened)
        late = await world.person(JULIET, key=former.secret)
        await late.gather(romeo)
        async with refused(ErrorCode.UNDECIDED, juliet):  # it signs no more news
            await juliet.open(await late.seal(romeo), juliet, to=romeo)

    async def test_g_14_but_not_of_one_that_is_compromised_or_distrusted(
        self, world: World
    ) -> None:
        former, key = forged(f"xmpp:{JULIET}"), forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=former.secret)
        romeo = await world.person(ROMEO)
        await meet(juliet, romeo)
        said, stamp = await juliet.seal(romeo), world.clock()
        await juliet.adopt(key.secret, replacing=Fingerprint(former.name))
        await juliet.flush()
        await juliet.ox.decide(juliet.jid, Fingerprint(former.name), Trust.DISTRUSTED)
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(said, juliet, to=romeo, stamp=stamp)
        await juliet.ox.decide(juliet.jid, Fingerprint(former.name), Trust.UNDECIDED)
        assert await juliet.open(said, juliet, to=romeo, stamp=stamp)
        await juliet.fetch_key(former.revoked().public)
        world.announce(JULIET, key.public)
        await juliet.hear_of(juliet)
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(said, juliet, to=romeo, stamp=stamp)

    async def test_g_14_its_revocation_is_published_again_where_it_was_undone(
        self, world: World
    ) -> None:
        key = forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=key.secret)
        await juliet.revoke(Revocation.COMPROMISED)
        await juliet.ox.generate()
        await juliet.flush()
        node = NodeAddress(juliet.jid, data_node(Fingerprint(key.name)))
        spoiled: tuple[Element | None, ...] = (write_pubkey(key.public), None)
        for day, payload in enumerate(spoiled):
            world.ahead = day * DAY
            for repetition in range(3):
                await juliet.ox.feed(Fetch(node), payload)
                effects = await juliet.flush()
                assert len(effects) == (1 if repetition == 0 else 0)
            assert (await juliet.ox.engine.inspect(read_pubkey(world.nodes[node]))).revoked
            await juliet.ox.feed(Fetch(node), world.nodes[node])
            assert await juliet.flush() == []
        async with refused(ErrorCode.MALFORMED, juliet):  # and so is one that is none: fed as None
            await juliet.ox.feed(Fetch(node), write_pubkey(b"no key"))

    async def test_g_14_what_was_replaced_and_not_revoked_is_published_no_more(
        self, world: World
    ) -> None:
        former = forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=former.secret)
        await juliet.adopt(forged(f"xmpp:{JULIET}").secret, replacing=Fingerprint(former.name))
        await juliet.flush()
        node = NodeAddress(juliet.jid, data_node(Fingerprint(former.name)))
        await juliet.ox.feed(Fetch(node), None)
        assert await juliet.flush() == []

    async def test_g_14_a_copy_from_before_it_is_replaced_in_public(self, world: World) -> None:
        """Another device had an older change in its outbox, on the same day."""
        key = forged(f"xmpp:{JULIET}")
        phone = await world.person(JULIET, key=key.secret)
        laptop = await world.person(JULIET, key=key.secret)
        world.ahead = LATER
        await phone.hear_of(phone)
        await phone.ox.extend(NEXT_YEAR)
        world.ahead = 2 * LATER
        await laptop.revoke(Revocation.COMPROMISED)
        await laptop.flush()
        await phone.flush()
        await laptop.hear_of(phone)
        raw, its_list = await published(laptop)
        assert (await laptop.ox.engine.inspect(raw)).revoked
        assert [each.fingerprint for each in its_list.keys] == [key.name]
        await phone.hear_of(laptop)
        assert (await phone.ox.own_key()).certificate.revoked
        assert await phone.flush() == []

    async def test_g_14_it_is_not_undone_by_who_imports_the_key_from_before(
        self, world: World
    ) -> None:
        """No list names it any more."""
        key = forged(f"xmpp:{JULIET}")
        phone = await world.person(JULIET, key=key.secret)
        await phone.revoke(Revocation.COMPROMISED)
        await phone.ox.generate()
        await phone.flush()
        laptop = world.stranger(JULIET)
        await laptop.gather(laptop)
        async with refused(ErrorCode.DATA_MISSING, laptop):
            await laptop.ox.adopt(key.secret)
        with pytest.raises(PeerMisbehaved, match="revoked"):
            await laptop.adopt(key.secret)
        told = await KeyEvents(laptop.store, laptop.jid).pending()
        assert key.name not in {each.key for each in told}
        await laptop.hear_of(phone)
        assert (await laptop.ox.keys(laptop.jid)).find(Fingerprint(key.name)) is None
        assert await laptop.flush() == []

    async def test_g_14_a_device_that_may_not_know_of_it_signs_nothing(self, world: World) -> None:
        key = forged(f"xmpp:{JULIET}")
        phone = await world.person(JULIET, key=key.secret)
        world.ahead = LATER
        world.announce(JULIET, key.revoked().public)
        address = metadata_address(phone.jid)
        await phone.ox.feed(Fetch(address), world.nodes[address])
        async with refused(ErrorCode.DATA_MISSING, phone):
            await phone.seal(phone)
        async with refused(ErrorCode.DATA_MISSING, phone):
            await phone.ox.sign([body("x")], {phone.jid})

    async def test_the_own_key_is_not_adopted_again(self, two: tuple[Person, Person]) -> None:
        juliet, _ = two
        own = await juliet.ox.own_key()
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.adopt(own.material, replacing=own.certificate.fingerprint)

    async def test_g_12_a_replaced_key_that_a_server_lists_again_gets_no_copy(
        self, world: World
    ) -> None:
        former, key = forged(f"xmpp:{JULIET}"), forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=former.secret)
        await juliet.adopt(key.secret, replacing=Fingerprint(former.name))
        await juliet.flush()
        for _ in range(2):
            world.ahead += LATER
            world.announce(JULIET, key.public, former.public)
            await juliet.hear_of(juliet)
            assert recipients(await juliet.seal(juliet)) == {key_id(key)}

    async def test_without_its_former_key_what_was_sealed_to_it_is_lost(self, world: World) -> None:
        juliet, romeo = await world.person(JULIET), await world.person(ROMEO)
        await meet(juliet, romeo)
        letter = await romeo.seal(juliet)
        former = (await juliet.ox.own_key()).certificate.fingerprint
        await juliet.revoke(Revocation.RETIRED)
        await juliet.ox.generate()
        await juliet.write(Remove((JULIET, "ox", "succeeded", former)))
        async with refused(ErrorCode.CANNOT_DECRYPT, juliet):
            await juliet.open(letter, romeo)


class TestUnfit:
    """A key that others would encrypt to so that we cannot decrypt is not adopted."""

    @pytest.mark.parametrize("new_subkey", [new_p256, new_elgamal])
    @pytest.mark.parametrize("beside", [0, 1, limits.MAX_ENCRYPTION_KEYS])
    async def test_an_encryption_subkey_that_we_cannot_use_is_refused(
        self, world: World, beside: int, new_subkey: Callable[[], KeyPair]
    ) -> None:
        """Also one that we would not encrypt to ourselves, and others would."""
        primary, subkey = new_rsa(2048), new_subkey()
        others = [new_curve25519() for _ in range(beside)]
        parts = [
            part for each in (subkey, *others) for part in (each, bind(primary, each, ENCRYPT))
        ]
        key = Forged(
            primary,
            subkey,
            (certify(primary, user_id(world.stranger(JULIET).jid).encode()), *parts),
        )
        juliet = world.stranger(JULIET)
        await juliet.gather(juliet)
        async with refused(ErrorCode.UNSUPPORTED_ALGORITHM, juliet):
            await juliet.ox.adopt(key.secret)

    @pytest.mark.parametrize("new_subkey", [new_p256, new_elgamal])
    async def test_one_that_another_program_added_stops_nothing(
        self, world: World, new_subkey: Callable[[], KeyPair]
    ) -> None:
        key, added = forged(f"xmpp:{JULIET}"), new_subkey()
        juliet, romeo = await world.person(JULIET, key=key.secret), await world.person(ROMEO)
        await juliet.fetch_key(key.plus(added, bind(key.primary, added, ENCRYPT)).public)
        await meet(juliet, romeo)
        assert await juliet.open(await romeo.seal(juliet), romeo)
        assert await juliet.open(await juliet.seal(juliet), juliet)

    @pytest.mark.parametrize("new_subkey", [new_p256, new_elgamal])
    async def test_one_that_is_revoked_does_not_matter(
        self, world: World, new_subkey: Callable[[], KeyPair]
    ) -> None:
        key, dead = forged(f"xmpp:{JULIET}"), new_subkey()
        bound = bind(key.primary, dead, ENCRYPT), revoke(key.primary, dead)
        juliet = await world.person(JULIET, key=key.plus(dead, *bound).secret)
        assert await juliet.open(await juliet.seal(juliet), juliet)


class TestExport:
    async def test_only_what_names_the_account_is_published(self, world: World) -> None:
        key = new_ed25519()
        names = (
            certify(key, b"Juliet Capulet <juliet@example.org>")
            + certify(key, b"xmpp:nurse@capulet.lit")
            + certify(key, f"xmpp:{JULIET}".encode())
        )
        juliet = await world.person(JULIET, key=forged(primary=key, certified=names).secret)
        raw = read_pubkey(
            world.nodes[
                NodeAddress(
                    juliet.jid, data_node((await juliet.ox.own_key()).certificate.fingerprint)
                )
            ]
        )
        assert raw == await juliet.ox.export_public()
        assert (await juliet.ox.engine.inspect(raw)).user_ids == (f"xmpp:{JULIET}",)
        assert b"Capulet <" not in raw
        assert len((await juliet.ox.own_key()).certificate.user_ids) == 3  # kept, not shown

    async def test_what_a_server_adds_to_our_node_is_never_published(self, world: World) -> None:
        mine = forged(f"xmpp:{JULIET}")
        juliet = await world.person(JULIET, key=mine.secret)
        before = await juliet.ox.export_public()
        stranger = new_ed25519()
        junk = [certify(mine.primary, f"xmpp:{JULIET}".encode(), by=stranger) for _ in range(9)]
        await juliet.fetch_key(mine.plus(*junk).public)
        assert await juliet.ox.export_public() == before
        assert await juliet.seal(juliet)

    async def test_without_a_key_there_is_none(self, world: World) -> None:
        juliet = world.stranger(JULIET)
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.export_public()


async def test_g_10_a_fetched_key_is_looked_at_again_only_when_it_is_dated_anew(
    two: tuple[Person, Person],
) -> None:
    juliet, romeo = two
    address = metadata_address(romeo.jid)
    (known,) = (await juliet.ox.keys(romeo.jid)).keys
    await juliet.ox.feed(Fetch(address), juliet.world.nodes[address])
    assert await juliet.ox.missing({romeo.jid}) == ()
    juliet.world.ahead = LATER
    juliet.world.announce(ROMEO, known.raw or b"")
    await juliet.ox.feed(Fetch(address), juliet.world.nodes[address])
    node = NodeAddress(romeo.jid, data_node(known.fingerprint))
    assert await juliet.ox.missing({romeo.jid}) == (Fetch(node),)
    assert await juliet.seal(romeo)  # which a server cannot make into a reason not to write
    await juliet.ox.feed(Fetch(node), juliet.world.nodes[node])
    assert await juliet.ox.missing({romeo.jid}) == ()
