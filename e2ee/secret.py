"""Secret: bytes that never print, pickle or compare in variable time.

Rule: raw ``bytes`` never carry a secret across a function boundary; they travel in here.
Python cannot promise to wipe memory; nothing here pretends to.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn

__all__ = ["Secret"]


class Secret:
    """Opaque secret bytes.

    ``reveal()`` is the only way to the bytes, so that every use can be found by name.
    """

    __slots__ = ("_raw",)
    __hash__ = None  # type: ignore[assignment]  # a hash table would leak equality by timing

    def __init__(self, raw: bytes) -> None:
        self._raw = bytes(raw)

    def reveal(self) -> bytes:
        """Return the secret bytes."""
        return self._raw

    def __len__(self) -> int:
        return len(self._raw)

    def __bool__(self) -> bool:
        return bool(self._raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self._raw, other._raw)

    def __repr__(self) -> str:
        return f"<Secret, {len(self._raw)} bytes>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("secrets are not pickled")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self
