"""Signatures as Sequoia judges them: each alone, by the keys that it names.

Rule: verifying only, of packets that our guard let pass; whose a key is, the caller knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Final

import pysequoia

from e2ee.errors import PeerMisbehaved
from e2ee.names import Fingerprint, parse_fingerprint
from ox.certificates import check_certificate
from ox.engine import Signed
from ox.sequoia_errors import bad_signature, malformed_key, sequoia
from ox.sequoia_keys import first_revocation

__all__ = ["verify_each"]

_REMEMBERED: Final = 64  # public keys whose parts are known; at most 16 MiB


def verify_each(data: bytes, signatures: Sequence[bytes], signers: Sequence[bytes]) -> Signed:
    """Judge each signature alone, so that no other one helps or harms it."""
    named = _NamedSigners(signers)
    valid = [
        found for signature in signatures if (found := _judge(data, signature, named)) is not None
    ]
    if not valid:
        raise bad_signature()
    return Signed(data, {fingerprint: created for created, fingerprint in sorted(valid)})


class _NamedSigners:
    """Public keys by the ids of their parts; read by Sequoia only once a signature names one."""

    def __init__(self, signers: Sequence[bytes]) -> None:
        self._by_key_id: dict[bytes, list[bytes]] = {}
        self._read: dict[bytes, pysequoia.Cert] = {}
        for raw in signers:
            with suppress(PeerMisbehaved):
                for key_id in _key_ids(raw):
                    self._by_key_id.setdefault(key_id, []).append(raw)

    def knows(self, names: Iterable[str | None]) -> bool:
        """Say whether any of these names a part of one of the keys."""
        return any(name and _key_id(name) in self._by_key_id for name in names)

    def find(self, names: Sequence[str]) -> list[pysequoia.Cert]:
        """Return the keys that have a part so named, by its fingerprint or its key id in hex."""
        named = {raw for name in names for raw in self._by_key_id.get(_key_id(name), ())}
        for raw in named - self._read.keys():
            with suppress(PeerMisbehaved), sequoia(malformed_key()):
                self._read[raw] = _certificate(raw)
        return [self._read[raw] for raw in named if raw in self._read]

    def had_ended(self, signer: Fingerprint, made: datetime) -> bool:
        """Say whether a key that was found was revoked when a signature was made.

        Whatever it says of itself afterwards: who holds a key that was retired can say that, too.
        """
        ends = [
            _revoked_since(raw)
            for raw, cert in self._read.items()
            if cert.fingerprint.upper() == signer
        ]
        return any(end is not None and made >= end for end in ends)


@lru_cache(_REMEMBERED)
def _certificate(raw: bytes) -> pysequoia.Cert:
    """Return a key as Sequoia reads it; that, too, takes longer than to verify."""
    return pysequoia.Cert.from_bytes(raw)


@lru_cache(_REMEMBERED)
def _key_ids(raw: bytes) -> tuple[bytes, ...]:
    """Return the ids of a key's parts; to read them takes nearly as long as to verify."""
    return tuple(key.key_id for key in check_certificate(raw))


@lru_cache(_REMEMBERED)
def _revoked_since(raw: bytes) -> datetime | None:
    return first_revocation(raw)


def _key_id(name: str) -> bytes:
    return bytes.fromhex(name)[-8:]


def _judge(
    data: bytes, signature: bytes, signers: _NamedSigners
) -> tuple[datetime, Fingerprint] | None:
    """Return when this valid signature over ``data`` was made, and by whom."""
    try:
        with sequoia(bad_signature()):
            parsed = pysequoia.Sig.from_bytes(signature)
            if not signers.knows((parsed.issuer_fingerprint, parsed.issuer_key_id)):
                return None  # or all of the data would be hashed, to fail in Sequoia's slow way
            verified = pysequoia.verify(data, signers.find, signature=parsed)
            (valid,) = verified.valid_sigs
            signer = parse_fingerprint(valid.certificate.upper())
            if parsed.created is None or signers.had_ended(signer, parsed.created):
                return None
            return parsed.created, signer
    except PeerMisbehaved:
        return None
