"""Detached signatures: ours over any octets, and what those of others prove of them.

Rule: whose key signed, when, and what became of that key since. Whether this is enough for whoever
reads is said by the level of trust, and decided where the octets have a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from e2ee.errors import DataMissing, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fetch, Fingerprint
from e2ee.storage import Transaction
from e2ee.trust import Trust
from ox.engine import Certificate
from ox.keys import KeyRing
from ox.soundness import sound_keys

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = ["Judged", "KeyState", "judge_within", "sign_within"]

_RULE: Final = "RFC 4880 §11.4"


class KeyState(StrEnum):
    """What a key that signed is at some moment; a compromised one proves nothing, at any."""

    VALID = "valid"
    EXPIRED = "expired"
    RETIRED = "retired"  # revoked by its owner, because it was superseded or retired


@dataclass(frozen=True, slots=True)
class Judged:
    """What detached signatures of one signer over the same octets prove.

    Attributes:
        key: the key that signed; of several the one that is believed most, then the one met first.
        made: when its newest signature says that it was made, aware.
        trust: how far that key is believed beside the signer's others: one that was accepted at
            first sight is ``UNDECIDED`` once the user has authenticated another. Never
            ``DISTRUSTED``.
        then: the state of the key at ``made``. Always ``VALID``: whatever a key signs before its
            time or after its end proves nothing.
        now: its state now.
        announced: whether the signer's list still has the key, or it is our own.
        missing: what to fetch to know the key as it is today, where its owner has dated it anew,
            struck it or listed it again since it was fetched: it may be revoked by now.
    """

    key: Fingerprint
    made: datetime
    trust: Trust
    then: KeyState
    now: KeyState
    announced: bool
    missing: tuple[Fetch, ...] = ()


async def sign_within(ox: OxAccount, tx: Transaction, data: bytes) -> bytes:
    """Return one binary detached signature (type 0x00, RFC 4880 §11.4) over ``data`` by our key.

    Args:
        ox: the account that signs.
        tx: reads of one snapshot.
        data: what is signed.

    Raises:
        ApiMisuse: no key of our own; ``unusable-key``: it is expired, revoked or cannot sign.
        DataMissing: our own keys must be fetched first: ours may be revoked by now.
    """
    own = await ox.own_key_within(tx)
    ring = await ox.keys_within(tx, ox.account)
    if ring.outdated:
        raise DataMissing(f"keys of {ox.account} are missing", fetches=ring.missing)
    return await ox.engine.sign(data, own)


async def judge_within(
    ox: OxAccount, tx: Transaction, signer: BareJid, data: bytes, packets: Sequence[bytes]
) -> Judged:
    """Verify that ``signer`` made every one of ``packets`` over ``data``.

    Keys that the signer announces no more count as well: signatures are old. What is not judged is
    whether the key is believed; see ``Judged.trust``.

    Args:
        ox: the account that reads.
        tx: reads of one snapshot.
        signer: whose keys they must be by.
        data: the signed octets.
        packets: binary detached signatures, one packet each.

    Raises:
        PeerMisbehaved: ``untrusted``: the user distrusts a key that signed; ``bad-signature``: one
            is not valid, or by no sound key of the signer; ``malformed``,
            ``unsupported-algorithm``.
        DataMissing: it may be by keys that must be fetched first.
    """
    ring = await ox.keys_within(tx, signer)
    try:
        made = await _verified(ox, ring, data, packets)
        certificates = await _sound(ox, ring, made)
    except PeerMisbehaved as error:
        if error.code is ErrorCode.BAD_SIGNATURE and ring.missing:
            raise DataMissing(f"keys of {signer} are missing", fetches=ring.missing) from None
        raise
    key, trust = _most_believed(ring, made)
    known = ring.find(key)
    outdated = not ring.listed or (known is not None and known.changed)
    return Judged(
        key=key,
        made=made[key],
        trust=trust,
        then=KeyState.VALID,
        now=_state(certificates[key], ox.ports.clock()),
        announced=any(current.fingerprint == key for current in ring.current),
        missing=ring.missing if outdated else (),
    )


async def _verified(
    ox: OxAccount, ring: KeyRing, data: bytes, packets: Sequence[bytes]
) -> Mapping[Fingerprint, datetime]:
    """Return the keys that signed, and when each last did; all packets must be by some of them."""
    # A distrusted key is not fetched again: as it was last seen is enough to refuse it.
    distrusted = {key.fingerprint for key in ring.keys if key.trust is Trust.DISTRUSTED}
    keys = [key.seen if key.fingerprint in distrusted else key.raw for key in ring.keys]
    candidates = [raw for raw in keys if raw]
    made: dict[Fingerprint, datetime] = {}
    for packet in packets:
        signed = await ox.engine.verify(data, packet, candidates)
        for fingerprint, moment in signed.signers.items():
            made[fingerprint] = max(moment, made.get(fingerprint, moment))
    if not distrusted.isdisjoint(made):
        raise PeerMisbehaved(
            ErrorCode.UNTRUSTED, f"signed by a key of {ring.jid} that is distrusted", rule=_RULE
        )
    return made


async def _sound(
    ox: OxAccount, ring: KeyRing, made: Mapping[Fingerprint, datetime]
) -> Mapping[Fingerprint, Certificate]:
    """Return the keys that signed; each must name its JID today, and not be compromised."""
    keys = [key for key in ring.keys if key.fingerprint in made]
    certificates = {
        certificate.fingerprint: certificate
        for certificate in await sound_keys(ox.engine, ring, keys)
        if not certificate.compromised  # Sequoia passes over a revocation that uses a broken hash
    }
    if not made or len(certificates) < len(made):
        raise PeerMisbehaved(
            ErrorCode.BAD_SIGNATURE, f"signed by no sound key of {ring.jid}", rule=_RULE
        )
    return certificates


def _most_believed(
    ring: KeyRing, made: Mapping[Fingerprint, datetime]
) -> tuple[Fingerprint, Trust]:
    """Return the key that counts among those that signed, and its level beside the others."""
    ring = ring.with_former_keys()
    accepted = [(key.fingerprint, key.trust) for key in ring.accepted]
    undecided = [(fingerprint, Trust.UNDECIDED) for fingerprint in ring.undecided]
    return next(found for found in (*accepted, *undecided) if found[0] in made)


def _state(certificate: Certificate, now: datetime) -> KeyState:
    if certificate.revoked:
        return KeyState.RETIRED
    if certificate.expires is not None and certificate.expires <= now:
        return KeyState.EXPIRED
    return KeyState.VALID
