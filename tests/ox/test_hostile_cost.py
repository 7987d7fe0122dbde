"""What hostile messages may cost: the loop turns while one is opened, and memory has a bound."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pysequoia
import pytest

import ox.engine_sequoia
from e2ee.errors import CannotDecrypt, EngineFailed
from e2ee.limits import MAX_PLAINTEXT_BYTES
from e2ee.primitives import NativePrimitives
from ox.engine import KeyHandle, Signed
from ox.engine_sequoia import SequoiaEngine
from ox.packets import Tag, read_packets, write_packet
from tests.support.forge import encrypted
from tests.support.openpgp import cfb, encryption_keys_of, literal, seipd, skesk
from tests.support.seipd2 import message_to, newer_key, sealed, way_in
from tests.support.source import ROOT, modules

LARGE = b"x" * 20_000
PATIENCE = 30  # seconds until a test that hangs fails; one that passes never waits for long


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def correspondents(executor: Executor | None) -> tuple[SequoiaEngine, KeyHandle]:
    engine = SequoiaEngine(NativePrimitives(), executor)
    return engine, await engine.generate("xmpp:juliet@capulet.lit")


def slow(real: Callable[..., Any], released: threading.Event) -> Callable[..., Any]:
    def work(*args: Any) -> Any:
        assert released.wait(PATIENCE), "the loop did not turn"
        return real(*args)

    return work


@pytest.mark.parametrize("way", ["open", "decrypt", "verify_message"])
async def test_g_23_other_tasks_run_while_a_large_message_is_opened(
    way: str, monkeypatch: pytest.MonkeyPatch, pool: Executor
) -> None:
    engine, juliet = await correspondents(pool)
    own = juliet.certificate
    match way:
        case "open":
            message = await engine.seal(LARGE, [own], juliet)
            work: Awaitable[Signed | bytes] = engine.open(message, [juliet], [own.raw])
        case "decrypt":
            work = engine.decrypt(await engine.encrypt(LARGE, [own]), [juliet])
        case _:
            work = engine.verify_message(await engine.sign_message(LARGE, juliet), [own.raw])
    released = threading.Event()
    for name in ("unwrap", "expand"):
        real = getattr(ox.engine_sequoia, name)
        monkeypatch.setattr(ox.engine_sequoia, name, slow(real, released))
    opening = asyncio.ensure_future(work)
    for _ in range(100):
        await asyncio.sleep(0)
        assert not opening.done()
    released.set()
    opened = await opening
    assert (opened if isinstance(opened, bytes) else opened.data) == LARGE


async def test_small_messages_need_no_thread() -> None:
    class Unwanted(ThreadPoolExecutor):
        def submit(self, work: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            raise AssertionError("a thread for a small message")

    engine, juliet = await correspondents(Unwanted(1))
    message = await engine.seal(b"hello", [juliet.certificate], juliet)
    assert (await engine.open(message, [juliet], [juliet.certificate.raw])).data == b"hello"


async def test_a_pool_that_is_gone_is_an_engine_failure() -> None:
    pool = ThreadPoolExecutor(1)
    engine, juliet = await correspondents(pool)
    message = await engine.seal(LARGE, [juliet.certificate], juliet)
    altered = message[:-1] + bytes((message[-1] ^ 1,))
    with pytest.raises(CannotDecrypt):
        await engine.open(altered, [juliet], [juliet.certificate.raw])
    pool.shutdown()
    with pytest.raises(EngineFailed):
        await engine.open(message, [juliet], [juliet.certificate.raw])


BOUNDED = """
import asyncio, resource, struct, sys
from e2ee.errors import E2eeError
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from ox.engine_sequoia import SequoiaEngine

parts = []
while head := sys.stdin.buffer.read(4):
    parts.append(sys.stdin.buffer.read(*struct.unpack(">I", head)))
secret, public, *messages = parts

async def main():
    engine = SequoiaEngine(NativePrimitives())
    key = await engine.adopt(Secret(secret))
    await engine.open(messages[0], [key], [public])  # loads what is loaded when it is used
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
    for message in messages:
        try:
            await engine.open(message, [key], [public])
            print("opened")
        except E2eeError as error:
            print(error.code)
asyncio.run(main())
"""
"""Opens messages with no more memory than it is told, however much it has already."""

ROOM = 128 * 1024 * 1024  # bytes beyond what holds the messages; one of 10 MiB is copied 8 times


def zeros(size: int) -> bytes:
    """Return a literal of so many zeros, compressed; never whole in memory."""
    compressor = zlib.compressobj(9)
    body = compressor.compress(b"\xcb\xff" + (6 + size).to_bytes(4) + b"b\0\0\0\0\0")
    for _ in range(size // (1 << 20)):
        body += compressor.compress(bytes(1 << 20))
    return write_packet(Tag.COMPRESSED, b"\x02" + body + compressor.flush())


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc to read memory from")
def test_g_23_hostile_messages_are_refused_in_bounded_memory() -> None:
    certificate, secret = newer_key("x25519")
    signer = pysequoia.Tsk.from_bytes(secret.reveal()).signer()
    signed = pysequoia.sign(signer, b"x" * (MAX_PLAINTEXT_BYTES - 1000), armor=False)
    small = pysequoia.sign(signer, b"hello", armor=False)
    bomb = zeros(1 << 29)
    twice = write_packet(Tag.COMPRESSED, b"\x02" + zlib.compress(bomb, 9))
    good, newer = encrypted(small, certificate), message_to(certificate, small)
    way, container = (write_packet(each.tag, each.body) for each in read_packets(good, most=2))
    (recipient,) = encryption_keys_of(certificate)
    argon2 = write_packet(Tag.SKESK, b"\x04\x09\x04" + bytes(16) + b"\xff\x04\x1f")
    key = bytes(32)
    short = write_packet(Tag.SEIPD, b"\x01" + cfb(key, bytes(18 + 18)))
    cases = [
        (good, "opened"),
        (newer, "opened"),
        (encrypted(signed, certificate), "opened"),
        (message_to(certificate, signed), "opened"),
        (encrypted(bomb, certificate), "limit-exceeded"),
        (message_to(certificate, bomb), "limit-exceeded"),
        (encrypted(twice, certificate), "limit-exceeded"),
        (message_to(certificate, twice), "limit-exceeded"),
        (argon2 + way + container, "unsupported-algorithm"),
        (argon2 * 20 + way + container, "limit-exceeded"),
        (skesk()[0] * 20 + container, "limit-exceeded"),
        (way * 10_000 + container, "limit-exceeded"),
        (way_in(recipient, key) + short, "malformed"),  # versions that do not belong together
        (way + short, "cannot-decrypt"),  # what made Sequoia panic (OPENPGP.md 4.4)
        (way + seipd(key, small), "cannot-decrypt"),
        (way_in(recipient, key) + sealed(small, bytes(31) + b"x").packet, "cannot-decrypt"),
        (way + b"\xd2\xff\xff\xff\xff\xff\x01", "malformed"),
        (encrypted(literal(b"x") * 2, certificate), "malformed"),
        (small, "not-encrypted"),
        (good, "opened"),
    ]
    parts = [secret.reveal(), certificate, *(message for message, _ in cases)]
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(ROOM)],
        cwd=ROOT,
        input=b"".join(len(part).to_bytes(4) + part for part in parts),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode().split() == [code for _, code in cases]


def test_g_23_sequoia_decrypts_nothing() -> None:
    """It panics on what anybody can send, expands without a bound and stretches with Argon2."""
    adapters = [
        module
        for module in modules()
        if any(found.top == "pysequoia" for found in module.imports())
    ]
    assert adapters
    for module in adapters:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"decrypt", "decrypt_file", "decryptor"}, module.where
