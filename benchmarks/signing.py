"""Benchmark of signed items: against bare pysequoia, and our canonical form against lxml's.

Rule: figures are ratios against a peer on the same machine in the same run; nothing here asserts.
Each canonicaliser gets a tree of its own and returns octets; reading the XML is not counted. Bare
pysequoia gets the signed bytes and the keys as octets, as our engine does, and checks what it
checks by itself. ``ItemSignatures`` is the whole: store, history, trust, canonical form, verdict.

    python -m benchmarks.signing [--rounds 200] [--rsa]
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
from lxml import etree

from e2ee import ns
from e2ee.names import BareJid, NodeAddress
from e2ee.primitives import NativePrimitives
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from e2ee.xmlwrite import write_xml
from ox.engine import KeyHandle
from ox.engine_sequoia import SequoiaEngine
from signing.canonical import canonical
from signing.elements import Signature
from signing.openpgp import open_sign
from signing.profile import bare_item
from signing.readings import signed_bytes
from signing.signatures import ItemSignatures
from signing.signed_by import SignedBy
from signing.verifying import FetchedItem
from tests.support.ox_world import World
from tests.support.signed_items import at, item_of

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)  # bytes of canonical form
ONCE = 4_000_000  # bytes that each canonicaliser has to write at least, for its best figure
BOMB = 256 * 1024  # bytes of XML (X-21)
PAGE = 50  # items that are verified in one transaction
NODE = NodeAddress(BareJid.parse("pubsub.verona.lit"), "urn:xmpp:microblog:0")
XHTML = "http://www.w3.org/1999/xhtml"


def post(number: int) -> Element:
    """Return an Atom entry of 1.5 KB."""

    def atom(name: str, *children: Element | str) -> Element:
        return element(ns.ATOM, name, None, *children)

    quoted = element(XHTML, "em", {"class": "name"}, "Romeo")
    line = element(
        XHTML, "p", None, "O Romeo, Romeo! wherefore art thou ", quoted, "? Deny & refuse"
    )
    return atom(
        "entry",
        atom("title", f"From the balcony, {number}"),
        atom("id", f"tag:capulet.lit,2026:{number}"),
        atom("published", "2026-11-01T12:00:00Z"),
        atom("author", atom("name", "Juliet"), atom("uri", "xmpp:juliet@capulet.lit")),
        element(ns.ATOM, "content", {"type": "xhtml"}, element(XHTML, "div", None, *[line] * 12)),
    )


def feed(size: int) -> Element:
    """Return as many entries as make up that many bytes, each as an element of its own."""
    count = size // len(canonical(post(10)))
    return element(ns.ATOM, "feed", None, *[post(number) for number in range(count)])


def best(rounds: int, work: Callable[[], object]) -> float:
    """Return in how many seconds of the processor it can be done."""
    seconds = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def canonicalisers(tree: Element) -> dict[str, Callable[[], bytes]]:
    """Return ways to the canonical form of one tree, by name."""
    theirs = etree.fromstring(write_xml(tree), etree.XMLParser(huge_tree=True))
    return {
        "ours": partial(canonical, tree),
        "lxml c14n2": partial(etree.tostring, theirs, method="c14n2", strip_text=True),
        "libxml2 exclusive": partial(etree.tostring, theirs, method="c14n", exclusive=True),
    }


def measure_canonical() -> None:
    """Measure canonicalisation, and print it."""
    heads = ("bytes", "ours MB/s", "lxml c14n2", "libxml2 exclusive", "lxml/ours", "libxml2/ours")
    print("".join(f"{head:>19}" for head in heads))
    for size in SIZES:
        ways = canonicalisers(feed(size))
        length = len(ways["ours"]())
        speeds = {
            name: length / 1e6 / best(max(2, ONCE // size), way) for name, way in ways.items()
        }
        ours, lxml, libxml2 = speeds.values()
        figures = (f"{length}", f"{ours:.1f}", f"{lxml:.1f}", f"{libxml2:.1f}")
        ratios = (f"{lxml / ours:.2f}", f"{libxml2 / ours:.2f}")
        print("".join(f"{figure:>19}" for figure in (*figures, *ratios)))


def bombs() -> dict[str, str]:
    """Return documents that are made to be costly, of about 256 KiB each."""

    def many(prefixes: int, level: int, *below: Element) -> Element:
        bound = [Attribute("a", "", f"urn:{level}:{each}", f"p{each}") for each in range(prefixes)]
        return Element("urn:x", "a", tuple(bound), below)

    deep = many(60, 0)
    for level in range(1, 60):
        deep = many(60, level, deep)
    values = "".join([f" n{each}=''" for each in range(60)])
    scope = write_xml(many(60, 0)).removesuffix("/>")
    return {
        "elements": "<a>" + "<b/>" * 9_990 + "\n" * 220_000 + "</a>",
        "attributes": "<a>" + f"<b{values}/>" * 600 + "</a>",
        "escapes": "<a>" + ">" * 260_000 + "</a>",
        "default namespaces": "<a>" + "<b xmlns='urn:y'><c xmlns='urn:z'/></b>" * 4_990 + "</a>",
        "prefixes on each level": write_xml(deep),
        "prefixes in scope": f"{scope}>" + "<b xmlns='urn:y'/>" * 9_990 + "</a>",
        "one long name": f"<a xmlns:p='urn:{'x' * 400}'>" + "<p:b/>" * 9_900 + "</a>",
    }


def measure_bombs() -> None:
    """Measure what is made to be costly, and print it."""
    print(f"\n{'256 KiB of':<24}{'bytes':>10}{'form':>10}{'ours ms':>10}{'libxml2 ms':>12}")
    for name, source in bombs().items():
        ways = canonicalisers(parse_xml(source))
        ours, libxml2 = (best(5, ways[way]) * 1e3 for way in ("ours", "libxml2 exclusive"))
        form = len(ways["ours"]())
        print(f"{name:<24}{len(source):>10}{form:>10}{ours:>10.1f}{libxml2:>12.1f}")


async def lasted(rounds: int, work: Callable[[], Awaitable[object]]) -> float:
    """Return how many milliseconds of the processor one round takes, in the middle."""
    seconds = []
    await work()  # what is loaded once
    for _ in range(rounds):
        begun = time.process_time()
        await work()
        seconds.append(time.process_time() - begun)
    return median(seconds) * 1e3


async def bare(rounds: int, key: KeyHandle, data: bytes, packet: bytes) -> dict[str, float]:
    """Measure pysequoia alone on the bytes that are signed."""
    secret, public = key.material.reveal(), key.certificate.raw

    def signers(_: object) -> list[pysequoia.Cert]:
        return [pysequoia.Cert.from_bytes(public)]

    async def sign() -> None:
        signer = pysequoia.Tsk.from_bytes(secret).signer()
        pysequoia.sign(signer, data, mode=pysequoia.SignatureMode.DETACHED, armor=False)

    async def verify() -> None:
        pysequoia.verify(data, signers, signature=pysequoia.Sig.from_bytes(packet))

    return {"sign": await lasted(rounds, sign), "verify": await lasted(rounds, verify)}


async def measure_items(rounds: int, *, rsa: bool) -> None:
    """Measure signing and verifying, and print it."""
    engine = SequoiaEngine(NativePrimitives())
    key = await engine.generate("xmpp:juliet@capulet.lit", rsa=rsa)
    world = World()
    juliet = await world.person("juliet@capulet.lit", key=key.material)
    nurse = await world.person("nurse@capulet.lit")
    await nurse.gather(juliet)
    writing, reading = ItemSignatures(juliet.ox), ItemSignatures(nurse.ox)

    made = [await writing.sign(post(number), NODE) for number in range(PAGE)]
    page = [
        FetchedItem(
            item_of(signed.payload, f"{number}"),
            at(f"{number}"),
            (SignedBy(juliet.jid, signed.signature),),
        )
        for number, signed in enumerate(made)
    ]
    first = page[0]
    signature = Signature.from_xml(made[0].signature)
    statement = signature.statement
    data = signed_bytes(bare_item(first.item), NODE.service, statement)
    (packet,) = open_sign(signature.profile)

    sequoia = await bare(rounds, key, data, packet)
    rows = {
        "sign": await lasted(rounds, lambda: writing.sign(post(1), NODE)),
        "verify": await lasted(
            rounds, lambda: reading.verify(first.item, first.place, first.attachments)
        ),
        "verify a page": await lasted(max(1, rounds // PAGE), lambda: reading.verify_many(page))
        / PAGE,
    }
    form = best(rounds, lambda: signed_bytes(bare_item(first.item), NODE.service, statement)) * 1e3
    print(f"\nitems of {len(data)} signed bytes, of which the canonical form takes {form:.3f} ms")
    print("".join(f"{head:>18}" for head in ("", "ours items/s", "pysequoia", "ours/pysequoia ms")))
    for what, ours in rows.items():
        theirs = sequoia[what.split()[0]]
        figures = (what, f"{1e3 / ours:.0f}", f"{1e3 / theirs:.0f}", f"{ours / theirs:.2f}")
        print("".join(f"{figure:>18}" for figure in figures))


def main() -> None:
    """Measure and print tables."""
    os.environ["RUST_BACKTRACE"] = "0"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--rsa", action="store_true", help="RSA-3072 instead of Curve25519")
    arguments = parser.parse_args()
    measure_canonical()
    measure_bombs()
    asyncio.run(measure_items(arguments.rounds, rsa=arguments.rsa))


if __name__ == "__main__":
    main()
