"""The Anchor port: how far each account has come, kept where no copy of its store is kept.

Rule: a protocol only; ``stores.guarded`` decides what a difference means, and implementations live
in ``e2ee/stores``.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Anchor"]


class Anchor(Protocol):
    """Remembers the highest generation of each account, across processes.

    It protects against a store that is put back from an older copy, so it must not be put back
    with it: keep it out of the store's folder, and out of its backups. All who use one store, on
    all its hosts, use one anchor.
    """

    async def highest(self, account: str) -> int | None:
        """Return the highest generation that :meth:`raise_to` was ever called with.

        Args:
            account: the first part of the account's keys, any string.

        Returns:
            0 to 2**128 - 1, or ``None`` for an account that was never heard of.

        Raises:
            StoreFailed: ``store-corrupt`` when what was kept is damaged; what the medium raises.
        """
        ...

    async def raise_to(self, account: str, generation: int) -> None:
        """Remember ``generation``, durably when this returns; a lower one than is kept is ignored.

        The generation that is kept is written again: the last attempt may have failed half way.

        Args:
            account: as for :meth:`highest`.
            generation: 0 to 2**128 - 1.

        Raises:
            StoreFailed: ``store-corrupt`` as above; ``store-full`` and what else the medium raises.
                It may be remembered or not, and the next call decides.
        """
        ...
