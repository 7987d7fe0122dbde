"""The primitives under OpenPGP's packets: the calls into ``cryptography``, and nothing else.

Rule: the only file of ``ox`` that knows ``cryptography``, imported where it is used so that this
module loads without it. No packet format here. What fails is a ``ValueError``, ``CannotDecrypt``
or ``None``, as each function says; its callers give it one face.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from e2ee.errors import CannotDecrypt
from e2ee.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
    from cryptography.hazmat.primitives.ciphers import Cipher

__all__ = [
    "Aead",
    "AeadKey",
    "Ed25519Private",
    "Random",
    "RsaPrivate",
    "Symmetric",
    "X25519Private",
    "cfb_decrypt",
    "cfb_encrypt",
    "generate_rsa",
    "hkdf_sha256",
    "rsa_encrypt",
    "unwrap_key",
    "wrap_key",
]

_FIELD_PRIME: Final = 2**255 - 19  # of Curve25519

Random = Callable[[int], bytes]
"""Returns that many fresh random octets; ``ports.Primitives.random`` is one."""


class Symmetric(IntEnum):
    """The ciphers that we take, by their OpenPGP number (RFC 4880 §9.2)."""

    AES128 = 7
    AES192 = 8
    AES256 = 9

    @property
    def key_length(self) -> int:
        """Octets of a key."""
        return 16 + 8 * (self - Symmetric.AES128)

    @classmethod
    def find(cls, number: int) -> Symmetric | None:
        """Return the cipher of this number, or ``None`` when we do not take it."""
        return _CIPHERS.get(number)


_CIPHERS: Final = {int(cipher): cipher for cipher in Symmetric}


class Aead(IntEnum):
    """The modes of authenticated encryption that we take, by their number (RFC 9580 §9.6)."""

    OCB = 2
    GCM = 3

    @property
    def nonce_length(self) -> int:
        """Octets of a nonce."""
        return 15 if self is Aead.OCB else 12

    @classmethod
    def find(cls, number: int) -> Aead | None:
        """Return the mode of this number, or ``None`` when we do not take it."""
        return _MODES.get(number)


_MODES: Final = {int(mode): mode for mode in Aead}


class AeadKey:
    """An AES key in a mode of authenticated encryption, to decrypt with."""

    __slots__ = ("_key",)

    def __init__(self, mode: Aead, key: Secret) -> None:
        """Make it from 16, 24 or 32 octets."""
        from cryptography.hazmat.primitives.ciphers import aead

        kind = aead.AESOCB3 if mode is Aead.OCB else aead.AESGCM
        self._key: aead.AESOCB3 | aead.AESGCM = kind(key.reveal())

    def open(self, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
        """Decrypt and authenticate.

        Args:
            nonce: as long as the mode says.
            sealed: the ciphertext and then its tag of 16 octets.
            bound: associated data.

        Raises:
            CannotDecrypt: any of these is not what it was.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._key.decrypt(nonce, sealed, bound)
        except InvalidTag:
            raise CannotDecrypt from None


class X25519Private:
    """A private key on Curve25519."""

    __slots__ = ("_key",)

    def __init__(self, scalar: Secret) -> None:
        """Make it from 32 octets, little-endian; which are clamped as they are used."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._key = X25519PrivateKey.from_private_bytes(scalar.reveal())

    @property
    def public(self) -> bytes:
        """The public point, 32 octets."""
        return self._key.public_key().public_bytes_raw()

    def agree(self, point: bytes) -> Secret:
        """Return the secret shared with the holder of ``point``, 32 octets.

        Raises:
            ValueError: ``point`` has a small order, so that all the world shares the secret; or it
                is in a second form, with which one message would have two.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        if int.from_bytes(point, "little") >= _FIELD_PRIME:
            raise ValueError("point of Curve25519 in a second form")
        return Secret(self._key.exchange(X25519PublicKey.from_public_bytes(point)))


class Ed25519Private:
    """A private signing key on Curve25519."""

    __slots__ = ("_key",)

    def __init__(self, seed: Secret) -> None:
        """Make it from its 32-octet seed."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(seed.reveal())

    @property
    def public(self) -> bytes:
        """The public key, 32 octets."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``, 64 octets."""
        return self._key.sign(message)


class RsaPrivate:
    """A private RSA key."""

    __slots__ = ("_key",)

    def __init__(self, modulus: int, exponent: int, *, d: Secret, p: Secret, q: Secret) -> None:
        """Make it from its numbers, the secret ones big-endian.

        Raises:
            ValueError: they do not belong together. The check takes milliseconds.
        """
        from cryptography.hazmat.primitives.asymmetric import rsa

        d_, p_, q_ = (int.from_bytes(number.reveal()) for number in (d, p, q))
        self._key = rsa.RSAPrivateNumbers(
            p_,
            q_,
            d_,
            rsa.rsa_crt_dmp1(d_, p_),
            rsa.rsa_crt_dmq1(d_, q_),
            rsa.rsa_crt_iqmp(p_, q_),
            rsa.RSAPublicNumbers(exponent, modulus),
        ).private_key()

    def sign_sha512(self, digest: bytes) -> bytes:
        """Return the PKCS#1 v1.5 signature of a SHA-512 digest (RFC 8017 §8.2)."""
        from cryptography.hazmat.primitives.asymmetric import padding, utils
        from cryptography.hazmat.primitives.hashes import SHA512

        return self._key.sign(digest, padding.PKCS1v15(), utils.Prehashed(SHA512()))

    def decrypt(self, ciphertext: int) -> Secret | None:
        """Undo :func:`rsa_encrypt`.

        Returns:
            The message; or, for what was not so encrypted to this key, garbage or ``None``. Where
            OpenSSL knows implicit rejection it is garbage, as nobody can tell from a message.
        """
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            padded = ciphertext.to_bytes((self._key.key_size + 7) // 8)
            return Secret(self._key.decrypt(padded, padding.PKCS1v15()))
        except (ValueError, OverflowError):
            return None


def generate_rsa(bits: int) -> tuple[int, int, Secret, Secret, Secret]:
    """Make an RSA key, with OpenSSL's own randomness.

    Returns:
        The modulus, the public exponent, and ``d``, ``p`` and ``q``, big-endian, ``p`` < ``q``.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa

    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    p, q = sorted((numbers.p, numbers.q))
    d_, p_, q_ = (Secret(n.to_bytes((n.bit_length() + 7) // 8)) for n in (numbers.d, p, q))
    return numbers.public_numbers.n, numbers.public_numbers.e, d_, p_, q_


def rsa_encrypt(modulus: int, exponent: int, message: Secret) -> bytes:
    """Encrypt with PKCS#1 v1.5 padding (RFC 8017 §7.2.1).

    Raises:
        ValueError: the numbers are no RSA public key.
    """
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return public.encrypt(message.reveal(), padding.PKCS1v15())


def cfb_encrypt(key: Secret, data: bytes) -> bytes:
    """Encrypt with AES in CFB mode and a zero IV: safe only for a key that is used once."""
    return _aes_cfb(key).encryptor().update(data)


def cfb_decrypt(key: Secret, data: bytes) -> bytes:
    """Undo :func:`cfb_encrypt`; says nothing about whether the key was right."""
    return _aes_cfb(key).decryptor().update(data)


def wrap_key(wrapping: Secret, key: Secret) -> bytes:
    """Wrap ``key``, a multiple of 8 octets, with AES key wrap (RFC 3394)."""
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    return aes_key_wrap(wrapping.reveal(), key.reveal())


def unwrap_key(wrapping: Secret, wrapped: bytes) -> Secret:
    """Undo :func:`wrap_key`.

    Raises:
        CannotDecrypt: another key wrapped it, or it was altered.
    """
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    try:
        return Secret(aes_key_unwrap(wrapping.reveal(), wrapped))
    except InvalidUnwrap:
        raise CannotDecrypt from None


def hkdf_sha256(secret: Secret, info: bytes, length: int, *, salt: bytes = b"") -> Secret:
    """Derive ``length`` octets with HKDF-SHA256 (RFC 5869); no salt counts as zeros."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return Secret(HKDF(SHA256(), length, salt, info).derive(secret.reveal()))


def _aes_cfb(key: Secret) -> Cipher[CFB]:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    return Cipher(algorithms.AES(key.reveal()), CFB(bytes(16)))
