"""Plaintext: what a payload says once it is decrypted, and what a message without one says.

Rule: pure; from key material to content that agrees with where it stood, before anything is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from e2ee import limits, ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.eme import is_encrypted
from e2ee.errors import CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.message import ReceivedMessage
from e2ee.omemo.opened import TransportedKey
from e2ee.omemo.opt_out import OptOut
from e2ee.omemo.version import Version
from e2ee.sce import GROUPCHAT, ITEM, OMEMO, Remark, open_envelope
from e2ee.secret import Secret
from e2ee.xmlnames import NOT_CHAR
from e2ee.xmltree import Element, element

__all__ = ["Plaintext", "read_plaintext"]

_TRANSPORTED_BYTES: Final = 16  # of a key in a legacy message; with a payload, a tag follows
_PROFILES: Final = {StanzaKind.GROUPCHAT: GROUPCHAT, StanzaKind.ITEM: ITEM}  # all others: OMEMO
_RULE: Final = "XEP-0384 §5.5"
_LEGACY_RULE: Final = "XEP-0384 0.2.2 §4.6"


@dataclass(frozen=True, slots=True)
class Plaintext:
    """What a message says; the fields are those of :class:`OpenedMessage`, but for one.

    Attributes:
        names_sender: whether it is in an envelope that names the sender's account, as that of a
            message must: it is no other's that was passed on as theirs.
    """

    content: tuple[Element, ...] = field(default=(), repr=False)
    dropped: tuple[Element, ...] = field(default=(), repr=False)
    remarks: frozenset[Remark] = frozenset()
    time: datetime | None = None
    is_empty: bool = False
    key: TransportedKey | None = None
    names_sender: bool = False

    @property
    def opt_out(self) -> OptOut | None:
        """The wish to write in clear, if it is in the content.

        Raises:
            PeerMisbehaved: ``malformed``: several of them, or one that is none.
        """
        wishes = [child for child in self.content if child.is_(ns.OMEMO_2, "opt-out")]
        if len(wishes) > 1:
            raise PeerMisbehaved(ErrorCode.MALFORMED, "two <opt-out/>", rule="XEP-0384 §5.7")
        return OptOut.from_xml(wishes[0]) if wishes else None


def read_plaintext(
    engine: OmemoEngine,
    received: ReceivedMessage,
    key_material: Secret,
    arrival: Arrival,
    now: datetime,
) -> Plaintext:
    """Decrypt a payload and check it against where it stood.

    A payload that was taken away, or put where none was, is told by the key material: that of an
    empty message is all zeros, and that for a payload has an authentication tag.

    Args:
        engine: of the message's version.
        received: the message.
        key_material: what a session decrypted for it.
        arrival: where it stood.
        now: the present, aware.

    Raises:
        CannotDecrypt: the payload is not the one that the key material is for.
        PeerMisbehaved: what ``open_envelope`` raises; ``forbidden``: encrypted content inside;
            ``malformed``, ``limit-exceeded`` for a legacy text that could not be an element.
    """
    if received.payload is None:
        return _without_payload(engine, received.iv, key_material)
    plaintext = engine.open_payload(received.payload, key_material)
    if received.version is Version.LEGACY:
        return Plaintext(content=(_body(plaintext),))
    profile = _PROFILES.get(arrival.kind, OMEMO)
    opened = open_envelope(plaintext, _stored(arrival, now), profile, now)
    envelope = opened.envelope
    if any(map(is_encrypted, envelope.content)):
        raise PeerMisbehaved(ErrorCode.FORBIDDEN, "encrypted content inside", rule=_RULE)
    return Plaintext(
        envelope.content,
        opened.dropped,
        opened.remarks,
        envelope.time,
        names_sender=envelope.from_ is not None,
    )


def _without_payload(engine: OmemoEngine, iv: bytes | None, key_material: Secret) -> Plaintext:
    if engine.empty is not None:
        if key_material != engine.empty:
            raise CannotDecrypt
        return Plaintext(is_empty=True)
    if len(key_material) != _TRANSPORTED_BYTES or iv is None:
        raise CannotDecrypt
    return Plaintext(key=TransportedKey(key_material, iv))


def _stored(arrival: Arrival, now: datetime) -> Arrival:
    """Return the arrival of an item with a stamp: it may be of any age, and nobody says of which.

    So that its time is remarked where it is far from the present, and never refused.
    """
    if arrival.kind is not StanzaKind.ITEM or arrival.stamp is not None:
        return arrival
    return replace(arrival, stamp=now)


def _body(plaintext: bytes) -> Element:
    """Return a legacy text as the body that it is; it is not parsed as XML."""
    try:
        text = plaintext.decode()
    except UnicodeDecodeError:
        text = "\0"
    if NOT_CHAR.search(text):
        raise PeerMisbehaved(ErrorCode.MALFORMED, "a body that is no text", rule=_LEGACY_RULE)
    if len(plaintext) > limits.MAX_TEXT_BYTES:
        raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "too long a body", rule=_LEGACY_RULE)
    return element(ns.CLIENT, "body", None, *([text] if text else []))
