"""Benchmark of OpenPGP for XMPP: our engine, bare pysequoia and gpg on the same keys, in one run.

Rule: figures are ratios against a peer on the same machine in the same run; nothing here asserts.
Bare pysequoia gets what our engine gets, keys and messages as octets, and checks what it checks by
itself. ``account`` is the whole of XEP-0373 around our engine: store, trust, XML, replays.

    python -m benchmarks.ox [--rounds 200] [--gpg-rounds 10] [--rsa]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median

import pysequoia

from e2ee.primitives import NativePrimitives
from ox.engine import KeyHandle
from ox.engine_sequoia import SequoiaEngine
from tests.support.gnupg import Gnupg, gnupg
from tests.support.ox_world import World, body, meet

READERS = 5
DATA = b"<signcrypt>" + b"But, soft! what light through yonder window breaks? " * 20
USER_IDS = [f"xmpp:{name}@verona.lit" for name in ("juliet", "a", "b", "c", "d", "e")]

Rows = dict[str, float]
"""Milliseconds by what was done, in the middle of all rounds."""


async def lasted(rounds: int, work: Callable[[], Awaitable[object]]) -> float:
    """Return how many milliseconds one round takes, in the middle."""
    seconds = []
    await work()  # what is loaded once
    for _ in range(rounds):
        begun = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - begun)
    return median(seconds) * 1e3


def awaited(work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    """Return a function as a coroutine function, so that all pay the same for awaiting."""

    async def run() -> object:
        return work()

    return run


async def ours(rounds: int, keys: list[KeyHandle]) -> tuple[Rows, bytes]:
    """Measure our engine; return a message of its as well."""
    engine = SequoiaEngine(NativePrimitives())
    signer, *readers = keys
    to, signers = [key.certificate for key in readers], [signer.certificate.raw]
    sealed = await engine.seal(DATA, to, signer)
    inline, detached = await engine.sign_message(DATA, signer), await engine.sign(DATA, signer)
    rows = {
        "seal to 5": await lasted(rounds, lambda: engine.seal(DATA, to, signer)),
        "open": await lasted(rounds, lambda: engine.open(sealed, readers[:1], signers)),
        "sign": await lasted(rounds, lambda: engine.sign(DATA, signer)),
        "verify": await lasted(rounds, lambda: engine.verify(DATA, detached, signers)),
        "sign inline": await lasted(rounds, lambda: engine.sign_message(DATA, signer)),
        "verify inline": await lasted(rounds, lambda: engine.verify_message(inline, signers)),
    }
    return rows, sealed


async def bare(rounds: int, keys: list[KeyHandle], sealed: bytes) -> Rows:
    """Measure pysequoia alone."""
    material = [key.material.reveal() for key in keys]
    publics = [key.certificate.raw for key in keys]
    detached_mode = pysequoia.SignatureMode.DETACHED

    def signer() -> pysequoia.PySigner:
        return pysequoia.Tsk.from_bytes(material[0]).signer()

    def signers(_: object) -> list[pysequoia.Cert]:
        return [pysequoia.Cert.from_bytes(publics[0])]

    def seal() -> bytes:
        to = [pysequoia.Cert.from_bytes(raw) for raw in publics[1:]]
        return pysequoia.encrypt(DATA, to, signer(), armor=False)

    def open_() -> object:
        decryptor = pysequoia.Tsk.from_bytes(material[1]).decryptor()
        return pysequoia.decrypt(sealed, decryptor, store=signers)

    def sign() -> bytes:
        return pysequoia.sign(signer(), DATA, mode=detached_mode, armor=False)

    def sign_inline() -> bytes:
        return pysequoia.sign(signer(), DATA, armor=False)

    inline, detached = sign_inline(), sign()

    def verify() -> object:
        return pysequoia.verify(DATA, signers, signature=pysequoia.Sig.from_bytes(detached))

    return {
        "seal to 5": await lasted(rounds, awaited(seal)),
        "open": await lasted(rounds, awaited(open_)),
        "sign": await lasted(rounds, awaited(sign)),
        "verify": await lasted(rounds, awaited(verify)),
        "sign inline": await lasted(rounds, awaited(sign_inline)),
        "verify inline": await lasted(rounds, awaited(lambda: pysequoia.verify(inline, signers))),
    }


async def with_gpg(rounds: int, gpg: Gnupg, keys: list[KeyHandle], sealed: bytes) -> Rows:
    """Measure gpg, which has all keys in its home, and starts anew for each message."""
    for key in keys:
        gpg.run("--import", data=key.material.reveal())
    names = [key.certificate.fingerprint for key in keys]
    signature = gpg.home / "signature"
    signer = ("--local-user", names[0])
    to = [word for name in names[1:] for word in ("--recipient", name)]
    inline = gpg.run("--sign", *signer, data=DATA)
    signature.write_bytes(gpg.run("--detach-sign", *signer, data=DATA))
    commands: dict[str, tuple[tuple[str, ...], bytes]] = {
        "seal to 5": (("--sign", "--encrypt", *signer, *to), DATA),
        "open": (("--try-secret-key", names[1], "--decrypt"), sealed),
        "sign": (("--detach-sign", *signer), DATA),
        "verify": (("--verify", str(signature), "-"), DATA),
        "sign inline": (("--sign", *signer), DATA),
        "verify inline": (("--decrypt",), inline),
    }
    return {
        what: await lasted(rounds, awaited(partial(gpg.run, *arguments, data=data)))
        for what, (arguments, data) in commands.items()
    }


async def account(rounds: int, keys: list[KeyHandle]) -> Rows:
    """Measure accounts with these keys."""
    world = World()
    people = [
        await world.person(user_id.removeprefix("xmpp:"), key=key.material)
        for user_id, key in zip(USER_IDS, keys, strict=True)
    ]
    await meet(people[0], people[1])
    await people[0].gather(*people)
    writer, *readers = people
    content, to = (body(DATA[11:].decode()),), {reader.jid for reader in readers}
    sealed, signed = await writer.ox.seal(content, to), await writer.ox.sign(content, to)
    return {
        "seal to 5": await lasted(rounds, lambda: writer.ox.seal(content, to)),
        "open": await lasted(rounds, lambda: readers[0].open(sealed, writer)),
        "sign inline": await lasted(rounds, lambda: writer.ox.sign(content, to)),
        "verify inline": await lasted(rounds, lambda: readers[0].open(signed, writer)),
    }


async def measure(rounds: int, gpg_rounds: int, *, rsa: bool) -> None:
    """Measure all, and print it."""
    engine = SequoiaEngine(NativePrimitives())
    keys = [await engine.generate(user_id, rsa=rsa) for user_id in USER_IDS]
    us, sealed = await ours(rounds, keys)
    sequoia = await bare(rounds, keys, sealed)
    around = await account(rounds, keys)
    with gnupg() as home:
        gpg = await with_gpg(gpg_rounds, home, keys, sealed)
    heads = ("ms", "ours", "pysequoia", "gpg", "account", "ours/pysequoia", "gpg/ours")
    print("".join(f"{head:>15}" for head in heads))
    for what, mine in us.items():
        whole = f"{around[what]:.3f}" if what in around else "-"
        figures = (f"{mine:.3f}", f"{sequoia[what]:.3f}", f"{gpg[what]:.1f}", whole)
        ratios = (f"{mine / sequoia[what]:.2f}", f"{gpg[what] / mine:.0f}")
        print("".join(f"{figure:>15}" for figure in (what, *figures, *ratios)))


def main() -> None:
    """Measure and print a table."""
    os.environ["RUST_BACKTRACE"] = "0"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--gpg-rounds", type=int, default=10)
    parser.add_argument("--rsa", action="store_true", help="RSA-3072 instead of Curve25519")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.gpg_rounds, rsa=arguments.rsa))


if __name__ == "__main__":
    main()
