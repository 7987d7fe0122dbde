"""Items, and what was signed beside them, that are no more what they were when they were signed.

Rule: every signature here is well-formed and by the right key; it is of something else.
"""

from __future__ import annotations

from collections.abc import Iterator

from spec_vectors.generator.case import Case
from spec_vectors.generator.signing import (
    CANONICAL_ENTRY,
    ITEM_ENTRY,
    JULIETS,
    STAMP,
    attached,
    by_juliet,
    item,
    sign_data,
    signature,
    signed_case,
    stated,
)
from spec_vectors.generator.world import ATOM, JULIET, OXPS, ROMEO, TYBALT

__all__ = ["cases"]

BAD = "bad-signature"


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _changed_items()
    yield from _changed_statements()
    yield from _other_texts()


def _changed_items() -> Iterator[Case]:
    def entry(inside: str, attributes: str = "") -> str:
        return f"<entry xmlns='{ATOM}'{attributes}>{inside}</entry>"

    title = "<title type='text'>She is so pretty!</title>"
    for case_id, flag, comment, fetched in (
        ("character", "Q-05", "another character", item(ITEM_ENTRY.replace("!", "?"))),
        ("case", "Q-05", "a letter in capitals", item(ITEM_ENTRY.replace("She", "SHE"))),
        ("inner-space", "Q-05", "one more space between words",
         item(ITEM_ENTRY.replace("so ", "so  "))),
        ("zero-width-space", "X-18", "one that nobody sees",
         item(ITEM_ENTRY.replace("!", "!\u200b"))),
        ("composition", "Q-05", "a character composed otherwise",
         item(entry("Rom\u0065\u0301o"))),
        ("attribute", "Q-05", "another value", item(ITEM_ENTRY.replace("'text'", "'html'"))),
        ("attribute-more", "Q-05", "another attribute", item(entry(title, " a=''"))),
        ("attribute-less", "Q-05", "an attribute less",
         item(ITEM_ENTRY.replace(" type='text'", ""))),
        ("attribute-prefixed", "X-13", "an attribute moved into a namespace",
         item(ITEM_ENTRY.replace("<title type", "<title xmlns:p='urn:p' p:type"))),
        ("attribute-of-item", "Q-05", "another attribute of the item",
         item(attributes=" id='1' a='b'")),
        ("language", "X-19", "a language", item(entry(title, " xml:lang='de'"))),
        ("name", "Q-05", "another name", item(ITEM_ENTRY.replace("title", "subtitle"))),
        ("namespace", "X-11", "another namespace", item(ITEM_ENTRY.replace("Atom", "Atum"))),
        ("namespace-none", "X-11", "no namespace",
         item(entry(title.replace("<title", "<title xmlns=''")))),
        ("prefix", "Q-05", "the same names by a prefix",
         item(f"<a:entry xmlns:a='{ATOM}'><a:title type='text'>She is so pretty!</a:title>"
              "</a:entry>")),
        ("child-more", "Q-05", "one more element", item(entry(f"{title}<id>1</id>"))),
        ("child-less", "Q-05", "an element less", item(entry(""))),
        ("child-nested", "Q-05", "an element more around it", item(entry(f"<x>{title}</x>"))),
        ("space-preserved", "X-17", "white space that begins to count",
         item(entry(title, " xml:space='preserve'"))),
        ("markup-as-text", "Q-05", "markup that became text", item(entry(f"<![CDATA[{title}]]>"))),
    ):  # fmt: skip
        yield signed_case(
            f"changed-{case_id}", [flag], f"{comment}, after it was signed", [by_juliet()], [BAD],
            fetched=fetched,
        )  # fmt: skip
    order = f'<entry xmlns="{ATOM}"><a></a><b></b></entry>'
    yield signed_case(
        "changed-order", ["Q-05"], "elements in another order, after it was signed",
        [by_juliet(sign_data(order))], [BAD], fetched=item(entry("<b/><a/>")),
    )  # fmt: skip
    yield signed_case(
        "encrypted-since", ["Q-12"], "the payload was signed, and the item is encrypted",
        [by_juliet()], [BAD],
        fetched=item(f"<encrypted xmlns='{OXPS}' key='1'>aGVsbG8=</encrypted>"),
    )  # fmt: skip
    yield signed_case(
        "encrypted-before", ["Q-12"], "the encrypted item was signed in place of its payload",
        [by_juliet(sign_data(f'<encrypted xmlns="{OXPS}" key="1">aGVsbG8=</encrypted>'))], [BAD],
    )  # fmt: skip


def _changed_statements() -> Iterator[Case]:
    for case_id, flag, comment, signed, inside in (
        ("time", "Q-04", "a second later", sign_data(), stated(stamp="2024-06-01T12:00:01Z")),
        ("time-rewritten", "Q-04", "the same moment, written otherwise", sign_data(),
         stated(stamp="2024-06-01T12:00:00+00:00")),
        ("signer-more", "Q-02", "one signer more", sign_data(), stated(JULIET, ROMEO)),
        ("signer-less", "Q-02", "one signer less",
         sign_data(CANONICAL_ENTRY, JULIET, ROMEO), stated()),
        ("signer-order", "Q-02", "signers in another order",
         sign_data(CANONICAL_ENTRY, JULIET, ROMEO), stated(ROMEO, JULIET)),
        ("signer-other", "Q-01", "another first signer",
         sign_data(CANONICAL_ENTRY, TYBALT), stated()),
        ("element-less", "Q-02", "an element of a profile less",
         sign_data(beside='<x xmlns="urn:example:profile"></x>'), stated()),
    ):  # fmt: skip
        yield signed_case(
            f"stated-{case_id}", [flag], f"{comment} than what was signed",
            [by_juliet(signed, inside)], [BAD],
        )  # fmt: skip


def _other_texts() -> Iterator[Case]:
    sound = sign_data()
    for case_id, flag, comment, signed in (
        ("payload-alone", "Q-05", "the payload without its wrapper", CANONICAL_ENTRY),
        ("item-alone", "Q-05", "the item without its wrapper", sound[sound.index("<item") : -12]),
        ("id", "Q-06", "the item with its id", sign_data(attributes=' id="1"')),
        ("line-feed", "X-17", "with a line feed at the end", sound + "\n"),
        ("declaration", "X-22", "with an XML declaration", f"<?xml version='1.0'?>{sound}"),
        ("quotes", "Q-10", "with single quotes", sound.replace('"', "'")),
        ("empty-tags", "Q-10", "with empty-element tags", sound.replace("></to>", "/>")),
        ("utf-16", "X-22", "in UTF-16", sound.encode("utf-16-le").decode("latin-1")),
        ("no-to", "Q-03", "without <to/>", sound.replace(f'<to jid="{JULIET}"></to>', "")),
        ("to-reader", "Q-03", "for a reader in place of the service", sign_data(to=ROMEO)),
        ("full-jids", "S-03", "with a resource", sign_data(CANONICAL_ENTRY, f"{JULIET}/balcony")),
        ("example-half", "Q-10", "half as the example of XEP-0475 has it",
         sound.replace(' xmlns="urn:xmpp:pubsub-signing:0"', "", 1)),
        ("signers-first", "Q-10", "with the signer before the time",
         sound.replace(f'<time stamp="{STAMP}"></time><signer>{JULIET}</signer>',
                       f'<signer>{JULIET}</signer><time stamp="{STAMP}"></time>')),
        ("nothing", "Q-05", "nothing at all", b""),
    ):  # fmt: skip
        raw = signed if isinstance(signed, bytes) else signed.encode("latin-1")
        yield signed_case(
            f"text-{case_id}", [flag], f"what was signed: {comment}",
            [attached(JULIET, signature(JULIETS.sign(raw)))], [BAD],
        )  # fmt: skip
    trimmed = sign_data(f'<entry xmlns="{ATOM}"><b>  pay 10</b></entry>')
    yield signed_case(
        "text-untrimmed", ["X-17"], "what was signed: the payload with white space not trimmed",
        [by_juliet(trimmed)], [BAD],
        fetched=item(f"<entry xmlns='{ATOM}'><b>  pay 10</b></entry>"),
    )  # fmt: skip
    collapsed = sign_data(f'<entry xmlns="{ATOM}" z="1"></entry>')
    yield signed_case(
        "text-prefix-collapsed", ["X-13"], "what was signed: an attribute without its prefix",
        [by_juliet(collapsed)], [BAD],
        fetched=item(f"<entry xmlns='{ATOM}' xmlns:p='{ATOM}' p:z='1'/>"),
    )  # fmt: skip
