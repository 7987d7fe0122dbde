"""OMEMO at the level of engines: devices with their keys, sessions in memory, altered messages.

Rule: no stores, no XML, no trust; a forged message differs from a genuine one in what its name says
alone. Randomness of our own keys is a seeded one, so that a failure repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Self, TypeVar

import pytest

from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.engine import (
    KeyExchange,
    OmemoEngine,
    PreKey,
    Ratchet,
    RatchetMessage,
    Received,
    SignedPreKey,
    SkippedKey,
)
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from tests.support.peers import require_module

__all__ = [
    "HEADER",
    "KEY_MATERIAL",
    "NOT_CANONICAL",
    "SMALL_ORDER",
    "UNFIT_IDENTITIES",
    "WRONG_SIZE",
    "Fields",
    "Half",
    "KeyOwner",
    "around",
    "inside",
    "met",
    "new_engine",
    "refusal",
    "refused",
    "reheaded",
    "varint",
]

_P = 2**255 - 19
_T = TypeVar("_T")


def _curve25519(number: int) -> bytes:
    return number.to_bytes(32, "little")


SMALL_ORDER = tuple(
    map(
        _curve25519,
        (
            0,
            1,
            325606250916557431795983626356110631294008115727848805560023387167927233504,
            39382357235489614581723060781553021112529911719440698176882885853963445705823,
            _P - 1,
        ),
    )
)
"""X25519 keys by which every shared secret is zero."""

NOT_CANONICAL = tuple(map(_curve25519, (_P, _P + 1, _P + 9, 2**255 - 1, 2**255, 2**255 + 9)))
"""Second forms of X25519 keys: beyond the field, or with the bit that everybody ignores."""

_SMALL_ORDER_ED25519 = tuple(
    bytes.fromhex(text)
    for text in (
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "00" * 32,
        "00" * 31 + "80",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
"""All eight Ed25519 keys of small order."""

UNFIT_IDENTITIES = {
    # y = 2**255 - 18 is 1 in another form; y = 2 is on no point of the curve.
    Version.TWO: (*_SMALL_ORDER_ED25519, _curve25519(2**255 - 18), _curve25519(2)),
    # u = 2 is on the twist, where X25519 computes as well, but no identity is.
    Version.LEGACY: (*SMALL_ORDER, *NOT_CANONICAL, _curve25519(2)),
}
"""Identity keys of 32 bytes, as each version writes them, that are none."""

WRONG_SIZE = (b"", b"\x09", b"\x09" * 31, b"\x09" * 33, b"\x05" + b"\x09" * 32, b"\x09" * 64)
"""Keys of 0, 1, 31, 33 and 64 bytes; one with the byte that the legacy version puts before it."""

KEY_MATERIAL = {Version.TWO: 48, Version.LEGACY: 32}
"""How many bytes of key material a message with a payload carries."""

HEADER = {Version.TWO: (1, 2, 3), Version.LEGACY: (2, 3, 1)}
"""The fields of a message: its number, the length of the chain before, the ratchet key."""


def new_engine(version: Version) -> OmemoEngine:
    """Return the engine of a version, or skip the test where its package is not installed."""
    if version is Version.TWO:
        from e2ee.omemo.engine_twomemo import TwomemoEngine

        return TwomemoEngine()
    require_module("oldmemo")
    from e2ee.omemo.engine_oldmemo import OldmemoEngine

    return OldmemoEngine()


@dataclass(frozen=True)
class KeyOwner:
    """A device with its keys.

    Attributes:
        engine: of its version.
        own: the seed of its identity.
        signed_pre_key: its signed prekey, with the id 1.
        pre_keys: its prekeys, by id.
    """

    engine: OmemoEngine
    own: Secret
    signed_pre_key: SignedPreKey
    pre_keys: dict[int, PreKey]

    @classmethod
    def new(cls, engine: OmemoEngine, name: str, *, pre_keys: int = 3) -> Self:
        """Make the device of this name, the same each time."""
        random = Random(name).randbytes
        own = engine.new_identity(random)
        return cls(
            engine,
            own,
            engine.new_signed_pre_key(own, 1, random),
            {number: engine.new_pre_key(number, random) for number in range(1, pre_keys + 1)},
        )

    @property
    def bundle(self) -> Bundle:
        """What it publishes."""
        return Bundle(
            version=self.engine.version,
            identity=self.engine.identity(self.own),
            signed_pre_key_id=self.signed_pre_key.id,
            signed_pre_key=self.signed_pre_key.public,
            signature=self.signed_pre_key.signature,
            pre_keys=tuple((number, key.public) for number, key in self.pre_keys.items()),
        )

    async def start(self, bundle: Bundle, key_material: Secret) -> tuple[Half, bytes]:
        """Begin a session; return our half, and the first message in its key exchange."""
        agreement, message = await self.engine.start(self.own, bundle, key_material)
        half = Half(self.engine, agreement.ratchet, agreement.bound, True, agreement.exchange)
        return half, self.engine.write_exchange(agreement.exchange, message)

    async def accept(self, raw: bytes) -> tuple[Half, Received]:
        """Accept a session by any message of its first chain."""
        exchange, message = self.engine.read_exchange(raw)
        agreement, received = await self.engine.accept(
            self.own, self.signed_pre_key, self.pre_keys[exchange.pre_key_id], exchange, message
        )
        half = Half(self.engine, received.ratchet, agreement.bound, False, exchange)
        half.keep(received)
        return half, received


@dataclass
class Half:
    """One side of a session, with the keys of what was skipped."""

    engine: OmemoEngine
    ratchet: Ratchet
    bound: bytes
    initiator: bool
    exchange: KeyExchange
    skipped: dict[tuple[bytes, int], SkippedKey] = field(default_factory=dict)

    async def write(self, key_material: Secret) -> bytes:
        """Encrypt, without a key exchange around it."""
        self.ratchet, message = await self.engine.encrypt(
            self.ratchet, self.bound, key_material, initiator=self.initiator
        )
        return message

    async def read(self, raw: bytes) -> Received:
        """Decrypt a message that stands in no key exchange; what fails changes nothing."""
        message = self.engine.read_message(raw)
        place = (message.ratchet_key, message.number)
        received = await self.engine.decrypt(
            self.ratchet,
            self.bound,
            message,
            self.skipped.get(place),
            initiator=self.initiator,
        )
        self.skipped.pop(place, None)
        self.keep(received)
        return received

    def keep(self, received: Received) -> None:
        """Take the state over."""
        self.ratchet = received.ratchet
        self.skipped |= {(key.ratchet_key, key.number): key for key in received.skipped}

    def copy(self) -> Half:
        """Return this half as it is now, for itself."""
        return replace(self, skipped=dict(self.skipped))


async def met(engine: OmemoEngine) -> tuple[Half, Half]:
    """Return both halves of a session whose first message arrived."""
    romeo, juliet = KeyOwner.new(engine, "romeo"), KeyOwner.new(engine, "juliet")
    first = Secret(bytes(range(KEY_MATERIAL[engine.version])))
    ours, raw = await romeo.start(juliet.bundle, first)
    theirs, _ = await juliet.accept(raw)
    return ours, theirs


def varint(number: int, *, excess: int = 0) -> bytes:
    """Return a number in the form of Protocol Buffers, ``excess`` bytes longer than it must be."""
    written = [number & 0x7F]
    while number := number >> 7:
        written.append(number & 0x7F)
    written += [0] * excess
    return bytes(byte | 0x80 for byte in written[:-1]) + bytes(written[-1:])


class Fields(list[tuple[int, int | bytes]]):
    """The fields of a message of Protocol Buffers, in any order and number."""

    def find(self, field: int) -> int | bytes:
        """Return the value of a field."""
        return next(value for number, value in self if number == field)

    def changed(self, field: int, value: int | bytes) -> Fields:
        """Return the same with another value for a field."""
        return Fields((number, value if number == field else old) for number, old in self)

    def written(self) -> bytes:
        """Return it in its wire form."""
        return b"".join(
            varint(number << 3) + varint(value)
            if isinstance(value, int)
            else varint(number << 3 | 2) + varint(len(value)) + value
            for number, value in self
        )

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Read what a library wrote."""
        fields, at = cls(), 0

        def number() -> int:
            nonlocal at
            value = shift = 0
            while True:
                byte = raw[at]
                at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
                if byte < 0x80:
                    return value

        while at < len(raw):
            key, size = number(), number()
            value: int | bytes = size
            if key & 7 == 2:
                value, at = raw[at : at + size], at + size
            fields.append((key >> 3, value))
        return fields


def inside(version: Version, raw: bytes) -> bytes:
    """Return the serialized header and ciphertext of a message."""
    if version is Version.LEGACY:
        return raw[1:-8]
    inner = Fields.read(raw).find(2)
    assert isinstance(inner, bytes)
    return inner


def around(version: Version, raw: bytes, inner: bytes) -> bytes:
    """Return a message with another inside; its authentication tag is left as it was."""
    if version is Version.LEGACY:
        return raw[:1] + inner + raw[-8:]
    return Fields.read(raw).changed(2, inner).written()


def reheaded(
    message: RatchetMessage,
    version: Version,
    *,
    ratchet_key: bytes | None = None,
    number: int | None = None,
    previous: int | None = None,
) -> bytes:
    """Return a message with another header; its authentication tag is left as it was."""
    numbers, previouses, keys = HEADER[version]
    fields = Fields.read(inside(version, message.raw))
    if number is not None:
        fields = fields.changed(numbers, number)
    if previous is not None:
        fields = fields.changed(previouses, previous)
    if ratchet_key is not None:
        encoded = ratchet_key if version is Version.TWO else b"\x05" + ratchet_key
        fields = fields.changed(keys, encoded)
    return around(version, message.raw, fields.written())


def refusal(call: Callable[[_T], object], subject: _T) -> ErrorCode | None:
    """Return why a peer's thing is refused, or ``None`` if it is not."""
    try:
        call(subject)
    except PeerMisbehaved as error:
        return error.code
    return None


async def refused(half: Half, raw: bytes, *codes: ErrorCode) -> None:
    """Have a forged message refused with one of these codes, and nothing changed."""
    before = half.copy()
    with pytest.raises((CannotDecrypt, PeerMisbehaved)) as caught:
        await half.read(raw)
    assert caught.value.code in (codes or (ErrorCode.MALFORMED, ErrorCode.CANNOT_DECRYPT))
    assert caught.value.__cause__ is None
    assert half == before
