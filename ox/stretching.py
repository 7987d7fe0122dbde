"""Stretcher: runs costly passphrase derivations beside the event loop, and none of them twice.

Rule: scheduling and memory of results only; the derivation itself is ``s2k.derive``. Items made by
gpg cost 65 MB of hashing each, so this decides how long a page of them takes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from hashlib import sha256
from typing import Final

from e2ee.errors import E2eeError
from e2ee.secret import Secret
from ox.beside import begin, result
from ox.s2k import Specifier, derive

__all__ = ["Stretch", "Stretcher"]

Stretch = tuple[Specifier, Secret, int]
"""What to derive: how, from which passphrase, and how many octets."""

_CHEAP: Final = 64 * 1024  # octets hashed; below this a thread costs more than the hashing
_IN_FLIGHT: Final = 8  # derivations handed out at once; so many go on after a cancellation
_REMEMBERED: Final = 4096  # results; 32 bytes each

_Memo = tuple[Specifier, bytes, int]


class Stretcher:
    """Derives keys from passphrases for one engine."""

    def __init__(self, executor: Executor | None) -> None:
        """Make a stretcher.

        Args:
            executor: a thread pool for costly derivations; without one they block the event loop.
        """
        self._executor = executor
        self._derived: OrderedDict[_Memo, Future[Secret]] = OrderedDict()

    async def stretch_many(self, wanted: Sequence[Stretch]) -> list[Secret | E2eeError]:
        """Derive every key of ``wanted``; what is asked for twice is derived once."""
        turns = asyncio.Semaphore(_IN_FLIGHT)

        async def one(stretch: Stretch) -> Secret | E2eeError:
            async with turns:
                try:
                    return await self._stretch(stretch)
                except E2eeError as error:
                    return error

        if all(specifier.count < _CHEAP for specifier, _, _ in wanted):
            return [await one(stretch) for stretch in wanted]  # tasks would cost more than the work
        return await asyncio.gather(*map(one, wanted))

    async def _stretch(self, stretch: Stretch) -> Secret:
        specifier, passphrase, length = stretch
        if specifier.count < _CHEAP:
            return derive(specifier, passphrase, length)
        memo = (specifier, sha256(passphrase.reveal()).digest(), length)
        derived = self._derived.get(memo)
        if derived is None or _failed(derived):
            derived = self._derived[memo] = begin(self._executor, derive, *stretch)
            if len(self._derived) > _REMEMBERED:
                self._derived.popitem(last=False)
        return await result(derived)


def _failed(derived: Future[Secret]) -> bool:
    """Say whether this derivation is over and has to be tried again."""
    return derived.done() and (derived.cancelled() or derived.exception() is not None)
