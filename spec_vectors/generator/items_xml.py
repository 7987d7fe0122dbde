"""Items whose XML is hostile: outside, by the service, and inside, by whoever has the secret.

Rule: the same documents at both boundaries; what was decrypted is as hostile as what arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.hostile_xml import hostile
from spec_vectors.generator.item import encrypted, item_case, refused, writer
from spec_vectors.generator.openpgp import bzip2, literal
from spec_vectors.generator.world import ATOM, ENTRY

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for found in hostile(encrypted(writer("outside").sound(ENTRY))):
        yield item_case(
            f"outside-{found.id}",
            [found.flag],
            f"around the message: {found.comment}",
            found.document,
            refused(found.code),
        )
    for found in hostile(ENTRY):
        name = f"inside-{found.id}"
        yield item_case(
            name,
            [found.flag],
            f"encrypted: {found.comment}",
            encrypted(writer(name).sound(found.document)),
            refused(found.code),
        )
    yield from _payloads()


def _payloads() -> Iterator[Case]:
    for name, flag, comment, payload in (
        ("no-namespace", "X-11", "a payload in no namespace", "<entry/>"),
        (
            "undeclared-default",
            "X-11",
            "a payload that takes its namespace off",
            "<entry xmlns=''/>",
        ),
        ("text", "X-28", "a text instead of an element", "She is so pretty!"),
        ("item", "X-11", "the whole <item/> without its namespace", f"<item>{ENTRY}</item>"),
    ):
        yield item_case(
            f"payload-{name}",
            [flag],
            comment,
            encrypted(writer(name).sound(payload)),
            refused("malformed"),
        )
    crowd = f"<entry xmlns='{ATOM}'>{'<x/>' * 10_000}</entry>".encode()
    yield item_case(
        "inside-many-elements",
        ["X-09"],
        "10,001 elements",
        encrypted(writer("inside-many-elements").message(bzip2(literal(crowd)))),
        refused("limit-exceeded"),
    )
