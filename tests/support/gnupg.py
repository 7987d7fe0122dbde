"""GnuPG as a peer: one throw-away home, and gpg called without a terminal.

Rule: nothing is installed, and no key or agent of the user is touched; the agent of the home is
ended with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers import require_program

__all__ = ["Gnupg", "gnupg"]


class Gnupg:
    """gpg on one home directory."""

    def __init__(self, program: str, home: Path) -> None:
        self._program = program
        self.home = home

    def run(self, *arguments: str, data: bytes = b"", passphrase: bytes = b"") -> bytes:
        """Run gpg with ``data`` on its standard input; return its standard output.

        Raises:
            subprocess.CalledProcessError: it refused; what it had written is not returned.
        """
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, passphrase + b"\n")
            os.close(write_end)
            done = subprocess.run(
                [
                    self._program,
                    *("--homedir", str(self.home), "--batch", "--no-tty", "--yes", "--quiet"),
                    *("--pinentry-mode", "loopback", "--passphrase-fd", str(read_end)),
                    *("--trust-model", "always"),
                    *arguments,
                ],
                input=data,
                capture_output=True,
                check=True,
                timeout=60,
                pass_fds=(read_end,),
            )
        finally:
            os.close(read_end)
        return done.stdout


@contextmanager
def gnupg() -> Iterator[Gnupg]:
    """Give gpg on a new, empty home; the path is short because the agent's socket is in it."""
    program = require_program("gpg")
    home = Path(tempfile.mkdtemp(prefix="g"))
    try:
        yield Gnupg(program, home)
    finally:
        end = shutil.which("gpgconf")
        if end:
            subprocess.run([end, "--homedir", str(home), "--kill", "all"], check=False, timeout=60)
        shutil.rmtree(home, ignore_errors=True)
