"""Sealing: content signed, encrypted, or both, for those who are to have it (XEP-0373 §3.1).

Rule: inside a transaction of the caller, which nothing here changes; to which keys is encrypted
follows from the key rings and from what the keys say of themselves today.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.names import BareJid, Fingerprint
from e2ee.padding import random_padding
from e2ee.storage import Transaction
from e2ee.trust import Trust
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from ox.elements import Content, ContentKind, write_openpgp
from ox.engine import Certificate
from ox.keys import KeyRing
from ox.soundness import sound_keys

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = ["Recipients", "recipients_within", "seal_crypt", "seal_sign", "seal_signcrypt"]

_RULE: Final = "XEP-0373 §3.1"


@dataclass(frozen=True, slots=True)
class Recipients:
    """What sealing for one JID would encrypt to now, to be shown before it is done.

    Attributes:
        keys: the keys that are encrypted to, and how far each is trusted; once one of the JID's is
            authenticated, all of these are.
        passed_over: the keys that are announced and not distrusted, and yet are left out: they wait
            for a decision, or they are not fetched, expired, revoked or cannot encrypt.
    """

    keys: Mapping[Fingerprint, Trust]
    passed_over: Mapping[Fingerprint, Trust]


async def recipients_within(ox: OxAccount, tx: Transaction, jid: BareJid) -> Recipients:
    """Say which keys of ``jid`` are encrypted to, and which are left out."""
    ring = await ox.keys_within(tx, jid)
    usable = {certificate.fingerprint for certificate in await _usable(ox, ring)}
    current = [key for key in ring.current if key.trust is not Trust.DISTRUSTED]
    return Recipients(
        keys={k.fingerprint: k.trust for k in current if k.fingerprint in usable},
        passed_over={k.fingerprint: k.trust for k in current if k.fingerprint not in usable},
    )


async def seal_signcrypt(
    ox: OxAccount,
    tx: Transaction,
    payload: Sequence[Element],
    readers: Collection[BareJid],
    to: Collection[BareJid],
) -> Element:
    """Sign and encrypt.

    Args:
        ox: the account that writes.
        tx: reads of one snapshot.
        payload: the elements to secure, each in a namespace.
        readers: whose keys are encrypted to, beside our own.
        to: who is named as recipient: the stanza's ``to``; in a room the room.

    Raises:
        As ``OxAccount.seal``.
    """
    content = _content(ox, ContentKind.SIGNCRYPT, payload, to)
    own = await ox.own_key_within(tx)
    certificates = await _certificates(ox, tx, readers, own.certificate)
    return write_openpgp(await ox.engine.seal(content, certificates, own))


async def seal_sign(
    ox: OxAccount, tx: Transaction, payload: Sequence[Element], to: Collection[BareJid]
) -> Element:
    """Sign, so that everybody on the way can read it; see ``OxAccount.sign``."""
    content = _content(ox, ContentKind.SIGN, payload, to)
    own = await ox.own_key_within(tx)
    ring = await ox.keys_within(tx, ox.account)
    if ring.outdated:  # our key may be revoked by now
        raise DataMissing(f"keys of {ox.account} are missing", fetches=ring.missing)
    return write_openpgp(await ox.engine.sign_message(content, own))


async def seal_crypt(
    ox: OxAccount, tx: Transaction, payload: Sequence[Element], readers: Collection[BareJid]
) -> Element:
    """Encrypt, so that nobody can tell who wrote it; see ``OxAccount.crypt``."""
    content = _content(ox, ContentKind.CRYPT, payload, readers)
    own = await ox.own_key_within(tx)
    certificates = await _certificates(ox, tx, readers, own.certificate)
    return write_openpgp(await ox.engine.encrypt(content, certificates))


def _content(
    ox: OxAccount, kind: ContentKind, payload: Sequence[Element], to: Collection[BareJid]
) -> bytes:
    if not to:
        raise ApiMisuse(f"a <{kind}/> needs somebody to be for", rule=_RULE)
    if any(not child.namespace for child in payload):
        raise ApiMisuse("a payload element needs a namespace", rule=_RULE)
    content = Content(
        kind=kind,
        # Unsigned, a recipient proves nothing, and the text of the XEP forbids it.
        to=() if kind is ContentKind.CRYPT else tuple(sorted(to)),
        time=ox.ports.clock(),
        payload=tuple(payload),
        padding=None if kind is ContentKind.SIGN else random_padding(ox.ports.primitives),
    )
    return write_xml(content.to_xml()).encode()


async def _certificates(
    ox: OxAccount, tx: Transaction, readers: Collection[BareJid], own: Certificate
) -> list[Certificate]:
    """Return the keys of all who are to read, and ours."""
    found = {own.fingerprint: own}
    for jid in sorted({*readers, ox.account}):
        ring = await ox.keys_within(tx, jid)
        usable = await _usable(ox, ring)
        if ring.outdated or (jid != ox.account and ring.unfetched_recipients):
            raise DataMissing(f"keys of {jid} are missing", fetches=ring.missing)
        # We have our own key; whatever a server makes of our list stops nothing.
        if jid != ox.account and not usable:
            raise _nobody_to_write_to(ring)
        found |= {certificate.fingerprint: certificate for certificate in usable}
    return list(found.values())


async def _usable(ox: OxAccount, ring: KeyRing) -> list[Certificate]:
    sound = await sound_keys(ox.engine, ring, ring.recipients)
    return [certificate for certificate in sound if certificate.encrypts]


def _nobody_to_write_to(ring: KeyRing) -> TrustUndecided | PeerMisbehaved:
    if ring.recipients:
        what = f"every key of {ring.jid} is expired, revoked or cannot encrypt"
        return PeerMisbehaved(ErrorCode.UNUSABLE_KEY, what, rule="XEP-0373 §4")
    if ring.undecided:
        return TrustUndecided(f"no key of {ring.jid} is trusted", subjects=ring.undecided)
    return PeerMisbehaved(ErrorCode.UNUSABLE_KEY, f"{ring.jid} has no key", rule="XEP-0373 §4")
