"""The readings of XEP-0475: which bytes are signed, by its prose, its examples and by Libervia.

Rule: one short, fixed list. We write the first reading only; the others are tried when a signature
is verified, in this order, and only for items for which ``profile.py`` admits them.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Final, NamedTuple

from e2ee import ns
from e2ee.names import BareJid
from e2ee.xmltree import Element, element
from signing.canonical import canonical, canonical_as_libervia
from signing.elements import Statement

__all__ = ["Reading", "around", "item_bytes", "signed_bytes"]


class Reading(StrEnum):
    """What ``<sign-data/>`` looks like and how it becomes bytes, in the order of trying."""

    STRICT = "strict"  # the wrapper as Libervia builds it, in strict canonical form; what we write
    LIBERVIA = "libervia"  # the same wrapper, canonicalised as Libervia 0.9 does
    PROSE = "prose"  # by the text of §5: urn:xmpp:pubsub-signature:0, each signer in an attribute
    EXAMPLE = "example"  # by the example of §5: wrapper and <item/> in no namespace


class _Names(NamedTuple):
    wrapper: str  # the namespace of all that XEP-0475 defines
    item: str  # the namespace of <item/>


_OURS: Final = _Names(ns.PUBSUB_SIGNING, ns.PUBSUB)
_END: Final = b"</sign-data>"
_NAMES: Final = {
    Reading.STRICT: _OURS,
    Reading.LIBERVIA: _OURS,
    Reading.PROSE: _Names(ns.PUBSUB_SIGNATURE, ns.PUBSUB),
    Reading.EXAMPLE: _Names("", ""),
}


def signed_bytes(
    item: Element, to: BareJid, statement: Statement, reading: Reading = Reading.STRICT
) -> bytes:
    """Return the bytes that a signature signs (XEP-0475 §5, §6).

    Args:
        item: the item as :func:`signing.profile.bare_item` returns it.
        to: the pubsub service at which the item stands.
        statement: time and signers.
        reading: of XEP-0475; one of :func:`signing.profile.readings_for`.

    Raises:
        ApiMisuse: ``ambiguous`` for an item with prefixes, by ``Reading.LIBERVIA``.
        PeerMisbehaved: ``ambiguous`` for an item that has no canonical form, ``limit-exceeded`` for
            one whose prefixes ask for more declarations than the canonical form may have.
    """
    return around(item_bytes(item, reading), to, statement, reading)


def item_bytes(item: Element, reading: Reading) -> bytes:
    """Return the part of :func:`signed_bytes` that no statement changes.

    No wrapper has anything that its item inherits, so an item's form is the same in all of them,
    and is made once for all signatures of an item.

    Raises:
        ApiMisuse, PeerMisbehaved: as :func:`signed_bytes`.
    """
    return _form(replace(item, namespace=_NAMES[reading].item), reading)


def around(item: bytes, to: BareJid, statement: Statement, reading: Reading) -> bytes:
    """Return :func:`signed_bytes` of an item of which there is :func:`item_bytes`."""
    opened = _form(_wrapper(to, statement, reading), reading).removesuffix(_END)
    return b"".join((opened, item, _END))


def _form(root: Element, reading: Reading) -> bytes:
    return canonical_as_libervia(root) if reading is Reading.LIBERVIA else canonical(root)


def _wrapper(to: BareJid, statement: Statement, reading: Reading) -> Element:
    """Return ``<sign-data/>`` but for the item, which comes last."""

    def own(name: str, attributes: dict[str, str], *children: Element | str) -> Element:
        return element(_NAMES[reading].wrapper, name, attributes, *children)

    time = own("time", {"stamp": statement.stamp})
    signers = [
        own("signer", {"jid": str(jid)})
        if reading is Reading.PROSE
        else own("signer", {}, str(jid))
        for jid in statement.signers
    ]
    return own("sign-data", {}, own("to", {"jid": str(to)}), time, *signers)
