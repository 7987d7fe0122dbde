"""WrappedItem: an item whose signatures are verified, each of its forms made once for all of them.

Rule: nothing here knows of keys. What the forms are is said in ``readings.py``, which of them an
item may have in ``profile.py``; here is remembered what they cost to find out.
"""

from __future__ import annotations

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import ItemPlace
from e2ee.xmltree import Element
from signing.elements import Statement
from signing.profile import Ambiguity, ambiguities, bare_item, payload_of, readings_for
from signing.readings import Reading, around, item_bytes

__all__ = ["WrappedItem"]


class WrappedItem:
    """A fetched item as it is wrapped.

    Attributes:
        place: where it stood; of it only the service is signed.
        payload: the very tree that its signatures are about.
        readings: those that its signatures may follow; see ``profile.readings_for``.
    """

    def __init__(self, item: Element, place: ItemPlace) -> None:
        """Take in an item as it was fetched, and its place.

        Raises:
            PeerMisbehaved: ``malformed``, ``limit-exceeded``: as ``bare_item``;
                ``context-mismatch``: its id is another one than the place's.
        """
        self.place = place
        self.payload = payload_of(item)
        self._item = bare_item(item)
        self._bytes: dict[Reading, bytes] = {}
        self._ambiguities: dict[Reading, frozenset[Ambiguity]] = {}
        self.readings = readings_for(self._item)
        if item.get("id") not in (None, place.item_id):
            raise PeerMisbehaved(
                ErrorCode.CONTEXT_MISMATCH, "an item of another id", rule="XEP-0475 §5"
            )

    def signed_bytes(self, statement: Statement, reading: Reading = Reading.STRICT) -> bytes:
        """See ``readings.signed_bytes``."""
        if reading not in self._bytes:
            self._bytes[reading] = item_bytes(self._item, reading)
        return around(self._bytes[reading], self.place.node.service, statement, reading)

    def ambiguities(self, reading: Reading) -> frozenset[Ambiguity]:
        """See ``profile.ambiguities``."""
        if reading not in self._ambiguities:
            self._ambiguities[reading] = ambiguities(self._item, reading)
        return self._ambiguities[reading]
