"""Signatures that prove nothing: by keys that may not sign, of kinds that say something else, weak.

Rule: each is sound but for the one thing that its name says, and has a sound twin in ``SOUND`` to
show that nothing else is wrong with it; what must become of it, tests say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.support.forge import (
    ENCRYPT,
    LONG_AGO,
    SIGN,
    Forged,
    KeyPair,
    SignatureKind,
    bind,
    certify,
    forged,
    new_ed25519,
    new_rsa,
    revoke,
    sign,
    subpacket,
)

__all__ = ["ROMEO", "SOUND", "UNFIT", "Unfit"]

ROMEO = "xmpp:romeo@montague.lit"
_DAY, _CENTURY = timedelta(days=1), timedelta(days=36500)
_NOTATION = bytes(4) + b"\0\3\0\1a@bc"  # the name "a@b", the value "c"


@dataclass(frozen=True)
class Unfit:
    """Romeo's key as a server delivers it, and a signature that claims to be by it."""

    key: Forged
    signature: bytes


def _plain(**how: object) -> Callable[[bytes], Unfit]:
    def made(data: bytes) -> Unfit:
        key = forged(ROMEO)
        return Unfit(key, sign(key.primary, data, **how))  # type: ignore[arg-type]

    return made


def _subkey(
    *, after: Callable[[KeyPair, KeyPair], bytes] | None = None, flags: bytes = SIGN, **how: object
) -> Callable[[bytes], Unfit]:
    """Sign by a subkey; ``after`` is what stands behind it instead of a sound binding."""

    def made(data: bytes) -> Unfit:
        key, subkey = forged(ROMEO), new_ed25519()
        if after is not None:
            binding = after(key.primary, subkey)
        else:
            binding = bind(key.primary, subkey, flags, **how)  # type: ignore[arg-type]
        return Unfit(key.plus(subkey, binding), sign(subkey, data))

    return made


def _certified(key: KeyPair, **how: object) -> Forged:
    return forged(primary=key, certified=certify(key, ROMEO.encode(), **how))  # type: ignore[arg-type]


def _unknown(data: bytes) -> Unfit:
    return Unfit(forged(ROMEO), sign(new_ed25519(), data))


def _spoofed_issuer(data: bytes) -> Unfit:
    key = forged(ROMEO)
    return Unfit(key, sign(new_ed25519(), data, issuer=key.primary))


def _other_data(data: bytes) -> Unfit:
    key = forged(ROMEO)
    return Unfit(key, sign(key.primary, data + b"!"))


def _damaged(data: bytes) -> Unfit:
    key = forged(ROMEO)
    signature = bytearray(sign(key.primary, data))
    signature[-1] ^= 1
    return Unfit(key, bytes(signature))


def _revoked(reason: int) -> Callable[[bytes], Unfit]:
    def made(data: bytes) -> Unfit:
        key = forged(ROMEO)
        return Unfit(key.revoked(reason), sign(key.primary, data))

    return made


def _primary(**how: object) -> Callable[[bytes], Unfit]:
    def made(data: bytes) -> Unfit:
        key = new_ed25519()
        return Unfit(_certified(key, **how), sign(key, data))

    return made


def _from_before_its_key(data: bytes) -> Unfit:
    key = forged(ROMEO)
    return Unfit(key, sign(key.primary, data, created=LONG_AGO - _DAY))


def _rsa_subkey(bits: int) -> Callable[[bytes], Unfit]:
    def made(data: bytes) -> Unfit:
        key, subkey = forged(ROMEO), new_rsa(bits)
        return Unfit(key.plus(subkey, bind(key.primary, subkey, SIGN)), sign(subkey, data))

    return made


def _forged_binding(primary: KeyPair, subkey: KeyPair) -> bytes:
    return bind(primary, subkey, SIGN, by=subkey)


def _unbound(primary: KeyPair, subkey: KeyPair) -> bytes:
    return b""


def _revoked_subkey(primary: KeyPair, subkey: KeyPair) -> bytes:
    return bind(primary, subkey, SIGN) + revoke(primary, subkey)


UNFIT: dict[str, Callable[[bytes], Unfit]] = {
    "by an unknown key": _unknown,
    "by an unknown key that claims to be the known one": _spoofed_issuer,
    "over other data": _other_data,
    "damaged": _damaged,
    "by a subkey without a binding": _subkey(after=_unbound),
    "by a subkey that bound itself": _subkey(after=_forged_binding),
    "by a subkey without a back-signature": _subkey(back_signed=False),
    "by a subkey that only encrypts": _subkey(flags=ENCRYPT),
    "by a revoked subkey": _subkey(after=_revoked_subkey),
    "by an expired subkey": _subkey(key_lasts=_DAY),
    "by a subkey of RSA-1024": _rsa_subkey(1024),
    "by a compromised key": _revoked(2),
    "by a revoked key, no reason given": _revoked(0),
    "by a superseded key": _revoked(1),
    "by an expired key": _primary(key_lasts=_DAY),
    "by a key that only certifies": _primary(flags=b"\x01"),
    "expired": _plain(created=LONG_AGO + _DAY, lasts=_DAY),
    "from the future": _plain(created=datetime.now(UTC) + _DAY),
    "from before its key": _from_before_its_key,
    "SHA-1": _plain(hash_name="sha1"),
    "MD5": _plain(hash_name="md5"),
    "in text mode": _plain(kind=SignatureKind.TEXT),
    "a standalone signature": _plain(kind=SignatureKind.STANDALONE),
    "a timestamp": _plain(kind=SignatureKind.TIMESTAMP),
    "a certification": _plain(kind=SignatureKind.CERTIFICATION),
    "with an unknown critical subpacket": _plain(hashed=subpacket(60, b"x", critical=True)),
    "with an unknown critical notation": _plain(hashed=subpacket(20, _NOTATION, critical=True)),
}
"""By what is wrong with each: makes it over the data that it is given."""

SOUND: dict[str, Callable[[bytes], Unfit]] = {
    "by the primary key": _plain(),
    "by a subkey": _subkey(),
    "by a subkey that expires later": _subkey(key_lasts=_CENTURY),
    "by a subkey of RSA-2048": _rsa_subkey(2048),
    "by a key that expires later": _primary(key_lasts=_CENTURY),
    "that expires later": _plain(lasts=_DAY),
    "from long ago": _plain(created=LONG_AGO + _DAY),
    "SHA-256": _plain(hash_name="sha256"),
    "with an unknown subpacket": _plain(hashed=subpacket(60, b"x")),
    "with an unknown notation": _plain(hashed=subpacket(20, _NOTATION)),
}
"""The twins: what is the same and right."""
