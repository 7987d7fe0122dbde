"""Fuzzes signatures of one item (XEP-0475, XEP-0476): valid is what was signed, and nothing else.

Rule: one target, and what its seeds are made of; the keys and texts are those of ``spec_vectors``.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from e2ee.errors import PeerMisbehaved
from e2ee.names import BareJid
from e2ee.primitives import NativePrimitives
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml
from ox.engine_sequoia import SequoiaEngine
from signing.elements import Signature
from signing.openpgp import open_sign
from signing.profile import bare_item, readings_for
from signing.readings import signed_bytes
from spec_vectors.generator.signing import CANONICAL_ENTRY, JULIETS, item, sign_data, stated
from spec_vectors.generator.world import JULIET, ROMEO

__all__ = ["STATED", "item_signature"]

STATED = {
    "alone": (stated(), sign_data()),
    "beside": (stated(JULIET, ROMEO), sign_data(CANONICAL_ENTRY, JULIET, ROMEO)),
    "to": (f"<to jid='{JULIET}'/>{stated()}", sign_data()),
}
"""By seed: what is said of the signed text, and the text. Nothing else was ever signed."""

_LOOP = asyncio.new_event_loop()
_ENGINE = SequoiaEngine(NativePrimitives())
_ITEM = bare_item(parse_xml(item().encode()))
_SERVICE = BareJid.parse(JULIET)
_SIGNED = {text.encode() for _, text in STATED.values()}


def item_signature(data: bytes) -> bool:
    """Try a ``<signature/>`` on the one item: by all readings, as whoever verifies does."""
    signature = Signature.from_xml(parse_xml(data))
    again = Signature.from_xml(parse_xml(write_xml(signature.to_xml())))
    assert (again.statement.time, again.to) == (signature.statement.time, signature.to)
    packets = open_sign(signature.profile)
    assert open_sign(again.profile) == packets
    for reading in readings_for(_ITEM):
        signed = signed_bytes(_ITEM, _SERVICE, signature.statement, reading)
        assert signed == signed_bytes(_ITEM, _SERVICE, again.statement, reading)
        with suppress(PeerMisbehaved):
            for packet in packets:
                _LOOP.run_until_complete(_ENGINE.verify(signed, packet, [JULIETS.public()]))
            assert signed in _SIGNED, "valid for what nobody signed"
            return True
    return False
