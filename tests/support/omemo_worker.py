"""A process at work on an OMEMO device that other processes share, or that is killed at its work.

    python -m tests.support.omemo_worker write STORE NAME TIMES
    python -m tests.support.omemo_worker read STORE FOLDER
    python -m tests.support.omemo_worker die STORE PEER
    python -m tests.support.omemo_worker die-at-random STORE PEER TIMES SEED

One who writes prints what it encrypts, and one who reads what it decrypts from files. One who dies
does so at the first await of a life in which it reads, writes and empties its outbox; in the next
life at the second await, and so on, until it lives to the end; or at random moments. Between two
lives the peer reads all that was sent.

Rule: what a program does that knows nothing of the others, or of its death; and the peer, who
checks what arrived.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from random import Random

from e2ee.effects import Send
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Jid
from e2ee.omemo.message import read_encrypted
from e2ee.omemo.version import Version
from e2ee.storage import Put, Store
from e2ee.stores.sqlite import SqliteStore
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from tests.support.cancellation import kill_at
from tests.support.hooked_store import waiting
from tests.support.omemo_world import Party, World, body, dump

__all__ = ["JULIET", "ROMEO", "command", "device_at", "on_disk"]

JULIET, ROMEO = "juliet@capulet.lit", "romeo@montague.lit"
_KILLED = -9
_ANSWERS = 40  # in a life that is ended at random; they fit into a pipe
_LIFETIME = 0.1  # seconds at most: to open the store, and to get through half of them


def command(role: str, store: Path, *options: object) -> list[str]:
    """Return the command line of a role."""
    return [sys.executable, "-m", "tests.support.omemo_worker", role, *map(str, (store, *options))]


async def on_disk(party: Party, path: Path) -> None:
    """Write a device's rows to a new file."""
    rows = await dump(party.store)
    async with await SqliteStore.open(path) as store, store.exclusive(()) as tx:
        await tx.commit([Put(key, value) for key, value in rows.items()])


async def device_at(jid: str, store: Store) -> Party:
    """Return the device whose store it is."""
    party = World().party(jid, store=store)
    party.device = (await party.sessions.own_device()).device
    return party


def _address(jid: str) -> Jid:
    return Jid.parse(f"{jid}/stream")


async def _encrypted(party: Party, to: str, text: str) -> Element:
    """Encrypt, though there is nobody to fetch from."""
    [element] = (await party.sessions.encrypt([body(text)], {BareJid.parse(to)})).elements
    return element


# -- those who share a device


async def _write(path: str, name: str, times: str) -> None:
    async with await SqliteStore.open(Path(path)) as store:
        party = await device_at(JULIET, store)
        for number in range(int(times)):
            print(write_xml(await _encrypted(party, ROMEO, f"{name} {number}")))


async def _read(path: str, folder: str) -> None:
    async with await SqliteStore.open(Path(path)) as store:
        party = await device_at(JULIET, store)
        arrival = party.arrival(_address(ROMEO))
        for file in sorted(Path(folder).iterdir()):
            opened = await party.sessions.decrypt(parse_xml(file.read_bytes()), arrival)
            print(opened.content[0].text)
            await party.sessions.delivered([opened])


# -- one who dies, and the peer


class _Peer:
    """Whom a device writes to that dies again and again, and what they know of it.

    Attributes:
        letters: how many it has read and reported.
        answers: those that the peer got.
        letter: the one that it has not reported yet.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._positions: dict[tuple[bytes, int], bytes] = {}
        self._told = False
        self.letters = 0
        self.answers: set[str] = set()
        self.letter = asyncio.run(self._meet([]))

    def meet(self, lines: list[str]) -> None:
        """Take in what a life has left, and write another letter once one is done with."""
        for line in lines:
            if line[0] == "T":
                assert line[1:] == f"letter {self.letters}"
                self._told = True
        done = any(line[0] == "A" for line in lines)
        assert self._told or not done, "a letter was lost"
        letter = asyncio.run(self._meet([line[1:] for line in lines if line[0] == "S"], done))
        if done:
            self._told, self.letter = False, letter

    async def _meet(self, sent: list[str], write: bool = True) -> Element:
        async with await SqliteStore.open(self._path) as store:
            party = await device_at(ROMEO, store)
            for line in sent:
                await self._take(party, parse_xml(line))
            if not write:
                return self.letter
            self.letters += 1
            return await _encrypted(party, JULIET, f"letter {self.letters}")

    async def _take(self, party: Party, element: Element) -> None:
        key = read_encrypted(element, party.device).key
        assert key is not None
        engine = party.sessions.engines[Version.TWO]
        message = engine.read_exchange(key.data)[1] if key.kex else engine.read_message(key.data)
        position = (message.ratchet_key, message.number)
        before = self._positions.setdefault(position, message.raw)
        assert before == message.raw, "a position of a ratchet was used twice"
        if before is not message.raw:
            return  # it was sent twice
        opened = await party.sessions.decrypt(element, party.arrival(_address(JULIET)))
        if not opened.is_empty:
            assert opened.content[0].text not in self.answers
            self.answers.add(opened.content[0].text)
            await party.sessions.delivered([opened])


async def _live(path: str, letter: Element, name: str, times: int, out: int) -> None:
    """Read a letter, answer it, and send what waits; say what is known outside from then on.

    ``T`` and a text that the program was told, ``A`` once it has reported it, ``S`` and what is
    sent.
    """

    def say(line: str) -> None:
        os.write(out, f"{line}\n".encode())

    async with await SqliteStore.open(Path(path)) as store:
        party = await device_at(JULIET, waiting(store))
        for opened in await party.sessions.undelivered():
            say(f"T{opened.content[0].text}")
            await party.sessions.delivered([opened])
        try:
            opened = await party.sessions.decrypt(letter, party.arrival(_address(ROMEO)))
        except PeerMisbehaved as refusal:
            if refusal.code is not ErrorCode.REPLAY:  # an earlier life has reported it
                raise
        else:
            say(f"T{opened.content[0].text}")
            await party.sessions.delivered([opened])
        say("A")
        for number in range(times):
            say(f"S{write_xml(await _encrypted(party, ROMEO, f'{name}, {number}'))}")
            for job in await party.outbox.pending():
                if isinstance(job.effect, Send):
                    say(f"S{write_xml(job.effect.children[0])}")
                await party.outbox.done(job.id)


class _Life:
    """One life of the device, in a process of its own."""

    def __init__(
        self, path: str, letter: Element, name: str, *, times: int, step: int | None = None
    ) -> None:
        listen, say = os.pipe()
        self._process = os.fork()
        if not self._process:
            living = _live(path, letter, name, times, say)
            asyncio.run(living if step is None else kill_at(living, step))
            os._exit(0)
        os.close(say)
        self._lines = os.fdopen(listen)

    def kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)

    def end(self) -> tuple[bool, list[str]]:
        """Return whether it lived to its end, and what it said."""
        ended = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        assert ended in (0, _KILLED), ended
        with self._lines:
            return ended == 0, self._lines.read().splitlines()


def _die(path: str, peer_path: str) -> None:
    peer = _Peer(peer_path)
    for step in count():
        life = _Life(path, peer.letter, f"life {step}", times=1, step=step)
        lived, lines = life.end()
        peer.meet(lines)
        if lived:
            assert f"life {step}, 0" in peer.answers
            print(step, peer.letters, len(peer.answers))
            return


def _die_at_random(path: str, peer_path: str, times: str, seed: str) -> None:
    random, peer = Random(int(seed)), _Peer(peer_path)
    for number in range(int(times)):
        life = _Life(path, peer.letter, f"life {number}", times=_ANSWERS)
        time.sleep(random.random() * _LIFETIME)
        life.kill()
        peer.meet(life.end()[1])
    print(times, peer.letters, len(peer.answers))


if __name__ == "__main__":
    match sys.argv[1:]:
        case "write", path, name, times:
            asyncio.run(_write(path, name, times))
        case "read", path, folder:
            asyncio.run(_read(path, folder))
        case "die", path, peer:
            _die(path, peer)
        case "die-at-random", path, peer, times, seed:
            _die_at_random(path, peer, times, seed)
