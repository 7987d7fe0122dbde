"""What Sequoia raises, as one error of ours.

Rule: nothing of Sequoia's text comes out: it carries backtraces, and may carry keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from e2ee.errors import E2eeError, EngineFailed, ErrorCode, PeerMisbehaved

__all__ = ["bad_signature", "malformed_key", "sequoia"]

_NAME: Final = "sequoia"


@contextmanager
def sequoia(refusal: E2eeError | None = None) -> Iterator[None]:
    """Turn whatever Sequoia raises into ``refusal``, or into ``EngineFailed`` without its text."""
    try:
        yield
    except E2eeError:
        raise
    except BaseException as error:
        # pyo3's PanicException derives from BaseException; what the interpreter means stays.
        if isinstance(
            error, (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
        ):
            raise
        raise (refusal or EngineFailed(_NAME, "failed unexpectedly")) from None


def malformed_key() -> PeerMisbehaved:
    """Return the refusal of a key that Sequoia cannot read."""
    return PeerMisbehaved(ErrorCode.MALFORMED, "not a sound OpenPGP key", rule="RFC 4880 §11.1")


def bad_signature() -> PeerMisbehaved:
    """Return the refusal of what no expected key signed."""
    return PeerMisbehaved(
        ErrorCode.BAD_SIGNATURE, "no valid signature by an expected key", rule="XEP-0373 §3.2"
    )
