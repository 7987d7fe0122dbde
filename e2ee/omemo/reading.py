"""What the readers of OMEMO's elements have in common: the version of a root, and octets by length.

Rule: shape only; which elements there are is in ``bundle.py``, ``device_list.py``, ``message.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import decode_base64
from e2ee.omemo.version import Version
from e2ee.xmltree import Element

__all__ = ["misshapen", "octets", "too_many", "version_of"]


def version_of(source: Element, names: Mapping[Version, str]) -> Version:
    """Return the version whose root element this is.

    Args:
        source: the element.
        names: how each version calls it; its namespace is the version's.

    Raises:
        PeerMisbehaved: ``malformed``: neither version's.
    """
    for version, name in names.items():
        if source.is_(version, name):
            return version
    raise misshapen(f"no <{names[Version.TWO]}/> of OMEMO", "XEP-0384 §5")


def octets(source: Element, lengths: tuple[int, ...], rule: str) -> bytes:
    """Return the bytes that an element holds in base64, and nothing else.

    Raises:
        PeerMisbehaved: ``malformed``: no base64, or of none of these lengths.
    """
    raw = decode_base64(source.leaf_text(rule), rule)
    if len(raw) not in lengths:
        raise misshapen(f"<{source.name}/> of {len(raw)} bytes", rule)
    return raw


def misshapen(what: str, rule: str) -> PeerMisbehaved:
    """Return the error for what breaks the form of an element."""
    return PeerMisbehaved(ErrorCode.MALFORMED, what, rule=rule)


def too_many(what: str, rule: str) -> PeerMisbehaved:
    """Return the error for more of something than ``e2ee/limits.py`` allows."""
    return PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, f"too many {what}", rule=rule)
