"""OxAccount: its own key, the keys of others, writing and reading, and what of it is durable."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from e2ee import limits
from e2ee.effects import Publish
from e2ee.errors import ApiMisuse, DataMissing, E2eeError, ErrorCode
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress
from e2ee.secret import Secret
from e2ee.storage import Put, Remove
from e2ee.trust import Trust
from e2ee.xmltree import Element, element
from ox.elements import METADATA_NODE, PublicKeysList, data_node, metadata_address, read_pubkey
from tests.support.forge import forged
from tests.support.ox_world import Person, World, body, dump, meet, refused

JULIET, ROMEO, NURSE = "juliet@capulet.lit", "romeo@montague.lit", "nurse@capulet.lit"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def two(world: World) -> tuple[Person, Person]:
    juliet, romeo = await world.person(JULIET), await world.person(ROMEO)
    await meet(juliet, romeo)
    return juliet, romeo


class TestOwnKey:
    async def test_a_new_key_is_announced_after_it_is_published(self, world: World) -> None:
        juliet = world.stranger(JULIET)
        await juliet.gather(juliet)
        fingerprint = await juliet.ox.generate()
        key, its_list = await juliet.flush()
        assert isinstance(key, Publish)
        assert isinstance(its_list, Publish)
        assert key.address == NodeAddress(juliet.jid, data_node(fingerprint))
        own = await juliet.ox.own_key()
        assert read_pubkey(key.payload) == own.certificate.raw
        assert own.certificate.user_ids == (f"xmpp:{JULIET}",)
        assert its_list.address == metadata_address(juliet.jid)
        assert its_list.item_id == "current"
        listed = PublicKeysList.from_xml(its_list.payload).keys
        assert [each.fingerprint for each in listed] == [fingerprint]
        for effect in (key, its_list):
            assert ("pubsub#access_model", "open") in effect.options
            assert ("pubsub#deliver_payloads", "false") in effect.options

    async def test_a_refused_key_is_not_announced(self, world: World) -> None:
        juliet = world.stranger(JULIET)
        await juliet.gather(juliet)
        await juliet.ox.generate()
        first, _ = await juliet.outbox.pending()
        await juliet.outbox.failed(first.id, "forbidden")
        assert await juliet.outbox.pending() == ()

    async def test_g_12_none_is_made_before_our_own_list_was_read(self, world: World) -> None:
        """A list of the new key alone would strike those of our other devices."""
        phone, laptop = await world.person(JULIET), world.stranger(JULIET)
        async with refused(ErrorCode.DATA_MISSING, laptop):
            await laptop.ox.generate()
        async with refused(ErrorCode.DATA_MISSING, laptop):
            await laptop.ox.adopt(forged(f"xmpp:{JULIET}").secret)
        await laptop.gather(laptop)
        fingerprint = await laptop.ox.generate()
        _, its_list = await laptop.flush()
        assert isinstance(its_list, Publish)
        listed = PublicKeysList.from_xml(its_list.payload).keys
        ours = (await phone.ox.own_key()).certificate.fingerprint
        assert [each.fingerprint for each in listed] == [ours, fingerprint]

    async def test_g_14_a_key_that_its_ring_knows_better_is_not_adopted(self, world: World) -> None:
        """The secret copy says nothing of the revocation that was published since."""
        name = f"xmpp:{JULIET}"
        for key, spoiled, code in (
            (one := forged(name), one.revoked(), ErrorCode.UNUSABLE_KEY),
            (two := forged(name), two.without_name(name), ErrorCode.SIGNER_MISMATCH),
        ):
            juliet = World().stranger(JULIET)
            juliet.world.announce(JULIET, key.public)
            await juliet.gather(juliet)
            await juliet.fetch_key(spoiled.public)
            async with refused(code, juliet):
                await juliet.ox.adopt(key.secret)
            juliet.world.announce(JULIET, key.public)
            await juliet.hear_of(juliet)
            async with refused(code, juliet):
                await juliet.ox.adopt(key.secret)

    async def test_g_14_nor_is_one_that_the_user_distrusts(self, world: World) -> None:
        key, juliet = forged(f"xmpp:{JULIET}"), world.stranger(JULIET)
        world.announce(JULIET, key.public)
        await juliet.gather(juliet)
        await juliet.ox.decide(juliet.jid, Fingerprint(key.name), Trust.DISTRUSTED)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.ox.adopt(key.secret)

    async def test_there_is_one_and_it_stays(self, world: World) -> None:
        juliet = await world.person(JULIET)
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.generate()
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.adopt(forged(f"xmpp:{JULIET}").secret)

    async def test_of_two_tasks_one_makes_it(self, world: World) -> None:
        juliet = world.stranger(JULIET)
        await juliet.gather(juliet)
        made = await asyncio.gather(
            *(juliet.ox.generate() for _ in range(8)), return_exceptions=True
        )
        assert sum(isinstance(each, ApiMisuse) for each in made) == 7
        assert (await juliet.ox.own_key()).certificate.fingerprint in made

    async def test_without_one_nothing_is_sealed_or_opened(
        self, world: World, two: tuple[Person, Person]
    ) -> None:
        juliet, romeo = two
        nurse = world.stranger(NURSE)
        await nurse.gather(juliet)
        async with refused(ErrorCode.API_MISUSE, nurse):
            await nurse.seal(juliet)
        async with refused(ErrorCode.API_MISUSE, nurse):
            await nurse.open(await romeo.seal(juliet), romeo)

    async def test_somebody_elses_key_is_not_adopted(self, world: World) -> None:
        juliet = world.stranger(JULIET)
        await juliet.gather(juliet)
        for key, code in (
            (forged(f"xmpp:{ROMEO}").secret, ErrorCode.SIGNER_MISMATCH),
            (forged(f"xmpp:{JULIET}").revoked().secret, ErrorCode.UNUSABLE_KEY),
            (Secret(forged(f"xmpp:{JULIET}").public), ErrorCode.MALFORMED),
            (Secret(b""), ErrorCode.MALFORMED),
        ):
            async with refused(code, juliet):
                await juliet.ox.adopt(key)
        await juliet.adopt(forged(f"xmpp:{JULIET}").secret)

    async def test_its_public_part_is_what_was_published_last(self, world: World) -> None:
        """Another device revoked the key: here, too, nothing is signed with it any more."""
        key = forged(f"xmpp:{JULIET}")
        juliet, romeo = await world.person(JULIET, key=key.secret), await world.person(ROMEO)
        await meet(juliet, romeo)
        letter = await romeo.seal(juliet)
        await juliet.fetch_key(key.revoked().public)
        assert (await juliet.ox.own_key()).certificate.revoked
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.seal(romeo)
        assert await juliet.open(letter, romeo)


class TestLostRows:
    """What is lost is an error, never a fresh start."""

    @pytest.mark.parametrize("row", ["own", "ring"])
    async def test_r_04_a_part_of_our_own_key_is_lost(
        self, two: tuple[Person, Person], row: str
    ) -> None:
        juliet, romeo = two
        letter = await romeo.seal(juliet)
        for key in await dump(juliet.store):
            if key[1:3] == ("ox", row) and key[3:] in ((), (JULIET,)):
                await juliet.write(Remove(key))
        for work in (
            lambda: juliet.ox.own_key(),
            lambda: juliet.ox.generate(),
            lambda: juliet.ox.adopt(forged(f"xmpp:{JULIET}").secret),
            lambda: juliet.seal(romeo),
            lambda: juliet.open(letter, romeo),
        ):
            async with refused(ErrorCode.STORE_CORRUPT, juliet):
                await work()

    @pytest.mark.parametrize("of", ["nobody", "another", "public"])
    async def test_r_04_our_own_key_was_altered(
        self, world: World, two: tuple[Person, Person], of: str
    ) -> None:
        juliet, _ = two
        another = forged(f"xmpp:{JULIET}")
        value = {"nobody": b"junk", "another": another.secret.reveal(), "public": another.public}
        await juliet.write(Put((JULIET, "ox", "own"), value[of]))
        async with refused(ErrorCode.STORE_CORRUPT, juliet):
            await juliet.ox.own_key()

    async def test_r_04_two_rings_were_swapped(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        letter = await romeo.seal(juliet)
        rows = await dump(juliet.store)
        await juliet.write(
            Put((JULIET, "ox", "ring", ROMEO), rows[JULIET, "ox", "ring", JULIET]),
        )
        async with refused(ErrorCode.STORE_CORRUPT, juliet):
            await juliet.open(letter, romeo)

    async def test_a_key_authenticated_on_another_device_is_not_ours(self, world: World) -> None:
        """It is no reason to believe that a secret key was lost here."""
        phone = await world.person(JULIET)
        laptop = world.stranger(JULIET)
        await laptop.gather(phone)
        (key,) = (await laptop.ox.keys(laptop.jid)).keys
        await laptop.ox.decide(laptop.jid, key.fingerprint, Trust.AUTHENTICATED)
        with pytest.raises(ApiMisuse):
            await laptop.ox.own_key()
        await laptop.ox.generate()
        _, its_list = await laptop.flush()
        assert isinstance(its_list, Publish)
        assert len(PublicKeysList.from_xml(its_list.payload).keys) == 2


class TestKeysOfOthers:
    async def test_what_is_missing_is_said_in_order(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        stranger = BareJid.parse("mercutio@verona.lit")
        fetches = await juliet.ox.missing({romeo.jid, stranger})
        assert fetches == (Fetch(metadata_address(stranger)),)
        with pytest.raises(DataMissing) as caught:
            await juliet.ox.seal((body("hello"),), {stranger})
        assert caught.value.fetches == fetches

    async def test_who_announces_nothing_cannot_be_written_to(
        self, two: tuple[Person, Person]
    ) -> None:
        juliet, _ = two
        stranger = BareJid.parse("mercutio@verona.lit")
        await juliet.ox.feed(Fetch(metadata_address(stranger)), None)
        assert await juliet.ox.missing({stranger}) == (Fetch(metadata_address(stranger)),)
        async with refused(ErrorCode.UNUSABLE_KEY, juliet):
            await juliet.ox.seal((body("hello"),), {stranger})

    async def test_who_announced_nothing_once_is_asked_again(self, world: World) -> None:
        juliet, romeo = await world.person(JULIET), world.stranger(ROMEO)
        await juliet.gather(romeo)
        romeo = await world.person(ROMEO)
        with pytest.raises(E2eeError):
            await juliet.seal(romeo)
        await juliet.gather(romeo)
        assert await juliet.seal(romeo)

    async def test_other_nodes_are_not_taken(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        for node in ("urn:xmpp:openpgp:0:secret-key", "urn:xmpp:microblog:0", METADATA_NODE + "x"):
            async with refused(ErrorCode.API_MISUSE, juliet):
                await juliet.ox.feed(Fetch(NodeAddress(romeo.jid, node)), None)

    async def test_z_13_a_decision_names_what_was_shown(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
            own = (await juliet.ox.own_key()).certificate.fingerprint
            await juliet.ox.decide(romeo.jid, own, Trust.AUTHENTICATED)


class TestSealAndOpen:
    async def test_a_message_arrives(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        content = (body("Où est-tu ?"), element("urn:example", "x", {"a": "ö'\"<&"}))
        opened = await juliet.open(await romeo.seal(juliet, content=content), romeo)
        assert len(opened.content) == 2
        assert all(map(Element.same_content, opened.content, content))
        assert opened.sender == romeo.jid
        assert opened.to == (juliet.jid,)

    async def test_everybody_reads_the_same_one(self, world: World) -> None:
        people = [await world.person(jid) for jid in (JULIET, ROMEO, NURSE)]
        await meet(*people)
        juliet, *others = people
        message = await juliet.seal(*others)
        for somebody in others:
            assert (await somebody.open(message, juliet)).signer == (
                (await juliet.ox.own_key()).certificate.fingerprint
            )
        for somebody in others:
            assert await juliet.open(message, juliet, to=somebody)

    async def test_our_other_devices_read_what_we_sent(self, world: World) -> None:
        phone, laptop = await world.person(JULIET), world.stranger(JULIET)
        romeo = await world.person(ROMEO)
        await laptop.gather(laptop)
        await laptop.ox.generate()
        await laptop.flush()
        for device in (phone, laptop):
            await device.hear_of(phone)
            for key in (await device.ox.keys(device.jid)).undecided:
                await device.ox.decide(device.jid, key, Trust.AUTHENTICATED)
            await device.gather(romeo)
        message = await phone.seal(romeo)
        assert (await laptop.open(message, phone, to=romeo)).to == (romeo.jid,)

    async def test_every_message_is_padded_anew(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        sizes = {len((await romeo.seal(juliet)).text) for _ in range(20)}
        assert len(sizes) > 5

    async def test_what_is_never_right_is_refused(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.seal((body("hello"),), set())
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.seal((element("", "body"),), {romeo.jid})

    async def test_crowds_are_refused(self, world: World) -> None:
        juliet = await world.person(JULIET)
        crowd = [await world.person(f"guest{n}@capulet.lit") for n in range(limits.MAX_PKESK)]
        await juliet.gather(*crowd)
        async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
            await juliet.seal(*crowd)
        await juliet.seal(*crowd[1:])

    async def test_tasks_do_not_get_into_each_others_way(self, two: tuple[Person, Person]) -> None:
        juliet, romeo = two
        messages = await asyncio.gather(*(romeo.seal(juliet) for _ in range(16)))
        opened = await asyncio.gather(*(juliet.open(each, romeo) for each in messages))
        await asyncio.gather(*(juliet.ox.mark_handled(each) for each in opened))
        again = await asyncio.gather(
            *(juliet.ox.mark_handled(each) for each in opened), return_exceptions=True
        )
        assert [each.code for each in again if isinstance(each, E2eeError)] == ["replay"] * 16

    async def test_an_archive_is_read_by_a_new_device(self, world: World) -> None:
        """Old messages are judged by when they were stored, not by today."""
        key = forged(f"xmpp:{JULIET}").secret
        juliet, romeo = await world.person(JULIET, key=key), await world.person(ROMEO)
        await meet(juliet, romeo)
        message, stamp = await romeo.seal(juliet), world.clock()
        world.ahead = timedelta(days=400)
        laptop = await world.person(JULIET, key=key)
        await laptop.gather(romeo)
        async with refused(ErrorCode.STALE, laptop):
            await laptop.open(message, romeo)
        assert await laptop.open(message, romeo, stamp=stamp)
