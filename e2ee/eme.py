"""Which elements say, or are, that a message is encrypted, by whatever method (XEP-0380).

Rule: names only. That nothing encrypted stands inside what is encrypted is each method's to see to.
"""

from __future__ import annotations

from typing import Final

from e2ee import ns
from e2ee.xmltree import Element

__all__ = ["is_encrypted"]

_ENCRYPTED: Final = frozenset(
    {
        (ns.EME, "encryption"),
        (ns.OMEMO_2, "encrypted"),
        (ns.OMEMO_LEGACY, "encrypted"),
        (ns.OX, "openpgp"),
        (ns.PGP_LEGACY, "x"),
    }
)


def is_encrypted(child: Element) -> bool:
    """Say whether an element says, or is, that the message it stands in is encrypted."""
    return (child.namespace, child.name) in _ENCRYPTED
