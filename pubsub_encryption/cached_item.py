"""CachedItem: one decrypted item as it is kept, with what was proven when it was opened.

Rule: a value only. Where it is kept is in ``cache_rows.py``, how in ``cache_record.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from e2ee.errors import ApiMisuse
from e2ee.names import BareJid, ItemPlace, SecretId
from e2ee.omemo.device import DeviceId
from e2ee.trust import Trust
from e2ee.xmltree import Element
from pubsub_encryption.items import Authorship

__all__ = ["CachedItem"]


@dataclass(frozen=True, slots=True)
class CachedItem:
    """One decrypted item.

    Attributes:
        place: where it stands.
        digest: SHA-256, 32 bytes, of what nobody can change in the item without its being another
            one; the same that a ``History`` is told.
        payload: what was encrypted.
        authorship: what its encryption proves about who wrote it.
        stored: when it was kept, aware.
        sender: who wrote it; ``None`` where nothing proves that.
        device: the sender's device; ``None`` unless OMEMO proves it.
        fingerprint: of the sender's key: 64 hexadecimal digits of an OMEMO identity, 40 of an
            OpenPGP key; ``None`` where there is no sender.
        trust: the level of that key when the item was opened; it may be another one today.
        secret_id: the node's secret that opened it; ``None`` where none did.
        time: when its author dates it, aware; ``None`` where nothing proves that.
        verdict: what its signatures were found to prove, in the words of who judged them.

    Raises:
        ApiMisuse: a digest of another length, a time without a zone.
    """

    place: ItemPlace
    digest: bytes = field(repr=False)
    payload: Element = field(repr=False)
    authorship: Authorship
    stored: datetime
    sender: BareJid | None = None
    device: DeviceId | None = None
    fingerprint: str | None = None
    trust: Trust | None = None
    secret_id: SecretId | None = None
    time: datetime | None = None
    verdict: str | None = None

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise ApiMisuse("a digest of other than 32 bytes")
        if any(moment and moment.utcoffset() is None for moment in (self.stored, self.time)):
            raise ApiMisuse("a time without a zone")

    @property
    def is_only_copy(self) -> bool:
        """Whether it cannot be had again from the service: OMEMO decrypts an item once."""
        return self.authorship is Authorship.DEVICE
