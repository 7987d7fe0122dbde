"""Runs a PostgreSQL server of our own: unprivileged, on loopback, in a directory of the caller's.

Rule: knows the server and nothing of what is stored in it; whoever starts it ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.support.peers import require_server_program
from tests.support.servers import free_port, unprivileged

__all__ = ["PASSWORD", "PostgresServer", "start_server"]

PASSWORD: Final = "Open/sesame@123:%41"  # what must be quoted in an address, so that it is
SUPERUSER: Final = "postgres"

_PATIENCE: Final = 60.0  # seconds until a server that does not start counts as broken
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "120",
    "log_min_messages": "warning",
}


class PostgresServer:
    """A running server; make it with :func:`start_server`.

    Attributes:
        port: on loopback, the same after every start.
        directory: where its files lie: ``data``, ``log`` and the socket.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self._names = count()
        self._postmaster: subprocess.Popen[bytes] | None = None

    def dsn(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """Return the address of a database, for asyncpg; every user has one password."""
        return f"postgresql://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Make an empty database, and return its address."""
        name = f"fresh{next(self._names)}_{os.getpid()}"
        self.execute(f"CREATE DATABASE {name}")
        return self.dsn(name)

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the superuser; return what psql prints, a line for each row."""
        done = subprocess.run(
            [
                *(require_server_program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER),
                *("-d", database, "-c", statement),
            ],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def start(self) -> None:
        """Start the server, and wait until it takes connections; after a kill, it recovers."""
        command = [require_server_program("postgres"), "-D", str(self.directory / "data")]
        settings = {
            **_SETTINGS,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
        }
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        give_up = time.monotonic() + _PATIENCE
        while not self._started(command, give_up):
            # A killed predecessor's last process may hold its memory for a moment longer.
            assert time.monotonic() < give_up, (self.directory / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server in good order, its clients' transactions rolled back."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill every process of the server at once, as a power cut of the machine would."""
        if self._postmaster is None:
            return
        self._postmaster.send_signal(signal.SIGSTOP)  # or it would start another meanwhile
        for child in _children(self._postmaster.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._postmaster is not None:
            self._postmaster.send_signal(how)
            self._postmaster.wait(_PATIENCE)
            self._postmaster = None

    def _started(self, command: list[str], give_up: float) -> bool:
        with (self.directory / "log").open("ab") as log:
            user, group = unprivileged("postgres")
            postmaster = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.directory, user=user, group=group
            )
        self._postmaster = postmaster
        while postmaster.poll() is None and time.monotonic() < give_up:
            if self._says_ready(postmaster.pid):
                return True
            time.sleep(0.01)
        postmaster.kill()
        self._end(signal.SIGKILL)
        return False

    def _says_ready(self, pid: int) -> bool:
        try:
            lines = (self.directory / "data/postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[-1] == "ready"


@contextmanager
def start_server(directory: Path) -> Iterator[PostgresServer]:
    """Run a server for the length of the block, or skip the test where PostgreSQL is missing.

    Args:
        directory: an empty one with a short path (sockets), which every user may reach; it is
            given to the user that the server runs as, where we are root.
    """
    initdb = require_server_program("initdb")
    user, group = unprivileged("postgres")
    if user is not None and group is not None:
        os.chown(directory, user, group)
    password = directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    subprocess.run(
        [
            *(initdb, "-D", str(directory / "data"), "-U", SUPERUSER, "-E", "UTF8"),
            *("--locale=C", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"),
        ],
        cwd=directory,
        stdout=subprocess.DEVNULL,
        check=True,
        user=user,
        group=group,
    )
    server = PostgresServer(directory, free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()  # nobody asks for its files any more


def _children(parent: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, ppid in pairs if int(ppid) == parent]
