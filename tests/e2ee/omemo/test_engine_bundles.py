"""Tests of what the engines of both versions refuse about a bundle, and about identity keys.

Rule: each hostile bundle differs from an honest one in what its name says alone.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.version import Version
from e2ee.secret import Secret
from tests.support.omemo_forge import (
    KEY_MATERIAL,
    NOT_CANONICAL,
    SMALL_ORDER,
    UNFIT_IDENTITIES,
    WRONG_SIZE,
    KeyOwner,
    new_engine,
    refusal,
)


@pytest.fixture(params=Version, ids=lambda version: version.name)
def engine(request: pytest.FixtureRequest) -> OmemoEngine:
    return new_engine(request.param)


def _material(engine: OmemoEngine) -> Secret:
    return Secret(bytes(range(KEY_MATERIAL[engine.version])))


def _hostile_bundles(owner: KeyOwner) -> dict[str, tuple[Bundle, ErrorCode]]:
    """Return bundles that must be refused, by what is wrong with them."""
    honest = owner.bundle
    other = KeyOwner.new(owner.engine, "tybalt").bundle
    high = bytes([honest.signature[-1] ^ 0x80])
    hostile = {
        "somebody else's identity": replace(honest, identity=other.identity),
        "somebody else's signed prekey": replace(honest, signed_pre_key=other.signed_pre_key),
        "somebody else's signature": replace(honest, signature=other.signature),
        "a prekey as signed prekey": replace(honest, signed_pre_key=honest.pre_keys[0][1]),
        "a signature of zeros": replace(honest, signature=bytes(64)),
        "the top bit of the signature": replace(honest, signature=honest.signature[:-1] + high),
        "a signature of s + L": replace(honest, signature=_malleable(honest.signature)),
    }
    found = {name: (bundle, ErrorCode.BAD_SIGNATURE) for name, bundle in hostile.items()}
    malformed = {"no prekey": replace(honest, pre_keys=())}
    for length in (0, 63, 65):
        malformed[f"a signature of {length} bytes"] = replace(honest, signature=bytes(length))
    for key in (*WRONG_SIZE, *SMALL_ORDER, *NOT_CANONICAL):
        malformed[f"signed prekey {key.hex()}"] = replace(honest, signed_pre_key=key)
        malformed[f"prekey {key.hex()}"] = replace(
            honest, pre_keys=(*honest.pre_keys[:-1], (99, key))
        )
    for key in (*WRONG_SIZE, *UNFIT_IDENTITIES[honest.version]):
        malformed[f"identity {key.hex()}"] = replace(honest, identity=key)
    found |= {name: (bundle, ErrorCode.MALFORMED) for name, bundle in malformed.items()}
    return found


def _malleable(signature: bytes) -> bytes:
    """Return the other signature that a careless verifier takes for this one."""
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    return signature[:32] + s.to_bytes(32, "little")


async def test_o_15_hostile_bundles_are_refused(engine: OmemoEngine) -> None:
    """By one typed error each, before a session is begun; and by the beginning itself."""
    juliet = KeyOwner.new(engine, "juliet")
    romeo = KeyOwner.new(engine, "romeo")
    engine.check_bundle(juliet.bundle)
    for name, (bundle, code) in _hostile_bundles(juliet).items():
        assert refusal(engine.check_bundle, bundle) == code, name
        if code is ErrorCode.BAD_SIGNATURE or "signed prekey" in name or "identity" in name:
            with pytest.raises(PeerMisbehaved):
                await romeo.start(bundle, _material(engine))


@given(st.binary(min_size=32, max_size=32), st.sampled_from(Version))
def test_o_15_any_32_bytes_are_an_identity_or_malformed(key: bytes, version: Version) -> None:
    engine = new_engine(version)
    assert refusal(engine.fingerprint, key) in (None, ErrorCode.MALFORMED)
