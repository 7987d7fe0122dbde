"""How a fetched Bundle is stored until a session is started with it.

Rule: the stored form alone; a damaged record is ``store-corrupt``, never a bundle to fetch again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from e2ee.errors import E2eeError, ErrorCode, StoreFailed
from e2ee.lexical import decode_base64, encode_base64, format_time, parse_time
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.version import Version
from e2ee.records import pack, unpack
from e2ee.renewal import read_count

__all__ = ["bundle_from_record", "bundle_to_record"]

_KIND: Final = "omemo-bundle"
_FORMAT: Final = 1
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


def bundle_to_record(bundle: Bundle, fetched: datetime, renewal: int) -> bytes:
    """Return a bundle as a stored record.

    Args:
        bundle: the bundle.
        fetched: when it was fetched, aware, in seconds.
        renewal: the count of the account's renewals then: in a time that was lost since, a prekey
            of it may have been used.
    """
    return pack(
        _KIND,
        _FORMAT,
        {
            "version": bundle.version.name,
            "fetched": format_time(fetched),
            "renewal": renewal,
            "identity": encode_base64(bundle.identity),
            "signed_pre_key": [bundle.signed_pre_key_id, encode_base64(bundle.signed_pre_key)],
            "signature": encode_base64(bundle.signature),
            "pre_keys": [[key_id, encode_base64(key)] for key_id, key in bundle.pre_keys],
        },
    )


def bundle_from_record(raw: bytes) -> tuple[Bundle, datetime, int]:
    """Read a stored bundle, when it was fetched, and the count of renewals then.

    Raises:
        StoreFailed: ``store-corrupt`` or ``store-too-new``.
    """
    fields = unpack(raw, _KIND, _FORMAT)
    try:
        signed_pre_key_id, signed_pre_key = fields["signed_pre_key"]
        bundle = Bundle(
            version=Version[fields["version"]],
            identity=_bytes(fields["identity"], _KEY_BYTES),
            signed_pre_key_id=read_count(signed_pre_key_id),
            signed_pre_key=_bytes(signed_pre_key, _KEY_BYTES),
            signature=_bytes(fields["signature"], _SIGNATURE_BYTES),
            pre_keys=tuple(
                (read_count(key_id), _bytes(key, _KEY_BYTES)) for key_id, key in fields["pre_keys"]
            ),
        )
        fetched = parse_time(fields["fetched"])
        renewal = read_count(fields["renewal"])
        intact = bundle_to_record(bundle, fetched, renewal) == raw
    except (AttributeError, KeyError, TypeError, ValueError, E2eeError):
        raise _damaged() from None
    if not intact:
        raise _damaged()
    return bundle, fetched, renewal


def _bytes(text: str, length: int) -> bytes:
    data = decode_base64(text)
    if len(data) != length:
        raise ValueError
    return data


def _damaged() -> StoreFailed:
    return StoreFailed(ErrorCode.STORE_CORRUPT, "a stored bundle is damaged")
