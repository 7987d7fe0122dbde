"""The native OpenPGP engine: Sequoia for certificates and signatures, our own containers around.

Rule: the only file that knows pysequoia. Everything passes our guard before Sequoia sees it, and
nothing of Sequoia's comes out, neither a type nor a text: its errors carry backtraces, the
``str()`` of its keys is the private key, and it panics past ``except Exception``. Do not set
``RUST_BACKTRACE`` where others' keys are read: each junk signature then costs a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

import pysequoia
from pysequoia import packet

from e2ee import limits
from e2ee.errors import ApiMisuse, E2eeError, EngineFailed, ErrorCode, PeerMisbehaved
from e2ee.names import Fingerprint, parse_fingerprint
from e2ee.ports import Primitives
from e2ee.secret import Secret
from ox.certificates import check_certificate, check_secret_key
from ox.container import lock, unlock, unwrap, wrap
from ox.engine import Certificate, KeyHandle, S2kCount, Signed
from ox.grammar import (
    PassphraseMessage,
    check_detached_signature,
    check_encrypted_message,
    check_passphrase_message,
    check_signed_payload,
)
from ox.key_packets import PublicKey
from ox.keygen import generate_key
from ox.packets import Tag, read_packets, write_packet
from ox.pkesk import DecryptionKey, decryption_keys
from ox.stretching import Stretcher

__all__ = ["SequoiaEngine"]

_NAME: Final = "sequoia"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PREPARED_KEYS: Final = 256  # private keys kept ready; an RSA key costs milliseconds to load
_BINDINGS: Final = 4  # of one subkey, the newest; each is tried by making a message with it
_INSPECTED_KEYS: Final = 256  # public keys whose inspection is remembered; a flooded one costs much
_INSPECTION_HOLDS: Final = timedelta(minutes=1)  # sealing and verifying look at the clock anew


@contextmanager
def _sequoia(refusal: E2eeError | None = None) -> Iterator[None]:
    """Turn whatever Sequoia raises into ``refusal``, or into ``EngineFailed`` without its text."""
    try:
        yield
    except E2eeError:
        raise
    except BaseException as error:
        # pyo3's PanicException derives from BaseException; what the interpreter means stays.
        if isinstance(
            error, (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
        ):
            raise
        raise (refusal or EngineFailed(_NAME, "failed unexpectedly")) from None


def _malformed_key() -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, "not a sound OpenPGP key", rule="RFC 4880 §11.1")


def _bad_signature() -> PeerMisbehaved:
    return PeerMisbehaved(
        ErrorCode.BAD_SIGNATURE, "no valid signature by an expected key", rule="XEP-0373 §3.2"
    )


def _unusable_signer() -> ApiMisuse:
    return ApiMisuse(
        "our own key is expired, revoked or cannot sign",
        code=ErrorCode.UNUSABLE_KEY,
        rule="XEP-0373 §4",
    )


class SequoiaEngine:
    """``ox.engine.OpenPgpEngine`` on pysequoia 0.1.35."""

    def __init__(self, primitives: Primitives, executor: Executor | None = None) -> None:
        """Make an engine.

        Args:
            primitives: for salts, session keys and new keys.
            executor: a thread pool, where costly S2Ks run side by side and beside the event loop.
        """
        self._random = primitives.random
        self._stretcher = Stretcher(executor)
        self._decryption_keys: dict[bytes, tuple[DecryptionKey, ...]] = {}
        self._inspected: dict[bytes, tuple[datetime, Certificate]] = {}

    async def generate(self, user_id: str) -> KeyHandle:
        """Make a Curve25519 key; see ``OpenPgpEngine.generate``."""
        _, material = generate_key(user_id, datetime.now(UTC), self._random)
        return await self.adopt(material)

    async def inspect(self, raw: bytes) -> Certificate:
        """Read one public key; see ``OpenPgpEngine.inspect``."""
        memo, now = sha256(raw).digest(), datetime.now(UTC)
        remembered = self._inspected.get(memo)
        if remembered is not None and abs(now - remembered[0]) < _INSPECTION_HOLDS:
            return remembered[1]
        keys = check_certificate(raw)
        with _sequoia(_malformed_key()):
            certificate = _inspect(pysequoia.Cert.from_bytes(raw), keys)
        if len(self._inspected) >= _INSPECTED_KEYS:
            self._inspected.clear()
        self._inspected[memo] = (now, certificate)
        return certificate

    async def merge(self, known: bytes, fetched: bytes) -> Certificate:
        """Join two copies of one public key; see ``OpenPgpEngine.merge``."""
        check_certificate(fetched)
        with _sequoia(_malformed_key()):
            first, second = pysequoia.Cert.from_bytes(known), pysequoia.Cert.from_bytes(fetched)
            if first.fingerprint != second.fingerprint:
                raise PeerMisbehaved(
                    ErrorCode.SIGNER_MISMATCH, "two keys, not one", rule="XEP-0373 §4.1"
                )
            revoked = [bytes(copy) for copy in (second, first) if copy.is_revoked]
            merged = bytes(first.merge(second))
        try:
            return await self.inspect(merged)
        except PeerMisbehaved:
            if not revoked:
                raise
            # What fills up one copy must not keep the revocation in the other from being known.
            return await self.inspect(revoked[0])

    async def adopt(self, raw: Secret) -> KeyHandle:
        """Read one secret key; see ``OpenPgpEngine.adopt``."""
        check_secret_key(raw)
        with _sequoia(_malformed_key()):
            public = bytes(pysequoia.Tsk.from_bytes(raw.reveal()).extract_certificate())
        return KeyHandle(await self.inspect(public), raw)

    async def seal(self, data: bytes, to: Sequence[Certificate], signer: KeyHandle) -> bytes:
        """Sign, then encrypt; see ``OpenPgpEngine.seal``."""
        recipients: list[PublicKey] = []
        for certificate in to:
            with _sequoia(_malformed_key()):
                keys = _encryption_keys(pysequoia.Cert.from_bytes(certificate.raw))
            if not keys or certificate.revoked or _is_over(certificate.expires):
                raise PeerMisbehaved(
                    ErrorCode.UNUSABLE_KEY,
                    f"{certificate.fingerprint} is expired, revoked or cannot encrypt",
                    rule="XEP-0373 §4",
                )
            recipients += keys
        ours_alone = all(recipient.numbers is not None for recipient in recipients)
        most = limits.MAX_PKESK if ours_alone else limits.MAX_PKESK - 1
        if len(recipients) > most:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED,
                f"more than {most} keys to encrypt to",
                rule="XEP-0373 §4",
            )
        key = _signer(signer)
        with _sequoia():
            if ours_alone:
                return wrap(pysequoia.sign(key, data, armor=False), recipients, self._random)
            # A curve that our containers do not speak, in somebody's key: Sequoia's container. It
            # has version 2, which we and GnuPG do not read, unless somebody takes only version 1.
            nobody, _ = generate_key("nobody", datetime.now(UTC), self._random)
            raws = [*(certificate.raw for certificate in to), nobody]
            certificates = [pysequoia.Cert.from_bytes(raw) for raw in raws]
            message = pysequoia.encrypt(data, certificates, key, armor=False)
        check_encrypted_message(message)  # it takes every key of each
        return message

    async def open(
        self, data: bytes, keys: Sequence[KeyHandle], signers: Sequence[bytes]
    ) -> Signed:
        """Decrypt and verify; see ``OpenPgpEngine.open``."""
        message = check_encrypted_message(data)
        own = [part for key in keys for part in self._prepared(key)]
        payload = check_signed_payload(unwrap(message, own, self._random))
        packets = read_packets(payload.packets, most=2 * limits.MAX_SIGNATURES + 1)
        return _verify(
            payload.data,
            [
                write_packet(found.tag, found.body)
                for found in packets
                if found.tag == Tag.SIGNATURE
            ],
            signers,
        )

    async def sign(self, data: bytes, signer: KeyHandle) -> bytes:
        """Make a detached signature; see ``OpenPgpEngine.sign``."""
        key = _signer(signer)
        with _sequoia():
            mode = pysequoia.SignatureMode.DETACHED
            return pysequoia.sign(key, data, mode=mode, armor=False)

    async def verify(self, data: bytes, signature: bytes, signers: Sequence[bytes]) -> Signed:
        """Verify a detached signature; see ``OpenPgpEngine.verify``."""
        check_detached_signature(signature)
        return _verify(data, [signature], signers)

    async def lock(self, data: bytes, passphrase: Secret, count: S2kCount) -> bytes:
        """Encrypt with a passphrase; see ``OpenPgpEngine.lock``."""
        return lock(data, passphrase, count, self._random)

    async def unlock(self, data: bytes, passphrase: Secret) -> bytes:
        """Decrypt a passphrase message; see ``OpenPgpEngine.unlock``."""
        (outcome,) = await self.unlock_many([(data, passphrase)])
        if isinstance(outcome, E2eeError):
            raise outcome
        return outcome

    async def unlock_many(
        self, messages: Sequence[tuple[bytes, Secret]]
    ) -> tuple[bytes | E2eeError, ...]:
        """Decrypt many passphrase messages; see ``OpenPgpEngine.unlock_many``."""
        guarded = [_guard(data) for data, _ in messages]
        stretches = [
            (message.skesk.s2k, passphrase, message.skesk.cipher.key_length)
            for message, (_, passphrase) in zip(guarded, messages, strict=True)
            if isinstance(message, PassphraseMessage)
        ]
        stretched = iter(await self._stretcher.stretch_many(stretches))
        return tuple(
            message if isinstance(message, E2eeError) else _unlock(message, next(stretched))
            for message in guarded
        )

    def _prepared(self, key: KeyHandle) -> tuple[DecryptionKey, ...]:
        memo = sha256(key.material.reveal()).digest()
        if memo not in self._decryption_keys:
            if len(self._decryption_keys) >= _PREPARED_KEYS:
                self._decryption_keys.clear()
            self._decryption_keys[memo] = decryption_keys(check_secret_key(key.material))
        return self._decryption_keys[memo]


def _guard(data: bytes) -> PassphraseMessage | E2eeError:
    try:
        return check_passphrase_message(data)
    except E2eeError as error:
        return error


def _unlock(message: PassphraseMessage, stretched: Secret | E2eeError) -> bytes | E2eeError:
    if isinstance(stretched, E2eeError):
        return stretched
    try:
        return unlock(message, stretched)
    except E2eeError as error:
        return error


def _signer(key: KeyHandle) -> pysequoia.PySigner:
    with _sequoia(_unusable_signer()):
        return pysequoia.Tsk.from_bytes(key.material.reveal()).signer()


def _verify(data: bytes, signatures: Sequence[bytes], signers: Sequence[bytes]) -> Signed:
    """Judge each signature alone, so that no other one helps or harms it."""
    named = _NamedSigners(signers)
    valid = [
        found for signature in signatures if (found := _judge(data, signature, named)) is not None
    ]
    if not valid:
        raise _bad_signature()
    return Signed(data, {fingerprint: created for created, fingerprint in sorted(valid)})


class _NamedSigners:
    """Public keys by the ids of their parts; read by Sequoia only once a signature names one."""

    def __init__(self, signers: Sequence[bytes]) -> None:
        self._by_key_id: dict[bytes, list[bytes]] = {}
        self._read: dict[bytes, pysequoia.Cert] = {}
        for raw in signers:
            with suppress(PeerMisbehaved):
                for key in check_certificate(raw):
                    self._by_key_id.setdefault(key.key_id, []).append(raw)

    def find(self, names: Sequence[str]) -> list[pysequoia.Cert]:
        """Return the keys that have a part so named, by its fingerprint or its key id in hex."""
        named = {raw for name in names for raw in self._by_key_id.get(_key_id(name), ())}
        for raw in named - self._read.keys():
            with suppress(PeerMisbehaved), _sequoia(_malformed_key()):
                self._read[raw] = pysequoia.Cert.from_bytes(raw)
        return [self._read[raw] for raw in named if raw in self._read]


def _key_id(name: str) -> bytes:
    return bytes.fromhex(name)[-8:]


def _judge(
    data: bytes, signature: bytes, signers: _NamedSigners
) -> tuple[datetime, Fingerprint] | None:
    """Return when this valid signature over ``data`` was made, and by whom."""
    try:
        with _sequoia(_bad_signature()):
            parsed = pysequoia.Sig.from_bytes(signature)
            verified = pysequoia.verify(data, signers.find, signature=parsed)
            (valid,) = verified.valid_sigs
            if parsed.created is None:
                return None
            return parsed.created, parse_fingerprint(valid.certificate.upper())
    except PeerMisbehaved:
        return None


def _is_over(expires: datetime | None) -> bool:
    return expires is not None and expires <= datetime.now(UTC)


def _inspect(cert: pysequoia.Cert, keys: Sequence[PublicKey]) -> Certificate:
    live = not cert.is_revoked and not _is_over(cert.expiration)
    return Certificate(
        fingerprint=parse_fingerprint(cert.fingerprint.upper()),
        raw=bytes(cert),
        user_ids=tuple(str(user_id) for user_id in cert.user_ids),
        created=keys[0].created,
        expires=cert.expiration,
        revoked=cert.is_revoked,
        encrypts=live and bool(_encryption_keys(cert)),
    )


def _encryption_keys(cert: pysequoia.Cert) -> list[PublicKey]:
    """Return the keys of ``cert`` to encrypt to: those that Sequoia takes, less the expired.

    The newest few: one member of a group must not take up the recipients of all.
    """
    taken = _taken(cert)
    keys = [key for key in check_certificate(bytes(cert)) if key.key_id in taken]
    newest = sorted(keys, key=lambda key: key.created, reverse=True)[: limits.MAX_ENCRYPTION_KEYS]
    return [key for key in newest if not _is_over(_expiry(cert, key))]


def _taken(cert: pysequoia.Cert) -> set[bytes]:
    """Return the ids of the keys that Sequoia would encrypt to.

    It alone judges bindings, flags and revocations. It passes over the expired only while there
    are others. Which keys it takes is read off a message that it makes.
    """
    try:
        probe = pysequoia.encrypt(b"", [cert], armor=False)
    except RuntimeError:
        return set()
    packets = read_packets(probe, most=limits.MAX_CERTIFICATE_PACKETS)
    return {_recipient(found.body) for found in packets if found.tag == Tag.PKESK}


def _recipient(body: bytes) -> bytes:
    """Return the key id that a PKESK names, in version 6 as the end of a v4 fingerprint."""
    return body[1:9] if body[0] == 3 else body[15:23]


def _expiry(cert: pysequoia.Cert, key: PublicKey) -> datetime | None:
    """Return when a subkey expires, by its newest binding that Sequoia accepts."""
    lead: list[packet.Packet] = []
    subkey: packet.Packet | None = None
    bindings: list[packet.Packet] = []
    current = None
    for found in packet.PacketPile.from_bytes(bytes(cert)):
        if found.tag == packet.Tag.PublicSubkey:
            current = bytes.fromhex(found.fingerprint or "")
            subkey = found if current == key.fingerprint else subkey
        elif current is None:
            lead.append(found)
        elif (
            current == key.fingerprint
            and found.signature_type == packet.SignatureType.SubkeyBinding
            and found.issuer_fingerprint in (None, cert.fingerprint)
        ):
            bindings.append(found)
    if subkey is None:
        return cert.expiration  # it is the primary key
    if all(binding.key_validity_period is None for binding in bindings):
        return None
    for binding in sorted(bindings, key=_made, reverse=True)[:_BINDINGS]:
        if key.key_id in _taken(pysequoia.Cert.from_packets([*lead, subkey, binding])):
            period = binding.key_validity_period
            return None if period is None else key.created + period
    return _LONG_AGO


def _made(signature: packet.Packet) -> datetime:
    return signature.signature_created or _LONG_AGO
