"""Benchmark of encrypted nodes: our items and gpg's, against gpg itself, in one run.

Rule: figures are ratios against gpg on the same machine in the same run; nothing here asserts.

    python -m benchmarks.node [--items 10000] [--gpg-items 20]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from e2ee import Arrival, BareJid, Jid, NativePrimitives, NodeAddress, StanzaKind, element
from e2ee.names import Fingerprint, ItemId, SecretId
from e2ee.secret import Secret
from e2ee.xmltree import Element
from ox.engine_sequoia import SequoiaEngine
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import OpenedItem, open_items, seal_item
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node_secret import NodeSecret

JULIET = BareJid.parse("juliet@capulet.lit")
NODE = NodeAddress(JULIET, "blog")
SECRET = NodeSecret(
    SecretId("s"), Secret(b"ZSRD5lK9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGA"), datetime.now(UTC)
)
KEYCHAIN = Keychain(NODE, JULIET, frozenset({Fingerprint("A" * 40)}), (SECRET,))
PAGE = 250


def entry(number: int) -> Element:
    """Return an Atom entry of 1 KiB."""
    atom = "http://www.w3.org/2005/Atom"
    words = f"The roses of the {number}th of May. "
    return element(
        atom,
        "entry",
        None,
        element(atom, "title", {"type": "text"}, words.strip()),
        element(atom, "id", None, f"urn:uuid:00000000-0000-4000-8000-{number:012d}"),
        element(atom, "content", {"type": "text"}, (words * 40)[:800]),
    )


@contextmanager
def gpg_home() -> Iterator[Callable[[list[str], bytes], bytes]]:
    """Yield a function that runs gpg in an empty home with the secret as passphrase."""
    with tempfile.TemporaryDirectory(prefix="g") as home:
        Path(home).chmod(0o700)
        phrase = Path(home, "phrase")
        phrase.write_bytes(SECRET.passphrase.reveal())

        def run(arguments: list[str], data: bytes) -> bytes:
            command = ["gpg", "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]
            command += ["--passphrase-file", str(phrase), *arguments]
            environment = {**os.environ, "GNUPGHOME": home}
            done = subprocess.run(
                command, input=data, env=environment, capture_output=True, check=True
            )
            return done.stdout

        yield run
        subprocess.run(
            ["gpgconf", "--kill", "gpg-agent"], env={**os.environ, "GNUPGHOME": home}, check=False
        )


async def opened(engine: SequoiaEngine, items: list[Element]) -> None:
    """Open all items page by page, and make sure that every one opened."""
    for start in range(0, len(items), PAGE):
        page = [
            (item, Arrival(StanzaKind.ITEM, Jid(JULIET), node=NODE, item_id=ItemId(str(n))))
            for n, item in enumerate(items[start : start + PAGE], start)
        ]
        for result in await open_items(engine, KEYCHAIN, page):
            if not isinstance(result, OpenedItem):
                raise SystemExit(f"an item did not open: {result!r}")


async def measure(count: int, gpg_count: int) -> list[tuple[str, int, float]]:
    """Return rows of what was done, how often, and the seconds that it took in all."""
    rows = []
    executor = ThreadPoolExecutor(os.cpu_count())

    async def timed(name: str, number: int, work: Callable[[], object]) -> object:
        begun = time.perf_counter()
        result = work()
        if asyncio.iscoroutine(result):
            result = await result
        rows.append((name, number, time.perf_counter() - begun))
        return result

    engine = SequoiaEngine(NativePrimitives(), executor)
    payloads = [entry(number) for number in range(count)]

    async def seal() -> list[Element]:
        return [await seal_item(engine, SECRET, payload) for payload in payloads]

    ours = await timed("ours sealed by us", count, seal)
    assert isinstance(ours, list)
    await timed("ours opened by us", count, lambda: opened(engine, ours))
    with gpg_home() as gpg:
        plain = [
            b"<entry xmlns='http://www.w3.org/2005/Atom'>" + bytes([97]) * 960 + b"</entry>"
        ] * gpg_count
        raw = await timed(
            "gpg's sealed by gpg", gpg_count, lambda: [gpg(["--symmetric"], p) for p in plain]
        )
        assert isinstance(raw, list)
        await timed(
            "gpg's opened by gpg", gpg_count, lambda: [gpg(["--decrypt"], item) for item in raw]
        )
        few = [EncryptedItem.from_xml(item).ciphertext for item in ours[:gpg_count]]
        await timed(
            "ours opened by gpg", len(few), lambda: [gpg(["--decrypt"], item) for item in few]
        )
        theirs = [EncryptedItem(SECRET.id, item).to_xml() for item in raw]
        alone = SequoiaEngine(NativePrimitives())
        await timed("gpg's opened by us, one core", gpg_count, lambda: opened(alone, theirs))
        await timed("gpg's opened by us, all cores", gpg_count, lambda: opened(engine, theirs))
        await timed("gpg's opened by us, again", gpg_count, lambda: opened(engine, theirs))
    return rows


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--gpg-items", type=int, default=20)
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.items, arguments.gpg_items))
    each = {name: seconds / number for name, number, seconds in rows}
    mark = {"sealed": each["gpg's sealed by gpg"], "opened": each["gpg's opened by gpg"]}
    print(f"{'what':<32}{'items':>8}{'seconds':>10}{'ms each':>10}{'times gpg':>12}")
    for name, number, seconds in rows:
        peer = mark["sealed" if "sealed" in name else "opened"]
        ratio = peer / each[name]
        print(f"{name:<32}{number:>8}{seconds:>10.2f}{each[name] * 1e3:>10.3f}{ratio:>12.1f}")


if __name__ == "__main__":
    main()
