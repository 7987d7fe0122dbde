"""How a Session is stored, and how the message keys are that are kept of one of its chains.

Rule: the stored form alone; a damaged record is ``store-corrupt``, never a fresh session.

Fan-out reads and writes a record for every device. So the keys of a session lie in one value, and
each value is checked by its type and length; to pack a record again and compare, as others do,
would cost as much as to read it.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from math import inf
from typing import Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.omemo.device import Device, parse_identity_fingerprint
from e2ee.omemo.engine import Chain, KeyExchange, Ratchet
from e2ee.omemo.session import Session, SkippedChain
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.renewal import read_count

__all__ = [
    "session_from_record",
    "session_to_record",
    "skipped_from_record",
    "skipped_to_record",
]

_SESSION: Final = "omemo-session"
_SKIPPED: Final = "omemo-skipped-keys"
_FORMAT: Final = 1
_KEY: Final = 32  # bytes of every key
_MAX_ID: Final = 2**32 - 1  # of a prekey
_SKIPPED_KEY: Final = struct.Struct(f">I{_KEY}s")  # the message's number, and its key


def session_to_record(session: Session) -> bytes:
    """Return a session as a stored record."""
    exchange, ratchet = session.exchange, session.ratchet
    receiving = ratchet.receiving
    keys = [
        *(exchange.identity, exchange.ephemeral),
        *(ratchet.own_private, ratchet.own_public, ratchet.peer_public),
        *(ratchet.root.key, ratchet.sending.key, receiving.key if receiving else b""),
    ]
    lengths = [
        *(ratchet.root.length, ratchet.sending.length),
        *(receiving.length if receiving else None, ratchet.previous),
    ]
    return pack(
        _SESSION,
        _FORMAT,
        {
            "version": session.version.name,
            "jid": str(session.peer.jid),
            "id": session.peer.id,
            "fingerprint": session.fingerprint,
            "pre_keys": [exchange.signed_pre_key_id, exchange.pre_key_id],
            "initiator": session.initiator,
            "confirmed": session.confirmed,
            "bound": _text(session.bound),
            "keys": _text(b"".join(keys)),
            "lengths": lengths,
            "skipped": [[_text(chain.ratchet_key), chain.count] for chain in session.skipped],
            "heartbeat": session.heartbeat and _text(session.heartbeat),
            "renewal": session.renewal,
        },
    )


def session_from_record(raw: bytes, version: Version, peer: Device) -> Session:
    """Read a stored session.

    Args:
        raw: the record.
        version: of which version the session in this place must be, and
        peer: with whom.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _SESSION, _FORMAT)
    try:
        if (fields["version"], fields["jid"], _count(fields["id"])) != (
            *(version.name, str(peer.jid)),
            peer.id,
        ):
            raise ValueError  # a session in the place of another
        signed_pre_key_id, pre_key_id = fields["pre_keys"]
        heartbeat = fields["heartbeat"]
        (identity, ephemeral), ratchet = _keys_and_ratchet(fields["keys"], *fields["lengths"])
        return Session(
            version=version,
            peer=peer,
            fingerprint=parse_identity_fingerprint(fields["fingerprint"]),
            exchange=KeyExchange(
                identity, ephemeral, _count(signed_pre_key_id, _MAX_ID), _count(pre_key_id, _MAX_ID)
            ),
            initiator=_flag(fields["initiator"]),
            confirmed=_flag(fields["confirmed"]),
            bound=_octets(fields["bound"], 2 * _KEY, inf),
            ratchet=ratchet,
            skipped=_skipped_chains(fields["skipped"]),
            heartbeat=None if heartbeat is None else _key(heartbeat),
            renewal=read_count(fields["renewal"]),
        )
    except (KeyError, TypeError, ValueError, E2eeError):
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored session is damaged") from None


def skipped_to_record(keys: Mapping[int, bytes]) -> bytes:
    """Return the message keys of a chain, by the number of their message, as a stored record."""
    packed = b"".join([_SKIPPED_KEY.pack(number, key) for number, key in keys.items()])
    return pack(_SKIPPED, _FORMAT, {"keys": _text(packed)})


def skipped_from_record(raw: bytes, count: int) -> dict[int, bytes]:
    """Read the stored message keys of a chain, in the order in which they were kept.

    Args:
        raw: the record.
        count: how many there must be.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _SKIPPED, _FORMAT)
    try:
        keys = dict(_SKIPPED_KEY.iter_unpack(b64decode(fields["keys"], validate=True)))
    except (KeyError, TypeError, ValueError, struct.error):
        keys = {}
    if len(keys) != count:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored message keys of a chain are damaged")
    return keys


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _octets(text: str, least: float, most: float) -> bytes:
    raw = b64decode(text, validate=True)
    if not least <= len(raw) <= most:
        raise ValueError
    return raw


def _key(text: str) -> bytes:
    return _octets(text, _KEY, _KEY)


def _count(value: object, most: float = inf) -> int:
    if type(value) is not int or not 0 <= value <= most:  # ``true`` is an int to isinstance
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _keys_and_ratchet(
    text: str, root: object, sending: object, receiving: object, previous: object
) -> tuple[list[bytes], Ratchet]:
    """Return the keys of the exchange, and the ratchet with chains of these lengths."""
    size = (7 if receiving is None else 8) * _KEY
    raw = _octets(text, size, size)
    keys = [raw[start : start + _KEY] for start in range(0, size, _KEY)]
    ratchet = Ratchet(
        *(keys[2], keys[3], keys[4]),
        Chain(keys[5], _count(root)),
        Chain(keys[6], _count(sending)),
        None if receiving is None else Chain(keys[7], _count(receiving)),
        None if previous is None else _count(previous),
    )
    return keys[:2], ratchet


def _skipped_chains(fields: object) -> tuple[SkippedChain, ...]:
    if not isinstance(fields, list):
        raise ValueError
    chains = tuple([SkippedChain(_key(key), _count(count)) for key, count in fields])
    if not all(chain.count for chain in chains):
        raise ValueError
    return chains
