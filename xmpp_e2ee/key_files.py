"""Files with keys, backups and codes: read within bounds, made anew, never overwritten.

Rule: bytes in, bytes out; what they mean is not looked at, but for what a person confuses. A file
with a secret is nobody else's to read from its first moment on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from e2ee.stores.files import flush_names

__all__ = ["STANDARD", "KeyFileError", "read_file", "write_new_file"]

STANDARD: Final = Path("-")
"""Stands for standard input or output."""


class KeyFileError(Exception):
    """A file cannot be read, or not be made; the message says why and which."""


def read_file(path: Path, most: int) -> bytes:
    """Return what is in a file, or arrives on standard input.

    Args:
        path: which, or ``STANDARD``.
        most: bytes that it may hold.

    Raises:
        KeyFileError: it cannot be read, or holds more.
    """
    try:
        if path == STANDARD:
            read = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as file:
                read = file.read(most + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if len(read) > most:
        raise KeyFileError(f"{path}: more than {most:,} bytes")
    return read


def write_new_file(path: Path, content: bytes, *, secret: bool) -> None:
    """Make a file that survives a power cut, name and all; or write to standard output.

    Args:
        path: which, or ``STANDARD``.
        content: what it will hold.
        secret: whether its mode is 0600, whatever the umask.

    Raises:
        KeyFileError: it is there already, or cannot be written; then it is not there. Standard
            output is a terminal.
    """
    if path == STANDARD:
        if sys.stdout.isatty():
            raise KeyFileError("standard output is a terminal; name a file")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if secret else 0o666
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            flush_names(path.absolute().parent)
        except BaseException:  # Ctrl-C too: nothing half is left, above all no half secret
            path.unlink()
            raise
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
