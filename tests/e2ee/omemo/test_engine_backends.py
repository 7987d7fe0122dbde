"""Holds our engines to the packages' own backends: conversations in which one side is each of them.

Rule: the backends are driven as python-omemo drives them, with their own storage; what a server may
do to a conversation, hypothesis chooses.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
import x3dh
import xeddsa
from hypothesis import given
from hypothesis import strategies as st
from omemo.storage import Just, Maybe, Nothing, Storage
from omemo.types import JSONType

from e2ee.omemo.bundle import Bundle
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from tests.support.omemo_forge import KEY_MATERIAL, Half, KeyOwner, new_engine
from tests.support.peers import require_module

PACKAGES = {Version.TWO: "twomemo", Version.LEGACY: "oldmemo"}
_WHOM = ("somebody@capulet.example", 1)


class _Memory(Storage):
    """python-omemo's storage, in a dictionary."""

    def __init__(self) -> None:
        super().__init__(disable_cache=True)
        self._values: dict[str, JSONType] = {}

    async def _load(self, key: str) -> Maybe[JSONType]:
        return Just(self._values[key]) if key in self._values else Nothing()

    async def _store(self, key: str, value: JSONType) -> None:
        self._values[key] = value

    async def _delete(self, key: str) -> None:
        self._values.pop(key, None)


class _Side(ABC):
    """One device of the conversation."""

    started = False
    """Whether the session was begun by this side."""

    confirmed = False
    """Whether the other side has answered."""

    @property
    @abstractmethod
    def has_session(self) -> bool: ...

    @abstractmethod
    async def bundle(self) -> Bundle: ...

    @abstractmethod
    async def start(self, bundle: Bundle, key_material: bytes) -> bytes: ...

    @abstractmethod
    async def write(self, key_material: bytes) -> bytes:
        """Encrypt; in a key exchange, until this side has heard of the other."""

    @abstractmethod
    async def read(self, raw: bytes, *, exchange: bool) -> bytes: ...


@dataclass
class _Ours(_Side):
    """Our engine."""

    owner: KeyOwner
    half: Half | None = None

    @property
    def has_session(self) -> bool:
        return self.half is not None

    async def bundle(self) -> Bundle:
        return self.owner.bundle

    async def start(self, bundle: Bundle, key_material: bytes) -> bytes:
        self.owner.engine.check_bundle(bundle)
        self.half, raw = await self.owner.start(bundle, Secret(key_material))
        self.started = True
        return raw

    async def write(self, key_material: bytes) -> bytes:
        assert self.half is not None
        raw = await self.half.write(Secret(key_material))
        if self.started and not self.confirmed:
            return self.owner.engine.write_exchange(self.half.exchange, raw)
        return raw

    async def read(self, raw: bytes, *, exchange: bool) -> bytes:
        if self.half is None:
            self.half, received = await self.owner.accept(raw)
        else:
            if exchange:
                told, message = self.owner.engine.read_exchange(raw)
                assert told == self.half.exchange
                raw = message.raw
            received = await self.half.read(raw)
        self.confirmed = True
        return received.key_material.reveal()


@dataclass
class _Theirs(_Side):
    """The package's backend."""

    version: Version
    package: ModuleType
    backend: Any
    session: Any = None

    @classmethod
    async def new(cls, version: Version) -> _Theirs:
        name = PACKAGES[version]
        package = require_module(f"{name}.{name}")
        backend = getattr(package, name.capitalize())(_Memory())
        await backend.generate_pre_keys(3)
        return cls(version, package, backend)

    @property
    def has_session(self) -> bool:
        return self.session is not None

    async def bundle(self) -> Bundle:
        """Return it as its XML would say, which the legacy version writes in another form."""
        theirs = await self.backend.get_bundle(*_WHOM)
        identity, signature = theirs.bundle.identity_key, theirs.bundle.signed_pre_key_sig
        if self.version is Version.LEGACY:
            signature = signature[:-1] + bytes([signature[-1] | identity[-1] & 0x80])
            identity = xeddsa.ed25519_pub_to_curve25519_pub(identity)
        return Bundle(
            version=self.version,
            identity=identity,
            signed_pre_key_id=theirs.signed_pre_key_id,
            signed_pre_key=theirs.bundle.signed_pre_key,
            signature=signature,
            pre_keys=tuple((number, public) for public, number in theirs.pre_key_ids.items()),
        )

    async def start(self, bundle: Bundle, key_material: bytes) -> bytes:
        identity, signature = bundle.identity, bundle.signature
        if self.version is Version.LEGACY:
            # Ours always have the sign 0.
            identity = xeddsa.curve25519_pub_to_ed25519_pub(identity, False)
        pre_keys = {public: number for number, public in bundle.pre_keys}
        self.session, encrypted = await self.backend.build_session_active(
            *_WHOM,
            self.package.BundleImpl(
                *_WHOM,
                x3dh.Bundle(identity, bundle.signed_pre_key, signature, frozenset(pre_keys)),
                bundle.signed_pre_key_id,
                pre_keys,
            ),
            self._plain(key_material),
        )
        self.started = True
        return self._in_exchange(encrypted.serialize())

    async def write(self, key_material: bytes) -> bytes:
        encrypted = await self.backend.encrypt_key_material(self.session, self._plain(key_material))
        raw: bytes = encrypted.serialize()
        return self._in_exchange(raw) if self.started and not self.confirmed else raw

    async def read(self, raw: bytes, *, exchange: bool) -> bytes:
        sign = () if self.version is Version.TWO else (False,)
        if exchange:
            told, raw = self.package.KeyExchangeImpl.parse(raw, *sign)
        encrypted = self.package.EncryptedKeyMaterialImpl.parse(raw, *_WHOM)
        if self.session is None:
            self.session, plain = await self.backend.build_session_passive(*_WHOM, told, encrypted)
        else:
            plain = await self.backend.decrypt_key_material(self.session, encrypted)
        self.confirmed = True
        key_material: bytes = plain.key + plain.auth_tag
        return key_material

    def _plain(self, key_material: bytes) -> Any:
        plain = self.package.PlainKeyMaterialImpl
        return plain(key_material[: plain.KEY_LENGTH], key_material[plain.KEY_LENGTH :])

    def _in_exchange(self, raw: bytes) -> bytes:
        serialized = self.session.key_exchange.serialize(raw)
        told: bytes = serialized if self.version is Version.TWO else serialized[0]
        return told


@dataclass
class _Talk:
    """A conversation, and what is on its way in it."""

    version: Version
    sides: list[_Side]
    sent: int = 0
    on_the_way: list[list[tuple[bytes, bytes, bool]]] = field(default_factory=lambda: [[], []])

    def _key_material(self) -> bytes:
        self.sent += 1
        return self.sent.to_bytes(KEY_MATERIAL[self.version])

    async def start(self) -> None:
        key_material = self._key_material()
        raw = await self.sides[0].start(await self.sides[1].bundle(), key_material)
        self.on_the_way[1].append((key_material, raw, True))

    async def write(self, writer: int) -> None:
        side = self.sides[writer]
        if side.has_session:
            key_material, exchange = self._key_material(), side.started and not side.confirmed
            raw = await side.write(key_material)
            self.on_the_way[1 - writer].append((key_material, raw, exchange))

    async def read(self, reader: int, which: int) -> None:
        """Deliver one of the messages on their way, whichever it is."""
        if waiting := self.on_the_way[reader]:
            key_material, raw, exchange = waiting.pop(which % len(waiting))
            if self.sides[reader].has_session or exchange:
                assert await self.sides[reader].read(raw, exchange=exchange) == key_material

    def drop(self, reader: int, which: int) -> None:
        if len(waiting := self.on_the_way[reader]) > 1:
            waiting.pop(which % len(waiting))


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "read", "read", "read", "drop"]),
        st.integers(0, 1),
        st.integers(0, 5),
    ),
    max_size=40,
)


async def _talk(version: Version, ours_first: bool, steps: list[tuple[str, int, int]]) -> None:
    engine: OmemoEngine = new_engine(version)
    sides: list[_Side] = [_Ours(KeyOwner.new(engine, "romeo")), await _Theirs.new(version)]
    talk = _Talk(version, sides if ours_first else sides[::-1])
    await talk.start()
    for what, side, which in steps:
        match what:
            case "write":
                await talk.write(side)
            case "read":
                await talk.read(side, which)
            case _:
                talk.drop(side, which)
    for side in (1, 0, 1):
        while talk.on_the_way[side]:
            await talk.read(side, 0)
        await talk.write(side)


@pytest.mark.slow
@pytest.mark.parametrize("ours_first", [True, False], ids=["ours begins", "theirs begins"])
@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
@given(steps=_STEPS)
def test_whatever_one_writes_the_other_reads(
    version: Version, ours_first: bool, steps: list[tuple[str, int, int]]
) -> None:
    """In any order, with losses, over any number of ratchet steps."""
    asyncio.run(_talk(version, ours_first, steps))


@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
async def test_payloads_are_read_both_ways(version: Version) -> None:
    theirs, engine = await _Theirs.new(version), new_engine(version)
    for length in (0, 1, 15, 16, 17, 1000):
        plaintext = bytes(range(256))[:length] * (1 + length // 256)
        payload, key_material = engine.seal_payload(plaintext, lambda count: bytes(count))
        content = theirs.package.ContentImpl(payload.ciphertext, *filter(None, [payload.iv]))
        if payload.ciphertext:  # theirs takes an empty one for none
            plain = theirs._plain(key_material.reveal())
            assert await theirs.backend.decrypt_plaintext(content, plain) == plaintext
        content, plain = await theirs.backend.encrypt_plaintext(plaintext)
        iv = content.initialization_vector if version is Version.LEGACY else None
        assert (
            engine.open_payload(
                type(payload)(content.ciphertext, iv), Secret(plain.key + plain.auth_tag)
            )
            == plaintext
        )


async def test_labels_are_signed_both_ways() -> None:
    theirs, engine = await _Theirs.new(Version.TWO), new_engine(Version.TWO)
    signature = await theirs.backend.sign_own_label("Libervia")
    fingerprint = engine.fingerprint((await theirs.bundle()).identity)
    assert engine.is_label_of("Libervia", signature, fingerprint)
    romeo = KeyOwner.new(engine, "romeo")
    assert await theirs.backend.verify_label_signature(
        "ours", engine.sign_label(romeo.own, "ours"), engine.identity(romeo.own)
    )


async def test_empty_messages_are_the_same() -> None:
    theirs, engine = await _Theirs.new(Version.TWO), new_engine(Version.TWO)
    _, plain = await theirs.backend.encrypt_empty()
    assert engine.empty == Secret(plain.key + plain.auth_tag)
