"""OpenPGP for XMPP (XEP-0373): keys in PEP, signed and encrypted elements.

Rule: re-exports only. The native engine stands apart, in ``ox.engine_sequoia``, so that this
package loads where it cannot.
"""

from ox.account import OxAccount
from ox.elements import FEATURES, PublicKeyMetadata, PublicKeysList, Signcrypt
from ox.engine import Certificate, KeyHandle, OpenPgpEngine, S2kCount, Signed
from ox.keys import KeyRing, KnownKey
from ox.opened import OpenedOx

__all__ = [
    "FEATURES",
    "Certificate",
    "KeyHandle",
    "KeyRing",
    "KnownKey",
    "OpenPgpEngine",
    "OpenedOx",
    "OxAccount",
    "PublicKeyMetadata",
    "PublicKeysList",
    "S2kCount",
    "Signcrypt",
    "Signed",
]
