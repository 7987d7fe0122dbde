"""What Libervia signed, byte for byte, from recorded items (XEP-0475 §5).

Rule: recorded material beside the repository; its absence skips.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2ee import ns
from e2ee.names import BareJid
from e2ee.xmlparse import parse_xml
from signing.elements import Signature
from signing.profile import Ambiguity, ambiguities, bare_item, readings_for
from signing.readings import Reading, signed_bytes
from tests.support.peers import require_shared


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    found = json.loads(require_shared("peers/libervia/pubsub_signing.json").read_text())
    return list(found["cases"])


def test_the_signed_bytes_of_libervia_are_those_of_a_reading(cases: list[dict[str, Any]]) -> None:
    """Where the strict form differs from what Libervia signed, the second reading has it."""
    for case in cases:
        # Recorded without the namespace that it has in a stream
        item = bare_item(parse_xml(case["item"].replace("<item", f"<item xmlns='{ns.PUBSUB}'", 1)))
        (attached,) = parse_xml(case["attachments"]).elements
        signature = Signature.from_xml(attached)
        assert signature.to_xml().same_content(attached), case["id"]
        service = BareJid.parse(case["service"])
        matching = [
            reading
            for reading in readings_for(item)
            if signed_bytes(item, service, signature.statement, reading)
            == case["libervia_canonical"].encode()
        ]
        expected = Reading.STRICT if case["strict_c14n2_equals"] else Reading.LIBERVIA
        assert matching[:1] == [expected], case["id"]


def test_x_17_what_libervia_trimmed_is_ambiguous(cases: list[dict[str, Any]]) -> None:
    trimmed = {
        case["id"]
        for case in cases
        if Ambiguity.TRIMMED
        in ambiguities(
            bare_item(parse_xml(case["item"].replace("<item", f"<item xmlns='{ns.PUBSUB}'", 1))),
            Reading.STRICT,
        )
    }
    assert trimmed == {"atom-xep", "ws-preserve-default"} & {case["id"] for case in cases}
