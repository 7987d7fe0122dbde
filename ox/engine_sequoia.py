"""The native OpenPGP engine: Sequoia for certificates and signatures, our own containers around.

Rule: only this file and the ``sequoia_*`` beside it know pysequoia. Everything passes our guard
before Sequoia sees it, and nothing of Sequoia's comes out, neither a type nor a text: its errors
carry backtraces, the ``str()`` of its keys is the private key, and it panics past
``except Exception``. Do not set ``RUST_BACKTRACE`` where others' keys are read: each junk
signature then costs a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, ParamSpec, TypeVar

import pysequoia

from e2ee.errors import ApiMisuse, E2eeError, ErrorCode, PeerMisbehaved
from e2ee.ports import Primitives
from e2ee.secret import Secret
from ox.beside import begin, result
from ox.certificates import check_certificate, check_secret_key
from ox.ciphers import Random
from ox.container import expand, lock, unlock, unwrap, wrap
from ox.engine import Certificate, KeyHandle, Revocation, S2kCount, Signed
from ox.grammar import (
    EncryptedMessage,
    PassphraseMessage,
    check_detached_signatures,
    check_encrypted_message,
    check_passphrase_message,
    check_signed_payload,
    check_unsigned_payload,
)
from ox.key_life import extended, minimal, only_signing, revoked, with_signatures
from ox.key_parts import joined, revoking, written
from ox.keygen import generate_key
from ox.packets import Tag, unsupported, write_literal
from ox.pkesk import DecryptionKey, decryption_keys
from ox.sequoia_errors import malformed_key, sequoia
from ox.sequoia_keys import (
    JudgedKey,
    for_encryption,
    is_over,
    judged,
    ours_alone,
    recipients_of,
    sound_parts,
)
from ox.sequoia_signatures import verify_each
from ox.stretching import Stretcher

__all__ = ["SequoiaEngine"]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_AT_ONCE: Final = 8 * 1024  # octets; to open less costs little more than to hand it to a thread
_PREPARED_KEYS: Final = 256  # private keys kept ready; an RSA key costs milliseconds to load
_JUDGED_KEYS: Final = 256  # public keys whose judgement is remembered; a flooded one costs much
_JUDGEMENT_HOLDS: Final = timedelta(minutes=1)  # sealing looks at every expiry anew


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
            executor: a thread pool, where costly S2Ks run side by side and beside the event loop,
                and large messages are opened.
        """
        self._random = primitives.random
        self._executor = executor
        self._stretcher = Stretcher(executor)
        self._decryption_keys: dict[bytes, tuple[DecryptionKey, ...]] = {}
        self._judged: dict[bytes, JudgedKey] = {}

    async def generate(self, user_id: str, *, rsa: bool = False) -> KeyHandle:
        """Make a key; see ``OpenPgpEngine.generate``."""
        _, material = generate_key(user_id, datetime.now(UTC), self._random, rsa=rsa)
        return await self.adopt(material)

    async def extend(self, key: KeyHandle, until: datetime | None) -> KeyHandle:
        """Set when our key expires; see ``OpenPgpEngine.extend``."""
        parts = sound_parts(key.certificate.raw)
        return await self._renewed(key, extended(parts, key.material, until, datetime.now(UTC)))

    async def revoke(self, key: KeyHandle, reason: Revocation) -> KeyHandle:
        """Revoke our key; see ``OpenPgpEngine.revoke``."""
        parts = sound_parts(key.certificate.raw)
        return await self._renewed(key, revoked(parts, key.material, reason, datetime.now(UTC)))

    async def updated(self, key: KeyHandle, public: bytes) -> KeyHandle:
        """Give our key newer self-signatures; see ``OpenPgpEngine.updated``."""
        merged = await self.merge(key.certificate.raw, public)
        return await self._renewed(key, merged.raw)

    async def _renewed(self, key: KeyHandle, public: bytes) -> KeyHandle:
        material = with_signatures(key.material, sound_parts(public))
        return KeyHandle(await self.inspect(public), (await self.held(material)).material)

    async def minimal(self, certificate: Certificate, user_ids: Collection[str]) -> Certificate:
        """Return only what must be published; see ``OpenPgpEngine.minimal``."""
        parts = sound_parts(certificate.raw)
        return await self.inspect(minimal(parts, user_ids, datetime.now(UTC)))

    async def inspect(self, raw: bytes) -> Certificate:
        """Read one public key; see ``OpenPgpEngine.inspect``."""
        return self._judge(raw).certificate

    async def merge(self, known: bytes | None, fetched: bytes) -> Certificate:
        """Join two copies of one public key; see ``OpenPgpEngine.merge``."""
        check_certificate(fetched)
        second = sound_parts(fetched)
        first = second[:1] if known is None else sound_parts(known)
        if first[0].body != second[0].body:
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH, "two keys, not one", rule="XEP-0373 §4.1"
            )
        try:
            return await self.inspect(written(joined(first, second)))
        except PeerMisbehaved:
            # Too much for one key. What fills up one copy must not keep the other from being known,
            # and above all not a revocation.
            newer = joined(second, revoking(first))
            return await self.inspect(written(newer))

    async def adopt(self, raw: Secret) -> KeyHandle:
        """Read one secret key from outside; see ``OpenPgpEngine.adopt``."""
        key, now = await self.held(raw), datetime.now(UTC)
        ours = {part.public.fingerprint for part in self._prepared(raw)}
        subkeys = [
            part for part in sound_parts(key.certificate.raw) if part.tag == Tag.PUBLIC_SUBKEY
        ]
        if not ours.issuperset(
            part.key.fingerprint for part in subkeys if part.is_encrypted_to(now)
        ):
            raise unsupported("key that others encrypt to, and we cannot decrypt", "RFC 4880 §5.1")
        return key

    async def held(self, raw: Secret) -> KeyHandle:
        """Read one of our own; see ``OpenPgpEngine.held``."""
        self._prepared(raw)
        with sequoia(malformed_key()):
            public = bytes(pysequoia.Tsk.from_bytes(raw.reveal()).extract_certificate())
        return KeyHandle(await self.inspect(public), raw)

    async def seal(self, data: bytes, to: Sequence[Certificate], signer: KeyHandle) -> bytes:
        """Sign, then encrypt; see ``OpenPgpEngine.seal``."""
        key = _signer(signer)  # before its own certificate is refused as a recipient
        return self._encrypt(data, to, key)

    async def encrypt(self, data: bytes, to: Sequence[Certificate]) -> bytes:
        """Encrypt without a signature; see ``OpenPgpEngine.encrypt``."""
        return self._encrypt(data, to, None)

    def _encrypt(
        self, data: bytes, to: Sequence[Certificate], signer: pysequoia.PySigner | None
    ) -> bytes:
        readers = [self._judge(certificate.raw) for certificate in to]
        recipients = recipients_of(readers)
        with sequoia():
            if ours_alone(recipients):
                inner = _signed_message(data, signer) if signer else write_literal(data)
                return wrap(inner, recipients, self._random)
            # A curve that our containers do not speak, in somebody's key: Sequoia's container. It
            # has version 2, which GnuPG does not read, unless somebody takes only version 1.
            nobody, _ = generate_key("nobody", datetime.now(UTC), self._random)
            certificates = [for_encryption(reader) for reader in readers]
            certificates.append(pysequoia.Cert.from_bytes(nobody))
            message = pysequoia.encrypt(data, certificates, signer, armor=False)
        check_encrypted_message(message)
        return message

    async def open(
        self, data: bytes, keys: Sequence[KeyHandle], signers: Sequence[bytes]
    ) -> Signed:
        """Decrypt and verify; see ``OpenPgpEngine.open``."""
        message, own = check_encrypted_message(data), self._own(keys)
        return await self._run(len(data), _open, message, own, self._random, signers)

    async def decrypt(self, data: bytes, keys: Sequence[KeyHandle]) -> bytes:
        """Decrypt what nobody signed; see ``OpenPgpEngine.decrypt``."""
        message, own = check_encrypted_message(data), self._own(keys)
        return await self._run(len(data), _decrypt, message, own, self._random)

    async def sign_message(self, data: bytes, signer: KeyHandle) -> bytes:
        """Sign without encrypting; see ``OpenPgpEngine.sign_message``."""
        key = _signer(signer)
        with sequoia():
            return _signed_message(data, key)

    async def verify_message(self, message: bytes, signers: Sequence[bytes]) -> Signed:
        """Verify a message in clear; see ``OpenPgpEngine.verify_message``."""
        return await self._run(len(message), _verify_message, message, signers)

    async def sign(self, data: bytes, signer: KeyHandle) -> bytes:
        """Make a detached signature; see ``OpenPgpEngine.sign``."""
        key = _signer(signer)
        with sequoia():
            mode = pysequoia.SignatureMode.DETACHED
            return pysequoia.sign(key, data, mode=mode, armor=False)

    async def verify(self, data: bytes, signature: bytes, signers: Sequence[bytes]) -> Signed:
        """Verify a detached signature; see ``OpenPgpEngine.verify``."""
        return verify_each(data, check_detached_signatures(signature, most=1), signers)

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

    async def _run(
        self,
        size: int,
        work: Callable[_Given, _Result],
        *args: _Given.args,
        **kwargs: _Given.kwargs,
    ) -> _Result:
        """Do the work on a message of ``size`` octets; a large one's beside the event loop."""
        if size < _AT_ONCE:
            return work(*args, **kwargs)
        return await result(begin(self._executor, work, *args, **kwargs))

    def _judge(self, raw: bytes) -> JudgedKey:
        memo, now = sha256(raw).digest(), datetime.now(UTC)
        remembered = self._judged.get(memo)
        if remembered is not None and abs(now - remembered.at) < _JUDGEMENT_HOLDS:
            return remembered
        keys = check_certificate(raw)
        with sequoia(malformed_key()):
            found = judged(pysequoia.Cert.from_bytes(raw), keys, now)
        if len(self._judged) >= _JUDGED_KEYS:
            self._judged.clear()
        self._judged[memo] = found
        return found

    def _own(self, keys: Sequence[KeyHandle]) -> list[DecryptionKey]:
        return [part for key in keys for part in self._prepared(key.material)]

    def _prepared(self, material: Secret) -> tuple[DecryptionKey, ...]:
        memo = sha256(material.reveal()).digest()
        if memo not in self._decryption_keys:
            if len(self._decryption_keys) >= _PREPARED_KEYS:
                self._decryption_keys.clear()
            keys = check_secret_key(material)
            self._decryption_keys[memo] = decryption_keys(keys, only_signing(material))
        return self._decryption_keys[memo]


def _open(
    message: EncryptedMessage,
    own: Sequence[DecryptionKey],
    random: Random,
    signers: Sequence[bytes],
) -> Signed:
    payload = check_signed_payload(unwrap(message, own, random))
    return verify_each(payload.data, payload.signatures, signers)


def _decrypt(message: EncryptedMessage, own: Sequence[DecryptionKey], random: Random) -> bytes:
    return check_unsigned_payload(unwrap(message, own, random))


def _verify_message(message: bytes, signers: Sequence[bytes]) -> Signed:
    payload = check_signed_payload(expand(message))
    return verify_each(payload.data, payload.signatures, signers)


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
    # Sequoia would take a signing subkey, whatever became of its primary key.
    if key.certificate.revoked or is_over(key.certificate.expires):
        raise _unusable_signer()
    with sequoia(_unusable_signer()):
        return pysequoia.Tsk.from_bytes(key.material.reveal()).signer()


def _signed_message(data: bytes, signer: pysequoia.PySigner) -> bytes:
    return pysequoia.sign(signer, data, armor=False)
