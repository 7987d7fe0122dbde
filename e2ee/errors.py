"""Every error this project raises: one tree, one stable code each, and the rule that was broken.

Rule: no text here or in any caller carries a secret, a plaintext or an engine's own message;
a failed call has changed no state.

E2eeError
├─ PeerMisbehaved   what arrived breaks a rule: malformed, out of context, from a stranger
├─ CannotDecrypt    one face for every cryptographic failure
│  └─ WrongBackupCode   the same, told to who typed in the code of a backup
├─ SecretMissing    an item names a node secret that we do not have; ask the node's owner
├─ DataMissing      something public must be fetched first; ``fetches`` says what
├─ TrustUndecided   keys or owners that the user must decide about first
├─ ApiMisuse        the caller asked for something that is never right
├─ StoreFailed      the store is full, locked, damaged, rolled back, away or from the future
└─ EngineFailed     a cryptographic engine failed in a way that is nobody's attack
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2ee.names import Fetch

__all__ = [
    "ApiMisuse",
    "CannotDecrypt",
    "DataMissing",
    "E2eeError",
    "EngineFailed",
    "ErrorCode",
    "PeerMisbehaved",
    "SecretMissing",
    "StoreFailed",
    "TrustUndecided",
    "WrongBackupCode",
]


class ErrorCode(StrEnum):
    """What went wrong, as a stable string; the same strings are ``expect`` in ``spec_vectors/``."""

    MALFORMED = "malformed"
    LIMIT_EXCEEDED = "limit-exceeded"
    NOT_ENCRYPTED = "not-encrypted"
    FORBIDDEN = "forbidden"
    UNSUPPORTED_ALGORITHM = "unsupported-algorithm"
    CANNOT_DECRYPT = "cannot-decrypt"
    WRONG_BACKUP_CODE = "wrong-backup-code"
    BAD_SIGNATURE = "bad-signature"
    SIGNER_MISMATCH = "signer-mismatch"
    CONTEXT_MISMATCH = "context-mismatch"
    STALE = "stale"
    REPLAY = "replay"
    AMBIGUOUS = "ambiguous"
    NOT_OWNER = "not-owner"
    SECRET_CONFLICT = "secret-conflict"
    UNKNOWN_SECRET = "unknown-secret"
    NO_ACTIVE_SECRET = "no-active-secret"
    UNUSABLE_KEY = "unusable-key"
    DATA_MISSING = "data-missing"
    UNDECIDED = "undecided"
    UNTRUSTED = "untrusted"
    IDENTITY_CHANGED = "identity-changed"
    NOT_FOR_US = "not-for-us"
    NO_SESSION = "no-session"
    TOO_MANY_SKIPPED = "too-many-skipped"
    DOWNGRADE = "downgrade"
    OPTED_OUT = "opted-out"
    API_MISUSE = "api-misuse"
    STORE_CORRUPT = "store-corrupt"
    STORE_FULL = "store-full"
    STORE_LOCKED = "store-locked"
    STORE_TOO_NEW = "store-too-new"
    STORE_TOO_OLD = "store-too-old"
    STORE_FORBIDDEN = "store-forbidden"
    STORE_WRONG_KEY = "store-wrong-key"
    STORE_ROLLED_BACK = "store-rolled-back"
    STORE_UNREACHABLE = "store-unreachable"
    STORE_UNCERTAIN = "store-uncertain"
    STORE_FAILED = "store-failed"
    ENGINE_FAILED = "engine-failed"


class E2eeError(Exception):
    """The root of every error raised by this project.

    Attributes:
        code: what went wrong, stable across releases.
        rule: the specification's section that was broken, e.g. ``"XEP-0473 §9"``, or ``None``.
    """

    def __init__(self, code: ErrorCode, message: str, *, rule: str | None = None) -> None:
        super().__init__(f"{message} ({rule})" if rule else message)
        self.code = code
        self.rule = rule


class PeerMisbehaved(E2eeError):
    """What arrived breaks a rule; nothing of it was used."""


class CannotDecrypt(E2eeError):
    """Decryption or authentication failed; without a reason, which would be an oracle."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANNOT_DECRYPT, "cannot decrypt")


class WrongBackupCode(CannotDecrypt):
    """The code does not open the backup: it is another one's, or the backup was altered.

    Which of the two it is, nobody can tell. The code is typed in by whom the backup belongs to, on
    their own device, so that naming it gives nothing away.
    """

    def __init__(self) -> None:
        E2eeError.__init__(
            self,
            ErrorCode.WRONG_BACKUP_CODE,
            "the code does not open this backup",
            rule="XEP-0373 §5.4",
        )


class SecretMissing(E2eeError):
    """An item names a node secret that we do not hold.

    Attributes:
        secret_id: the id of the missing secret, to ask the node's owner for.
    """

    def __init__(self, message: str, *, secret_id: str) -> None:
        super().__init__(ErrorCode.UNKNOWN_SECRET, message, rule="XEP-0473 §5.1")
        self.secret_id = secret_id


class DataMissing(E2eeError):
    """Something public must be fetched and fed first.

    Attributes:
        fetches: what to fetch, in order.
    """

    def __init__(self, message: str, *, fetches: tuple[Fetch, ...]) -> None:
        super().__init__(ErrorCode.DATA_MISSING, message)
        self.fetches = fetches


class TrustUndecided(E2eeError):
    """The user must decide about these keys or owners before the call can go on.

    Attributes:
        subjects: what to decide about, as text for the user: JIDs or fingerprints.
    """

    def __init__(self, message: str, *, subjects: tuple[str, ...], rule: str | None = None) -> None:
        super().__init__(ErrorCode.UNDECIDED, message, rule=rule)
        self.subjects = subjects


class ApiMisuse(E2eeError):
    """The caller asked for something that is never right; nothing was done."""

    def __init__(
        self, message: str, *, code: ErrorCode = ErrorCode.API_MISUSE, rule: str | None = None
    ) -> None:
        super().__init__(code, message, rule=rule)


class StoreFailed(E2eeError):
    """The store could not read or commit; nothing of the operation was kept.

    With one exception, which its code names: after ``store-uncertain`` all of it was kept or none,
    and nobody could be asked which. Read the state again, as after a crash in mid-commit.
    """


class EngineFailed(E2eeError):
    """An engine failed unexpectedly; its own text is withheld because it may hold secrets.

    Attributes:
        engine: the engine's name.
    """

    def __init__(self, engine: str, message: str) -> None:
        super().__init__(ErrorCode.ENGINE_FAILED, f"{engine}: {message}")
        self.engine = engine
