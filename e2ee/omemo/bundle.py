"""The bundle of a device: the public keys by which anybody builds a session with it, and its XML.

Rule: a value and its codec; shapes are checked here, signatures and curves by the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from e2ee import limits
from e2ee.lexical import encode_base64, parse_integer
from e2ee.omemo.reading import misshapen, octets, too_many, version_of
from e2ee.omemo.version import Version
from e2ee.xmltree import Element, element

__all__ = ["Bundle"]

_ROOTS: Final = dict.fromkeys(Version, "bundle")
_RULES: Final = {Version.TWO: "XEP-0384 §5.3.2", Version.LEGACY: "XEP-0384 0.2.2 §4.3"}


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How one version writes a bundle: its names, its keys, its lowest id."""

    identity: str
    signed_pre_key: str
    signed_pre_key_id: str
    signature: str
    pre_key: str
    pre_key_id: str
    curve: bytes  # what stands before the 32 bytes of each key
    lowest_id: int


_DIALECTS: Final = {
    Version.TWO: _Dialect("ik", "spk", "id", "spks", "pk", "id", b"", 1),
    Version.LEGACY: _Dialect(
        identity="identityKey",
        signed_pre_key="signedPreKeyPublic",
        signed_pre_key_id="signedPreKeyId",
        signature="signedPreKeySignature",
        pre_key="preKeyPublic",
        pre_key_id="preKeyId",
        curve=b"\x05",  # libsignal's type of a Curve25519 key
        lowest_id=0,  # some clients draw ids at random, and nothing keeps them from zero
    ),
}
_MAX_ID: Final = 2**32 - 1  # the schema's unsignedInt; XEP-0384 §5.3.2 asks for less


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
        dialect = _DIALECTS[self.version]

        def written(name: str, raw: bytes, **attributes: str) -> Element:
            return element(self.version, name, attributes, encode_base64(raw))

        return element(
            self.version,
            "bundle",
            None,
            written(
                dialect.signed_pre_key,
                dialect.curve + self.signed_pre_key,
                **{dialect.signed_pre_key_id: str(self.signed_pre_key_id)},
            ),
            written(dialect.signature, self.signature),
            written(dialect.identity, dialect.curve + self.identity),
            element(
                self.version,
                "prekeys",
                None,
                *(
                    written(
                        dialect.pre_key, dialect.curve + key, **{dialect.pre_key_id: str(key_id)}
                    )
                    for key_id, key in self.pre_keys
                ),
            ),
        )

    @classmethod
    def from_xml(cls, source: Element) -> Bundle:
        """Read a bundle of either version; what is unknown in it is ignored.

        Raises:
            PeerMisbehaved: ``malformed``: a key of the wrong length, an id that is none or occurs
                twice, no prekey; ``limit-exceeded``: more than ``limits.MAX_PRE_KEYS``.
        """
        version = version_of(source, _ROOTS)
        dialect, rule = _DIALECTS[version], _RULES[version]

        def key(holder: Element) -> bytes:
            raw = octets(holder, (len(dialect.curve) + 32,), rule)
            if not raw.startswith(dialect.curve):
                raise misshapen(f"<{holder.name}/> with a key of another kind", rule)
            return raw.removeprefix(dialect.curve)

        def id_of(holder: Element, name: str) -> int:
            return parse_integer(holder.require(name, rule), dialect.lowest_id, _MAX_ID, rule)

        signed = source.only(version, dialect.signed_pre_key, rule)
        pre_keys = source.only(version, "prekeys", rule).find_all(version, dialect.pre_key)
        if len(pre_keys) > limits.MAX_PRE_KEYS:
            raise too_many("prekeys in one bundle", rule)
        by_id = {id_of(holder, dialect.pre_key_id): key(holder) for holder in pre_keys}
        if not by_id or len(by_id) != len(pre_keys):
            raise misshapen("a bundle without prekeys, or with two of one id", rule)
        return cls(
            version,
            key(source.only(version, dialect.identity, rule)),
            id_of(signed, dialect.signed_pre_key_id),
            key(signed),
            octets(source.only(version, dialect.signature, rule), (64,), rule),
            tuple(by_id.items()),
        )
