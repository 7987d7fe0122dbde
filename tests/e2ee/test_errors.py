"""The error tree: one root, stable codes, texts that say the rule.

Rule: the shapes only; who raises what is tested where it is raised.
"""

from __future__ import annotations

import pytest

from e2ee import errors
from e2ee.errors import (
    ApiMisuse,
    CannotDecrypt,
    DataMissing,
    E2eeError,
    EngineFailed,
    ErrorCode,
    PeerMisbehaved,
    SecretMissing,
    StoreFailed,
    TrustUndecided,
)
from e2ee.names import BareJid, Fetch, NodeAddress


def test_every_error_is_of_the_one_tree_and_exported() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert found | {"ErrorCode"} == set(errors.__all__)
    assert all(issubclass(getattr(errors, name), E2eeError) for name in found)


def test_codes_are_the_strings_of_the_vectors() -> None:
    for code in ErrorCode:
        assert str(code) == code.value == code.name.lower().replace("_", "-")


def test_a_rule_is_kept_and_said() -> None:
    error = PeerMisbehaved(ErrorCode.MALFORMED, "a thing", rule="XEP-0420 §4")
    assert (error.code, error.rule, str(error)) == (
        ErrorCode.MALFORMED,
        "XEP-0420 §4",
        "a thing (XEP-0420 §4)",
    )
    assert str(StoreFailed(ErrorCode.STORE_FULL, "the disk is full")) == "the disk is full"


def test_decryption_fails_with_one_face() -> None:
    assert str(CannotDecrypt()) == "cannot decrypt"
    assert CannotDecrypt().code is ErrorCode.CANNOT_DECRYPT
    assert CannotDecrypt().rule is None
    with pytest.raises(TypeError):
        CannotDecrypt("bad padding")  # type: ignore[call-arg]


def test_needs_are_named() -> None:
    fetch = Fetch(NodeAddress(BareJid.parse("a@b.example"), "node"))
    assert DataMissing("fetch first", fetches=(fetch,)).fetches == (fetch,)
    assert DataMissing("fetch first", fetches=()).code is ErrorCode.DATA_MISSING
    assert SecretMissing("ask", secret_id="s1").secret_id == "s1"
    assert SecretMissing("ask", secret_id="s1").code is ErrorCode.UNKNOWN_SECRET
    assert TrustUndecided("decide", subjects=("a",)).subjects == ("a",)
    assert TrustUndecided("decide", subjects=("a",)).code is ErrorCode.UNDECIDED


def test_misuse_has_a_code_of_its_own_unless_told() -> None:
    assert ApiMisuse("never").code is ErrorCode.API_MISUSE
    assert ApiMisuse("never", code=ErrorCode.NO_ACTIVE_SECRET).code is ErrorCode.NO_ACTIVE_SECRET


def test_an_engine_is_named() -> None:
    error = EngineFailed("sequoia", "could not sign")
    assert (error.engine, error.code, str(error)) == (
        "sequoia",
        ErrorCode.ENGINE_FAILED,
        "sequoia: could not sign",
    )
