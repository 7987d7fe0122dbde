"""Nodes after a renewal: what a copy knows decrypts, and encrypts once the owner confirms it."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2ee.effects import Send
from e2ee.errors import ApiMisuse, DataMissing, E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress, SecretId
from e2ee.renewal import Renewal, renew
from e2ee.secret import Secret
from e2ee.stores.anchor_files import AnchorFiles
from e2ee.stores.guarded import GuardedStore
from ox.elements import data_node, metadata_address
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.keychain_record import keychain_from_record, keychain_to_record
from pubsub_encryption.node_secret import NodeSecret, SecretState
from pubsub_encryption.sharing import known_nodes
from tests.support.anchors import GuardedFile, memory_with
from tests.support.blog import Stage
from tests.support.node_world import Network, Person, entry, stood_in
from tests.support.ox_world import dump
from tests.support.source import ROOT

JULIET, ROMEO, TYBALT = (
    BareJid.parse(each)
    for each in ("juliet@capulet.lit", "romeo@montague.lit", "tybalt@capulet.lit")
)
A, B, C = (Fingerprint(letter * 40) for letter in "ABC")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NODE = NodeAddress(JULIET, "blog")
FROZEN = ROOT / "tests" / "frozen"
# What is sent later was surely sent after a renewal of earlier. Both are within five minutes of the
# machine's time, by which messages are signed.
EARLIER, LATER = timedelta(minutes=-4), timedelta(minutes=4)


async def renewed(stage: Stage, name: str) -> Person:
    """Return somebody after a renewal, with all keys fetched again."""
    person = stage[name]
    assert isinstance(person.store, GuardedStore)
    await renew(person.store, person.jid, stage.network.clock)
    stage.network.ahead = LATER
    await person.learn(*(each.jid for each in stage.people.values()))
    return person


async def put_back(stage: Stage, name: str, rows: dict[tuple[str, ...], bytes]) -> None:
    """Let somebody go on with an older copy of their store."""
    person = stage[name]
    assert isinstance(person.store, GuardedStore)
    store = GuardedStore(await memory_with(rows), person.store._guard._anchor)
    older = Person(stage.network, person.jid, store)
    older.letters_read = person.letters_read
    stage.people[name] = older
    if name == "juliet":
        stage.juliet, stage.owner = older, older.node(stage.blog)


async def copy_of(stage: Stage, name: str) -> dict[tuple[str, ...], bytes]:
    person = stage[name]
    assert isinstance(person.store, GuardedStore)
    return await dump(person.store._inner)


async def guarded(folder: Path, *members: str, others: tuple[str, ...] = ()) -> Stage:
    """Return a blog, all of whose people are on one guarded store each."""
    stage = await Stage.set(*members, others=others, ahead=EARLIER)
    for number, (name, person) in enumerate(stage.people.items()):
        anchors = AnchorFiles(folder / f"anchors-{number}")
        store = GuardedStore(await memory_with(await dump(person.store)), anchors)
        device = Person(stage.network, person.jid, store)
        device.letters_read = person.letters_read
        stage.people[name] = device
        await device.outbox.done(0)  # the first commit under the guard
    stage.juliet = stage["juliet"]
    stage.owner = stage.juliet.node(stage.blog)
    return stage


def refuses(code: ErrorCode = ErrorCode.STORE_ROLLED_BACK) -> pytest.RaisesExc[E2eeError]:
    return pytest.raises(E2eeError, check=lambda error: error.code is code)


async def test_r_05_a_file_that_was_put_back_refuses_everything_until_it_is_renewed(
    tmp_path: Path,
) -> None:
    """The whole way, on a real file: a backup, a removal, the backup put back, a renewal."""
    file, network = GuardedFile(tmp_path), Network()
    async with file.opened() as store:
        (juliet,) = await network.people(str(JULIET), store=store)
        romeo, tybalt = await network.people(str(ROMEO), str(TYBALT))
        for each in (juliet, romeo, tybalt):
            await each.learn(JULIET, ROMEO, TYBALT)
        blog = juliet.node(NODE)
        await blog.create()
        await blog.grant(ROMEO)
        await blog.grant(TYBALT)
        await juliet.flush()
        await juliet.catch_up()
        item = await blog.encrypt(entry("before"))
    copy = file.copy("backup.db")
    async with file.opened() as store:
        juliet = Person(network, JULIET, store)
        await juliet.node(NODE).rotate(revoke={TYBALT})
        await juliet.flush()
    file.put_back(copy)
    bytes_before = file.path.read_bytes()
    async with file.opened() as store:
        juliet = Person(network, JULIET, store)
        blog = juliet.node(NODE)
        operations: list[Awaitable[object]] = [
            *(blog.keychain(), blog.encrypt(entry("x")), blog.decrypt(item, stood_in(NODE))),
            *(blog.create(), blog.grant(TYBALT), blog.rotate(), blog.approve(ROMEO, A)),
            *(blog.disapprove(A), blog.missing(), known_nodes(juliet.ox), juliet.catch_up()),
            *(juliet.outbox.pending(), juliet.ox.seal([entry("x")], {ROMEO})),
        ]
        for operation in operations:
            with refuses():
                await operation
    assert file.path.read_bytes() == bytes_before
    async with file.opened() as store:
        assert await renew(store, JULIET, network.clock) == ()
        juliet = Person(network, JULIET, store)
        blog = juliet.node(NODE)
        assert (await blog.decrypt(item, stood_in(NODE))).payload
        for attempt in (blog.encrypt(entry("x")), blog.grant(ROMEO)):
            with refuses():
                await attempt
        with pytest.raises(DataMissing):
            await juliet.ox.seal([entry("x")], {ROMEO})
        await juliet.learn(JULIET, ROMEO, TYBALT)
        with refuses():
            await blog.encrypt(entry("x"))
        rotation = await blog.rotate()
        assert rotation.unsure == (TYBALT, ROMEO)  # nobody here knows any more who has left
        assert not rotation.untold
        await blog.grant(ROMEO)
        await juliet.flush()
        item = await blog.encrypt(entry("after"))
        await romeo.catch_up()
        assert (await romeo.node(NODE).decrypt(item, stood_in(NODE))).payload
        await tybalt.catch_up()
        with refuses(ErrorCode.UNKNOWN_SECRET):
            await tybalt.node(NODE).decrypt(item, stood_in(NODE))
        assert (await blog.rotate()).unsure == ()


async def test_r_05_what_waited_in_the_copy_is_not_sent(tmp_path: Path) -> None:
    stage = await guarded(tmp_path, "romeo", others=("tybalt",))
    await stage.owner.grant(stage["tybalt"].jid)
    waited = await stage.juliet.outbox.pending()
    copy = await copy_of(stage, "juliet")
    await stage.juliet.flush()
    await stage.owner.rotate(revoke={stage["tybalt"].jid})
    await stage.juliet.flush()
    await put_back(stage, "juliet", copy)
    assert isinstance(stage.juliet.store, GuardedStore)
    assert await renew(stage.juliet.store, stage.juliet.jid, stage.network.clock) == waited
    assert await stage.juliet.flush() == []


async def test_r_05_a_member_encrypts_again_when_the_owner_has_granted_again(
    tmp_path: Path,
) -> None:
    stage = await guarded(tmp_path, "romeo", "tybalt")
    copy = await copy_of(stage, "romeo")
    read_before = stage["romeo"].letters_read
    await stage.owner.rotate(revoke={stage["tybalt"].jid})
    await stage.deliver()
    await stage.node("romeo").encrypt(entry("x"))
    await put_back(stage, "romeo", copy)
    with refuses():
        await stage.node("romeo").encrypt(entry("for Tybalt, too"))
    romeo = await renewed(stage, "romeo")
    blog = romeo.node(stage.blog)
    with refuses():
        await blog.encrypt(entry("for Tybalt, too"))
    # The archive brings the old secret again, and the network may leave out the new one.
    old, *_ = [each for each in stage.network.letters if each.to == romeo.jid]
    with refuses(ErrorCode.REPLAY):
        await romeo.read(old)
    with refuses():
        await blog.encrypt(entry("for Tybalt, too"))
    assert romeo.letters_read > read_before
    romeo.letters_read = read_before
    await romeo.catch_up()  # all of it; still nobody knows that it is all
    item = await stage.owner.encrypt(entry("y"))
    assert await stage.read("romeo", item) == "y"
    with refuses():
        await blog.encrypt(entry("x"))
    await stage.owner.grant(romeo.jid, again=True)
    await stage.juliet.flush()
    letters = stage.network.letters[romeo.letters_read :]
    assert len(letters) == 2
    await romeo.read(letters[0])  # the revoked secret alone says nothing of the current one
    with refuses():
        await blog.encrypt(entry("x"))
    await romeo.read(letters[1])
    assert await stage.read("juliet", await blog.encrypt(entry("z"))) == "z"


async def test_r_05_an_old_secret_shared_anew_as_revoked_confirms_nothing(tmp_path: Path) -> None:
    stage = await guarded(tmp_path, "romeo")
    copy = await copy_of(stage, "romeo")
    await stage.owner.rotate()
    await stage.deliver()
    await put_back(stage, "romeo", copy)
    romeo = await renewed(stage, "romeo")
    await stage.owner.grant(romeo.jid, again=True)
    await stage.juliet.flush()
    revoked, current = [each for each in stage.network.letters[-2:] if each.to == romeo.jid]
    await romeo.read(revoked)
    with refuses(ErrorCode.NO_ACTIVE_SECRET):
        await romeo.node(stage.blog).encrypt(entry("x"))
    await romeo.read(current)
    await romeo.node(stage.blog).encrypt(entry("x"))


async def test_r_05_a_node_that_the_copy_never_knew_needs_the_owners_word_too(
    tmp_path: Path,
) -> None:
    """What the archive gives of it may have been revoked by what the archive holds back."""
    stage = await guarded(tmp_path, others=("romeo",))
    copy = await copy_of(stage, "romeo")
    await stage.owner.grant(stage["romeo"].jid)
    await stage.juliet.flush()
    before = stage["romeo"].letters_read
    await stage["romeo"].catch_up()
    await put_back(stage, "romeo", copy)
    romeo = await renewed(stage, "romeo")
    romeo.letters_read = before
    await romeo.catch_up()
    with refuses():
        await romeo.node(stage.blog).encrypt(entry("x"))
    await romeo.node(stage.blog).approve(stage.juliet.jid, await stage.juliet.fingerprint())
    with refuses():
        await romeo.node(stage.blog).encrypt(entry("x"))
    await stage.owner.grant(romeo.jid, again=True)
    await stage.juliet.flush()
    await romeo.catch_up()
    await romeo.node(stage.blog).encrypt(entry("x"))


async def test_r_05_another_device_of_the_owner_confirms_too(tmp_path: Path) -> None:
    stage = await guarded(tmp_path, "romeo", "tybalt")
    phone = await stage.juliet.another_device()
    for letter in stage.network.letters:
        await phone.took_in(letter)
    await phone.learn(*(each.jid for each in stage.people.values()))
    copy = await copy_of(stage, "juliet")
    await stage.owner.rotate(revoke={stage["tybalt"].jid})
    await stage.deliver()
    for letter in stage.network.letters:
        await phone.took_in(letter)
    await put_back(stage, "juliet", copy)
    juliet = await renewed(stage, "juliet")
    await phone.node(stage.blog).rotate()
    await phone.flush()
    await juliet.catch_up()
    await stage.owner.encrypt(entry("x"))
    assert (await stage.owner.keychain()).members == {stage["romeo"].jid}
    assert (await stage.owner.rotate()).unsure == ()


async def test_n_12_a_device_of_ours_that_lacks_a_removal_confirms_no_secret_that_we_know(
    tmp_path: Path,
) -> None:
    """It shares the old secret with somebody else, and says nothing of who has left."""
    stage = await guarded(tmp_path, "romeo", "tybalt", others=("benvolio",))
    phone = await stage.juliet.another_device()
    for letter in stage.network.letters:
        await phone.took_in(letter)
    await phone.learn(*(each.jid for each in stage.people.values()))
    copy = await copy_of(stage, "juliet")
    await stage.owner.rotate(revoke={stage["tybalt"].jid})
    await stage.deliver()
    await put_back(stage, "juliet", copy)
    juliet = await renewed(stage, "juliet")
    juliet.letters_read = len(stage.network.letters)  # the network holds back what it can
    await phone.node(stage.blog).grant(stage["benvolio"].jid)
    await phone.flush()
    await juliet.catch_up()
    with refuses():
        await stage.owner.encrypt(entry("for Tybalt, too"))
    rotation = await stage.owner.rotate()
    assert stage["tybalt"].jid in rotation.unsure
    await stage.deliver()
    item = await stage.owner.encrypt(entry("x"))
    assert await stage.read("tybalt", item) == ErrorCode.UNKNOWN_SECRET


async def test_n_12_a_share_of_before_by_a_clock_that_is_ahead_confirms_nothing(
    tmp_path: Path,
) -> None:
    stage = await guarded(tmp_path, "tybalt", others=("romeo",))
    copy = await copy_of(stage, "romeo")
    stage.network.ahead = timedelta(minutes=0.5)
    await stage.owner.grant(stage["romeo"].jid)
    (share,) = (each for each in await stage.deliver() if isinstance(each, Send))
    (replayed,) = (each for each in stage.network.letters if each.id == share.id)
    await stage.owner.rotate(revoke={stage["tybalt"].jid})
    await stage.deliver()
    await put_back(stage, "romeo", copy)
    stage.network.ahead = timedelta(minutes=-3)
    romeo = await renewed(stage, "romeo")
    await romeo.read(replayed)
    with refuses():
        await romeo.node(stage.blog).encrypt(entry("for Tybalt, too"))
    await stage.owner.grant(romeo.jid, again=True)
    await stage.juliet.flush()
    await romeo.catch_up()
    await romeo.node(stage.blog).encrypt(entry("x"))


async def test_r_12_a_clock_that_was_behind_at_the_renewal_confirms_no_share_of_before(
    tmp_path: Path,
) -> None:
    stage = await guarded(tmp_path, "tybalt", "romeo")
    copy = await copy_of(stage, "romeo")
    await stage.owner.grant(stage["romeo"].jid, again=True)
    await stage.deliver()
    replayed = stage.network.letters[-1]
    assert replayed.to == stage["romeo"].jid
    await stage.owner.rotate(revoke={stage["tybalt"].jid})
    await stage.deliver()
    await put_back(stage, "romeo", copy)
    stage.network.ahead = timedelta(days=-1000)  # the clock's battery was empty
    romeo = await renewed(stage, "romeo")
    await romeo.read(replayed)
    with refuses():
        await romeo.node(stage.blog).encrypt(entry("for Tybalt, too"))
    await stage.owner.grant(romeo.jid, again=True)
    await stage.juliet.flush()
    await romeo.catch_up()
    await romeo.node(stage.blog).encrypt(entry("x"))


async def test_n_11_nothing_is_rotated_before_anybody_can_be_told(tmp_path: Path) -> None:
    """Else it would look done, and encrypt with what nobody has, our other devices included."""
    stage = await guarded(tmp_path, "romeo")
    juliet = stage.juliet
    assert isinstance(juliet.store, GuardedStore)
    await renew(juliet.store, juliet.jid, stage.network.clock)
    me = metadata_address(juliet.jid)
    ours = NodeAddress(juliet.jid, data_node(await juliet.fingerprint()))
    for address in (me, ours):
        before = await dump(juliet.store)
        with pytest.raises(DataMissing) as caught:
            await stage.owner.rotate()
        assert caught.value.fetches == (Fetch(address),)
        assert await dump(juliet.store) == before
        await juliet.ox.feed(Fetch(address), stage.network.nodes[address])
    rotation = await stage.owner.rotate()
    assert rotation.untold == {stage["romeo"].jid: ErrorCode.DATA_MISSING}
    assert [each.to for each in await juliet.flush() if isinstance(each, Send)] == [juliet.jid] * 2


async def test_r_05_a_new_node_of_a_renewed_account_is_like_any_other(tmp_path: Path) -> None:
    stage = await guarded(tmp_path, "romeo")
    juliet = await renewed(stage, "juliet")
    diary = juliet.node(NodeAddress(juliet.jid, "diary"))
    await diary.create()
    await diary.encrypt(entry("x"))
    await diary.grant(stage["romeo"].jid)


class TestKeychain:
    CHAIN = Keychain(
        NODE,
        JULIET,
        frozenset({A, B}),
        (
            NodeSecret(
                SecretId("old"),
                Secret(b"old" + b"x" * 40),
                NOW - timedelta(days=1),
                SecretState.REVOKED,
                frozenset({ROMEO, TYBALT}),
                "http://www.w3.org/2005/Atom",
                A,
            ),
            NodeSecret(
                SecretId("foreign"),
                Secret(b"foreign" + b"x" * 36),
                NOW - timedelta(hours=1),
                SecretState.REVOKED,
                signer=C,
                foreign=True,
            ),
            NodeSecret(
                SecretId("new"),
                Secret(b"new" + b"x" * 40),
                NOW,
                shared_with=frozenset({ROMEO}),
                type="http://www.w3.org/2005/Atom",
                signer=A,
            ),
        ),
        tombstones=frozenset({SecretId("unmet")}),
        buried=frozenset({(TYBALT, SecretId("buried"))}),
        members=frozenset({ROMEO}),
        removed=frozenset({TYBALT}),
    )

    def test_what_the_first_format_kept_is_read(self) -> None:
        raw = (FROZEN / "keychain-1.json").read_bytes()
        assert keychain_from_record(raw) == self.CHAIN
        assert b'"format":2' in keychain_to_record(self.CHAIN)

    def test_a_renewed_keychain_is_stored_and_read(self) -> None:
        renewed = self.CHAIN.renewed(Renewal(3, NOW))
        assert keychain_from_record(keychain_to_record(renewed)) == renewed
        assert (FROZEN / "keychain-2.json").read_bytes() == keychain_to_record(renewed)

    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            *(
                ("keychain-2.json", b'"renewal":3', b'"renewal":' + renewal)
                for renewal in (b"Infinity", b"NaN", b'"3"', b"3.0", b"3.7", b"-1", b"true")
            ),
            ("keychain-2.json", b'"confirmed":false', b'"confirmed":0'),
            ("keychain-2.json", b'"kind"', b'"more":1,"kind"'),
            ("keychain-1.json", b'"foreign":true', b'"foreign":1'),
            ("keychain-1.json", b'"kind"', b'"more":1,"kind"'),
        ],
    )
    def test_r_04_a_record_that_is_not_exactly_as_written_is_refused(
        self, file: str, old: bytes, new: bytes
    ) -> None:
        raw = (FROZEN / file).read_bytes()
        assert old in raw
        with pytest.raises(StoreFailed) as caught:
            keychain_from_record(raw.replace(old, new, 1))
        assert caught.value.code is ErrorCode.STORE_CORRUPT

    def test_only_the_word_on_the_newest_active_secret_confirms(self) -> None:
        renewed = self.CHAIN.renewed(Renewal(3, NOW))
        assert renewed.renewed(Renewal(3, NOW)) is renewed
        for name in ("old", "foreign", "unmet", "never"):
            with pytest.raises(ApiMisuse) as caught:
                _ = renewed.confirm(SecretId(name)).current
            assert caught.value.code is ErrorCode.STORE_ROLLED_BACK
        assert renewed.confirm(SecretId("new")).current.id == "new"
        again = renewed.confirm(SecretId("new")).renewed(Renewal(4, NOW))
        assert not again.confirmed

    def test_a_rotation_confirms_and_keeps_no_member(self) -> None:
        renewed = self.CHAIN.renewed(Renewal(3, NOW))
        rotated = renewed.rotate(SecretId("next"), Secret(b"n" * 43), NOW, A)
        assert rotated.current.id == "next"
        assert rotated.members == frozenset()
        assert rotated.removed == {TYBALT}

    def test_r_04_a_keychain_of_a_later_renewal_says_that_one_was_lost(self) -> None:
        with pytest.raises(StoreFailed) as caught:
            self.CHAIN.renewed(Renewal(3, NOW)).renewed(Renewal(2, NOW))
        assert caught.value.code is ErrorCode.STORE_CORRUPT
