"""Costly work beside the event loop, on the caller's threads if there are any.

Rule: no thread is started here. What work itself raises is passed on; a pool that gives it up is
one ``EngineFailed``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from e2ee.errors import E2eeError, EngineFailed

__all__ = ["begin", "result"]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def begin(
    executor: Executor | None,
    work: Callable[_Given, _Result],
    *args: _Given.args,
    **kwargs: _Given.kwargs,
) -> Future[_Result]:
    """Hand ``work`` to ``executor``; without one, do it now.

    Raises:
        EngineFailed: the pool takes no more work.
        E2eeError: without an executor, what ``work`` raises.
    """
    if executor is not None:
        try:
            return executor.submit(work, *args, **kwargs)
        except RuntimeError:
            raise _given_up() from None
    done: Future[_Result] = Future()
    done.set_result(work(*args, **kwargs))
    return done


async def result(future: Future[_Result]) -> _Result:
    """Wait for what :func:`begin` returned; several tasks may. Their end does not end the work.

    Raises:
        EngineFailed: the pool gave the work up, or the work failed in no way of its own.
        E2eeError: what the work raised.
    """
    try:
        if not future.done():
            # Shielded, because another task may be waiting for the same work.
            await asyncio.shield(asyncio.wrap_future(future))
        return future.result()
    except E2eeError:
        raise
    except asyncio.CancelledError:
        if future.cancelled():  # the pool gave it up; else it is our own task that is cancelled
            raise _given_up() from None
        raise
    except Exception:
        raise _given_up() from None


def _given_up() -> EngineFailed:
    return EngineFailed("executor", "the thread pool gave up")
