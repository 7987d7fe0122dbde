"""Secrets that never print, pickle or hash.

Rule: the value alone; that none leaks from operations is ``tests/test_no_leak.py``.
"""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from e2ee import secret as module
from e2ee.secret import Secret

CANARY = b"canary-of-a-secret"


def test_only_reveal_reveals() -> None:
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{[secret]}"):
        assert "canary" not in shown
        assert "18 bytes" in shown
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        bytes(secret)  # type: ignore[call-overload]


def test_tracebacks_with_locals_do_not_show_it() -> None:
    def fails(secret: Secret) -> None:
        raise ValueError(len(secret))

    try:
        fails(Secret(CANARY))
    except ValueError as error:
        shown = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
    assert "<Secret, 18 bytes>" in shown
    assert CANARY.decode() not in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY), protocol)


def test_it_is_copied_as_itself() -> None:
    secret = Secret(CANARY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_it_is_not_hashed() -> None:
    with pytest.raises(TypeError):
        hash(Secret(CANARY))


def test_it_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(module, "compare_digest", compare)
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(b"other")
    assert Secret(CANARY) != CANARY
    assert compared == [(CANARY, CANARY), (CANARY, b"other")]


def test_length_and_truth() -> None:
    assert len(Secret(CANARY)) == 18
    assert Secret(b"\0")
    assert not Secret(b"")
