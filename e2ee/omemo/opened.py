"""OpenedMessage: what a decrypted message said, of whom it is known to be, and what that is worth.

Rule: values only, made by ``decrypting.py`` and read back by the inbox alone. All that is in one
was authenticated, but for where it stood; what stood beside it in clear is never in here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from e2ee.arrival import Arrival
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.version import Version
from e2ee.sce import Remark
from e2ee.secret import Secret
from e2ee.trust import Trust
from e2ee.xmltree import Element

__all__ = ["OpenedMessage", "TransportedKey"]


@dataclass(frozen=True, slots=True)
class TransportedKey:
    """The key that a legacy message without payload transports (XEP-0384 0.2.2 §4.7).

    Attributes:
        key: 16 bytes.
        iv: 12 or 16 bytes, which nothing authenticates.
    """

    key: Secret
    iv: bytes


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """One decrypted message.

    Attributes:
        id: names it in the inbox: hexadecimal SHA-256 of what arrived, context included.
        version: by which version of OMEMO.
        sender: the device whose session decrypted it.
        fingerprint: of that device's identity key.
        trust: what is known of that key: ``UNDECIDED`` must be shown to the user.
        arrival: where it stood.
        content: the elements that were encrypted; of a legacy message its body alone; none in an
            empty message, which only keeps sessions going.
        dropped: what stood in the envelope and is not believed from there (XEP-0420 §9).
        remarks: what was accepted, but not as it should be.
        time: what the sender says when; ``None`` where they do not.
        is_empty: whether it was an empty message; such a one is in the inbox only if something was
            lost before it.
        key: what a legacy message without payload transports; else ``None``.
        is_rewritable: whether any other recipient could have changed what it says, together with
            the network (SECURITY O5): so it is with every legacy text, because the network can also
            hide that there was another recipient. Never so in version 2.
        lost: how many messages of this sender can never be read any more since this one came.
        opted_out: whether the sender asks to write in clear from now on (XEP-0384 §5.7), and
        reason: why, in their words.
    """

    id: str
    version: Version
    sender: Device
    fingerprint: IdentityFingerprint
    trust: Trust
    arrival: Arrival
    content: tuple[Element, ...] = field(default=(), repr=False)
    dropped: tuple[Element, ...] = field(default=(), repr=False)
    remarks: frozenset[Remark] = frozenset()
    time: datetime | None = None
    is_empty: bool = False
    key: TransportedKey | None = None
    is_rewritable: bool = False
    lost: int = 0
    opted_out: bool = False
    reason: str | None = field(default=None, repr=False)
