"""GnuPG on the vectors of signed items: each text that is called signed was signed by that key.

Rule: GnuPG and the files only; nothing of ours is asked, but to take base64 out of an element.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any

import pytest

from tests.support.gnupg import gnupg
from tests.support.source import ROOT
from tests.vectors.running import document

pytestmark = pytest.mark.slow

_SIGN = re.compile(r"<(?:o:)?sign\s[^>]*>([^<]*)<")


def _signed() -> dict[bytes, tuple[str, dict[str, Any]]]:
    """Return the packets of every valid signature, with their text and the last of their cases."""
    file = ROOT / "spec_vectors" / "signing" / "signatures.json"
    found = {}
    for case in json.loads(file.read_text(encoding="ascii"))["cases"]:
        for given, expected in zip(
            case["given"]["attachments"], case["expect"].get("signatures", ()), strict=False
        ):
            if "signed" in expected:
                base64 = _SIGN.search(document(given["signature"]).decode())
                assert base64, case["id"]
                found[b64decode(base64[1])] = (expected["signed"], case)
    return found


def test_gnupg_verifies_what_is_called_signed() -> None:
    """Every packet, by a key of the case that GnuPG can use."""
    signed = _signed()
    assert len(signed) >= 20
    for packets, (text, case) in signed.items():
        with gnupg() as gpg:
            for known in case["given"]["keys"]:
                gpg.run("--import", data=b64decode(known["key"]))
            signature = gpg.home / "signature"
            signature.write_bytes(packets)
            status = gpg.run(
                "--status-fd", "1", "--verify", str(signature), "-", data=text.encode()
            )
            lines = [line.split()[1] for line in status.decode().splitlines()]
            assert lines.count("VALIDSIG") == lines.count("NEWSIG") >= 1, case["id"]
            assert not {"BADSIG", "ERRSIG"}.intersection(lines), case["id"]
