"""Runs a Prosody of our own: unprivileged, on loopback, in a directory of the caller's.

Rule: knows the server and nothing of what crosses it; whoever starts it ends it. No TLS and no
other servers: it is reached from this machine alone.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final

from e2ee.names import BareJid
from tests.support.peers import require_lua_module, require_program
from tests.support.servers import free_port, unprivileged

__all__ = ["DOMAIN", "ProsodyServer", "start_prosody"]

DOMAIN: Final = "verona.localhost"

_PATIENCE: Final = 60.0  # seconds until a server that does not start counts as broken

_CONFIG: Final = Template("""\
daemonize = false
pidfile = "$directory/prosody.pid"
data_path = "$directory/data"
certificates = "$directory/certificates"
log = { { levels = { min = "info" }, to = "file", filename = "$directory/log" } }
interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = {}
modules_enabled = { "roster", "saslauth", "disco", "presence", "message", "iq", "pep" }
modules_disabled = { "s2s", "s2s_auth_certs", "s2s_bidi", "tls", "dialback" }
authentication = "internal_plain"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
-- By default each node is a file with its name, which is too long for a node of attachments.
storage = "sql"
sql = { driver = "SQLite3", database = "$directory/data/prosody.sqlite" }

VirtualHost "$domain"

Component "pubsub.$domain" "pubsub"
  admins = { $owners } -- nobody else creates nodes on Prosody's component
  expose_publisher = true
""")


class ProsodyServer:
    """A running server; make it with :func:`start_prosody`.

    Attributes:
        port: of its clients, on loopback.
        pubsub: its component, where whoever it was started with creates nodes.
        passwords: of its accounts.
    """

    def __init__(self, port: int, passwords: Mapping[BareJid, str]) -> None:
        self.port = port
        self.pubsub = BareJid.parse(f"pubsub.{DOMAIN}")
        self.passwords = passwords


@contextmanager
def start_prosody(directory: Path, names: Sequence[str]) -> Iterator[ProsodyServer]:
    """Run a server for the length of the block, or skip the test where Prosody is missing.

    Args:
        directory: an empty one which every user may reach; it is given to the user that the server
            runs as, where we are root.
        names: local parts of its accounts.
    """
    program, control = require_program("prosody"), require_program("prosodyctl")
    require_lua_module("dbd/sqlite3")
    user, group = unprivileged()
    port = free_port()
    passwords = {BareJid(DOMAIN, name): f"password of {name}" for name in names}
    config = directory / "prosody.cfg.lua"
    owners = ", ".join(f'"{jid}"' for jid in passwords)
    config.write_text(
        _CONFIG.substitute(directory=directory, port=port, domain=DOMAIN, owners=owners)
    )
    for path in (directory, directory / "data", directory / "certificates"):
        path.mkdir(exist_ok=True)
        if user is not None and group is not None:
            os.chown(path, user, group)
    for jid, password in passwords.items():
        subprocess.run(
            [control, "--config", str(config), "register", jid.local, jid.domain, password],
            cwd=directory, user=user, group=group, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    with subprocess.Popen(
        [program, "--config", str(config), "-F"],
        cwd=directory, user=user, group=group, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            _await_clients(server, port, directory / "log")
            yield ProsodyServer(port, passwords)
        finally:
            server.terminate()


def _await_clients(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + _PATIENCE
    while True:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.01)
        else:
            return
