"""Writes the files of test vectors anew; the same octets every time.

Rule: from the cases of ``generator`` to files, and nothing else. Nothing is read but frozen inputs.

    python -m spec_vectors.generate
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from spec_vectors.generator import (
    canonical,
    canonical_names,
    canonical_texts,
    envelopes_opened,
    envelopes_refused,
    items_altered,
    items_context,
    items_misshapen,
    items_sound,
    items_xml,
    omemo_bundles,
    omemo_device_lists,
    omemo_encrypted,
    secrets_malformed,
    secrets_refused,
    secrets_taken,
    signatures_changed,
    signatures_packets,
    signatures_refused,
    signatures_shapes,
    signatures_sound,
    targeted,
)
from spec_vectors.generator.case import render

ROOT = Path(__file__).parent


_FILES = {
    "omemo/bundles.json": (("omemo_bundle_v1.json", "0384", "0.9.1"), (omemo_bundles,)),
    "omemo/device_lists.json": (
        ("omemo_device_list_v1.json", "0384", "0.9.1"),
        (omemo_device_lists,),
    ),
    "omemo/encrypted.json": (("omemo_encrypted_v1.json", "0384", "0.9.1"), (omemo_encrypted,)),
    "oxps/items.json": (
        ("oxps_item_v1.json", "0473", "0.1.1"),
        (items_sound, items_context, items_altered, items_misshapen, items_xml),
    ),
    "oxps/secrets.json": (
        ("oxps_secrets_v1.json", "0473", "0.1.1"),
        (secrets_taken, secrets_refused, secrets_malformed),
    ),
    "pte/items.json": (("pte_item_v1.json", "0477", "0.1.0"), (targeted,)),
    "sce/envelopes.json": (
        ("sce_v1.json", "0420", "0.5.0"),
        (envelopes_opened, envelopes_refused),
    ),
    "signing/canonical.json": (
        ("canonical_v1.json", "0475", "0.1.0"),
        (canonical_names, canonical_texts, canonical),
    ),
    "signing/signatures.json": (
        ("signed_item_v1.json", "0475", "0.1.0"),
        (
            signatures_sound,
            signatures_changed,
            signatures_refused,
            signatures_packets,
            signatures_shapes,
        ),
    ),
}
"""By path: schema, specification and its version; where its cases stand."""


def generate() -> dict[str, str]:
    """Return the text of every file by its path below this folder."""
    return {
        path: render(*kind, chain.from_iterable(part.cases() for part in parts))
        for path, (kind, parts) in _FILES.items()
    }


if __name__ == "__main__":
    for path, text in generate().items():
        (ROOT / path).write_text(text, encoding="ascii")
