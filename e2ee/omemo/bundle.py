"""The bundle of a device: the public keys by which anybody builds a session with it, and its XML.

Rule: a value and its codec; shapes are checked here, signatures and curves by the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from e2ee.omemo.version import Version
from e2ee.xmltree import Element

__all__ = ["Bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a device publishes of its keys (XEP-0384 §5.3.2; legacy: 0.2.2 §4.4).

    Attributes:
        version: which version's bundle it is.
        identity: 32 bytes: Ed25519 in version 2, Curve25519 in the legacy one.
        signed_pre_key_id: its id, up to 2**32 - 1.
        signed_pre_key: X25519, 32 bytes.
        signature: of the signed prekey by the identity, 64 bytes, as it is written: in the legacy
            version its top bit is the sign of the identity's Ed25519 form.
        pre_keys: the one-time prekeys by id: X25519, 32 bytes each; one at least.
    """

    version: Version
    identity: bytes
    signed_pre_key_id: int
    signed_pre_key: bytes
    signature: bytes
    pre_keys: tuple[tuple[int, bytes], ...]

    def to_xml(self) -> Element:
        """Return the element."""
        raise NotImplementedError

    @classmethod
    def from_xml(cls, source: Element) -> Bundle:
        """Read a bundle of either version; what is unknown in it is ignored.

        Raises:
            PeerMisbehaved: ``malformed``: a key of the wrong length, an id that is none or occurs
                twice, no prekey; ``limit-exceeded``: more than ``limits.MAX_PRE_KEYS``.
        """
        raise NotImplementedError
