"""How a Keychain is stored.

Rule: the stored form alone; a damaged record is ``store-corrupt``, never an empty keychain.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.names import BareJid, NodeAddress, SecretId, parse_fingerprint
from e2ee.records import pack, unpack
from e2ee.renewal import read_count
from e2ee.secret import Secret
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node_secret import NodeSecret, SecretState

__all__ = ["keychain_from_record", "keychain_to_record"]

_KIND: Final = "keychain"
_FORMAT: Final = 2


def keychain_to_record(keychain: Keychain) -> bytes:
    """Return the keychain as a stored record."""
    return pack(
        _KIND,
        _FORMAT,
        {
            "service": str(keychain.address.service),
            "node": keychain.address.node,
            "owner": str(keychain.owner),
            "approved": sorted(keychain.approved),
            "members": sorted(map(str, keychain.members)),
            "removed": sorted(map(str, keychain.removed)),
            "tombstones": sorted(keychain.tombstones),
            "buried": sorted([str(whose), each] for whose, each in keychain.buried),
            "renewal": keychain.renewal,
            "confirmed": keychain.confirmed,
            "secrets": [_secret_to_fields(secret) for secret in keychain.secrets],
        },
    )


def keychain_from_record(raw: bytes) -> Keychain:
    """Read a stored keychain.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _KIND, _FORMAT)
    if fields["format"] == 1:
        fields, raw = _upgraded(fields)
    try:
        keychain = Keychain(
            address=NodeAddress(BareJid.parse(fields["service"]), fields["node"]),
            owner=BareJid.parse(fields["owner"]),
            approved=frozenset(map(parse_fingerprint, fields["approved"])),
            secrets=tuple(_secret_from_fields(secret) for secret in fields["secrets"]),
            tombstones=frozenset(map(SecretId, fields["tombstones"])),
            buried=frozenset(
                (BareJid.parse(whose), SecretId(each)) for whose, each in fields["buried"]
            ),
            members=frozenset(map(BareJid.parse, fields["members"])),
            removed=frozenset(map(BareJid.parse, fields["removed"])),
            renewal=read_count(fields["renewal"]),
            confirmed=fields["confirmed"] is True,
        )
    except (KeyError, TypeError, ValueError, E2eeError):
        raise _damaged() from None
    if keychain_to_record(keychain) != raw:  # a value of another type reads like the right one
        raise _damaged()
    return keychain


def _upgraded(fields: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return what format 1, which knew of no renewals, would be in this one."""
    kept = {name: value for name, value in fields.items() if name not in ("kind", "format")}
    upgraded = {**kept, "renewal": 0, "confirmed": True}
    return upgraded, pack(_KIND, _FORMAT, upgraded)


def _secret_to_fields(secret: NodeSecret) -> dict[str, Any]:
    return {
        "id": secret.id,
        "value": b64encode(secret.value.reveal()).decode(),
        "created": secret.created.isoformat(),
        "state": secret.state.value,
        "shared_with": sorted(map(str, secret.shared_with)),
        "type": secret.type,
        "signer": secret.signer,
        "foreign": secret.foreign,
    }


def _secret_from_fields(fields: Mapping[str, Any]) -> NodeSecret:
    created = datetime.fromisoformat(fields["created"])
    if created.tzinfo is None:
        raise ValueError("a stored date without a zone")
    return NodeSecret(
        id=SecretId(fields["id"]),
        value=Secret(b64decode(fields["value"], validate=True)),
        created=created,
        state=SecretState(fields["state"]),
        shared_with=frozenset(map(BareJid.parse, fields["shared_with"])),
        type=fields["type"],
        signer=None if fields["signer"] is None else parse_fingerprint(fields["signer"]),
        foreign=fields["foreign"] is True,
    )


def _damaged() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored keychain is damaged")
