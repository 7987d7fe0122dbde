"""Secrets and revocations that must be refused because they are not well made.

Rule: they come from the owner, and nothing is known that contradicts them.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.sharing import (
    CREATED,
    LATER,
    SECOND,
    refused_between,
    revoke,
    shared,
)
from spec_vectors.generator.world import FEED, OXPS, SECRET

__all__ = ["cases"]

_Rows = tuple[tuple[str, str, list[str]], ...]

_INCOMPLETE: _Rows = (
    ("shared-no-jid", "no jid", [shared("s2", jid=None)]),
    ("shared-no-node", "no node", [shared("s2", node=None)]),
    ("shared-no-id", "no id", [shared(None)]),
    ("shared-no-timestamp", "no timestamp", [shared("s2", created=None)]),
    ("shared-empty-node", "an empty node", [shared("s2", node="")]),
    ("shared-empty-id", "an empty id", [shared("")]),
    ("shared-long-id", "an id of 257 characters", [shared("i" * 257)]),
    ("shared-long-node", "a node of 4097 characters", [shared("s2", node="n" * 4097)]),
    ("revoke-no-jid", "no jid", [revoke(jid=None)]),
    ("revoke-no-node", "no node", [revoke(node=None)]),
    ("revoke-no-id", "no id", [revoke(None)]),
    ("revoke-empty-node", "an empty node", [revoke(node="")]),
    ("revoke-empty-id", "an empty id", [revoke("")]),
    ("revoke-long-id", "an id of 257 characters", [revoke("i" * 257)]),
)

_X = {"xmlns:x": OXPS}
_NAMESPACED: _Rows = (
    ("shared-x-id", "x:id for id", [shared(None, **_X, **{"x:id": "s2"})]),
    ("shared-x-jid", "x:jid for jid", [shared("s2", jid=None, **_X, **{"x:jid": FEED["service"]})]),
    (
        "shared-x-node",
        "x:node for node",
        [shared("s2", node=None, **_X, **{"x:node": FEED["node"]})],
    ),
    (
        "shared-x-timestamp",
        "x:timestamp",
        [shared("s2", created=None, **_X, **{"x:timestamp": LATER})],
    ),
    ("revoke-x-id", "x:id for id", [revoke(None, **_X, **{"x:id": "s1"})]),
)

_JIDS: _Rows = tuple(
    (f"{kind}-jid-{name}", comment, [make(jid)])
    for name, comment, jid in (
        ("empty", "an empty JID", ""),
        ("resource", "a JID with a resource", "pubsub.capulet.example/x"),
        ("no-local", "an empty local part", "@capulet.example"),
        ("no-domain", "an empty domain", "juliet@"),
        ("two-at", "two @", "juliet@evil.example@capulet.example"),
        ("space", "a blank", "pubsub capulet.example"),
        ("uri", "a URI", "xmpp:pubsub.capulet.example"),
        ("empty-label", "an empty label", "pubsub..capulet.example"),
        ("quote", "a forbidden character", "jul'iet@capulet.example"),
        ("empty-resource", "a slash and nothing after it", "pubsub.capulet.example/"),
        ("open-bracket", "an address without its end", "[::1"),
        ("dot", "a dot alone", "."),
        ("fullwidth-at", "an @ that is none yet", "juliet\uff20capulet.example"),
        ("long", "a local part of 1024 bytes", f"{'j' * 1024}@capulet.example"),
    )
    for kind, make in (
        ("shared", lambda jid: shared("s2", jid=jid)),
        ("revoke", lambda jid: revoke(jid=jid)),
    )
)

_TIMES: _Rows = tuple(
    (f"time-{name}", comment, [shared("s2", SECOND, stamp)])
    for name, comment, stamp in (
        ("empty", "nothing", ""),
        ("naive", "without a zone", "2026-01-02T03:04:05"),
        ("date", "a date alone", "2026-01-02"),
        ("blank", "a blank for T", "2026-01-02 03:04:05Z"),
        ("basic", "without its punctuation", "20260102T030405Z"),
        ("week", "a week date", "2026-W01-5T03:04:05Z"),
        ("no-seconds", "without seconds", "2026-01-02T03:04Z"),
        ("small-z", "a small z", "2026-01-02T03:04:05z"),
        ("small-t", "a small t", "2026-01-02t03:04:05Z"),
        ("zone-name", "a zone by its name", "2026-01-02T03:04:05UTC"),
        ("offset-no-colon", "an offset without a colon", "2026-01-02T03:04:05+0100"),
        ("offset-hours", "an offset of hours alone", "2026-01-02T03:04:05+01"),
        ("offset-large", "an offset of 25 hours", "2026-01-02T03:04:05+25:00"),
        ("second-60", "second 60", "2026-01-02T03:04:60Z"),
        ("hour-25", "hour 25", "2026-01-02T25:04:05Z"),
        ("month-13", "month 13", "2026-13-02T03:04:05Z"),
        ("february-30", "30 February", "2026-02-30T03:04:05Z"),
        ("year-0", "year 0", "0000-01-02T03:04:05Z"),
        ("year-10000", "year 10000", "10000-01-02T03:04:05Z"),
        ("year-signed", "a year with a sign", "+2026-01-02T03:04:05Z"),
        ("year-short", "a year of two digits", "26-01-02T03:04:05Z"),
        ("fraction-empty", "an empty fraction", "2026-01-02T03:04:05.Z"),
        ("fraction-comma", "a comma", "2026-01-02T03:04:05,5Z"),
        ("digits", "digits of another script", "２０２６-01-02T03:04:05Z"),
        ("spaced", "blanks around", f" {CREATED} "),
        ("line-feed", "a line feed after it", f"{CREATED}\n"),
        ("seconds", "seconds since 1970", "1767323045"),
        ("mail", "as in a mail", "Fri, 02 Jan 2026 03:04:05 GMT"),
    )
)

_FUTURE: _Rows = tuple(
    (f"future-{name}", comment, [shared("s2", SECOND, stamp)])
    for name, comment, stamp in (
        ("five-minutes", "five minutes and a second ahead", "2026-03-01T12:05:01Z"),
        ("fraction", "five minutes and a tenth of a second", "2026-03-01T12:05:00.1Z"),
        ("offset", "ahead only by its offset", "2026-03-01T12:00:00-01:00"),
        ("2099", "so that no later secret would ever be newer", "2099-01-01T00:00:00Z"),
        ("last", "the last second", "9999-12-31T23:59:59Z"),
    )
)

_BOOLEANS: _Rows = tuple(
    (f"revoked-{name}", comment, [shared("s2", SECOND, LATER, revoked=text)])
    for name, comment, text in (
        ("empty", "nothing", ""),
        ("upper-case", "TRUE", "TRUE"),
        ("capitalised", "True", "True"),
        ("yes", "yes", "yes"),
        ("2", "2", "2"),
        ("spaced", "blanks around", " true "),
        ("itself", "the attribute's name", "revoked"),
    )
)

_REASONS: _Rows = (
    ("reasons-no-language", "two reasons without a language",
     [revoke(inside="<reason>a</reason><reason>b</reason>")]),
    ("reasons-one-language", "two reasons in French",
     [revoke(inside="<reason xml:lang='fr'>a</reason>" * 2)]),
)  # fmt: skip

_NO_SECRETS: _Rows = (
    ("secret-empty", "nothing", [shared("s2", "")]),
    ("secret-only-space", "white space alone", [shared("s2", " \n\t ")]),
    ("secret-element", "an element instead of text", [shared("s2", inside=f"<x>{SECRET}</x>")]),
    ("secret-mixed", "an element beside text", [shared("s2", inside=f"{SECRET}<x/>")]),
    ("secret-split", "text split by an element",
     [shared("s2", inside=f"{SECRET[:9]}<x/>{SECRET[9:]}")]),
)  # fmt: skip

_LONG_SECRETS: _Rows = (
    ("secret-1025", "a secret of 1025 bytes", [shared("s2", "x" * 1025)]),
    ("secret-1025-utf-8", "513 characters of two bytes each", [shared("s2", "ä" * 513)]),
    ("secret-much-space", "much white space around it", [shared("s2", " " * 1000 + SECRET)]),
)

_FLOODS: _Rows = (
    ("flood-secrets", "65 secrets in a payload", [shared(f"f{number}") for number in range(65)]),
    ("flood-revocations", "65 revocations", [revoke(f"f{number}") for number in range(65)]),
    ("flood-same", "the known secret 65 times", [shared()] * 65),
    ("flood-mixed", "33 of each", [shared()] * 33 + [revoke("f1")] * 33),
)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for code, flag, rows in (
        ("malformed", "N-15", _INCOMPLETE),
        ("malformed", "X-13", _NAMESPACED),
        ("malformed", "X-26", _JIDS),
        ("malformed", "N-05", _TIMES),
        ("stale", "N-05", _FUTURE),
        ("malformed", "X-25", _BOOLEANS),
        ("malformed", "X-14", _REASONS),
        ("malformed", "N-08", _NO_SECRETS),
        ("limit-exceeded", "N-08", _LONG_SECRETS),
        ("limit-exceeded", "N-19", _FLOODS),
    ):
        for name, comment, content in rows:
            yield refused_between(name, flag, comment, code, content)
