"""No plaintext and no key of OMEMO is ever printed, by our code or the packages' (Z-01, Z-02, O23).

Rule: as ``tests/test_no_leak.py``; a class of OMEMO that holds a secret or a plaintext gets a line
in ``HOLDERS``.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.draft import Draft
from e2ee.errors import E2eeError, EngineFailed, StoreFailed
from e2ee.names import BareJid, Jid
from e2ee.omemo import decrypting
from e2ee.omemo.device import Device, DeviceId, IdentityFingerprint
from e2ee.omemo.engine import (
    Agreement,
    Chain,
    KeyExchange,
    PreKey,
    Ratchet,
    Received,
    SignedPreKey,
    SkippedKey,
)
from e2ee.omemo.opened import OpenedMessage, TransportedKey
from e2ee.omemo.opt_out import OptOut
from e2ee.omemo.own_record import OwnDevice, OwnKeys, OwnPreKey
from e2ee.omemo.plaintext import Plaintext
from e2ee.omemo.session import Session
from e2ee.omemo.session_rows import session_within
from e2ee.omemo.version import Version
from e2ee.records import pack
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.trust import Trust
from e2ee.xmltree import Element, element
from tests.support.leaks import Canary, everything_printable, no_leak_in_logs
from tests.support.omemo_letters import sealed
from tests.support.omemo_world import Party, World, body

PACKAGES = ("twomemo", "oldmemo", "doubleratchet", "x3dh", "xeddsa", "omemo")
CANARY = Canary("K4n4r1envogelSingtNiemalsLautImWaldeXYZ")
RAW = CANARY.raw[:32]
SECRET = Secret(RAW)
ROMEO = Device(BareJid.parse("romeo@montague.lit"), DeviceId(7))
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
EXCHANGE = KeyExchange(b"i" * 32, b"e" * 32, 1, 1)
RATCHET = Ratchet(RAW, b"o" * 32, b"p" * 32, Chain(RAW, 1), Chain(RAW, 2), Chain(RAW, 3), 4)
SIGNED = SignedPreKey(1, SECRET, b"p" * 32, b"s" * 64)
SAID = body(CANARY.text)


def _session() -> Session:
    return Session(
        Version.TWO, ROMEO, IdentityFingerprint("0" * 64), EXCHANGE, True, True, b"b", RATCHET
    )


def _opened() -> OpenedMessage:
    return OpenedMessage(
        id="0" * 64,
        version=Version.TWO,
        sender=ROMEO,
        fingerprint=IdentityFingerprint("0" * 64),
        trust=Trust.AUTOMATIC,
        arrival=Arrival(StanzaKind.MESSAGE, Jid(ROMEO.jid)),
        content=(SAID,),
        dropped=(SAID,),
        key=TransportedKey(SECRET, b"i" * 12),
        reason=CANARY.text,
    )


HOLDERS: dict[str, Callable[[], object]] = {
    "Agreement": lambda: Agreement(EXCHANGE, RATCHET, b"b"),
    "Chain": lambda: Chain(RAW, 1),
    "OpenedMessage": _opened,
    "OptOut": lambda: OptOut(CANARY.text),
    "OwnDevice": lambda: OwnDevice(ROMEO, SECRET),
    "OwnKeys": lambda: OwnKeys(Version.TWO, SIGNED, NOW, SIGNED, 1, 1, False, (), 0),
    "OwnPreKey": lambda: OwnPreKey(PreKey(1, SECRET, b"p" * 32)),
    "Plaintext": lambda: Plaintext((SAID,), (SAID,), key=TransportedKey(SECRET, b"i" * 12)),
    "PreKey": lambda: PreKey(1, SECRET, b"p" * 32),
    "Ratchet": lambda: RATCHET,
    "Received": lambda: Received(SECRET, RATCHET, (SkippedKey(b"r" * 32, 1, RAW),)),
    "Session": _session,
    "SignedPreKey": lambda: SIGNED,
    "SkippedKey": lambda: SkippedKey(b"r" * 32, 1, RAW),
    "TransportedKey": lambda: TransportedKey(SECRET, b"i" * 12),
}
"""Objects that hold the canary, each by the name of its class."""


@pytest.fixture(autouse=True)
def packages() -> None:
    """Have the loggers of all packages there before anybody listens."""
    for name in PACKAGES:
        with suppress(ImportError):
            importlib.import_module(name)


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
def test_z_01_holders_do_not_print_what_they_hold(make: Callable[[], object]) -> None:
    with no_leak_in_logs(CANARY):
        for where, printed in everything_printable(make()):
            Canary(CANARY.text[:32]).assert_absent(printed, where)


@pytest.fixture
async def met() -> tuple[Party, Party]:
    """Return two devices that have a session with each other."""
    world = World()
    juliet, romeo = [
        await world.device(jid) for jid in ("juliet@capulet.lit", "romeo@montague.lit")
    ]
    await juliet.say("hello", romeo)
    await romeo.read()
    await romeo.flush()
    await juliet.read()
    return juliet, romeo


async def session_of(party: Party, peer: Party) -> Session:
    async with party.store.exclusive(party.sessions.scope) as tx:
        found = await session_within(Draft(tx, party.jid), Version.TWO, peer.device)
    assert found is not None
    return found


async def keys_of(party: Party, peer: Party) -> list[Canary]:
    """Return what must not be printed: the identity, and what the session is made of."""
    own = await party.sessions.own_device()
    ratchet = (await session_of(party, peer)).ratchet
    chains = [chain for chain in (ratchet.root, ratchet.sending, ratchet.receiving) if chain]
    raws = [own.identity.reveal(), ratchet.own_private, *(chain.key for chain in chains)]
    return [Canary.of_key(raw) for raw in raws]


async def test_z_02_no_logger_is_told_what_is_said_or_by_which_keys(
    met: tuple[Party, Party],
) -> None:
    """Neither of a conversation, out of order, with a new session, nor of what is refused."""
    juliet, romeo = met
    keys = await keys_of(juliet, romeo) + await keys_of(romeo, juliet)
    with no_leak_in_logs(CANARY, *keys):
        for text in (CANARY.text, f"{CANARY.text} again"):
            await juliet.say(text, romeo)
        juliet.world.mail[-2:] = juliet.world.mail[:-3:-1]
        opened = await romeo.read()
        assert {message.content[0].text[: len(CANARY.text)] for message in opened} == {CANARY.text}
        await juliet.looked(lambda: juliet.sessions.renew_session(romeo.device))
        await juliet.flush()
        await juliet.say(CANARY.text, romeo)
        await romeo.read()
        await romeo.sessions.delivered(await romeo.sessions.undelivered())
        for letter in juliet.world.mail:
            for altered in (letter.children[0], without_payload(letter.children[0])):
                with pytest.raises(E2eeError):
                    await romeo.decrypt(altered, juliet)


def without_payload(encrypted: Element) -> Element:
    return element(ns.OMEMO_2, "encrypted", None, encrypted.only(ns.OMEMO_2, "header"))


async def refusals(juliet: Party, romeo: Party) -> AsyncIterator[E2eeError]:
    """Yield the errors of what is refused while keys and a plaintext are at hand."""
    said = await juliet.encrypt(romeo, content=[SAID])
    broken = [await sealed(juliet, romeo, text.encode()) for text in (f"<x>{SAID.text}", SAID.text)]
    paris = BareJid.parse("paris@verona.lit")
    for encrypted in (without_payload(said.elements[0]), *said.elements, *broken):
        arrival = romeo.arrival(juliet, to=paris)
        with pytest.raises(E2eeError) as caught:
            await romeo.decrypt(encrypted, juliet, to=paris)
        yield caught.value
        async with romeo.store.exclusive(romeo.sessions.scope) as tx:
            draft = Draft(tx, romeo.jid)
            with pytest.raises(E2eeError) as caught:
                await decrypting.decrypt_within(romeo.sessions, draft, encrypted, arrival)
        yield caught.value
        [error] = await decrypting.decrypt_many(romeo.sessions, [(encrypted, arrival)])
        assert isinstance(error, E2eeError)
        assert error.__traceback__ is None  # nor does it keep anything alive
        yield error
    romeo.world.nodes.clear()
    with pytest.raises(E2eeError) as caught:
        await juliet.sessions.encrypt([SAID], {BareJid.parse("paris@verona.lit")})
    yield caught.value


async def test_z_01_no_refusal_prints_what_was_said_or_by_which_keys(
    met: tuple[Party, Party],
) -> None:
    """A traceback with the locals of all frames shows neither."""
    juliet, romeo = met
    keys = await keys_of(juliet, romeo) + await keys_of(romeo, juliet)
    async for error in refusals(juliet, romeo):
        assert error.__cause__ is None
        assert error.__context__ is None
        for where, printed in everything_printable(error):
            for key in (CANARY, *keys):
                key.assert_absent(printed, where)


async def test_z_01_a_damaged_session_does_not_print_its_keys(met: tuple[Party, Party]) -> None:
    juliet, romeo = met
    keys = await keys_of(juliet, romeo)
    row = (str(juliet.jid), "omemo", "session", "TWO", str(romeo.jid), str(romeo.device.id))
    await juliet.write(Put(row, pack("omemo-session", 1, {"own": CANARY.text})))
    with no_leak_in_logs(CANARY, *keys), pytest.raises(StoreFailed) as caught:
        await juliet.encrypt(romeo)
    for where, printed in everything_printable(caught.value):
        if "traceback" not in where:
            CANARY.assert_absent(printed, where)


async def test_z_01_an_engine_that_fails_does_not_print_its_keys(met: tuple[Party, Party]) -> None:
    juliet, romeo = met
    keys = await keys_of(juliet, romeo)
    session = await session_of(juliet, romeo)
    broken = replace(session.ratchet, peer_public=b"short", sending=Chain(b"", -1))
    engine = juliet.sessions.engines[Version.TWO]
    with no_leak_in_logs(*keys), pytest.raises(EngineFailed) as caught:
        await engine.encrypt(broken, session.bound, Secret(bytes(48)), initiator=True)
    for where, printed in everything_printable(caught.value):
        for key in keys:
            key.assert_absent(printed, where)
