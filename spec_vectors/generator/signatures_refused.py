"""Signatures by people and keys that do not count, for other places, or not by all who are listed.

Rule: every signature here is well-formed, and the items are as they were signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from spec_vectors.generator.case import Case
from spec_vectors.generator.signing import (
    CANONICAL_ENTRY,
    JULIETS,
    ROMEOS,
    attached,
    by_juliet,
    item,
    known,
    sign_data,
    signature,
    signed_case,
    stated,
    valid,
)
from spec_vectors.generator.signing_keys import CREATED, Key, Revoked
from spec_vectors.generator.world import JULIET, ROMEO, TYBALT

__all__ = ["cases"]

BAD = "bad-signature"
_TYBALTS = Key("tybalt", f"xmpp:{TYBALT}")


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _people()
    yield from _keys()
    yield from _together()


def _people() -> Iterator[Case]:
    by_tybalt = _TYBALTS.sign(sign_data())
    keys = [*known(JULIET, JULIETS), *known(TYBALT, _TYBALTS)]
    yield signed_case(
        "publisher-other", ["Q-01"], "her signature, attached by somebody else",
        [attached(TYBALT, signature(JULIETS.sign(sign_data())))], ["signer-mismatch"], keys=keys,
    )  # fmt: skip
    yield signed_case(
        "publisher-service", ["Q-13"], "her signature, attached by the service",
        [attached("capulet.example", signature(JULIETS.sign(sign_data())))], ["signer-mismatch"],
    )  # fmt: skip
    yield signed_case(
        "publisher-alike", ["X-26"], "attached by somebody whose name looks like hers",
        [attached("jul\u0456et@capulet.example", signature(JULIETS.sign(sign_data())))],
        ["signer-mismatch"],
    )  # fmt: skip
    yield signed_case(
        "key-of-another", ["Q-01"], "signed by somebody else's key",
        [attached(JULIET, signature(by_tybalt))], [BAD], keys=keys,
    )  # fmt: skip
    yield signed_case(
        "key-of-co-signer", ["Q-01"], "her statement, signed by the key of the second signer",
        [attached(JULIET, signature(ROMEOS.sign(sign_data(CANONICAL_ENTRY, JULIET, ROMEO)),
                                    stated(JULIET, ROMEO)))],
        [BAD], keys=[*known(JULIET, JULIETS), *known(ROMEO, ROMEOS)],
    )  # fmt: skip
    yield signed_case(
        "service-forged", ["Q-13"], "attached by the service under her name",
        [attached(JULIET, signature(_TYBALTS.sign(sign_data())))], [BAD],
    )  # fmt: skip
    for case_id, comment, inside in (
        ("other", "<to/> names another service", "<to jid='pubsub.capulet.example'/>"),
        ("reader", "<to/> names the reader", f"<to jid='{ROMEO}'/>"),
        ("several", "<to/> twice", f"<to jid='{JULIET}'/><to jid='{ROMEO}'/>"),
    ):
        yield signed_case(
            f"to-{case_id}", ["Q-03"], comment, [by_juliet(inside=inside + stated())],
            ["context-mismatch"],
        )  # fmt: skip
    yield signed_case(
        "place-other-service", ["Q-03"], "signed for one service, found at another",
        [by_juliet()], [BAD], service="pubsub.capulet.example",
    )  # fmt: skip
    yield signed_case(
        "place-other-id", ["Q-06"], "an item that was asked for by another id",
        [by_juliet()], "context-mismatch", fetched=item(attributes=" id='2'"),
    )  # fmt: skip
    ahead = "2024-07-02T12:00:00Z"
    yield signed_case(
        "time-ahead", ["Q-04"], "a day ahead of the present",
        [by_juliet(sign_data(stamp=ahead), stated(stamp=ahead))], ["stale"],
    )  # fmt: skip


def _keys() -> Iterator[Case]:
    june = datetime(2024, 5, 15, tzinfo=UTC)
    data = sign_data()
    compromised = JULIETS.revocation(Revoked.COMPROMISED, datetime(2024, 6, 15, tzinfo=UTC))
    retired = JULIETS.revocation(Revoked.RETIRED, june)
    week = Key("ended", f"xmpp:{JULIET}", CREATED, 7 * 24 * 3600)
    young = Key("young", f"xmpp:{JULIET}", datetime(2024, 6, 15, tzinfo=UTC))
    for case_id, flag, comment, packets, keys, code in (
        ("distrusted", "Q-15", "the user distrusts the key", JULIETS.sign(data),
         known(JULIET, JULIETS, trust="distrusted"), "untrusted"),
        ("compromised", "Q-15", "the key was revoked as compromised, after it had signed",
         JULIETS.sign(data), known(JULIET, JULIETS.public(compromised)), BAD),
        ("retired-before", "Q-15", "the key was retired before it signed", JULIETS.sign(data),
         known(JULIET, JULIETS.public(retired)), BAD),
        ("expired-before", "Q-15", "the key had expired before it signed", week.sign(data),
         known(JULIET, week), BAD),
        ("not-yet-made", "Q-15", "the key was made after it is said to have signed",
         young.sign(data), known(JULIET, young), BAD),
        ("unknown", "Q-11", "a key that she does not announce",
         Key("unknown", f"xmpp:{JULIET}").sign(data), known(JULIET, JULIETS), BAD),
        ("one-unknown", "Q-11", "two signatures, one by a key that she does not announce",
         JULIETS.sign(data) + _TYBALTS.sign(data), known(JULIET, JULIETS), BAD),
        ("one-distrusted", "Q-15", "two signatures, one by a key that the user distrusts",
         JULIETS.sign(data) + week.sign(data, datetime(2024, 1, 2, tzinfo=UTC)),
         [*known(JULIET, JULIETS), *known(JULIET, week, trust="distrusted")], "untrusted"),
        ("not-fetched", "Q-15", "nothing is known of her keys", JULIETS.sign(data), [],
         "data-missing"),
        ("ahead", "Q-04", "made after the present",
         JULIETS.sign(data, datetime(2099, 1, 1, tzinfo=UTC)), known(JULIET, JULIETS), BAD),
    ):  # fmt: skip
        yield signed_case(
            f"key-{case_id}", [flag], comment, [attached(JULIET, signature(packets))], [code],
            keys=keys,
        )  # fmt: skip


def _together() -> Iterator[Case]:
    both, inside = sign_data(CANONICAL_ENTRY, JULIET, ROMEO), stated(JULIET, ROMEO)
    keys = [*known(JULIET, JULIETS), *known(ROMEO, ROMEOS)]
    sound = attached(JULIET, signature(JULIETS.sign(both), inside))
    yield signed_case(
        "together-one-bad", ["Q-02"], "the second of two signatures is not valid",
        [sound, attached(ROMEO, signature(ROMEOS.sign(sign_data()), inside))],
        [valid(JULIET, both), BAD], keys=keys, verdict="invalid",
    )  # fmt: skip
    yield signed_case(
        "together-one-listed-twice", ["Q-02"], "one signer twice in the list",
        [by_juliet(sign_data(CANONICAL_ENTRY, JULIET, JULIET), stated(JULIET, JULIET))],
        ["malformed"],
    )  # fmt: skip
    yield signed_case(
        "together-and-not-listed", ["Q-02"], "one signature by somebody who is not listed",
        [sound, attached(ROMEO, signature(ROMEOS.sign(both), inside)),
         attached(TYBALT, signature(_TYBALTS.sign(both), inside))],
        [valid(JULIET, both), valid(ROMEO, both), "signer-mismatch"],
        keys=[*keys, *known(TYBALT, _TYBALTS)], verdict="invalid",
    )  # fmt: skip
    yield signed_case(
        "one-signer-twice", ["X-16"], "two signatures attached by one signer",
        [by_juliet(), by_juliet()], ["malformed", "malformed"], verdict="invalid",
    )  # fmt: skip
    stamp = "2024-06-02T08:00:00Z"
    yield signed_case(
        "one-of-two-spoilt", ["Q-02"], "beside a valid signature one of the item as it was before",
        [by_juliet(), attached(ROMEO, signature(
            ROMEOS.sign(sign_data('<entry xmlns="urn:x"></entry>', ROMEO, stamp=stamp)),
            stated(ROMEO, stamp=stamp)))],
        [valid(JULIET, sign_data()), BAD], keys=keys, verdict="invalid",
    )  # fmt: skip
    yield signed_case(
        "flood", ["Q-17"], "65 attachments",
        [attached(f"a{number}@capulet.example", "<signature xmlns='urn:xmpp:pubsub-signing:0'/>")
         for number in range(65)],
        "limit-exceeded",
    )  # fmt: skip
