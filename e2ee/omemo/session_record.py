"""How a Session is stored, and how the message keys are that are kept of one of its chains.

Rule: the stored form alone; a damaged record is ``store-corrupt``, never a fresh session.

Fan-out reads and writes a record for every device. So the keys of a session lie in one value, and
each value is checked by its type and length; to pack a record again and compare, as others do,
would cost as much as to read it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.omemo.device import Device, parse_identity_fingerprint
from e2ee.omemo.engine import Chain, KeyExchange, Ratchet
from e2ee.omemo.fields import read_flag, read_number, read_octets, write_octets
from e2ee.omemo.session import Session, SkippedChain
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack

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
_SEVEN: Final = struct.Struct(7 * f"{_KEY}s")  # the keys of a session that has received nothing
_EIGHT: Final = struct.Struct(8 * f"{_KEY}s")
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
            "bound": write_octets(session.bound),
            "keys": write_octets(b"".join(keys)),
            "lengths": lengths,
            "skipped": [
                [write_octets(chain.ratchet_key), chain.count] for chain in session.skipped
            ],
            "heartbeat": session.heartbeat and write_octets(session.heartbeat),
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
        whose = fields["version"], fields["jid"], read_number(fields["id"])
        if whose != (version.name, str(peer.jid), peer.id):
            raise ValueError  # a session in the place of another
        signed_pre_key_id, pre_key_id = [
            read_number(each, most=_MAX_ID) for each in fields["pre_keys"]
        ]
        bound, heartbeat = read_octets(fields["bound"]), fields["heartbeat"]
        if len(bound) < 2 * _KEY:
            raise ValueError
        identity, ephemeral, ratchet = _keys_and_ratchet(fields["keys"], *fields["lengths"])
        return Session(
            version=version,
            peer=peer,
            fingerprint=parse_identity_fingerprint(fields["fingerprint"]),
            exchange=KeyExchange(identity, ephemeral, signed_pre_key_id, pre_key_id),
            initiator=read_flag(fields["initiator"]),
            confirmed=read_flag(fields["confirmed"]),
            bound=bound,
            ratchet=ratchet,
            skipped=_skipped_chains(fields["skipped"]),
            heartbeat=None if heartbeat is None else read_octets(heartbeat, _KEY),
            renewal=read_number(fields["renewal"]),
        )
    except (KeyError, TypeError, ValueError, E2eeError):
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "a stored session is damaged") from None


def skipped_to_record(keys: Mapping[int, bytes]) -> bytes:
    """Return the message keys of a chain, by the number of their message, as a stored record."""
    packed = b"".join([_SKIPPED_KEY.pack(number, key) for number, key in keys.items()])
    return pack(_SKIPPED, _FORMAT, {"keys": write_octets(packed)})


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
        keys = dict(_SKIPPED_KEY.iter_unpack(read_octets(fields["keys"])))
    except (KeyError, TypeError, ValueError, struct.error):
        keys = {}
    if len(keys) != count:
        raise StoreFailed(ErrorCode.STORE_CORRUPT, "the stored message keys of a chain are damaged")
    return keys


def _keys_and_ratchet(
    text: object, root: object, sending: object, receiving: object, previous: object
) -> tuple[bytes, bytes, Ratchet]:
    """Return the two keys of the exchange, and the ratchet with chains of these lengths."""
    keys = _EIGHT if receiving is not None else _SEVEN
    identity, ephemeral, own_private, own_public, peer_public, of_root, of_sending, *others = (
        keys.unpack(read_octets(text, keys.size))
    )
    ratchet = Ratchet(
        own_private,
        own_public,
        peer_public,
        Chain(of_root, read_number(root)),
        Chain(of_sending, read_number(sending)),
        Chain(others[0], read_number(receiving)) if others else None,
        None if previous is None else read_number(previous),
    )
    return identity, ephemeral, ratchet


def _skipped_chains(fields: object) -> tuple[SkippedChain, ...]:
    if not isinstance(fields, list):
        raise ValueError
    return tuple([SkippedChain(read_octets(key, _KEY), read_number(of, 1)) for key, of in fields])
