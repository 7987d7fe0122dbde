"""Secrets and revocations that must be refused for who sent them, what is known, or when they come.

Rule: each message is well made; it is refused whole, and leaves no trace in the keychain.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.sharing import (
    LATER,
    NOW,
    SECOND,
    keychain,
    known,
    pin,
    refused_between,
    revoke,
    secrets_case,
    shared,
    step,
)
from spec_vectors.generator.world import (
    BLOG,
    FEED,
    JULIET,
    JULIET_KEY,
    NURSE,
    OTHER_KEY,
    ROMEO,
    ROMEO_KEY,
    SECRET,
    TYBALT,
    TYBALT_KEY,
)

__all__ = ["cases"]


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _strangers()
    yield from _conflicts()
    yield from _deliveries()


def _strangers() -> Iterator[Case]:
    second = shared("s2", SECOND, LATER)
    for name, flag, comment, sender, signer in (
        ("stranger", "N-02", "neither the owner nor the key", TYBALT, TYBALT_KEY),
        ("member", "N-02", "a member", NURSE, TYBALT_KEY),
        ("ourselves", "N-02", "our own other device, on a node that is not ours", ROMEO, ROMEO_KEY),
        ("other-key", "N-02", "the owner by a key that was not approved", JULIET, OTHER_KEY),
        ("other-sender", "N-02", "somebody else with the owner's key", TYBALT, JULIET_KEY),
        ("service", "N-02", "the service itself", FEED["service"], TYBALT_KEY),
        ("longer-domain", "X-26", "a domain that begins like the owner's", f"{JULIET}.evil.example",
         TYBALT_KEY),
        ("longer-local", "X-26", "a name that ends like the owner's", f"x{JULIET}", TYBALT_KEY),
        ("digit", "X-26", "a digit for a letter", "ju1iet@capulet.example", TYBALT_KEY),
        ("cyrillic", "X-26", "a Cyrillic letter for a Latin one", "jul\u0456et@capulet.example",
         TYBALT_KEY),
    ):  # fmt: skip
        by = {"sender": sender, "signer": signer}
        yield refused_between(f"shared-by-{name}", flag, comment, "not-owner", [second], **by)
        yield refused_between(
            f"revoked-by-{name}",
            "N-03" if flag == "N-02" else flag,
            comment,
            "not-owner",
            [revoke()],
            **by,
        )
        yield refused_between(
            f"same-again-by-{name}",
            flag,
            f"{comment}, with a secret that is known already",
            "not-owner",
            [shared()],
            **by,
        )
    for name, comment, make in (("shared", "secret", shared), ("revoked", "revocation", revoke)):
        for who, sender, signer in (
            ("owner", JULIET, JULIET_KEY),
            ("stranger", TYBALT, TYBALT_KEY),
        ):
            yield secrets_case(
                f"first-{name}-by-{who}",
                ["N-01"],
                f"the first {comment} of a node on a service: the user must say whose it is",
                step("undecided", make(), sender=sender, signer=signer, message="m"),
                step("undecided", make(), sender=sender, signer=signer, message="m"),
                pinned=[],
                keychains=[],
            )
        yield secrets_case(
            f"first-{name}-on-pep-by-stranger",
            ["N-01"],
            f"the first {comment} of a node on somebody's account, by somebody else",
            step("not-owner", make(address=BLOG), sender=TYBALT, signer=TYBALT_KEY),
            step("taken", shared(address=BLOG)),
            pinned=[],
            keychains=[keychain(known(), node=BLOG)],
        )
    yield secrets_case(
        "pinned-by-first",
        ["N-02"],
        "on a node on an account the first secret pins the key; a second key is not the owner yet",
        step("taken", shared(address=BLOG)),
        step("not-owner", shared("s2", SECOND, LATER, address=BLOG), signer=OTHER_KEY),
        step("not-owner", revoke(address=BLOG), signer=OTHER_KEY),
        pinned=[],
        keychains=[keychain(known(), node=BLOG)],
    )
    yield secrets_case(
        "other-node-of-owner",
        ["N-07"],
        "the owner of one node on a service need not own another",
        step("taken", shared()),
        step("undecided", shared(address={**FEED, "node": "other"})),
        step("undecided", revoke(address={**FEED, "node": FEED["node"].upper()})),
        keychains=[keychain(known())],
    )


def _conflicts() -> Iterator[Case]:
    other = shared(value=SECOND, created=LATER)
    for name, comment, content in (
        ("other-value", "one id, another secret", [other]),
        ("other-value-revoked", "another secret that came as revoked",
         [shared(value=SECOND, revoked="true")]),
        ("other-case", "a secret in lower case", [shared(value=SECRET.lower())]),
        ("no-break-space", "U+00A0 around is no white space", [shared(value=f"\xa0{SECRET}\xa0")]),
        ("inner-space", "white space inside", [shared(value=f"{SECRET[:9]} {SECRET[9:]}")]),
        ("beside-a-good-one", "a good one in the same message is not kept",
         [shared("s2", SECOND, LATER), other]),
        ("within-one-message", "one id twice in one message",
         [shared("s2", SECOND, LATER), shared("s2", SECRET, LATER)]),
        ("with-its-revocation", "nor is a revocation in the same message", [revoke(), other]),
    ):  # fmt: skip
        yield refused_between(f"conflict-{name}", "N-06", comment, "secret-conflict", content)
    yield secrets_case(
        "conflict-after-revocation",
        ["N-06", "N-04"],
        "another secret under a revoked id",
        step("taken", shared()),
        step("taken", revoke()),
        step("secret-conflict", other),
        keychains=[keychain(known(state="revoked"))],
    )


def _deliveries() -> Iterator[Case]:
    yield secrets_case(
        "replay",
        ["G-08"],
        "one signed message, delivered twice",
        step("taken", shared(), message="m"),
        step("replay", shared(), message="m"),
        keychains=[keychain(known())],
    )
    yield secrets_case(
        "replay-after-revocation",
        ["G-08", "N-04"],
        "the message with the secret, delivered again after the revocation",
        step("taken", shared(), message="m"),
        step("taken", revoke()),
        step("replay", shared(), message="m"),
        step("replay", shared(), message="m", now="2026-03-01T13:00:00Z", stamp=NOW),
        keychains=[keychain(known(state="revoked"))],
    )
    yield secrets_case(
        "replay-of-revocation",
        ["G-08"],
        "a revocation, delivered twice",
        step("taken", shared()),
        step("taken", revoke(), message="m"),
        step("replay", revoke(), message="m"),
        keychains=[keychain(known(state="revoked"))],
    )
    yield secrets_case(
        "refused-then-taken",
        ["N-05", "G-08"],
        "a refused message is no replay when it comes again and has become right",
        step("stale", shared(created="2026-03-01T12:30:00Z"), message="m"),
        step(
            "taken",
            shared(created="2026-03-01T12:30:00Z"),
            message="m",
            now="2026-03-01T12:30:00Z",
        ),
        step(
            "replay",
            shared(created="2026-03-01T12:30:00Z"),
            message="m",
            now="2026-03-01T12:31:00Z",
        ),
        keychains=[keychain(known(created="2026-03-01T12:30:00Z"))],
    )
    yield secrets_case(
        "future-in-archive",
        ["N-05"],
        "dated after the archive's stamp, though not after the present",
        step("taken", shared()),
        step("stale", shared("s2", SECOND, LATER), stamp="2026-01-15T00:00:00Z"),
        keychains=[keychain(known())],
    )
    yield secrets_case(
        "one-of-three",
        ["N-04"],
        "a message is taken in whole or not at all",
        step("malformed", shared(), revoke("s2"), shared("s3", created=None)),
        step("taken", shared()),
        keychains=[keychain(known())],
    )
    yield secrets_case(
        "one-of-two-nodes",
        ["N-07"],
        "nor in part where it speaks of two nodes",
        step("not-owner", shared(address=BLOG), shared()),
        pinned=[pin(BLOG), pin(owner=NURSE)],
        keychains=[keychain(node=BLOG), keychain(owner=NURSE)],
    )
