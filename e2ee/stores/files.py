"""What the stores that keep files do alike: name the system's failures, and make names durable.

Rule: the system alone; what lies in a file, and who may touch it, is each store's own business.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from e2ee.errors import ErrorCode, StoreFailed

__all__ = ["flush_names", "system_failure"]

_CODES: Final = {
    errno.ENOSPC: ErrorCode.STORE_FULL,
    errno.EDQUOT: ErrorCode.STORE_FULL,
    errno.EFBIG: ErrorCode.STORE_FULL,
    errno.EACCES: ErrorCode.STORE_FORBIDDEN,
    errno.EPERM: ErrorCode.STORE_FORBIDDEN,
    errno.EROFS: ErrorCode.STORE_FORBIDDEN,
    errno.ELOOP: ErrorCode.STORE_FORBIDDEN,  # a symbolic link, where none is followed
    errno.ENOTDIR: ErrorCode.STORE_FORBIDDEN,
}


def system_failure(error: OSError, what: str) -> StoreFailed:
    """Return what the system raised as ours, without its text, which names paths.

    Args:
        error: what was raised.
        what: what failed, to begin the message with.
    """
    code = _CODES.get(error.errno or 0, ErrorCode.STORE_FAILED)
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return StoreFailed(code, f"{what} failed with {name}")


def flush_names(directory: Path) -> None:
    """Let the names in a directory, too, survive a power cut.

    Raises:
        OSError: the directory cannot be flushed.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
