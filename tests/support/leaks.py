"""Looks for planted secrets in everything that a program may print about an object.

Rule: knows no class of the project; the tests say which objects hold a canary.
"""

from __future__ import annotations

import logging
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Canary", "everything_printable", "no_leak_in_logs"]


class Canary:
    """A planted secret, recognised in every form that a secret may be printed in."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.raw = text.encode("ascii")

    @classmethod
    def of_key(cls, raw: bytes) -> Canary:
        """Return a secret that is there already: any bytes."""
        canary = cls(raw.hex())
        canary.raw = raw
        return canary

    def assert_absent(self, printed: str, where: str) -> None:
        """Fail if ``printed`` shows the canary or a good part of it."""
        forms = {
            self.text,
            self.text[: len(self.text) // 2],
            self.raw.hex(),
            self.raw.hex(" "),
            b64encode(self.raw).decode().rstrip("=")[:-1],
            urlsafe_b64encode(self.raw).decode().rstrip("=")[:-1],
            str(list(self.raw))[1:-1],
            str(int.from_bytes(self.raw)),
        }
        shown = printed.lower()
        for form in forms:
            assert form.lower() not in shown, f"a secret is printed in {where}"


def everything_printable(subject: object) -> Iterator[tuple[str, str]]:
    """Yield whatever print, a debugger or a crash reporter would show of ``subject``."""
    yield "repr", repr(subject)
    yield "str", str(subject)
    yield "format", f"{subject}"
    yield "a container", repr([{"key": (subject,)}])
    yield "%-formatting", "%s %r" % (subject, subject)  # noqa: UP031
    if hasattr(subject, "__dict__"):
        yield "vars", repr(vars(subject))
    if isinstance(subject, BaseException):
        yield "args", repr(subject.args)
        yield "its traceback", _traceback(subject)
    yield "a traceback with locals", _traceback_through(subject)


def _traceback_through(subject: object) -> str:
    try:
        _fail(subject)
    except RuntimeError as error:
        return _traceback(error)
    raise AssertionError


def _fail(subject: object) -> None:
    inner = [subject]  # noqa: F841  # a local of the frame that a crash reporter prints
    raise RuntimeError


def _traceback(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@contextmanager
def no_leak_in_logs(*canaries: Canary) -> Iterator[None]:
    """Collect every log record of every logger at DEBUG; fail if one shows a canary."""
    seen: list[logging.LogRecord] = []

    class Trap(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    root = logging.getLogger()
    names = list(logging.Logger.manager.loggerDict)
    loggers = [root, *map(logging.getLogger, names)]
    levels = [(logger, logger.level, logger.propagate) for logger in loggers]
    trap = Trap()
    root.addHandler(trap)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    try:
        yield
    finally:
        root.removeHandler(trap)
        for logger, level, propagate in levels:
            logger.setLevel(level)
            logger.propagate = propagate
    for record in seen:
        for canary in canaries:
            canary.assert_absent(
                f"{record.getMessage()} {record.args!r}", f"a record of {record.name}"
            )
