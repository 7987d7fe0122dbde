"""A connection to PostgreSQL: judged when it is made, and never used again once it is in doubt.

Rule: one connection and what its failures mean; which statements are sent is the caller's business.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from e2ee.errors import ApiMisuse, ErrorCode, StoreFailed
from e2ee.secret import Secret

if TYPE_CHECKING:
    import asyncpg

__all__ = ["STATEMENT_TIME", "Connection", "connect", "refuse_fork", "retried"]

_T = TypeVar("_T")

STATEMENT_TIME: Final = 30.0
"""Seconds that the server may work at one statement, or wait in it for a lock."""

_CONNECT_TIME: Final = 10.0  # seconds
_DROP_TIME: Final = 5.0  # seconds, for the server to hear that nobody waits any more
_GRACE: Final = 5.0  # seconds beyond the server's own time, after which it counts as away
_FIRST_PAUSE: Final = 0.005  # seconds
_LONGEST_PAUSE: Final = 0.25  # seconds

_JUDGE: Final = """
    SELECT current_setting('server_version_num')::integer,
           current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean,
           pg_is_in_recovery()
"""
_OLDEST_SERVER: Final = 130000  # gen_random_uuid, and sorting that goes on from an index's order

_CODES: Final = {
    "08": ErrorCode.STORE_UNREACHABLE,  # connection exceptions
    "25006": ErrorCode.STORE_FORBIDDEN,  # read only, as a server is that another took over from
    "25P03": ErrorCode.STORE_UNREACHABLE,  # the block was idle for too long
    "25P04": ErrorCode.STORE_UNREACHABLE,  # the operator's bound of a transaction
    "28": ErrorCode.STORE_FORBIDDEN,  # no such user, wrong password
    "3F000": ErrorCode.STORE_CORRUPT,  # no such schema
    "40": ErrorCode.STORE_LOCKED,  # deadlocks and serialisation failures
    "40003": ErrorCode.STORE_UNREACHABLE,  # what a pooler says of a server that it has lost
    "42": ErrorCode.STORE_CORRUPT,  # constant statements: the tables are wrong
    "42501": ErrorCode.STORE_FORBIDDEN,  # not granted
    "53100": ErrorCode.STORE_FULL,
    "53300": ErrorCode.STORE_UNREACHABLE,  # too many connections
    "55P03": ErrorCode.STORE_LOCKED,  # the operator's bound of a lock
    "57": ErrorCode.STORE_UNREACHABLE,  # the server stops or starts
    "57014": ErrorCode.STORE_LOCKED,  # too long, in nearly every case before a lock
    "XX001": ErrorCode.STORE_CORRUPT,
    "XX002": ErrorCode.STORE_CORRUPT,
}
"""What a SQLSTATE means, or all of a class of them; any other is ``store-failed``."""


class Connection:
    """One connection, whose failures are ``StoreFailed`` without the server's or driver's text.

    It is in doubt from the moment when something is sent until the server has answered, were it
    with an error. Whoever is cancelled or cut off between leaves it in doubt for good. It is one
    task's at a time.
    """

    def __init__(self, driver: asyncpg.Connection[asyncpg.Record]) -> None:
        self._driver = driver
        self._in_doubt = False
        self._process = os.getpid()

    @property
    def usable(self) -> bool:
        """Whether it is open, and the server has answered everything."""
        return not self._in_doubt and not self._driver.is_closed()

    @property
    def at_rest(self) -> bool:
        """Whether it is usable, and in no transaction; or not ours to end one on."""
        return os.getpid() != self._process or (
            self.usable and not self._driver.is_in_transaction()
        )

    def refuse_fork(self) -> None:
        """Refuse to be used by a process that inherited it; see :func:`refuse_fork`."""
        refuse_fork(self._process)

    async def script(self, statements: str, time: float = STATEMENT_TIME) -> str:
        """Run statements in one round trip; return what the server says of the last of them.

        Args:
            statements: SQL without parameters.
            time: seconds that the server may take; it keeps to them by itself.
        """
        return await self._answer(self._driver.execute, statements, timeout=time + _GRACE)

    async def rows(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        """Run one statement, prepared once for the connection; return its rows."""
        return await self._answer(
            self._driver.fetch, statement, *values, timeout=STATEMENT_TIME + _GRACE
        )

    async def commit(self, time: float) -> None:
        """Commit, and believe only an answer without reservations.

        A server that waits for a standby, and is asked to stop, warns that the standby may not have
        what it commits nonetheless; one that has no transaction any more warns of that.

        Args:
            time: seconds that the server may take.

        Raises:
            StoreFailed: ``store-unreachable`` also for such an answer.
        """
        reservations: list[object] = []

        def hear(_: object, message: object) -> None:
            reservations.append(message)

        self._driver.add_log_listener(hear)
        try:
            said = await self.script("COMMIT", time)
        finally:
            self._driver.remove_log_listener(hear)
        if reservations or said != "COMMIT":
            raise StoreFailed(ErrorCode.STORE_UNREACHABLE, "the server put a commit in doubt")

    async def drop(self) -> None:
        """Close it, after the server has given up on what nobody waits for any more.

        A server that only lost its client would go on waiting for a lock, and then hold it.
        """
        with suppress(Exception):  # then it was cut off, which will do
            await self._driver.close(timeout=_DROP_TIME)

    async def _answer(
        self, ask: Callable[..., Awaitable[_T]], *arguments: object, timeout: float
    ) -> _T:
        from asyncpg import PostgresError

        if self._in_doubt:
            raise StoreFailed(ErrorCode.STORE_UNREACHABLE, "the connection was given up")
        self._in_doubt = True
        try:
            answer = await ask(*arguments, timeout=timeout)
        except PostgresError as error:
            self._in_doubt = self._driver.is_closed()
            raise _failure(error) from None
        except Exception as error:
            raise _failure(error) from None
        self._in_doubt = False
        return answer


async def connect(dsn: Secret) -> Connection:
    """Connect to a server that can be trusted with a store.

    Args:
        dsn: the database's address, as asyncpg takes it, in UTF-8.

    Raises:
        ApiMisuse: the address is none that asyncpg understands, or asyncpg is not there.
        StoreFailed: ``store-unreachable``; ``store-forbidden`` when the server refuses this user,
            does not write to disk what it acknowledges, or takes no writes; ``store-too-old`` when
            it is older than PostgreSQL 13; ``store-failed`` otherwise.
    """
    try:
        import asyncpg
    except ImportError:
        raise ApiMisuse("PostgreSQL needs asyncpg: install xmpp-e2ee[postgres]") from None
    try:
        driver = await asyncpg.connect(
            dsn.reveal().decode("utf-8", "surrogatepass"), timeout=_CONNECT_TIME
        )
    except ValueError:  # of which the driver's ClientConfigurationError is one
        raise ApiMisuse("the address of the database, or a file that it names, is unfit") from None
    except Exception as error:
        raise _failure(error) from None
    connection = Connection(driver)
    try:
        _judge(*(await connection.rows(_JUDGE))[0])
    except BaseException:
        await connection.drop()
        raise
    return connection


def refuse_fork(process: int) -> None:
    """Refuse to go on in any other process than the one of the number ``process``.

    Raises:
        ApiMisuse: as said; two processes would talk over one connection.
    """
    if os.getpid() != process:
        raise ApiMisuse("the store was opened before this process was forked; open it anew")


async def retried(
    attempt: Callable[[], Awaitable[_T]],
    until: float,
    codes: frozenset[ErrorCode] = frozenset({ErrorCode.STORE_LOCKED}),
) -> _T:
    """Make the attempt again, after a pause, while it fails with one of ``codes``.

    Args:
        attempt: what leaves no trace when it fails.
        until: the event loop's time after which no further attempt is made.
        codes: the failures that may pass.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except StoreFailed as failure:
            if failure.code not in codes or asyncio.get_running_loop().time() + pause > until:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _judge(version: int, durable: bool, standby: bool) -> None:
    if version < _OLDEST_SERVER:
        raise StoreFailed(ErrorCode.STORE_TOO_OLD, "the server is older than PostgreSQL 13")
    if not durable:
        raise StoreFailed(
            ErrorCode.STORE_FORBIDDEN,
            "the server loses what it acknowledged: its fsync or full_page_writes is off",
        )
    if standby:
        raise StoreFailed(ErrorCode.STORE_FORBIDDEN, "the server is a standby, and takes no writes")


def _failure(error: Any) -> StoreFailed:
    """Return what the driver raised as ours, with its name and SQLSTATE and without its text."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        code = _CODES.get(state) or _CODES.get(state[:2], ErrorCode.STORE_FAILED)
        return StoreFailed(code, f"PostgreSQL failed with {type(error).__name__} ({state[:5]})")
    # The driver's own errors and the system's: the connection is gone, or never came about.
    return StoreFailed(
        ErrorCode.STORE_UNREACHABLE, f"the connection failed with {type(error).__name__}"
    )
