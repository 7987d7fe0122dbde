"""Backups of secret keys: sealed with a code, opened, and taken over from (XEP-0373 §5.4).

Rule: what is in a backup is whatever its maker put there; each key is judged like any other key
from outside, and none takes the place of another unless its owner said so by fingerprint. The node
where a backup is kept stands in ``backup_node.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from e2ee import ns
from e2ee.errors import (
    ApiMisuse,
    CannotDecrypt,
    DataMissing,
    E2eeError,
    ErrorCode,
    PeerMisbehaved,
    TrustUndecided,
    WrongBackupCode,
)
from e2ee.lexical import decode_base64, encode_base64
from e2ee.limits import MAX_BACKUP_KEYS, MAX_CERTIFICATE_PACKETS
from e2ee.names import Fingerprint
from e2ee.secret import Secret
from e2ee.xmltree import Element, element
from ox.account import OxAccount
from ox.backup_code import BackupCode
from ox.engine import KeyHandle, S2kCount
from ox.keys import names_jid, user_id
from ox.own_key import adopt, keep, opening_keys
from ox.packets import Packet, Tag, malformed, read_packets, write_packet

__all__ = ["Backup", "SkippedKey", "open_backup", "restore", "seal_backup"]

_RULE: Final = "XEP-0373 §5.4"
_PRIMARIES: Final = frozenset({Tag.SECRET_KEY, Tag.PUBLIC_KEY})


@dataclass(frozen=True, slots=True)
class SkippedKey:
    """A key in a backup that is not used.

    Attributes:
        fingerprint: its own; ``None`` where it is not sound enough to have one.
        error: why: ``signer-mismatch`` for another account's, or what the engine says.
    """

    fingerprint: Fingerprint | None
    error: PeerMisbehaved


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was opened; nothing of it is in use yet.

    Attributes:
        keys: the account's secret keys in it, at least one, in their order. One may be expired or
            revoked; :func:`restore` judges that.
        skipped: what else is in it, to be told to the user.
    """

    keys: tuple[KeyHandle, ...]
    skipped: tuple[SkippedKey, ...]

    @property
    def fingerprints(self) -> tuple[Fingerprint, ...]:
        """Of ``keys``, in their order."""
        return tuple(key.certificate.fingerprint for key in self.keys)


async def seal_backup(
    account: OxAccount, code: BackupCode, others: Sequence[KeyHandle] = ()
) -> Element:
    """Encrypt the account's secret key, and those that it succeeded; return ``<secretkey/>``.

    Args:
        account: whose keys.
        code: a new one. What was sealed with an old one stays readable by it.
        others: further keys of the account, as :func:`open_backup` returned them: a backup takes
            the place of the one before, and what is in that one alone would be lost.

    Raises:
        ApiMisuse: the account has no key; ``limit-exceeded``: too many ``others``. What the
            account holds is never too much.
        StoreFailed: what the store raises.
    """
    async with account.ports.store.exclusive(account.scope) as tx:
        held = await opening_keys(account, tx)
    # What we hold comes first, and as we hold it: it was renewed since it was in a backup.
    keys: dict[Fingerprint, Secret] = {}
    for key in (*held, *others):
        keys.setdefault(key.certificate.fingerprint, key.material)
    if len(keys) > MAX_BACKUP_KEYS:
        raise ApiMisuse(
            f"more than {MAX_BACKUP_KEYS} keys in a backup", code=ErrorCode.LIMIT_EXCEEDED
        )
    message = await account.engine.lock(
        b"".join([material.reveal() for material in keys.values()]),
        code.passphrase,
        S2kCount.PASSPHRASE,
    )
    return element(ns.OX, "secretkey", None, encode_base64(message))


async def open_backup(account: OxAccount, backup: Element, code: BackupCode) -> Backup:
    """Decrypt ``<secretkey/>`` and read the keys in it; nothing is stored.

    Raises:
        WrongBackupCode: another code than the backup's, or an altered backup.
        PeerMisbehaved: ``malformed``, ``limit-exceeded``, ``not-encrypted`` or
            ``unsupported-algorithm`` for what is no backup; where no key in it can be used, what
            is wrong with the first one, such as ``signer-mismatch`` in another account's backup.
    """
    if not backup.is_(ns.OX, "secretkey"):
        raise malformed(f"not <secretkey xmlns='{ns.OX}'/>", _RULE)
    message = decode_base64(backup.leaf_text(_RULE), _RULE)
    try:
        plaintext = Secret(await account.engine.unlock(message, code.passphrase))
    except CannotDecrypt:
        raise WrongBackupCode from None
    except E2eeError as error:
        raise error.with_traceback(None) from None  # frames below hold what was encrypted
    keys: dict[Fingerprint, KeyHandle] = {}
    skipped: list[SkippedKey] = []
    for material in _transferable_keys(plaintext):
        fingerprint = None
        try:
            key = await account.engine.adopt(material)
            fingerprint = key.certificate.fingerprint
            if not names_jid(key.certificate, account.account):
                raise PeerMisbehaved(
                    ErrorCode.SIGNER_MISMATCH,
                    f"a key without the user id {user_id(account.account)}",
                    rule="XEP-0373 §8.5",
                )
            if keys.setdefault(fingerprint, key) is not key:
                raise malformed("a key that is in a backup twice", _RULE)
        except PeerMisbehaved as error:
            skipped.append(SkippedKey(fingerprint, error.with_traceback(None)))
    if not keys:
        raise skipped[0].error
    return Backup(tuple(keys.values()), tuple(skipped))


async def restore(
    account: OxAccount,
    backup: Backup,
    *,
    chosen: Fingerprint | None = None,
    replacing: Fingerprint | None = None,
) -> Fingerprint:
    """Make a key of a backup the account's own, and queue its announcement.

    The others in it are kept beside it, for what the archive holds: they decrypt, and what they
    signed before is believed once they were fetched, or were not there to be. Where the account has
    that key already, it stays as it is. Of more than a backup holds, the newest are kept, and those
    that the account kept before come first.

    Args:
        account: whose.
        backup: what :func:`open_backup` returned for it.
        chosen: which of its keys; needed where several are not revoked, and for one that the
            account does not announce while it announces others: an older backup may have been
            served.
        replacing: the account's present key, where this one shall succeed it.

    Returns:
        The fingerprint of the key that is the account's own now.

    Raises:
        ApiMisuse: ``chosen`` is not in the backup.
        TrustUndecided: the user must choose; ``subjects`` are the keys to choose from, and first
            of them the account's present one where it would be replaced.
        DataMissing: the account's own list of keys, or this key as it was published, must be
            fetched first: only that tells whether it was revoked since the backup.
        PeerMisbehaved: ``unusable-key``: it is revoked or distrusted.
        StoreFailed: what the store raises.
    """
    ring = await account.keys(account.account)
    if ring.ours is not None and ring.ours in backup.fingerprints and chosen in (None, ring.ours):
        await keep(account, backup.keys)
        return ring.ours
    key = _choose(backup, chosen)
    fingerprint = key.certificate.fingerprint
    if ring.ours is not None and replacing != ring.ours:
        raise TrustUndecided(
            f"{ring.ours} is the key of {account.account}, and would give way to {fingerprint}",
            subjects=(ring.ours, fingerprint),
            rule=_RULE,
        )
    if fetches := ring.missing_before(None):
        raise DataMissing("what our account published of its keys is missing", fetches=fetches)
    announced = {known.fingerprint for known in ring.keys if known.announced}
    if chosen is None and ring.ours is None and announced and fingerprint not in announced:
        raise TrustUndecided(
            "our account announces other keys than the backup's",
            subjects=(fingerprint,),
            rule=_RULE,
        )
    return await adopt(
        account, key.material, ring.ours, [each for each in backup.keys if each != key]
    )


def _choose(backup: Backup, chosen: Fingerprint | None) -> KeyHandle:
    if chosen is None:
        choices = [key for key in backup.keys if not key.certificate.revoked] or backup.keys
    else:
        choices = [key for key in backup.keys if key.certificate.fingerprint == chosen]
    if not choices:
        raise ApiMisuse(f"{chosen} is not in the backup")
    if len(choices) > 1:
        raise TrustUndecided(
            "a backup with several keys",
            subjects=tuple([key.certificate.fingerprint for key in choices]),
            rule=_RULE,
        )
    return choices[0]


def _transferable_keys(plaintext: Secret) -> list[Secret]:
    """Split what was encrypted into one transferable key each, the packets framed anew."""
    try:
        most = MAX_BACKUP_KEYS * MAX_CERTIFICATE_PACKETS
        keys: list[list[Packet]] = []
        for packet in read_packets(plaintext.reveal(), most=most):
            if packet.tag in _PRIMARIES:
                keys.append([])
            if not keys:
                raise malformed("a backup that does not start with a key", _RULE)
            keys[-1].append(packet)
        if not keys:
            raise malformed("a backup without a key", _RULE)
        if len(keys) > MAX_BACKUP_KEYS:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED, f"more than {MAX_BACKUP_KEYS} keys", rule=_RULE
            )
        return [
            Secret(b"".join([write_packet(packet.tag, packet.body) for packet in packets]))
            for packets in keys
        ]
    except PeerMisbehaved as error:
        raise error.with_traceback(None) from None  # frames below hold the keys as they were read
