"""Case: one thing that is given and what must come of it; and the form of a file of them.

Rule: form only; nothing here knows of a specification.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import shake_256
from typing import Any

from spec_vectors.generator.notes import NOTES

__all__ = ["Case", "Randomness", "document", "render"]


@dataclass(frozen=True, slots=True)
class Case:
    """One test.

    Attributes:
        id: unique in its file; stable, so that others may name it.
        comment: what is special about it, for people.
        flags: keys of ``NOTES``.
        given: the input, by the schema of its kind.
        expect: the outcome, by the same schema.
    """

    id: str
    comment: str
    flags: tuple[str, ...]
    given: Mapping[str, Any]
    expect: Mapping[str, Any]


class Randomness:
    """``ports.Primitives`` whose bytes follow from a seed; for vectors and nothing else."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._used = 0

    def random(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        start, self._used = self._used, self._used + count
        return shake_256(self._seed).digest(self._used)[start:]


def document(raw: bytes) -> dict[str, str]:
    """Return an XML document as JSON: text where it is UTF-8, else base64."""
    try:
        return {"xml": raw.decode()}
    except UnicodeDecodeError:
        return {"base64": b64encode(raw).decode()}


def render(schema: str, xep: str, spec: str, cases: Iterable[Case]) -> str:
    """Return the text of a file of vectors; ASCII, so that no character is invisible."""
    cases = list(cases)
    used = sorted({flag for case in cases for flag in case.flags})
    content = {
        "schema": schema,
        "xep": xep,
        "spec": spec,
        "notes": {flag: {"effect": NOTES[flag][1], "bug_type": NOTES[flag][0]} for flag in used},
        "cases": [
            {
                "id": case.id,
                "comment": case.comment,
                "flags": list(case.flags),
                "given": case.given,
                "expect": case.expect,
            }
            for case in cases
        ],
    }
    return json.dumps(content, indent=1) + "\n"
