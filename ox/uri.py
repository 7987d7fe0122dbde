"""Fingerprints in URIs, as people show each other: Trust Message URIs, and ``openpgp4fpr:``.

Rule: strict reading and writing; nothing here trusts. Who is meant is compared by the account, and
a URI that is not exactly one of the two forms is refused whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from e2ee import ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import JID_PLAIN, decode_percent, encode_percent
from e2ee.limits import MAX_PUBLIC_KEYS
from e2ee.names import BareJid, Fingerprint

__all__ = ["KeyUri"]

_BARE: Final = re.compile(r"(?i:openpgp4fpr):([0-9A-Fa-f]{40})")
_TRUST_MESSAGE: Final = re.compile(
    r"(?i:xmpp):(?P<jid>[^?#;]+)\?trust-message;encryption=(?P<encryption>[^;=#]+)"
    r"(?P<decisions>(;(trust|distrust)=[0-9A-Fa-f]{40})+)"
)
_MAX_CHARS: Final = 16_384  # of a URI: a JID with every octet escaped, and MAX_PUBLIC_KEYS keys
_RULE: Final = "XEP-0434 §9.1"


@dataclass(frozen=True, slots=True)
class KeyUri:
    """What a URI says of somebody's OpenPGP keys.

    Attributes:
        jid: whose keys; ``None`` in an ``openpgp4fpr:`` URI, which names nobody.
        trust: the keys that are theirs.
        distrust: the keys that are theirs no more.
    """

    jid: BareJid | None
    trust: tuple[Fingerprint, ...]
    distrust: tuple[Fingerprint, ...] = ()

    @classmethod
    def parse(cls, text: str) -> KeyUri:
        """Read a Trust Message URI for OpenPGP (XEP-0434 §9.1), or ``openpgp4fpr:`` and 40 digits.

        Raises:
            PeerMisbehaved: ``malformed``: it is neither, names nobody's bare JID, or says two
                things of one key; ``limit-exceeded``; ``unsupported-algorithm``: it is about keys
                of another protocol.
        """
        if len(text) > _MAX_CHARS:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "an oversized URI", rule=_RULE)
        bare = _BARE.fullmatch(text)
        if bare is not None:
            return cls(None, (Fingerprint(bare[1].upper()),))
        found = _TRUST_MESSAGE.fullmatch(text)
        if found is None:
            raise _malformed("not a URI of OpenPGP keys")
        if decode_percent(found["encryption"], _RULE) != ns.OX:
            raise PeerMisbehaved(
                ErrorCode.UNSUPPORTED_ALGORITHM, "a URI of another protocol's keys", rule=_RULE
            )
        decisions = [each.split("=") for each in found["decisions"][1:].split(";")]
        keys = [Fingerprint(key.upper()) for _, key in decisions]
        if len(set(keys)) < len(keys):
            raise _malformed("a URI that names a key twice")
        if len(keys) > MAX_PUBLIC_KEYS:
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, "a URI of too many keys", rule=_RULE)
        return cls(
            BareJid.parse(decode_percent(found["jid"], _RULE)),
            tuple(key for key, (word, _) in zip(keys, decisions, strict=True) if word == "trust"),
            tuple(key for key, (word, _) in zip(keys, decisions, strict=True) if word != "trust"),
        )

    def __str__(self) -> str:
        """Return the URI: a Trust Message URI where somebody is named, else ``openpgp4fpr:``."""
        if self.jid is None:
            (key,) = self.trust
            return f"openpgp4fpr:{key}"
        decisions = [*_written("trust", self.trust), *_written("distrust", self.distrust)]
        path = encode_percent(str(self.jid), JID_PLAIN)
        return ";".join([f"xmpp:{path}?trust-message", f"encryption={ns.OX}", *decisions])


def _written(word: str, keys: Collection[Fingerprint]) -> list[str]:
    return [f"{word}={key.lower()}" for key in keys]  # as the example of XEP-0434 has them


def _malformed(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, what, rule=_RULE)
