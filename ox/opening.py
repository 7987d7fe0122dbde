"""Opening: from a received ``<openpgp/>`` to content that is believed (XEP-0373 §3.2).

Rule: what OpenPGP did to a message decides which content element it must be; the sender's own keys
decide who signed it. The checks themselves are in ``opened.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, DataMissing, ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, Fingerprint
from e2ee.storage import Change, Transaction
from e2ee.trust import Trust
from e2ee.xmltree import Element
from ox.elements import ContentKind, read_openpgp
from ox.engine import Signed
from ox.grammar import is_in_clear
from ox.handled import check_unhandled, mark_handled
from ox.keys import KeyRing
from ox.opened import OpenedCrypt, OpenedOx, check_believed, check_decrypted, check_signed
from ox.own_key import opening_keys
from ox.soundness import compromised_keys, refused_keys, sound_keys

if TYPE_CHECKING:
    from ox.account import OxAccount

__all__ = ["open_signed", "open_unsigned", "take_in"]

_RULE: Final = "XEP-0373 §3.2"


async def open_signed(
    ox: OxAccount,
    tx: Transaction,
    openpgp: Element,
    arrival: Arrival,
    room: BareJid | None = None,
) -> OpenedOx:
    """Open a ``<signcrypt/>`` or ``<sign/>``.

    Args:
        ox: the account that reads.
        tx: reads of one snapshot.
        openpgp: what was received.
        arrival: where it stood.
        room: the room that it must have come from; ``None`` refuses what comes from any.

    Raises:
        As ``OxAccount.open``.
    """
    message = read_openpgp(openpgp)
    kind = ContentKind.SIGN if is_in_clear(message) else ContentKind.SIGNCRYPT
    sender = _sender(arrival, room)
    ring = await ox.keys_within(tx, sender)
    believed = ring if arrival.is_live else ring.with_former_keys()
    signed, retired = await _verified(ox, tx, message, kind, believed)
    opened = check_signed(signed, kind, ring, arrival, ox.account, ox.ports.clock())
    await check_unhandled(tx, ox.scope, opened.digest)
    return replace(opened, retired=opened.signer in retired)


async def open_unsigned(ox: OxAccount, openpgp: Element, arrival: Arrival) -> OpenedCrypt:
    """Open a ``<crypt/>``; see ``OxAccount.open_crypt``."""
    message = read_openpgp(openpgp)
    _sender(arrival, None)
    async with ox.ports.store.exclusive(ox.scope) as tx:
        data = await ox.engine.decrypt(message, await opening_keys(ox, tx))
        opened = check_decrypted(data, arrival, ox.account, ox.ports.clock())
        await check_unhandled(tx, ox.scope, opened.digest)
        return opened


async def take_in(ox: OxAccount, tx: Transaction, opened: OpenedOx | OpenedCrypt) -> list[Change]:
    """Return the changes by which a second delivery is refused from now on.

    Raises:
        As ``OxAccount.mark_handled_within``.
    """
    if opened.account != ox.account:
        raise ApiMisuse(f"a message that {opened.account} opened")
    if isinstance(opened, OpenedOx):
        ring = await ox.keys_within(tx, opened.sender)
        check_believed(ring, {opened.signer}, opened.arrival)
        find = compromised_keys if opened.retired else refused_keys
        if opened.signer in await find(ox.engine, ring):
            raise PeerMisbehaved(ErrorCode.BAD_SIGNATURE, "its key was revoked since", rule=_RULE)
    return await mark_handled(tx, ox.scope, opened.digest, ox.ports.clock())


def _sender(arrival: Arrival, room: BareJid | None) -> BareJid:
    """Return whose keys must have signed."""
    from_ = arrival.sender.bare
    if room is None:
        # Also what an occupant whispers: the room carries it, and would be its sender.
        if arrival.kind is StanzaKind.GROUPCHAT or arrival.occupant is not None:
            raise PeerMisbehaved(
                ErrorCode.FORBIDDEN, "OpenPGP from a room, where it is not expected", rule=_RULE
            )
        return from_
    if arrival.kind is not StanzaKind.GROUPCHAT or from_ != room or arrival.occupant is None:
        raise PeerMisbehaved(
            ErrorCode.CONTEXT_MISMATCH, f"not from somebody known in {room}", rule=_RULE
        )
    return arrival.occupant


async def _verified(
    ox: OxAccount, tx: Transaction, message: bytes, kind: ContentKind, ring: KeyRing
) -> tuple[Signed, frozenset[Fingerprint]]:
    """Return what was verified, and which of its signers are revoked by now."""
    keys = [key for key in ring.keys if key.trust is not Trust.DISTRUSTED]
    candidates = [key.raw for key in keys if key.raw]
    try:
        if kind is ContentKind.SIGN:
            signed = await ox.engine.verify_message(message, candidates)
        else:
            signed = await ox.engine.open(message, await opening_keys(ox, tx), candidates)
        sound = await sound_keys(
            ox.engine, ring, (k for k in keys if k.fingerprint in signed.signers)
        )
        signers = {key.fingerprint: signed.signers[key.fingerprint] for key in sound}
        if not signers:
            raise PeerMisbehaved(
                ErrorCode.BAD_SIGNATURE, f"signed by no key of {ring.jid}", rule=_RULE
            )
        retired = frozenset(key.fingerprint for key in sound if key.revoked)
        return replace(signed, signers=signers), retired
    except PeerMisbehaved as error:
        if error.code is ErrorCode.BAD_SIGNATURE and ring.missing:
            raise DataMissing(f"keys of {ring.jid} are missing", fetches=ring.missing) from None
        raise
