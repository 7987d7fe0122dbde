"""The parts of a key, each with what the key itself says of it, and nothing else.

Rule: packets in, packets out. What others signed, and what anybody could write beside a signature
without breaking it, is not taken over; whether a signature holds is the engine's to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ox.key_packets import Algorithm, PublicKey, hashed_form, read_public_key
from ox.key_signatures import KeySignature, SignatureKind, signed_user_id
from ox.packets import Packet, Tag, write_packet

__all__ = ["ENCRYPT_FLAGS", "KeyPart", "claimed", "joined", "parts_of", "revoking", "written"]

_CERTIFICATIONS: Final = frozenset(
    {
        SignatureKind.GENERIC_CERTIFICATION,
        SignatureKind.PERSONA_CERTIFICATION,
        SignatureKind.CASUAL_CERTIFICATION,
        SignatureKind.POSITIVE_CERTIFICATION,
    }
)
_NEWEST_OF: Final = {
    Tag.PUBLIC_KEY: frozenset({SignatureKind.DIRECT_KEY}),
    Tag.USER_ID: _CERTIFICATIONS,
    Tag.PUBLIC_SUBKEY: frozenset({SignatureKind.SUBKEY_BINDING}),
}
"""The kinds of signatures of which the newest one counts, by what they are made over."""

_REVOCATIONS: Final = frozenset(
    {
        SignatureKind.KEY_REVOCATION,
        SignatureKind.SUBKEY_REVOCATION,
        SignatureKind.CERTIFICATION_REVOCATION,
    }
)
ENCRYPT_FLAGS: Final = 0x0C  # communications or storage, RFC 4880 §5.2.3.21
_ONLY_SIGN: Final = frozenset(
    {Algorithm.RSA_SIGN, Algorithm.DSA, Algorithm.ECDSA, Algorithm.EDDSA, Algorithm.ED25519}
)


@dataclass(frozen=True, slots=True)
class KeyPart:
    """A primary key, a subkey or a user id, with what the primary key says of it.

    Attributes:
        tag: of its packet, in its public form.
        body: of its packet.
        signatures: by the primary key alone, and bare.
    """

    tag: Tag
    body: bytes
    signatures: tuple[KeySignature, ...]

    @property
    def newest(self) -> KeySignature | None:
        """The signature that counts."""
        counting = [each for each in self.signatures if each.kind in _NEWEST_OF[self.tag]]
        return max(counting, key=lambda each: each.created, default=None)

    def standing(self, now: datetime) -> tuple[KeySignature, ...]:
        """The signature that counts, and the one until then where that was made ahead of now."""
        made = tuple(each for each in self.signatures if each.created <= now)
        counting = (replace(self, signatures=made).newest, self.newest)
        return tuple(dict.fromkeys(each for each in counting if each is not None))

    @property
    def revocations(self) -> tuple[KeySignature, ...]:
        """What revokes it, for whatever reason."""
        return tuple(each for each in self.signatures if each.kind in _REVOCATIONS)

    @property
    def key(self) -> PublicKey:
        """The key that it is; not for a user id."""
        return read_public_key(self.body)

    def lives(self, now: datetime) -> bool:
        """Say whether a subkey is bound, and not expired."""
        if self.newest is None:
            return False
        lasts = timedelta(seconds=self.newest.key_lasts)
        return not lasts or self.key.created + lasts > now

    def is_encrypted_to(self, now: datetime) -> bool:
        """Say whether others would encrypt to a subkey, if they know its algorithm."""
        if self.revocations or not self.lives(now):
            return False
        said = [each.flags for each in self.standing(now)]
        can = self.key.algorithm not in _ONLY_SIGN
        return any(can if flags is None else flags & ENCRYPT_FLAGS for flags in said)

    @property
    def over(self) -> bytes:
        """What signatures over it hash after the primary key."""
        if self.tag == Tag.PUBLIC_KEY:
            return b""
        return signed_user_id(self.body) if self.tag == Tag.USER_ID else hashed_form(self.body)

    def written(self, *signatures: KeySignature) -> bytes:
        """Return it with these signatures."""
        return write_packet(self.tag, self.body) + b"".join(each.packet for each in signatures)


def claimed(packets: Sequence[Packet]) -> bytes:
    """Return a certificate without the signatures that say that they are by others.

    One that says nothing of that is made to say that it is by the key itself, so that the engine
    judges it.

    Args:
        packets: as the guard let them pass.
    """
    primary = read_public_key(packets[0].body)
    kept = b""
    for packet in packets:
        if packet.tag != Tag.SIGNATURE:
            kept += write_packet(packet.tag, packet.body)
            continue
        signature = KeySignature.read(packet.body)
        if signature.names_nobody:
            signature = signature.bare(primary)
        if signature.is_by(primary):
            kept += signature.packet
    return kept


def parts_of(packets: Sequence[Packet]) -> tuple[KeyPart, ...]:
    """Return the primary key, then the user ids and subkeys of which it says anything.

    Args:
        packets: sound ones: of the signatures that are said to be by the key, each is.
    """
    primary = read_public_key(packets[0].body)
    parts: list[KeyPart] = []
    among_parts = True
    for packet in packets:
        if packet.tag != Tag.SIGNATURE:
            among_parts = packet.tag in _NEWEST_OF
            if among_parts:
                parts.append(KeyPart(Tag(packet.tag), packet.body, ()))
        elif among_parts:
            signature = KeySignature.read(packet.body)
            if signature.is_by(primary):
                last = parts[-1]
                subkey = last.key if last.tag == Tag.PUBLIC_SUBKEY else None
                found = (*last.signatures, signature.bare(primary, subkey))
                parts[-1] = replace(last, signatures=found)
    return _spoken_of(parts)


def joined(known: Iterable[KeyPart], fetched: Iterable[KeyPart]) -> tuple[KeyPart, ...]:
    """Return all that two copies of one key say; what both say, in the words of the first."""
    parts = {(part.tag, part.body): part for part in known}
    for part in fetched:
        before = parts.get((part.tag, part.body), replace(part, signatures=()))
        said = {each.head for each in before.signatures}
        new = tuple(each for each in part.signatures if each.head not in said)
        parts[part.tag, part.body] = replace(before, signatures=before.signatures + new)
    return tuple(sorted(parts.values(), key=lambda part: _ORDER[part.tag]))


def revoking(parts: Iterable[KeyPart]) -> tuple[KeyPart, ...]:
    """Return what is revoked, and nothing but that."""
    return _spoken_of([replace(part, signatures=part.revocations) for part in parts])


def written(parts: Iterable[KeyPart]) -> bytes:
    """Return a certificate of these parts."""
    return b"".join(part.written(*part.signatures) for part in parts)


_ORDER: Final = {tag: place for place, tag in enumerate(_NEWEST_OF)}  # RFC 4880 §11.1


def _spoken_of(parts: Sequence[KeyPart]) -> tuple[KeyPart, ...]:
    return tuple(part for part in parts if part.signatures or part.tag == Tag.PUBLIC_KEY)
