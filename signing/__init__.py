"""Signed pubsub items (XEP-0475, XEP-0476): signatures beside an item, by one signer or several.

Rule: re-exports only.
"""

from signing.policy import Policy, all_of, any_of, every_signature, k_of
from signing.profile import Ambiguity
from signing.readings import Reading
from signing.signatures import FEATURES, ItemSignatures
from signing.signed_by import SignedBy, find_signatures, listed_signers
from signing.signing import SignedItem
from signing.verdict import (
    Doubt,
    SignerVerdict,
    Uncovered,
    Unverifiable,
    Verdict,
    Verification,
)
from signing.verifying import FetchedItem

__all__ = [
    "FEATURES",
    "Ambiguity",
    "Doubt",
    "FetchedItem",
    "ItemSignatures",
    "Policy",
    "Reading",
    "SignedBy",
    "SignedItem",
    "SignerVerdict",
    "Uncovered",
    "Unverifiable",
    "Verdict",
    "Verification",
    "all_of",
    "any_of",
    "every_signature",
    "find_signatures",
    "k_of",
    "listed_signers",
]
