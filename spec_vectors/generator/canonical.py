"""How a case of canonicalisation is put together (XEP-0475 §6, Canonical XML 2.0).

Rule: form only; the cases stand in ``canonical_names`` and ``canonical_texts``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spec_vectors.generator.case import Case, document
from spec_vectors.generator.hostile_xml import hostile

__all__ = ["AS_IT_STANDS", "PRESERVED", "REFUSED", "canonical_case", "cases"]

AS_IT_STANDS, PRESERVED, REFUSED = "as-it-stands", "with-space-preserved", "ambiguous"
"""How a payload may be signed: so; with ``xml:space`` on its root; not at all."""


def canonical_case(
    case_id: str,
    flags: Sequence[str],
    comment: str,
    xml: str,
    text: str,
    signable: str = AS_IT_STANDS,
) -> Case:
    """Return a case: ``text`` is the canonical form of ``xml``."""
    expect = {"outcome": "canonical", "text": text, "signable": signable}
    return Case(case_id, comment, tuple(flags), {"element": document(xml.encode())}, expect)


def cases() -> Iterator[Case]:
    """Yield what is no element that could be signed."""
    for found in hostile("<a xmlns='urn:a'>b</a>"):
        given = {"element": document(found.document)}
        yield Case(f"xml-{found.id}", found.comment, (found.flag,), given, {"outcome": found.code})
