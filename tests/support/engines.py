"""The engines that the contract suite runs over, and what its tests share.

Rule: an engine joins by a line in ``ENGINES``; nothing here knows which one it is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

import pytest

from e2ee.errors import E2eeError, ErrorCode
from e2ee.primitives import NativePrimitives
from ox.engine import Certificate, KeyHandle, OpenPgpEngine
from ox.engine_sequoia import SequoiaEngine

__all__ = ["ENGINES", "Pair", "raws", "refused"]

ENGINES: dict[str, Callable[[Executor | None], OpenPgpEngine]] = {
    "sequoia": lambda executor: SequoiaEngine(NativePrimitives(), executor),
}
"""Every engine by its name, to be made with or without an executor."""


@dataclass(frozen=True)
class Pair:
    """An engine, and two keys that it made."""

    engine: OpenPgpEngine
    juliet: KeyHandle
    romeo: KeyHandle


def raws(certificates: Iterable[Certificate]) -> list[bytes]:
    """Return public keys as they are given to an engine that verifies."""
    return [certificate.raw for certificate in certificates]


async def refused(work: Awaitable[object], code: ErrorCode) -> E2eeError:
    """Expect one typed error with ``code`` and without a cause, and return it."""
    with pytest.raises(E2eeError) as caught:
        await work
    assert caught.value.code is code, caught.value
    assert caught.value.__cause__ is None
    return caught.value
