"""What a server can make of OMEMO messages that passed it, none of which may ever be believed.

Rule: elements and arrivals in, altered ones out; each differs from a genuine one in what its name
says alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from e2ee.arrival import Arrival
from e2ee.lexical import decode_base64, encode_base64
from e2ee.names import Jid
from e2ee.omemo.device import Device
from e2ee.omemo.message import DeviceKey, read_encrypted
from e2ee.omemo.version import Version
from e2ee.xmltree import Attribute, Element

__all__ = ["TAMPERINGS", "Seen"]

_STRANGER: Final = Jid.parse("paris@verona.lit/tomb")


@dataclass(frozen=True)
class Seen:
    """One message for one device, as the server sees it.

    Attributes:
        element: the ``<encrypted/>``.
        arrival: where it stands.
        reader: for whom.
        sender: which device sent it.
    """

    element: Element
    arrival: Arrival
    reader: Device
    sender: Device

    @property
    def exchange(self) -> str:
        """The name of the attribute that says that there is a key exchange."""
        return "kex" if self.element.namespace == Version.TWO else "prekey"

    @property
    def payload(self) -> Element | None:
        return self.element.optional(self.element.namespace, "payload")

    @property
    def key(self) -> bytes:
        return self._key.data

    @property
    def has_exchange(self) -> bool:
        return self._key.kex

    @property
    def _key(self) -> DeviceKey:
        key = read_encrypted(self.element, self.reader).key
        assert key is not None
        return key


def _mapped(root: Element, change: Callable[[Element], Element | None]) -> Element:
    """Return a tree of which each element is changed, or left out, after those within it."""
    children: list[Element | str] = []
    for child in root.children:
        mapped = child if isinstance(child, str) else change(_mapped(child, change))
        if mapped is not None:
            children.append(mapped)
    return replace(root, children=tuple(children))


def _with_payload(seen: Seen, payload: Element | None) -> Element:
    found = _mapped(seen.element, lambda each: None if each.name == "payload" else each)
    return found if payload is None else replace(found, children=(*found.children, payload))


def _with_attribute(root: Element, name: str, value: str | None) -> Element:
    others = tuple(each for each in root.attributes if each.name != name)
    added = () if value is None else (Attribute(name, value),)
    return replace(root, attributes=(*others, *added))


def _with_key(seen: Seen, change: Callable[[Element], Element]) -> Element:
    """Return the message with our key changed."""

    def at(each: Element) -> Element:
        # The ids of all devices differ.
        return change(each) if each.get("rid") == str(seen.reader.id) else each

    return _mapped(seen.element, at)


def _refilled(holder: Element, raw: bytes) -> Element:
    return replace(holder, children=(encode_base64(raw),))


def _flipped(raw: bytes, place: int) -> bytes:
    bit = place % (8 * len(raw))
    altered = bytearray(raw)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


Tampered = tuple[Element, Arrival] | None


def _payload_of_another(seen: Seen, other: Seen, place: int) -> Tampered:
    if seen.payload == other.payload:
        return None
    return _with_payload(seen, other.payload), seen.arrival


def _key_of_another(seen: Seen, other: Seen, place: int) -> Tampered:
    if seen.payload == other.payload and seen.sender == other.sender:
        return None  # then that is the other message
    value = "true" if other.has_exchange else None
    altered = _with_key(
        seen, lambda each: _with_attribute(_refilled(each, other.key), seen.exchange, value)
    )
    return altered, seen.arrival


def _flipped_key(seen: Seen, other: Seen, place: int) -> Tampered:
    altered = _with_key(seen, lambda each: _refilled(each, _flipped(seen.key, place)))
    return altered, seen.arrival


def _flipped_payload(seen: Seen, other: Seen, place: int) -> Tampered:
    if seen.payload is None:
        return None
    raw = decode_base64(seen.payload.text)
    return _with_payload(seen, _refilled(seen.payload, _flipped(raw, place))), seen.arrival


def _stripped(seen: Seen, other: Seen, place: int) -> Tampered:
    if seen.payload is None:
        return None
    return _with_payload(seen, None), seen.arrival


def _blanked(seen: Seen, other: Seen, place: int) -> Tampered:
    if seen.payload is None:
        return None
    return _with_payload(seen, replace(seen.payload, children=())), seen.arrival


def _other_wrapping(seen: Seen, other: Seen, place: int) -> Tampered:
    value = None if seen.has_exchange else "true"
    altered = _with_key(seen, lambda each: _with_attribute(each, seen.exchange, value))
    return altered, seen.arrival


def _other_sender(seen: Seen, other: Seen, place: int) -> Tampered:
    if other.sender == seen.sender:
        return None
    altered = _mapped(
        seen.element,
        lambda each: (
            _with_attribute(each, "sid", str(other.sender.id)) if each.name == "header" else each
        ),
    )
    return altered, seen.arrival


def _other_account(seen: Seen, other: Seen, place: int) -> Tampered:
    if seen.arrival.occupant is not None:
        return seen.element, replace(seen.arrival, occupant=_STRANGER.bare)
    return seen.element, replace(seen.arrival, sender=_STRANGER)


def _other_recipient(seen: Seen, other: Seen, place: int) -> Tampered:
    if seen.payload is None or seen.element.namespace == Version.LEGACY:
        return None  # nothing in them says where they belong
    if seen.arrival.occupant is not None:
        return seen.element, replace(seen.arrival, sender=_STRANGER)
    return seen.element, replace(seen.arrival, to=_STRANGER)


TAMPERINGS: Final[Sequence[Callable[[Seen, Seen, int], Tampered]]] = (
    _payload_of_another,
    _key_of_another,
    _flipped_key,
    _flipped_payload,
    _stripped,
    _blanked,
    _other_wrapping,
    _other_sender,
    _other_account,
    _other_recipient,
)
"""Each makes of a message, another one for the same device and a number what is no message, or
returns ``None`` where that is none."""
