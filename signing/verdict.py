"""Verification: what the signatures of one item prove, signer by signer and in sum (XEP-0475 §7).

Rule: values only. Nothing here verifies; that is in ``verifying.py``. What they prove together, by
whose signatures count, is decided in ``policy.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NoReturn

from e2ee.errors import DataMissing, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.history import Sighting
from e2ee.names import BareJid, Fetch, Fingerprint, ItemPlace
from e2ee.trust import Trust
from e2ee.xmltree import Element
from ox.detached import KeyState
from signing.profile import Ambiguity
from signing.readings import Reading

__all__ = ["Doubt", "SignerVerdict", "Uncovered", "Unverifiable", "Verdict", "Verification"]


class Verdict(StrEnum):
    """What to show the user, worst first; three of them are the displays of XEP-0475 §7."""

    UNSIGNED = "unsigned"  # too few of those whose signatures count have signed, or nobody
    INVALID = "invalid"  # "not validated, probably spoofed"
    UNCHECKED = "unchecked"  # something public must be fetched first; says nothing yet
    AMBIGUOUS = "ambiguous"  # valid, and as valid for other items, which read differently
    UNTRUSTED = "untrusted"  # "validated but unreliable, may be forged"
    TRUSTED = "trusted"  # "signed by one or more trusted signers"


class Doubt(StrEnum):
    """What is odd about a signature that is valid all the same."""

    TIME_DIFFERS = "time-differs"  # its stamp is not when the signature says it was made
    KEY_NOT_ANNOUNCED = "key-not-announced"  # its owner announces the key no more
    KEY_RETIRED = "key-retired"  # its owner superseded or retired it since
    KEY_OUTDATED = "key-outdated"  # its owner may have revoked it: it is to be fetched again
    SUPERSEDED = "superseded"  # this signer signed a newer version of the item, which we saw


class Uncovered(StrEnum):
    """What no signature of XEP-0475 covers, so that the service can change it."""

    ITEM_ID = "item-id"
    NODE = "node"
    PUBLISHER = "publisher"


@dataclass(frozen=True, slots=True)
class SignerVerdict:
    """What one signature of one signer proves.

    Attributes:
        signer: who is said to have signed: the attachment's publisher, a ``<signer/>`` of it, and
            owner of the key, or it is not valid.
        verdict: never ``UNSIGNED``.
        code: why it is ``INVALID`` or ``UNCHECKED``; ``None`` otherwise.
        claimed: the signature's ``<time/>``, aware; ``None`` where it could not be read.
        made: when OpenPGP says that it was made, aware; ``None`` unless it is valid.
        key: the signer's key; ``None`` unless it is valid.
        trust: the level of that key; ``None`` unless it is valid.
        then: the state of the key when it signed; ``None`` unless it is valid.
        now: its state today; ``None`` unless it is valid.
        reading: which reading of XEP-0475 the signed bytes follow; ``None`` unless it is valid.
        ambiguities: why other items have the same bytes under that reading.
        doubts: what is odd about it.
        missing: what to fetch and feed where it is ``UNCHECKED``, or the key ``KEY_OUTDATED``.
        sighting: whether these very signed bytes were met before in this signer's line of versions,
            here or elsewhere, as far as this account's own history knows; ``None`` unless the
            signature is valid by a key that is believed, and counts by the policy.
        elsewhere: where else they were met.
    """

    signer: BareJid
    verdict: Verdict
    code: ErrorCode | None = None
    claimed: datetime | None = None
    made: datetime | None = None
    key: Fingerprint | None = None
    trust: Trust | None = None
    then: KeyState | None = None
    now: KeyState | None = None
    reading: Reading | None = None
    ambiguities: frozenset[Ambiguity] = frozenset()
    doubts: frozenset[Doubt] = frozenset()
    missing: tuple[Fetch, ...] = ()
    sighting: Sighting | None = None
    elsewhere: tuple[ItemPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """What all signatures of one item prove, by the policy that was asked for.

    It is neither true nor false: ask :meth:`require`, or show ``verdict``.

    Attributes:
        verdict: in sum.
        signers: each signature that was looked at; those of one statement stand together.
        absent: who is named as a signer beside others whose signature counts, and has not signed.
        left_out: how many others have attached signatures, which do not count and were not looked
            at because there are too many.
        place: where the item stood; of it only the service is covered by what was signed.
        uncovered: what the signatures do not cover.
        sighting: the worst one of all signers.
        elsewhere: where what they signed was met besides.
        payload: the very tree that was verified: use this one, whatever else the item held.
    """

    verdict: Verdict
    signers: tuple[SignerVerdict, ...]
    absent: frozenset[BareJid]
    left_out: int
    place: ItemPlace
    uncovered: frozenset[Uncovered]
    sighting: Sighting | None
    elsewhere: tuple[ItemPlace, ...]
    payload: Element = field(repr=False)

    def __bool__(self) -> NoReturn:
        raise TypeError("a Verification is neither true nor false: ask its verdict")

    @property
    def missing(self) -> tuple[Fetch, ...]:
        """What to fetch and feed, without repetition, before it is verified again.

        Some of it may be missing although the verdict is ``TRUSTED``: then by keys as they were
        last seen, of which their owners announced another state since (``Doubt.KEY_OUTDATED``).
        """
        return tuple(dict.fromkeys(need for each in self.signers for need in each.missing))

    def require(self, *accepted: Verdict) -> Element:
        """Return the payload if the verdict is one of ``accepted``, ``TRUSTED`` if none is named.

        Raises:
            PeerMisbehaved: ``bad-signature`` where it is unsigned or invalid, ``ambiguous``,
                ``untrusted``.
            DataMissing: it is unchecked: fetch, feed and verify it again.
        """
        if self.verdict in (accepted or (Verdict.TRUSTED,)):
            return self.payload
        what = f"an item whose signatures are {self.verdict}"
        if self.verdict is Verdict.UNCHECKED:
            raise DataMissing(what, fetches=self.missing)
        raise PeerMisbehaved(_CODES[self.verdict], what, rule="XEP-0475 §7")


@dataclass(frozen=True, slots=True)
class Unverifiable:
    """One of a page that is no signed item at all; the others are not touched by it.

    Attributes:
        error: what ``ItemSignatures.verify`` would have raised.
        place: where it stood.
    """

    error: E2eeError
    place: ItemPlace


_CODES = {
    Verdict.UNSIGNED: ErrorCode.BAD_SIGNATURE,
    Verdict.INVALID: ErrorCode.BAD_SIGNATURE,
    Verdict.AMBIGUOUS: ErrorCode.AMBIGUOUS,
    Verdict.UNTRUSTED: ErrorCode.UNTRUSTED,
    Verdict.TRUSTED: ErrorCode.UNTRUSTED,  # where even that was not accepted
}
