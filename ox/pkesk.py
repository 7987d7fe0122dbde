"""Public-key encrypted session keys: a private key opens a container (RFC 4880 §5.1).

Rule: Curve25519 and RSA only; version 3 is read and written, version 6 is only read. An RSA session
key that does not come out right is replaced by a random one, so that nobody learns from us whether
its padding was right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_PRIVATE_OPERATIONS, MIN_RSA_BITS
from e2ee.secret import Secret
from ox.ciphers import Random, RsaPrivate, Symmetric, X25519Private, rsa_encrypt
from ox.ecdh import open_ecdh, open_x25519, seal_ecdh, seal_x25519
from ox.key_packets import X25519, Algorithm, Ecdh, PublicKey, Rsa, RsaSecret, SecretKey
from ox.packets import Cursor, malformed, unsupported, write_mpi
from ox.session_key import SessionKey

__all__ = [
    "DecryptionKey",
    "Pkesk",
    "decryption_keys",
    "read_pkesk",
    "session_keys",
    "write_pkesk",
]

_RULE: Final = "RFC 4880 §5.1"
_HIDDEN: Final = bytes(8)  # the key id of a recipient who is not named
_NAMED: Final = frozenset({(b"", 0), (b"\x04", 21), (b"\x06", 33)})  # RFC 9580 §5.1.2
_RSA: Final = frozenset({Algorithm.RSA, Algorithm.RSA_ENCRYPT})


@dataclass(frozen=True, slots=True)
class Pkesk:
    """One way to a container's session key through a private key.

    Attributes:
        name: the recipient's key, by its key id (8 octets, version 3) or its fingerprint (version
            6); zeros or nothing hide it.
        algorithm: the number of the public-key algorithm.
        fields: the rest, read when one of our keys may open it.
        cipher: what the session key is for, as its container says (version 6); ``None`` when the
            session key itself says so (version 3).
    """

    name: bytes
    algorithm: int
    fields: bytes = field(repr=False)
    cipher: Symmetric | None = None

    @property
    def names_nobody(self) -> bool:
        """Whether its recipient is hidden."""
        return self.name in (_HIDDEN, b"")

    def may_mean(self, key: DecryptionKey) -> bool:
        """Say whether it names ``key``, or nobody where it may be hidden, and is of its kind."""
        algorithm = Algorithm.RSA if self.algorithm in _RSA else self.algorithm
        if algorithm != (Algorithm.RSA if key.public.algorithm in _RSA else key.public.algorithm):
            return False
        if self.names_nobody:
            return key.hidden
        return self.name in (key.public.key_id, key.public.fingerprint)


@dataclass(frozen=True, slots=True)
class DecryptionKey:
    """One of our private keys, ready for use; make it with :func:`decryption_keys`.

    Attributes:
        public: its public part.
        private: what decrypts.
        hidden: whether a message to a hidden recipient may be to it.
    """

    public: PublicKey
    private: RsaPrivate | X25519Private = field(repr=False)
    hidden: bool = True


def decryption_keys(
    keys: Sequence[SecretKey], only_sign: Collection[bytes] = ()
) -> tuple[DecryptionKey, ...]:
    """Prepare those of ``keys`` that can decrypt. RSA costs milliseconds: keep the result.

    Args:
        keys: ours.
        only_sign: the fingerprints of those to which nobody encrypts, though they could be.

    Raises:
        PeerMisbehaved: ``malformed`` when a secret part is not that of its public part; to use
            such a key would tell the secret part to whoever swapped the other.
    """
    prepared = [
        DecryptionKey(key.public, _prepare(key), key.public.fingerprint not in only_sign)
        for key in keys
        if isinstance(key.numbers, RsaSecret | Secret)
    ]
    return tuple(key for key in prepared if key.public.algorithm != Algorithm.RSA_SIGN)


def read_pkesk(body: bytes, cipher: Symmetric | None = None) -> Pkesk:
    """Read the body of a packet of tag 1.

    Args:
        body: of version 6 where ``cipher`` is given, else of version 3.
        cipher: that of the container of version 2 that it leads to.

    Raises:
        PeerMisbehaved: ``malformed``; ``unsupported-algorithm`` for another version.
    """
    cursor = Cursor(body, _RULE)
    version = 3 if cipher is None else 6
    if cursor.number(1) != version:
        raise unsupported(f"encrypted session key of another version than {version}", _RULE)
    name = cursor.take(8) if cipher is None else _read_fingerprint(cursor)
    return Pkesk(name, cursor.number(1), cursor.rest(), cipher)


def _read_fingerprint(cursor: Cursor) -> bytes:
    """Read the name of a recipient; keys of version 6 are never ours, but may be others'."""
    named = cursor.take(cursor.number(1))
    if (named[:1], len(named)) not in _NAMED:
        raise malformed("recipient without a fingerprint", "RFC 9580 §5.1.2")
    return named[1:]


def write_pkesk(session_key: SessionKey, recipient: PublicKey, random: Random) -> bytes:
    """Return the body that gives ``session_key`` to the holder of ``recipient``.

    Raises:
        PeerMisbehaved: ``unsupported-algorithm`` when this layer cannot encrypt to such a key;
            ``unusable-key`` when the key is weak, or no key at all.
    """
    try:
        match recipient.numbers:
            case Rsa() as rsa if recipient.algorithm in _RSA:
                fields = _seal_rsa(session_key, rsa)
            case Ecdh() as ecdh:
                fields = seal_ecdh(session_key, ecdh, recipient.fingerprint, random)
            case X25519() as x25519:
                fields = seal_x25519(session_key, x25519, random)
            case _:
                raise unsupported("key that this layer cannot encrypt to", _RULE)
    except ValueError:
        raise PeerMisbehaved(ErrorCode.UNUSABLE_KEY, "key that hides nothing") from None
    return b"\x03" + recipient.key_id + bytes((recipient.algorithm,)) + fields


def session_keys(
    pkesks: Sequence[Pkesk], keys: Sequence[DecryptionKey], random: Random
) -> Iterator[SessionKey]:
    """Yield what may be the session key: for each of ``pkesks`` that names, or may mean, a key.

    Only the container tells which of them is right, if any. Those that name a key come first, then
    the first of ``keys``; after ``MAX_PRIVATE_OPERATIONS`` nothing more is tried.

    Raises:
        PeerMisbehaved: ``malformed`` when one that names our key cannot be read.
    """
    named = [pkesk for pkesk in pkesks if not pkesk.names_nobody]
    hidden = [pkesk for pkesk in pkesks if pkesk.names_nobody]
    pairs = ((pkesk, key) for some in (named, hidden) for key in keys for pkesk in some)
    tries = ((pkesk, key) for pkesk, key in pairs if pkesk.may_mean(key))
    for pkesk, key in islice(tries, MAX_PRIVATE_OPERATIONS):
        found = _open(pkesk, key, random)
        if found is not None:
            yield found


def _open(pkesk: Pkesk, key: DecryptionKey, random: Random) -> SessionKey | None:
    match pkesk.algorithm, key.public.numbers, key.private:
        case ((Algorithm.RSA | Algorithm.RSA_ENCRYPT), Rsa(), RsaPrivate() as rsa):
            return _open_rsa(pkesk, rsa, random)
        case Algorithm.ECDH, Ecdh() as ecdh, X25519Private() as curve:
            return open_ecdh(pkesk.fields, ecdh, key.public.fingerprint, curve, pkesk.cipher)
        case Algorithm.X25519, X25519() as x25519, X25519Private() as curve:
            return open_x25519(pkesk.fields, x25519, curve, pkesk.cipher)
    return None


def _seal_rsa(session_key: SessionKey, rsa: Rsa) -> bytes:
    if rsa.modulus.bit_length() < MIN_RSA_BITS:
        raise PeerMisbehaved(ErrorCode.UNUSABLE_KEY, "RSA key that is too short")
    sealed = rsa_encrypt(rsa.modulus, rsa.exponent, session_key.pack_checked())
    return write_mpi(int.from_bytes(sealed))


def _open_rsa(pkesk: Pkesk, private: RsaPrivate, random: Random) -> SessionKey:
    cursor = Cursor(pkesk.fields, _RULE)
    ciphertext = cursor.mpi()
    cursor.finish()
    instead = SessionKey.fresh(random)  # made in any case, so that it takes its time in any case
    opened = private.decrypt(ciphertext)
    found = SessionKey.unpack_checked(opened, pkesk.cipher) if opened else None
    return found or instead


def _prepare(key: SecretKey) -> RsaPrivate | X25519Private:
    match key.public.numbers, key.numbers:
        case Rsa() as rsa, RsaSecret() as secret:
            try:
                return RsaPrivate(rsa.modulus, rsa.exponent, d=secret.d, p=secret.p, q=secret.q)
            except ValueError:
                pass
        case (Ecdh() | X25519()) as curve, Secret() as scalar:
            private = X25519Private(scalar)
            if private.public == curve.point:
                return private
    raise malformed("secret key whose parts do not belong together", "RFC 4880 §5.5.3")
