"""Items and signatures of another shape than XEP-0475 and XEP-0476 give them, and hostile XML.

Rule: what is inside of ``<sign/>`` stands in ``signatures_packets``.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.hostile_xml import hostile
from spec_vectors.generator.signing import (
    ITEM_ENTRY,
    JULIETS,
    OPENPGP,
    SIGNING,
    STAMP,
    attached,
    by_juliet,
    item,
    sign,
    sign_data,
    signature,
    signed_case,
    stated,
)
from spec_vectors.generator.world import JULIET

__all__ = ["cases"]

MALFORMED = "malformed"
UNSUPPORTED = "unsupported-algorithm"
_TIME = f"<time stamp='{STAMP}'/>"
_SIGNER = f"<signer>{JULIET}</signer>"
_SOUND = signature(JULIETS.sign(sign_data()))
_SIGN = sign(JULIETS.sign(sign_data()))


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _statements()
    yield from _unknown()
    yield from _elements()
    yield from _items()
    for found in hostile(_SOUND):
        yield signed_case(
            f"xml-{found.id}", [found.flag], found.comment, [attached(JULIET, found.document)],
            found.code,
        )  # fmt: skip


def _statements() -> Iterator[Case]:
    for case_id, flag, comment, inside in (
        ("no-time", "Q-04", "no time", _SIGNER),
        ("two-times", "X-14", "two times", f"{_TIME}{_TIME}{_SIGNER}"),
        ("time-empty", "Q-04", "a time without a stamp", f"<time/>{_SIGNER}"),
        ("time-text", "Q-04", "a stamp as text", f"<time>{STAMP}</time>{_SIGNER}"),
        ("time-attribute", "X-27", "a time that says more than is rebuilt",
         f"<time stamp='{STAMP}' a='b'/>{_SIGNER}"),
        ("time-prefixed", "X-13", "a stamp in a namespace",
         f"<time xmlns:p='urn:p' p:stamp='{STAMP}'/>{_SIGNER}"),
        ("time-zone", "Q-04", "a stamp without a zone",
         f"<time stamp='2024-06-01T12:00:00'/>{_SIGNER}"),
        ("time-date", "Q-04", "a day", f"<time stamp='2024-06-01'/>{_SIGNER}"),
        ("time-no-date", "Q-04", "a day that there never was",
         f"<time stamp='2024-02-30T12:00:00Z'/>{_SIGNER}"),
        ("time-spaced", "Q-04", "a stamp with a blank", f"<time stamp=' {STAMP}'/>{_SIGNER}"),
        ("time-after", "Q-10", "the time after the signer", f"{_SIGNER}{_TIME}"),
        ("no-signer", "Q-01", "no signer", _TIME),
        ("signer-empty", "Q-01", "an empty signer", f"{_TIME}<signer/>"),
        ("signer-element", "X-07", "a signer with an element in its text",
         f"{_TIME}<signer>juliet<x/>@capulet.example</signer>"),
        ("signer-full", "S-03", "a signer with a resource",
         f"{_TIME}<signer>{JULIET}/balcony</signer>"),
        ("signer-no-jid", "X-26", "a signer that is no JID", f"{_TIME}<signer>@</signer>"),
        ("signer-both", "Q-10", "a signer by text and by attribute",
         f"{_TIME}<signer jid='{JULIET}'>romeo@montague.example</signer>"),
        ("signer-twice", "Q-02", "one signer twice", f"{_TIME}{_SIGNER}{_SIGNER}"),
        ("signer-twice-alike", "X-26", "one signer twice, once in capitals",
         f"{_TIME}{_SIGNER}<signer>JULIET@capulet.example</signer>"),
        ("to-empty", "Q-03", "<to/> without a JID", f"<to/>{_TIME}{_SIGNER}"),
        ("to-no-jid", "Q-03", "<to/> with what is none", f"<to jid='@'/>{_TIME}{_SIGNER}"),
        ("text", "X-07", "text between", f"{_TIME}x{_SIGNER}"),
    ):  # fmt: skip
        yield signed_case(
            f"shape-{case_id}", [flag], comment, [by_juliet(inside=inside)], [MALFORMED]
        )
    crowd = [JULIET, *(f"a{number}@capulet.example" for number in range(64))]
    yield signed_case(
        "shape-crowd", ["Q-17"], "65 signers", [by_juliet(inside=stated(*crowd))],
        ["limit-exceeded"],
    )  # fmt: skip


def _unknown() -> Iterator[Case]:
    """Yield what is said beyond XEP-0475 and XEP-0476, and signed where it stands."""
    until = "<until xmlns='urn:example:profile' stamp='2001-01-01T00:00:00Z'/>"
    written = '<until xmlns="urn:example:profile" stamp="2001-01-01T00:00:00Z"></until>'
    sound = sign_data()
    for case_id, flag, comment, inside, signed in (
        ("element", "X-27", "an element of a profile", f"{stated()}{until}",
         sign_data(beside=written)),
        ("element-first", "X-27", "one before the signer", f"{_TIME}{until}{_SIGNER}",
         sound.replace("<signer>", f"{written}<signer>", 1)),
        ("element-unsigned", "Q-02", "one that was not signed", f"{stated()}{until}", sound),
        ("element-of-ours", "X-27", "one of this very namespace", f"{stated()}<x/>",
         sign_data(beside="<x></x>")),
        ("element-of-none", "X-11", "a signer in no namespace",
         f"{stated()}<signer xmlns=''>romeo@montague.example</signer>", sound),
        ("element-of-prose", "Q-10", "a signer in the namespace of the prose",
         f"{_TIME}<signer xmlns='urn:xmpp:pubsub-signature:0'>{JULIET}</signer>", sound),
        ("element-of-pubsub", "X-11", "the time in another namespace",
         f"<time xmlns='http://jabber.org/protocol/pubsub' stamp='{STAMP}'/>{_SIGNER}", sound),
        ("element-item", "X-16", "an item", f"{stated()}{item()}", sound),
    ):  # fmt: skip
        yield signed_case(
            f"shape-{case_id}", [flag], f"beside what is known: {comment}",
            [by_juliet(signed, inside)], [UNSUPPORTED],
        )  # fmt: skip


def _elements() -> Iterator[Case]:
    for case_id, flag, comment, xml, code in (
        ("root-prose", "Q-10", "the namespace of the prose",
         _SOUND.replace(SIGNING, "urn:xmpp:pubsub-signature:0", 1), MALFORMED),
        ("root-none", "X-11", "no namespace",
         f"<signature>{_SOUND.partition('>')[2]}", MALFORMED),
        ("root-other", "X-11", "another name", _SOUND.replace("signature", "sign-data"), MALFORMED),
        ("root-attachments", "X-16", "all attachments at once",
         f"<attachments xmlns='urn:xmpp:pubsub-attachments:1'>{_SOUND}</attachments>", MALFORMED),
        ("no-profile", "Q-11", "no signature inside",
         _SOUND.replace(_SIGN, ""), MALFORMED),
        ("two-profiles", "X-14", "two signatures inside", _SOUND.replace(_SIGN, _SIGN * 2),
         MALFORMED),
        ("profile-unknown", "Q-11", "a profile that is not known",
         _SOUND.replace(OPENPGP, "urn:example:profile"), UNSUPPORTED),
        ("profile-element", "X-07", "an element in the base64",
         _SOUND.replace("</sign>", "<x/></sign>"), MALFORMED),
        ("profile-inside", "X-16", "a signature inside of the signature",
         f"<signature xmlns='{SIGNING}'>{stated()}{_SOUND}</signature>", UNSUPPORTED),
        ("profile-of-ox", "X-11", "<sign/> as XEP-0373 has it",
         _SOUND.replace(OPENPGP, "urn:xmpp:openpgp:0"), UNSUPPORTED),
    ):  # fmt: skip
        yield signed_case(f"shape-{case_id}", [flag], comment, [attached(JULIET, xml)], [code])


def _items() -> Iterator[Case]:
    for case_id, flag, comment, fetched in (
        ("empty", "X-16", "an item without a payload", item("")),
        ("two-payloads", "X-16", "an item with two payloads", item(ITEM_ENTRY * 2)),
        ("text", "X-16", "an item with text beside the payload", item(f"{ITEM_ENTRY}x")),
        ("no-break-space", "X-18", "the same, a space that only Unicode calls one",
         item(f"\u00a0{ITEM_ENTRY}")),
        ("in-item", "X-16", "an item in an item", item(item())),
        ("in-items", "X-16", "all items of a node",
         f"<items xmlns='http://jabber.org/protocol/pubsub' node='n'>{item()}</items>"),
        ("none", "X-11", "an item in no namespace", f"<item id='1'>{ITEM_ENTRY}</item>"),
        ("payload-alone", "X-16", "a payload without its item", ITEM_ENTRY),
        ("wrapped", "X-16", "what is signed in place of the item", sign_data()),
    ):  # fmt: skip
        yield signed_case(
            f"item-{case_id}", [flag], comment, [by_juliet()], MALFORMED, fetched=fetched
        )
