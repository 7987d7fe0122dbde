"""What every server of the tests needs: somebody who is not root to run as, and a free port.

Rule: nothing of one server; those are in ``postgres.py`` and ``prosody.py``.
"""

from __future__ import annotations

import os
import pwd
import socket

__all__ = ["free_port", "unprivileged"]


def unprivileged(*names: str) -> tuple[int, int] | tuple[None, None]:
    """Return the user and group to run a server as that refuses to run as root.

    Args:
        names: users that are preferred to nobody, if they exist.

    Returns:
        Two numbers where we are root; ``None`` twice otherwise, for ourselves.
    """
    if os.geteuid() != 0:
        return None, None
    for name in (*names, "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise AssertionError("no user to run a server as")


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
