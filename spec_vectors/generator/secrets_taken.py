"""Secrets and revocations that must be taken in, and what the keychain is afterwards.

Rule: every step here succeeds; who refuses one locks members out, who concludes otherwise from
one disagrees with the other members about which secret is current.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.sharing import (
    CREATED,
    LATER,
    NOW,
    SECOND,
    keychain,
    known,
    pin,
    revoke,
    secrets_case,
    shared,
    step,
)
from spec_vectors.generator.world import (
    ATOM,
    BLOG,
    JULIET_KEY,
    OTHER_KEY,
    OXPS,
    ROMEO,
    ROMEO_KEY,
    SECRET,
)

__all__ = ["cases"]

_OLD = known(state="revoked")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _owners()
    yield from _order()
    yield from _times()
    yield from _forms()


def _owners() -> Iterator[Case]:
    yield secrets_case(
        "first-on-pep",
        ["N-01"],
        "a node on an account is that account's: its first secret pins the key",
        step("taken", shared(address=BLOG)),
        pinned=[],
        keychains=[keychain(known(), node=BLOG)],
    )
    own = {"service": ROMEO, "node": "urn:xmpp:microblog:0"}
    yield secrets_case(
        "own-copy",
        ["N-01"],
        "another device of ours shares a secret of our own node",
        step("taken", shared(address=own), sender=ROMEO, signer=ROMEO_KEY),
        pinned=[],
        keychains=[keychain(known(), node=own, owner=ROMEO, approved=[ROMEO_KEY])],
    )
    yield secrets_case(
        "second-approved-key",
        ["N-02"],
        "each key of the owner that the user approved may sign",
        step("taken", shared()),
        step("taken", shared("s2", SECOND, LATER), signer=OTHER_KEY),
        pinned=[pin(approved=[JULIET_KEY, OTHER_KEY])],
        keychains=[
            keychain(
                known(),
                known("s2", SECOND, LATER),
                current="s2",
                approved=[JULIET_KEY, OTHER_KEY],
            )
        ],
    )


def _order() -> Iterator[Case]:
    both = (known(), known("s2", SECOND, LATER))
    yield secrets_case(
        "rotation",
        ["N-04"],
        "revoked, then a new one",
        step("taken", shared(type=ATOM)),
        step("taken", revoke(inside="<reason>Tybalt is gone</reason>")),
        step("taken", shared("s2", SECOND, LATER)),
        keychains=[keychain(known(state="revoked", content_type=ATOM), known("s2", SECOND, LATER))],
    )
    yield secrets_case(
        "new-before-revocation",
        ["N-04"],
        "the new one arrives before the revocation of the old one",
        step("taken", shared("s2", SECOND, LATER)),
        step("taken", revoke()),
        step("taken", shared()),
        keychains=[keychain(known("s2", SECOND, LATER), _OLD)],
    )
    yield secrets_case(
        "revocation-first",
        ["N-04"],
        "a secret whose revocation came first is born revoked",
        step("taken", revoke()),
        step("taken", shared()),
        keychains=[keychain(_OLD)],
    )
    yield secrets_case(
        "unknown-revoked",
        ["N-03"],
        "the revocation of an unknown id is kept",
        step("taken", revoke("never-seen")),
        step("taken", revoke("never-seen")),
        keychains=[keychain(tombstones=["never-seen"])],
    )
    yield secrets_case(
        "shared-again-after-revocation",
        ["N-04"],
        "no later message makes a revoked secret active",
        step("taken", shared()),
        step("taken", revoke()),
        step("taken", shared(revoked="false")),
        step("taken", shared()),
        keychains=[keychain(_OLD)],
    )
    yield secrets_case(
        "revoked-by-attribute",
        ["N-04"],
        "a known secret is shared again as revoked",
        step("taken", shared()),
        step("taken", shared(revoked="true")),
        step("taken", shared()),
        keychains=[keychain(_OLD)],
    )
    yield secrets_case(
        "history-in-one-payload",
        ["N-04"],
        "a newcomer gets old and new secrets at once; all of them count",
        step("taken", shared(revoked="true"), shared("s2", SECOND, LATER)),
        keychains=[keychain(_OLD, known("s2", SECOND, LATER))],
    )
    yield secrets_case(
        "rotation-in-one-payload",
        ["N-04"],
        "a revocation counts beside a secret in the same payload",
        step("taken", shared()),
        step("taken", shared("s2", SECOND, LATER), revoke()),
        keychains=[keychain(_OLD, known("s2", SECOND, LATER))],
    )
    yield secrets_case(
        "same-again",
        ["N-06"],
        "the same secret in another message, dated otherwise: the first date stays",
        step("taken", shared()),
        step("taken", shared(created=LATER)),
        step("taken", shared("s2", SECOND, "2026-01-15T00:00:00Z")),
        keychains=[keychain(known(), known("s2", SECOND, "2026-01-15T00:00:00Z"), current="s2")],
    )
    yield secrets_case(
        "same-with-space",
        ["N-06", "N-08"],
        "the same secret with white space around it is the same",
        step("taken", shared()),
        step("taken", shared(value=f"\n  {SECRET}\n")),
        keychains=[keychain(known())],
    )
    yield secrets_case(
        "two-nodes",
        ["N-07"],
        "one id on two nodes is two secrets",
        step("taken", shared(), shared(address=BLOG, value=SECOND)),
        step("taken", revoke()),
        pinned=[pin(), pin(BLOG)],
        keychains=[keychain(_OLD), keychain(known(value=SECOND), node=BLOG)],
    )
    yield secrets_case(
        "two-active",
        ["N-05"],
        "two active secrets: the newest is current",
        step("taken", shared("s2", SECOND, LATER)),
        step("taken", shared()),
        keychains=[keychain(both[1], both[0], current="s2")],
    )
    yield secrets_case(
        "sixty-four",
        ["N-19"],
        "64 secrets in one payload are not too many",
        step("taken", *(shared(f"s{number}", f"{number}{SECRET}") for number in range(10, 74))),
        keychains=[
            keychain(
                *(known(f"s{number}", f"{number}{SECRET}") for number in range(10, 74)),
                current="s73",
            )
        ],
    )


def _times() -> Iterator[Case]:
    for name, comment, first, second, current in (
        ("tie", "equal dates: the greater id by code points", CREATED, CREATED, "s2"),
        ("newest-revoked", "the newest is revoked: the next", CREATED, LATER, "s1"),
        ("fraction", "fractions of a second count", "2026-01-02T03:04:05.9Z", CREATED, "s1"),
        ("offset", "offsets count", "2026-01-02T03:04:05-01:00", CREATED, "s1"),
        ("old", "dated long before", CREATED, "1970-01-01T00:00:00Z", "s1"),
        ("almost-future", "dated five minutes ahead", CREATED, "2026-03-01T12:05:00Z", "s2"),
    ):
        revoked = name == "newest-revoked"
        steps = [step("taken", shared(created=first)), step("taken", shared("s2", SECOND, second))]
        if revoked:
            steps.append(step("taken", revoke("s2")))
        kept = (
            known(created=first),
            known("s2", SECOND, second, "revoked" if revoked else "active"),
        )
        for turned, order in (("", 1), ("-turned", -1)):
            yield secrets_case(
                f"{name}{turned}",
                ["N-05"],
                comment + (", in the other order" if turned else ""),
                *steps[::order],
                keychains=[
                    keychain(*kept[::order], current=current),
                ],
            )
    yield secrets_case(
        "from-an-archive",
        ["N-05"],
        "read from an archive a year later",
        step("taken", shared(), now="2027-03-01T12:00:00Z", stamp=NOW),
        keychains=[keychain(known())],
    )


def _forms() -> Iterator[Case]:
    spaced = f"\n    {SECRET}\n  "
    for name, flag, comment, content, kept in (
        ("spaced", "N-08", "white space around, as in the XEP's example", shared(value=spaced),
         known()),
        ("typed", "N-18", "a type, which is somebody's claim", shared(type="urn:x"),
         known(content_type="urn:x")),
        ("cdata", "X-07", "a CDATA section is text", shared(inside=f"<![CDATA[{SECRET}]]>"),
         known()),
        ("revoked-1", "X-25", "the boolean 1", shared(revoked="1"), _OLD),
        ("revoked-0", "X-25", "the boolean 0", shared(revoked="0"), known()),
        ("jid-in-other-case", "X-26", "a JID is prepared", shared(jid="PUBSUB.Capulet.example"),
         known()),
        ("unknown-attribute", "X-27", "an unknown attribute", shared(strength="strong"), known()),
        ("namespaced-attribute", "X-13", "x:revoked is not revoked",
         shared(**{"xmlns:x": OXPS, "x:revoked": "true"}), known()),
        ("longest-id", "N-15", "an id of 256 characters", shared("i" * 256), known("i" * 256)),
        ("longest", "N-08", "a secret of 1024 bytes", shared(value="x" * 1024),
         known(value="x" * 1024)),
        ("prefixed", "X-12", "the same by a prefix",
         shared().replace("xmlns=", "xmlns:p=").replace("shared-secret", "p:shared-secret"),
         known()),
    ):  # fmt: skip
        yield secrets_case(
            name, [flag], comment, step("taken", content), keychains=[keychain(kept)]
        )
    yield secrets_case(
        "reasons",
        ["X-14"],
        "reasons in several languages",
        step(
            "taken",
            revoke(inside="<reason>gone</reason><reason xml:lang='fr'>partie</reason><x/>"),
        ),
        keychains=[keychain(tombstones=["s1"])],
    )
    for name, comment, value, refused in (
        ("thirty-two", "32 characters encrypt", "ä" * 32, None),
        ("thirty-one", "31 characters decrypt only", "ä" * 31, "forbidden"),
        ("one", "one character", "x", "forbidden"),
        (
            "no-break-space",
            "U+00A0 is no white space: a secret, and a short one",
            "\xa0",
            "forbidden",
        ),
    ):
        yield secrets_case(
            f"length-{name}",
            ["N-08"],
            comment,
            step("taken", shared(value=value)),
            keychains=[keychain(known(value=value), refused=refused)],
        )
    yield secrets_case(
        "length-newest-too-short",
        ["N-08"],
        "a short secret is not passed over for an older one that the others no longer use",
        step("taken", shared()),
        step("taken", shared("s2", "short", LATER)),
        keychains=[keychain(known(), known("s2", "short", LATER), refused="forbidden")],
    )
    for name, comment, elements in (
        ("nothing", "an empty payload", []),
        ("a-body", "a body", ["<body xmlns='jabber:client'>hi</body>"]),
        ("foreign-namespace", "of another protocol", [shared().replace(OXPS, "urn:example:x")]),
        ("nested", "inside something else", [f"<x xmlns='urn:example:x'>{shared()}</x>"]),
    ):
        yield secrets_case(
            f"ignored-{name}",
            ["X-11"],
            f"neither a secret nor a revocation: {comment}",
            step("ignored", *elements),
            keychains=[keychain()],
        )
