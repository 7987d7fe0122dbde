"""Backups of secret keys: sealed, opened, restored, published; and what is done against each.

Rule: the clear text of a hostile backup is put together here; who made it knew the code.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from e2ee import ns
from e2ee.effects import (
    ACCESS_MODEL,
    DELIVER_PAYLOADS,
    MAX_ITEMS,
    PERSIST_ITEMS,
    SEND_LAST_PUBLISHED_ITEM,
    Configure,
    Create,
    Delete,
    Effect,
    NodeConfig,
    Publish,
)
from e2ee.errors import (
    ApiMisuse,
    CannotDecrypt,
    DataMissing,
    E2eeError,
    ErrorCode,
    PeerMisbehaved,
    TrustUndecided,
    WrongBackupCode,
)
from e2ee.lexical import decode_base64, encode_base64
from e2ee.limits import MAX_BACKUP_KEYS
from e2ee.names import Fetch, Fingerprint, ItemId, NodeAddress
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.trust import Trust
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.backup import Backup, open_backup, restore, seal_backup
from ox.backup_code import BackupCode
from ox.backup_node import (
    backup_address,
    prepare_backup_node,
    publish_backup,
    withdraw_backup,
)
from ox.elements import data_node
from ox.engine import KeyHandle, Revocation, S2kCount
from ox.engine_sequoia import SequoiaEngine
from ox.grammar import check_passphrase_message
from ox.own_key import keep
from ox.packets import Tag, read_packets, write_literal, write_packet
from tests.support.forge import Forged, encrypted, forged
from tests.support.leaks import Canary, everything_printable, no_leak_in_logs
from tests.support.openpgp import literal, seipd, skesk
from tests.support.ox_keys import JULIET, ROMEO, typed_code
from tests.support.ox_world import Person, World, dump, refused

CODE = typed_code("TWNK-KD5Y-MT3T-E1GS-DRDB-KVTW")
OTHER = typed_code("TWNK-KD5Y-MT3T-E1GS-DRDB-KVTX")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def juliet(world: World) -> Person:
    """Return Juliet on the device that her key is from."""
    return await world.person(JULIET)


@pytest.fixture
async def anew(world: World, juliet: Person) -> Person:
    """Return Juliet on a new device, which has fetched what her account announces."""
    found = world.stranger(JULIET)
    await found.gather(found)
    return found


async def holding(plaintext: bytes, code: BackupCode = CODE) -> Element:
    """Return a backup that holds any octets, cheap to open."""
    engine = SequoiaEngine(NativePrimitives())
    return carrying(await engine.lock(plaintext, code.passphrase, S2kCount.RANDOM_SECRET))


def carrying(message: bytes) -> Element:
    return element(ns.OX, "secretkey", None, encode_base64(message))


async def made_of(*keys: Forged) -> Element:
    return await holding(b"".join([key.secret.reveal() for key in keys]))


async def opened(person: Person, *keys: Forged) -> Backup:
    return await open_backup(person.ox, await made_of(*keys), CODE)


async def fingerprint(person: Person) -> Fingerprint:
    return (await person.ox.own_key()).certificate.fingerprint


def name(key: Forged) -> Fingerprint:
    return Fingerprint(key.name)


class TestSeal:
    async def test_what_is_sealed_opens(self, juliet: Person) -> None:
        sealed = await seal_backup(juliet.ox, CODE)
        backup = await open_backup(juliet.ox, sealed, CODE)
        assert backup.fingerprints == (await fingerprint(juliet),)
        assert backup.skipped == ()
        (key,), own = backup.keys, await juliet.ox.own_key()
        assert read_packets(key.material.reveal(), most=9) == read_packets(
            own.material.reveal(), most=9
        )

    async def test_its_form_is_the_specifications(self, juliet: Person) -> None:
        """One passphrase of the highest cost, and secret parts without protection inside."""
        sealed = await seal_backup(juliet.ox, CODE)
        assert write_xml(sealed).startswith("<secretkey xmlns='urn:xmpp:openpgp:0'>")
        assert parse_xml(write_xml(sealed)).same_content(sealed)
        message = decode_base64(sealed.text)
        assert [packet.tag for packet in read_packets(message, most=2)] == [Tag.SKESK, Tag.SEIPD]
        assert check_passphrase_message(message).skesk.s2k.coded_count == S2kCount.PASSPHRASE
        again = await seal_backup(juliet.ox, CODE)
        assert again != sealed
        plaintext = await juliet.ox.engine.unlock(message, CODE.passphrase)
        assert Secret(plaintext) == (await juliet.ox.own_key()).material

    async def test_keys_of_an_earlier_backup_stay_in_it(self, juliet: Person) -> None:
        old = forged(f"xmpp:{JULIET}")
        earlier = await opened(juliet, old)
        sealed = await seal_backup(juliet.ox, CODE, earlier.keys)
        backup = await open_backup(juliet.ox, sealed, CODE)
        assert backup.fingerprints == (await fingerprint(juliet), name(old))
        again = await seal_backup(juliet.ox, CODE, backup.keys)
        assert (await open_backup(juliet.ox, again, CODE)).fingerprints == backup.fingerprints

    async def test_keys_that_were_succeeded_are_in_it(self, juliet: Person) -> None:
        first, second = await fingerprint(juliet), new_key()
        await juliet.adopt(second.secret, replacing=first)
        backup = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        assert backup.fingerprints == (name(second), first)

    async def test_what_became_of_a_key_is_in_it(self, juliet: Person) -> None:
        """The key of the store goes before its copy from an earlier backup."""
        earlier = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        await juliet.revoke(Revocation.COMPROMISED)
        backup = await open_backup(
            juliet.ox, await seal_backup(juliet.ox, CODE, earlier.keys), CODE
        )
        assert [key.certificate.revoked for key in earlier.keys + backup.keys] == [False, True]

    async def test_without_a_key_there_is_no_backup(self, world: World) -> None:
        stranger = world.stranger(ROMEO)
        async with refused(ErrorCode.API_MISUSE, stranger):
            await seal_backup(stranger.ox, CODE)

    async def test_too_many_keys_are_refused(self, juliet: Person) -> None:
        key = (await opened(juliet, forged(f"xmpp:{JULIET}"))).keys[0]
        names = [Fingerprint(f"{n:040X}") for n in range(MAX_BACKUP_KEYS)]
        others = [renamed(key, each) for each in names]
        async with refused(ErrorCode.LIMIT_EXCEEDED, juliet):
            await seal_backup(juliet.ox, CODE, others)
        await seal_backup(juliet.ox, CODE, others[1:])


def renamed(key: KeyHandle, fingerprint: Fingerprint) -> KeyHandle:
    return replace(key, certificate=replace(key.certificate, fingerprint=fingerprint))


class TestOpen:
    async def test_g_22_a_wrong_code_is_said_clearly(self, juliet: Person) -> None:
        sealed = await seal_backup(juliet.ox, CODE)
        with pytest.raises(WrongBackupCode, match="the code does not open this backup") as caught:
            await open_backup(juliet.ox, sealed, OTHER)
        assert caught.value.code is ErrorCode.WRONG_BACKUP_CODE
        assert isinstance(caught.value, CannotDecrypt)
        assert caught.value.__cause__ is None
        assert (await open_backup(juliet.ox, sealed, CODE)).keys

    async def test_g_22_a_wrong_code_is_never_anything_else(self, juliet: Person) -> None:
        """A wrong session key may look like one of another cipher, or like none at all."""
        primitives = NativePrimitives()
        sealed = await made_of(forged(f"xmpp:{JULIET}"))
        packet, key = skesk(CODE.passphrase)
        bare = carrying(packet + seipd(key, literal(b"x")))  # as gpg writes it
        for _ in range(200):
            for backup in (sealed, bare):
                with pytest.raises(WrongBackupCode):
                    await open_backup(juliet.ox, backup, BackupCode.generate(primitives))

    async def test_g_22_truncated_or_altered_it_opens_nowhere(self, juliet: Person) -> None:
        sealed = await made_of(forged(f"xmpp:{JULIET}"))
        message = decode_base64(sealed.text)
        before = await dump(juliet.store)
        for position in range(0, len(message), 7):
            cut = message[:position]
            bent = bytearray(message)
            bent[position] ^= 0x10
            for raw in (cut, bytes(bent)):
                with pytest.raises((PeerMisbehaved, WrongBackupCode)):
                    await open_backup(juliet.ox, carrying(raw) if raw else empty(), CODE)
        for position in (len(message) - 1, len(message) // 2, 3):
            with pytest.raises(PeerMisbehaved) as caught:
                await open_backup(juliet.ox, carrying(message[:position]), CODE)
            assert caught.value.code is ErrorCode.MALFORMED
        assert await dump(juliet.store) == before
        assert (await open_backup(juliet.ox, sealed, CODE)).keys

    async def test_g_22_what_is_no_backup_is_refused(self, juliet: Person) -> None:
        sealed = await made_of(forged(f"xmpp:{JULIET}"))
        message = decode_base64(sealed.text)
        own = (await juliet.ox.own_key()).certificate.raw
        for wrong, code in (
            (element(ns.OX, "pubkey", None, sealed.text), ErrorCode.MALFORMED),
            (element("", "secretkey", None, sealed.text), ErrorCode.MALFORMED),
            (element(ns.OX, "secretkey", None, "-----BEGIN PGP MESSAGE-----"), ErrorCode.MALFORMED),
            (element(ns.OX, "secretkey", None, sealed.text, empty()), ErrorCode.MALFORMED),
            (empty(), ErrorCode.MALFORMED),
            (carrying(literal(b"x")), ErrorCode.NOT_ENCRYPTED),
            (carrying((await juliet.ox.own_key()).material.reveal()), ErrorCode.MALFORMED),
            (carrying(encrypted(literal(b"x"), own)), ErrorCode.MALFORMED),
            (carrying(message + message), ErrorCode.MALFORMED),
            (carrying(skesk()[0] + message), ErrorCode.LIMIT_EXCEEDED),
            (carrying(b"\xc3\x34\x04\x09\x04" + bytes(49)), ErrorCode.MALFORMED),
        ):
            async with refused(code, juliet):
                await open_backup(juliet.ox, wrong, CODE)

    async def test_white_space_around_it_does_not_matter(self, juliet: Person) -> None:
        """As in the specification's own example."""
        sealed = await made_of(forged(f"xmpp:{JULIET}"))
        wrapped = element(
            ns.OX, "secretkey", None, f"\n   {sealed.text[:64]}\n{sealed.text[64:]}\n"
        )
        assert (await open_backup(juliet.ox, wrapped, CODE)).keys

    async def test_g_22_anothers_backup_is_named_as_such(self, juliet: Person) -> None:
        async with refused(ErrorCode.SIGNER_MISMATCH, juliet):
            await opened(juliet, forged(f"xmpp:{ROMEO}"))

    @pytest.mark.parametrize(
        "user_id",
        [
            f"xmpp:{ROMEO}",
            f"xmpp:{JULIET}.evil.lit",
            f"xmpp:{JULIET}?message",
            f"xmpp:{JULIET}/balcony",
            f"xmpp:{JULIET} ",
            f"Juliet <{JULIET}>",
            JULIET,
            "xmpp:jul\u0456et@capulet.lit",
        ],
    )
    async def test_g_22_a_malicious_key_inside_is_skipped_and_told(
        self, juliet: Person, user_id: str
    ) -> None:
        sound, foreign = forged(f"xmpp:{JULIET}"), forged(user_id)
        for keys in ((sound, foreign), (foreign, sound)):
            backup = await opened(juliet, *keys)
            assert backup.fingerprints == (name(sound),)
            (skipped,) = backup.skipped
            assert skipped.fingerprint == name(foreign)
            assert skipped.error.code is ErrorCode.SIGNER_MISMATCH

    async def test_g_22_a_name_that_nobody_certified_is_none(self, juliet: Person) -> None:
        for user_id in (
            forged(f"xmpp:{JULIET}").without_name(f"xmpp:{JULIET}"),
            forged(certified=write_packet(Tag.USER_ID, f"xmpp:{JULIET}".encode())),
        ):
            with pytest.raises(PeerMisbehaved):
                await opened(juliet, user_id)

    async def test_g_22_unsound_keys_are_skipped(self, juliet: Person) -> None:
        """A public key, one with a passphrase, and rubbish between two sound ones."""
        sound, last = forged(f"xmpp:{JULIET}"), forged(f"xmpp:{JULIET}")
        public = forged(f"xmpp:{JULIET}").public
        body = bytearray(read_packets(forged("x").secret.reveal(), most=9)[0].body)
        body[body.index(0, 50)] = 254  # what protects it, in the place of nothing
        protected = write_packet(Tag.SECRET_KEY, bytes(body))
        rubbish = write_packet(Tag.SECRET_KEY, b"\x04rubbish")
        parts = [sound.secret.reveal(), public, protected, rubbish, last.secret.reveal()]
        backup = await open_backup(juliet.ox, await holding(b"".join(parts)), CODE)
        assert backup.fingerprints == (name(sound), name(last))
        assert [each.fingerprint for each in backup.skipped] == [None] * 3
        assert backup.skipped[0].error.code is ErrorCode.MALFORMED

    async def test_g_22_a_public_key_alone_is_no_backup(self, juliet: Person) -> None:
        async with refused(ErrorCode.MALFORMED, juliet):
            await open_backup(juliet.ox, await holding(forged(f"xmpp:{JULIET}").public), CODE)

    async def test_a_key_that_is_there_twice_is_taken_once(self, juliet: Person) -> None:
        key = forged(f"xmpp:{JULIET}")
        backup = await opened(juliet, key, key)
        assert backup.fingerprints == (name(key),)
        assert [each.fingerprint for each in backup.skipped] == [name(key)]

    async def test_g_22_what_the_clear_text_may_not_be(self, juliet: Person) -> None:
        key = forged(f"xmpp:{JULIET}").secret.reveal()
        user_id = write_packet(Tag.USER_ID, b"x")
        for plaintext, code in (
            (b"", ErrorCode.MALFORMED),
            (b"-----BEGIN PGP PRIVATE KEY BLOCK-----", ErrorCode.MALFORMED),
            (user_id + key, ErrorCode.MALFORMED),
            (key[:-1], ErrorCode.MALFORMED),
            (key + b"\0", ErrorCode.MALFORMED),
            (key + user_id * 17, ErrorCode.LIMIT_EXCEEDED),
            (key + write_packet(Tag.USER_ID, bytes(300_000)), ErrorCode.LIMIT_EXCEEDED),
            (write_packet(Tag.SECRET_KEY, b"x") * (MAX_BACKUP_KEYS + 1), ErrorCode.LIMIT_EXCEEDED),
            (user_id * 100_000, ErrorCode.LIMIT_EXCEEDED),
            (write_packet(Tag.SECRET_KEY, b"x") + user_id * 5000, ErrorCode.LIMIT_EXCEEDED),
        ):
            async with refused(code, juliet):
                await open_backup(juliet.ox, await holding(plaintext), CODE)

    async def test_z_01_nothing_prints_a_key_or_a_code(self, juliet: Person) -> None:
        sealed = await seal_backup(juliet.ox, CODE)
        material = (await juliet.ox.own_key()).material
        canaries = Canary(CODE.shown), Canary(OTHER.shown)
        with no_leak_in_logs(*canaries):
            backup = await open_backup(juliet.ox, sealed, CODE)
            errors: list[object] = []
            for wrong, code in (
                (sealed, OTHER),
                (await holding(material.reveal()[:-1]), CODE),
                (await holding(write_packet(Tag.USER_ID, b"x") + material.reveal()), CODE),
                (await signed_as_well(material), CODE),
            ):
                with pytest.raises(E2eeError) as caught:
                    await open_backup(juliet.ox, wrong, code)
                errors.append(caught.value)
        for subject in (backup, *errors):
            for where, printed in everything_printable(subject):
                for canary in canaries:
                    canary.assert_absent(printed, where)
                assert not shown(material, printed), where


async def signed_as_well(material: Secret) -> Element:
    """Return a backup with more in it than a literal, as gpg makes it that is told to sign, too."""
    with pytest.MonkeyPatch.context() as patch:
        signature = write_packet(Tag.SIGNATURE, b"\x04")
        patch.setattr("ox.container.write_literal", lambda data: write_literal(data) + signature)
        return await holding(material.reveal())


def shown(secret: Secret, printed: str) -> bool:
    return repr(secret.reveal()[-40:-1])[2:-1] in printed


def empty() -> Element:
    return element(ns.OX, "secretkey")


class TestRestore:
    async def test_a_new_device_takes_over_the_key(self, juliet: Person, anew: Person) -> None:
        romeo = await juliet.world.person(ROMEO)
        await romeo.gather(juliet)
        sealed = await seal_backup(juliet.ox, CODE)
        backup = await open_backup(anew.ox, sealed, CODE)
        assert await restore(anew.ox, backup) == await fingerprint(juliet)
        assert [type(effect) for effect in await anew.flush()] == [Publish, Publish]
        await anew.gather(romeo)
        found = await anew.open(await romeo.seal(juliet), romeo)
        assert found.content[0].text == "Good pilgrim"
        again = anew.restarted()
        assert (await again.ox.own_key()).material == backup.keys[0].material

    async def test_to_restore_the_same_key_changes_nothing(self, juliet: Person) -> None:
        backup = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        own, before = await fingerprint(juliet), await dump(juliet.store)
        assert await restore(juliet.ox, backup) == own
        assert await restore(juliet.ox, backup, chosen=own) == own
        assert await restore(juliet.ox, backup, replacing=own) == own
        assert await dump(juliet.store) == before

    async def test_what_else_is_in_it_is_taken_in_beside_the_same_key(self, juliet: Person) -> None:
        romeo = await juliet.world.person(ROMEO)
        own, older = await fingerprint(juliet), new_key()
        earlier = await juliet.world.person(JULIET, key=older.secret)
        await romeo.gather(earlier)
        letter = await romeo.seal(earlier)
        await earlier.gather(romeo)
        said, stamp = await earlier.seal(romeo), juliet.world.clock()
        both = await seal_backup(juliet.ox, CODE, (await opened(juliet, older)).keys)
        backup = await open_backup(juliet.ox, both, CODE)
        for _ in range(2):
            assert await restore(juliet.ox, backup) == own == await fingerprint(juliet)
        assert await juliet.flush() == []
        await juliet.gather(juliet, romeo)
        assert await juliet.open(letter, romeo)
        assert (await juliet.open(said, juliet, to=romeo, stamp=stamp)).signer == older.name
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(said, juliet, to=romeo)
        following = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        assert following.fingerprints == (own, name(older))

    async def test_g_22_what_it_brings_is_believed_only_once_it_was_looked_at(
        self, juliet: Person
    ) -> None:
        """It may have been revoked since, and is in no list."""
        older, romeo = new_key(), await juliet.world.person(ROMEO)
        earlier = await juliet.world.person(JULIET, key=older.secret)
        await earlier.gather(romeo)
        said, stamp = await earlier.seal(romeo), juliet.world.clock()
        await earlier.revoke(Revocation.COMPROMISED)
        await earlier.flush()
        both = await seal_backup(juliet.ox, CODE, (await opened(juliet, older)).keys)
        await restore(juliet.ox, await open_backup(juliet.ox, both, CODE))
        await juliet.gather(romeo)
        async with refused(ErrorCode.DATA_MISSING, juliet):
            await juliet.open(said, juliet, to=romeo, stamp=stamp)
        await juliet.gather(juliet)
        async with refused(ErrorCode.BAD_SIGNATURE, juliet):
            await juliet.open(said, juliet, to=romeo, stamp=stamp)

    async def test_what_gives_way_is_kept_as_we_hold_it(self, juliet: Person) -> None:
        """Not as the backup has it, which is older."""
        own, key = await fingerprint(juliet), new_key()
        earlier = await seal_backup(juliet.ox, CODE, (await opened(juliet, key)).keys)
        juliet.world.ahead = timedelta(minutes=1)
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        await juliet.ox.extend(until)
        backup = await open_backup(juliet.ox, earlier, CODE)
        await juliet.looked(lambda: restore(juliet.ox, backup, chosen=name(key), replacing=own))
        following = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        assert following.fingerprints == (name(key), own)
        assert following.keys[1].certificate.expires == until

    async def test_what_is_kept_already_stays_as_it_is(self, juliet: Person) -> None:
        first, second = await fingerprint(juliet), new_key()
        backup = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        await juliet.revoke(Revocation.RETIRED)
        await juliet.adopt(second.secret)
        both = await seal_backup(juliet.ox, CODE)
        before = await dump(juliet.store)
        await keep(juliet.ox, backup.keys)
        await restore(juliet.ox, await open_backup(juliet.ox, both, CODE), chosen=name(second))
        assert await dump(juliet.store) == before
        assert first in backup.fingerprints

    async def test_g_22_another_own_key_is_never_overwritten(self, juliet: Person) -> None:
        key, own = new_key(), await fingerprint(juliet)
        backup = await opened(juliet, key)
        for options in ({}, {"replacing": name(key)}, {"replacing": Fingerprint("A" * 40)}):
            with pytest.raises(TrustUndecided) as caught:
                await restore(juliet.ox, backup, **options)
            assert caught.value.subjects == (own, name(key))
            assert own in str(caught.value)
            assert key.name in str(caught.value)
        async with refused(ErrorCode.API_MISUSE, juliet):
            await juliet.ox.adopt(backup.keys[0].material)
        assert await fingerprint(juliet) == own

    async def test_its_owner_may_replace_it(self, juliet: Person) -> None:
        """The former key is not lost by that: it is in the next backup."""
        key, own = new_key(), await fingerprint(juliet)
        backup = await opened(juliet, key)
        restored = await juliet.looked(lambda: restore(juliet.ox, backup, replacing=own))
        assert restored == name(key) == await fingerprint(juliet.restarted())
        following = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        assert following.fingerprints == (restored, own)

    async def test_of_several_keys_one_is_chosen(self, world: World) -> None:
        first, second = new_key(), new_key()
        anew = world.stranger(JULIET)
        await anew.gather(anew)
        backup = await opened(anew, first, second)
        with pytest.raises(TrustUndecided) as caught:
            await restore(anew.ox, backup)
        assert caught.value.subjects == (name(first), name(second))
        with pytest.raises(ApiMisuse, match="is not in the backup"):
            await restore(anew.ox, backup, chosen=Fingerprint("A" * 40))
        restored = await anew.looked(lambda: restore(anew.ox, backup, chosen=name(second)))
        assert restored == name(second)

    async def test_a_revoked_key_is_no_choice(self, world: World) -> None:
        anew, sound = world.stranger(JULIET), new_key()
        await anew.gather(anew)
        backup = await opened(anew, new_key().revoked(), sound, new_key().revoked())
        assert await anew.looked(lambda: restore(anew.ox, backup)) == name(sound)

    async def test_our_list_comes_first(self, juliet: Person) -> None:
        anew = juliet.world.stranger(JULIET)
        backup = await open_backup(anew.ox, await seal_backup(juliet.ox, CODE), CODE)
        for _ in range(2):  # the list, then the key as it was published
            with pytest.raises(DataMissing) as caught:
                await restore(anew.ox, backup)
            (fetch,) = caught.value.fetches
            await anew.ox.feed(fetch, juliet.world.nodes[fetch.address])
        assert await restore(anew.ox, backup) == await fingerprint(juliet)

    async def test_g_22_an_older_backup_undoes_no_revocation(self, world: World) -> None:
        key = new_key()
        world.announce(JULIET, key.revoked().public)
        anew = world.stranger(JULIET)
        await anew.gather(anew)
        backup = await opened(anew, key)
        async with refused(ErrorCode.UNUSABLE_KEY, anew):
            await restore(anew.ox, backup)
        async with refused(ErrorCode.UNUSABLE_KEY, anew):
            await restore(anew.ox, backup, chosen=name(key))

    async def test_g_22_nor_does_a_server_that_shows_it_no_more(self, world: World) -> None:
        key = new_key()
        world.announce(JULIET, key.revoked().public)
        anew = world.stranger(JULIET)
        await anew.gather(anew)
        address = NodeAddress(anew.jid, data_node(name(key)))
        await anew.ox.feed(Fetch(address), None)
        world.announce(JULIET, key.public)
        await anew.hear_of(anew)
        backup = await opened(anew, key)
        async with refused(ErrorCode.UNUSABLE_KEY, anew):
            await restore(anew.ox, backup, chosen=name(key))

    async def test_g_22_a_key_that_was_announced_is_looked_at_first(self, world: World) -> None:
        """What the server withholds might be its revocation."""
        key = new_key()
        world.announce(JULIET, key.revoked().public)
        anew = world.stranger(JULIET)
        (fetch,) = await anew.ox.missing({anew.jid})
        await anew.ox.feed(fetch, world.nodes[fetch.address])
        backup = await opened(anew, key)
        async with refused(ErrorCode.DATA_MISSING, anew):
            await restore(anew.ox, backup, chosen=name(key))

    async def test_what_else_is_in_it_is_kept(self, juliet: Person) -> None:
        first, second = await fingerprint(juliet), new_key()
        await juliet.adopt(second.secret, replacing=first)
        await juliet.flush()
        sealed, anew = await seal_backup(juliet.ox, CODE), juliet.world.stranger(JULIET)
        await anew.gather(anew)
        backup = await open_backup(anew.ox, sealed, CODE)
        await restore(anew.ox, backup, chosen=name(second))
        following = await open_backup(anew.ox, await seal_backup(anew.ox, CODE), CODE)
        assert following.fingerprints == backup.fingerprints == (name(second), first)

    async def test_g_22_an_older_backup_in_place_of_the_newest_is_noticed(
        self, anew: Person
    ) -> None:
        old = new_key()
        backup = await opened(anew, old)
        async with refused(ErrorCode.UNDECIDED, anew):
            await restore(anew.ox, backup)
        restored = await anew.looked(lambda: restore(anew.ox, backup, chosen=name(old)))
        assert restored == name(old)

    async def test_g_22_a_distrusted_or_revoked_key_is_not_restored(self, anew: Person) -> None:
        (listed,) = (await anew.ox.keys(anew.jid)).keys
        await anew.ox.decide(anew.jid, listed.fingerprint, Trust.DISTRUSTED)
        backup = await opened(anew, revoked := new_key().revoked())
        assert backup.fingerprints == (name(revoked),)
        async with refused(ErrorCode.UNUSABLE_KEY, anew):
            await restore(anew.ox, backup, chosen=name(revoked))

    async def test_g_22_a_backup_of_another_account_is_not_restored(
        self, juliet: Person, world: World
    ) -> None:
        romeo = world.stranger(ROMEO)
        await romeo.gather(romeo)
        backup = await open_backup(juliet.ox, await seal_backup(juliet.ox, CODE), CODE)
        async with refused(ErrorCode.SIGNER_MISMATCH, romeo):
            await restore(romeo.ox, backup)


def new_key() -> Forged:
    return forged(f"xmpp:{JULIET}")


class Service:
    """A PEP service that keeps the configuration of one node, as faithfully as it is told to."""

    def __init__(self, config: NodeConfig | None = None, *, obeys: bool = True) -> None:
        self.config = config
        self.obeys = obeys

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Create | Configure) and (self.obeys or self.config is None):
            self.config = tuple((dict(self.config or ()) | dict(effect.config)).items())


PRIVATE: NodeConfig = (
    (ACCESS_MODEL, "whitelist"),
    (PERSIST_ITEMS, "1"),
    (MAX_ITEMS, "1"),
    (SEND_LAST_PUBLISHED_ITEM, "never"),
    (DELIVER_PAYLOADS, "0"),
    ("pubsub#title", "Keys"),
)
BACKUP = element(ns.OX, "secretkey", None, "AAAA")


class TestNode:
    async def test_a_new_node_is_created_private_and_looked_at(self, juliet: Person) -> None:
        service = Service()
        address = backup_address(juliet.jid)
        assert address.node == "urn:xmpp:openpgp:0:secret-key"
        assert await prepare_backup_node(juliet.ox, service.config)
        (create,) = await juliet.flush()
        assert isinstance(create, Create)
        assert create == Create(
            address,
            (
                (ACCESS_MODEL, "whitelist"),
                (PERSIST_ITEMS, "true"),
                (MAX_ITEMS, "1"),
                (SEND_LAST_PUBLISHED_ITEM, "never"),
                (DELIVER_PAYLOADS, "false"),
            ),
        )
        service.perform(create)
        assert service.config is not None
        assert not await prepare_backup_node(juliet.ox, service.config)
        await publish_backup(juliet.ox, BACKUP, service.config)
        (publish,) = await juliet.flush()
        assert isinstance(publish, Publish)
        assert (publish.address, publish.item_id) == (address, ItemId("current"))
        assert publish.options == ((ACCESS_MODEL, "whitelist"),)
        assert publish.payload.same_content(BACKUP)

    async def test_a_private_node_is_left_alone(self, juliet: Person) -> None:
        assert not await prepare_backup_node(juliet.ox, PRIVATE)
        assert await juliet.flush() == []

    @pytest.mark.parametrize(
        "wrong",
        [
            (ACCESS_MODEL, "open"),
            (ACCESS_MODEL, "presence"),
            (MAX_ITEMS, "10"),
            (PERSIST_ITEMS, "0"),
            (SEND_LAST_PUBLISHED_ITEM, "on_sub_and_presence"),
            (DELIVER_PAYLOADS, "true"),
        ],
    )
    async def test_another_configuration_is_changed(
        self, juliet: Person, wrong: tuple[str, str]
    ) -> None:
        service = Service(tuple((dict(PRIVATE) | dict([wrong])).items()))
        assert await prepare_backup_node(juliet.ox, service.config)
        (configure,) = await juliet.flush()
        assert isinstance(configure, Configure)
        service.perform(configure)
        assert not await prepare_backup_node(juliet.ox, service.config)

    async def test_fields_that_a_service_lacks_are_not_asked_for(self, juliet: Person) -> None:
        assert await prepare_backup_node(juliet.ox, ((ACCESS_MODEL, "open"), (MAX_ITEMS, "1")))
        (configure,) = await juliet.flush()
        assert configure == Configure(
            backup_address(juliet.jid), ((ACCESS_MODEL, "whitelist"), (MAX_ITEMS, "1"))
        )
        assert not await prepare_backup_node(juliet.ox, ((ACCESS_MODEL, "whitelist"),))

    async def test_g_22_a_service_that_ignores_what_is_asked_gets_no_backup(
        self, juliet: Person
    ) -> None:
        service = Service(((ACCESS_MODEL, "open"),), obeys=False)
        assert await prepare_backup_node(juliet.ox, service.config)
        for effect in await juliet.flush():
            service.perform(effect)
        assert service.config is not None
        async with refused(ErrorCode.FORBIDDEN, juliet):
            await publish_backup(juliet.ox, BACKUP, service.config)
        assert await juliet.flush() == []

    @pytest.mark.parametrize(
        "config",
        [
            (),
            ((ACCESS_MODEL, "open"),),
            ((ACCESS_MODEL, "authorize"),),
            ((ACCESS_MODEL, "Whitelist"),),
            ((ACCESS_MODEL, "whitelist "),),
            (("access_model", "whitelist"),),
            ((ACCESS_MODEL, "whitelist"), (ACCESS_MODEL, "open")),
            ((ACCESS_MODEL, "whitelist"), (ACCESS_MODEL, "whitelist")),
        ],
    )
    async def test_g_22_what_is_not_plainly_private_gets_no_backup(
        self, juliet: Person, config: NodeConfig
    ) -> None:
        async with refused(ErrorCode.FORBIDDEN, juliet):
            await publish_backup(juliet.ox, BACKUP, config)
        assert await prepare_backup_node(juliet.ox, config)

    async def test_a_backup_is_withdrawn_with_its_node(self, juliet: Person) -> None:
        await publish_backup(juliet.ox, BACKUP, PRIVATE)
        await withdraw_backup(juliet.ox)
        publish, delete = await juliet.flush()
        assert isinstance(publish, Publish)
        assert delete == Delete(backup_address(juliet.jid))
