"""Stops a coroutine at a chosen one of its awaits, so that a test can try them all.

Rule: a real cancellation of the running task, or a real kill of the process; nothing is known of
what is stopped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

__all__ = ["cancel_at", "kill_at"]

T = TypeVar("T")


async def cancel_at(coroutine: Coroutine[Any, Any, T], step: int, times: int = 1) -> T:
    """Run ``coroutine``, and cancel its task when it waits for the ``step``-th time, from 0.

    With ``times`` it is cancelled at as many awaits in a row: what it does about the first is
    cancelled, too.
    """
    task = asyncio.current_task()
    assert task is not None
    return await _stepped(coroutine, range(step, step + times), task.cancel)


async def kill_at(coroutine: Coroutine[Any, Any, T], step: int) -> T:
    """Run ``coroutine``, and kill this process when it waits for the ``step``-th time, from 0."""
    die = partial(os.kill, os.getpid(), signal.SIGKILL)
    return await _stepped(coroutine, range(step, step + 1), die)


@types.coroutine
def _stepped(
    coroutine: Coroutine[Any, Any, T], steps: range, stop: Callable[[], object]
) -> Generator[Any, Any, T]:
    resume: Callable[[], Any] = partial(coroutine.send, None)
    waits = 0
    while True:
        try:
            awaited = resume()
        except StopIteration as finished:
            value: T = finished.value
            return value
        if waits in steps:
            stop()
        waits += 1
        try:
            resume = partial(coroutine.send, (yield awaited))
        except BaseException as error:
            resume = partial(coroutine.throw, error)
