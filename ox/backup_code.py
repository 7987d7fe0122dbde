"""BackupCode: the code that encrypts a backup of secret keys, to be written down (XEP-0373 §5.4).

Rule: one form inside, and the generosity with which people type ends here; no text but ``shown``
ever holds a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from unicodedata import category

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.ports import Primitives
from e2ee.secret import Secret

__all__ = ["BackupCode"]

_ALPHABET: Final = "123456789ABCDEFGHIJKLMNPQRSTUVWXYZ"  # neither the letter O nor the digit 0
_SYMBOLS: Final = 24  # of 34: 122 bits
_GROUP: Final = 4
_UNBIASED: Final = 256 - 256 % len(_ALPHABET)  # octets below it are every symbol equally often
_DASHES_BESIDE: Final = "\u00ad\u2212"  # a soft hyphen and a minus, which Unicode calls no dashes
_RULE: Final = "XEP-0373 §5.4"


@dataclass(frozen=True, slots=True)
class BackupCode:
    """A backup code; make it with :meth:`generate` or :meth:`parse`.

    Attributes:
        passphrase: what encrypts: the 29 ASCII octets of the code, upper case and with its dashes.
    """

    passphrase: Secret

    @classmethod
    def generate(cls, primitives: Primitives) -> BackupCode:
        """Make a new code; use it for one backup, so that it opens none that is older."""
        symbols = ""
        while len(symbols) < _SYMBOLS:
            octets = primitives.random(_SYMBOLS)
            symbols += "".join(
                [_ALPHABET[octet % len(_ALPHABET)] for octet in octets if octet < _UNBIASED]
            )
        return cls._of(symbols[:_SYMBOLS])

    @classmethod
    def parse(cls, typed: Secret) -> BackupCode:
        """Read a code as it was typed in, in UTF-8.

        Case, white space and dashes of any kind do not matter. Nothing else is guessed: who reads
        an O or a 0 has misread a D or a Q, and 1 and I are both symbols.

        Raises:
            PeerMisbehaved: ``malformed``, saying what is wrong and where, never what was typed.
        """
        try:
            return cls._of(_symbols(typed))
        except PeerMisbehaved as error:
            raise error.with_traceback(None) from None  # frames below hold what was typed

    @classmethod
    def _of(cls, symbols: str) -> BackupCode:
        groups = [symbols[start : start + _GROUP] for start in range(0, _SYMBOLS, _GROUP)]
        return cls(Secret("-".join(groups).encode()))

    @property
    def shown(self) -> str:
        """The code as its owner writes it down, such as ``TWNK-KD5Y-MT3T-E1GS-DRDB-KVTW``.

        For the user's eyes alone: whoever has it and the backup has the keys.
        """
        return self.passphrase.reveal().decode()


def _symbols(typed: Secret) -> str:
    text = typed.reveal().decode(errors="replace")
    symbols = [each for each in text if not _separates(each)]
    for place, symbol in enumerate(symbols, 1):
        if symbol in "oO0":
            raise _malformed(f"symbol {place} is an O or a zero, and no backup code has either")
        if not symbol.isascii() or symbol.upper() not in _ALPHABET:
            raise _malformed(f"symbol {place} is in no backup code")
    if len(symbols) != _SYMBOLS:
        raise _malformed(f"{len(symbols)} symbols, and a backup code has {_SYMBOLS}")
    return "".join(symbols).upper()


def _separates(symbol: str) -> bool:
    return symbol.isspace() or category(symbol) == "Pd" or symbol in _DASHES_BESIDE


def _malformed(what: str) -> PeerMisbehaved:
    return PeerMisbehaved(ErrorCode.MALFORMED, what, rule=_RULE)
