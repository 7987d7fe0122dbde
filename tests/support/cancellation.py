"""Cancels a coroutine at a chosen one of its awaits, so that a test can try them all.

Rule: real cancellation of the running task; nothing is known of what is cancelled.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

__all__ = ["cancel_at"]

T = TypeVar("T")


async def cancel_at(coroutine: Coroutine[Any, Any, T], step: int) -> T:
    """Run ``coroutine``, and cancel its task when it waits for the ``step``-th time, from 0."""
    return await _stepped(coroutine, step)


@types.coroutine
def _stepped(coroutine: Coroutine[Any, Any, T], step: int) -> Generator[Any, Any, T]:
    task = asyncio.current_task()
    assert task is not None
    resume: Callable[[], Any] = partial(coroutine.send, None)
    waits = 0
    while True:
        try:
            awaited = resume()
        except StopIteration as finished:
            value: T = finished.value
            return value
        if waits == step:
            task.cancel()
        waits += 1
        try:
            resume = partial(coroutine.send, (yield awaited))
        except BaseException as error:
            resume = partial(coroutine.throw, error)
