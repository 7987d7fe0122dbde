"""OMEMO devices of ours and of python-omemo 2 and 1, which publish and write in one world.

Rule: fixtures for the modules ``test_omemo_*.py`` alone; a device of the peer ends with its test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from e2ee.omemo.version import Version
from tests.support.omemo_peers import BOTH, JULIET, ROMEO, PeerDevice, Peers, ours, peer_python
from tests.support.omemo_world import Party, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=[2, 1], ids=["python-omemo-2", "python-omemo-1"])
def release(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=list(BOTH), ids=["version-2", "legacy"])
def version(request: pytest.FixtureRequest) -> Version:
    return Version(request.param)


@pytest.fixture
def peers(world: World, release: int, tmp_path: Path) -> Iterator[Peers]:
    """Return what makes devices of the peer, which end with the test."""
    numbers = count()
    with ExitStack() as running:

        def made(jid: str, *versions: Version, release: int = release) -> PeerDevice:
            state = tmp_path / f"{next(numbers)}.json"
            peer = PeerDevice(world, jid, peer_python(release), state, versions)
            running.callback(peer.stop)
            return peer

        yield made


@pytest.fixture
async def juliet(world: World, version: Version) -> Party:
    """Return a device of ours, which speaks the legacy version only where it is tested."""
    return await ours(world, JULIET, version)


@pytest.fixture
def romeo(peers: Peers, version: Version) -> PeerDevice:
    """Return a device of the peer that speaks one version."""
    return peers(ROMEO, version)
