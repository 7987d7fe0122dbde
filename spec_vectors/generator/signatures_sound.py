"""Signed items whose signatures are valid, and those that are valid for other items as well.

Rule: what must not verify stands in ``signatures_refused`` and the files after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from spec_vectors.generator.case import Case
from spec_vectors.generator.signing import (
    CANONICAL_ENTRY,
    ITEM_ENTRY,
    JULIETS,
    NURSES,
    ROMEOS,
    STAMP,
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
from spec_vectors.generator.signing_keys import Key, Revoked
from spec_vectors.generator.world import ATOM, JULIET, NURSE, ROMEO

__all__ = ["cases"]

_SERVICE = "pubsub.capulet.example"


def cases() -> Iterator[Case]:
    """Yield the cases."""
    yield from _items()
    yield from _elements()
    yield from _several()
    yield from _keys()
    yield from _other_readings()
    yield from _ambiguous()


def _items() -> Iterator[Case]:
    for case_id, comment, fetched, signed in (
        ("entry", "as specified: id and publisher are not signed", item(), sign_data()),
        ("without-id", "an item that says neither", item(attributes=""), sign_data()),
        ("event", "as a notification brings it", item().replace("pubsub'", "pubsub#event'"),
         sign_data()),
        ("indented", "white space around the payload is not signed",
         item(f"\n  {ITEM_ENTRY}\n"), sign_data()),
        ("rewritten", "the same payload, written otherwise",
         item(f'<entry  xmlns = "{ATOM}" ><title\ttype="text"><![CDATA[She is]]> so '
              "pret&#116;y!</title ></entry>"), sign_data()),
        ("space-preserved", "white space that counts",
         item(f"<entry xmlns='{ATOM}' xml:space='preserve'> <title> a </title></entry>"),
         sign_data(f'<entry xmlns="{ATOM}" xml:space="preserve"> <title> a </title></entry>')),
        ("beyond-ascii", "beyond ASCII",
         item(f"<entry xmlns='{ATOM}' xml:lang='fr'>Où est Roméo? 🌹</entry>"),
         sign_data(f'<entry xmlns="{ATOM}" xml:lang="fr">Où est Roméo? 🌹</entry>')),
    ):  # fmt: skip
        yield signed_case(
            f"item-{case_id}", ["INTEROP"], comment, [by_juliet(signed)], [valid(JULIET, signed)],
            fetched=fetched,
        )  # fmt: skip
    signed = sign_data(to=_SERVICE)
    yield signed_case(
        "item-at-a-service", ["Q-03"], "at a pubsub service, which is what <to/> names",
        [by_juliet(signed)], [valid(JULIET, signed)], service=_SERVICE,
    )  # fmt: skip


def _elements() -> Iterator[Case]:
    for case_id, flag, comment, inside, signed in (
        ("to", "Q-03", "with <to/>", f"<to jid='{JULIET}'/>{stated()}", sign_data()),
        ("to-last", "Q-03", "with <to/> elsewhere", f"{stated()}<to jid='{JULIET}'/>", sign_data()),
        ("fraction", "Q-04", "a time is signed as it is written, here with a fraction",
         stated(stamp="2024-06-01T12:00:00.250Z"), sign_data(stamp="2024-06-01T12:00:00.250Z")),
        ("zone", "Q-04", "here with a zone", stated(stamp="2024-06-01T14:00:00+02:00"),
         sign_data(stamp="2024-06-01T14:00:00+02:00")),
        ("spaced", "INTEROP", "white space around its parts, and around the signer",
         f"\n <time stamp='{STAMP}'/>\n <signer> {JULIET} </signer>\n ", sign_data()),
        ("signer-attribute", "Q-10", "a signer by attribute, as the text of XEP-0475 has it",
         f"<time stamp='{STAMP}'/><signer jid='{JULIET}'/>", sign_data()),
        ("capitals", "X-26", "a signer in capitals is signed as prepared",
         f"<time stamp='{STAMP}'/><signer>Juliet@CAPULET.example</signer>", sign_data()),
    ):  # fmt: skip
        yield signed_case(
            f"signature-{case_id}", [flag], comment, [by_juliet(signed, inside)],
            [valid(JULIET, signed)],
        )  # fmt: skip
    sound = signature(JULIETS.sign(sign_data()))
    text = sound[sound.index("<sign ") :].partition(">")[2].partition("<")[0]
    for case_id, comment, xml in (
        ("timestamp", "an attribute that is signed nowhere, as in an example of XEP-0475",
         sound.replace("<signature ", "<signature timestamp='2024-06-01T12:00:01Z' ")),
        ("line-breaks", "base64 in lines", sound.replace(text, f"\n{text[:60]}\n{text[60:]}\n")),
        ("prefixed", "by prefixes",
         f"<s:signature xmlns:s='urn:xmpp:pubsub-signing:0'><s:time stamp='{STAMP}'/>"
         f"<s:signer>{JULIET}</s:signer><o:sign xmlns:o='urn:xmpp:pubsub-signing:openpgp:0'>"
         f"{text}</o:sign></s:signature>"),
    ):  # fmt: skip
        yield signed_case(
            f"signature-{case_id}", ["INTEROP"], comment, [attached(JULIET, xml)],
            [valid(JULIET, sign_data())],
        )  # fmt: skip


def _several() -> Iterator[Case]:
    both = sign_data(CANONICAL_ENTRY, JULIET, ROMEO)
    inside = stated(JULIET, ROMEO)
    juliets = attached(JULIET, signature(JULIETS.sign(both), inside))
    romeos = attached(ROMEO, signature(ROMEOS.sign(both, _later(hours=20)), inside))
    keys = [*known(JULIET, JULIETS), *known(ROMEO, ROMEOS)]
    yield signed_case(
        "together", ["Q-02"], "two signers of one statement", [juliets, romeos],
        [valid(JULIET, both), valid(ROMEO, both)], keys=keys, verdict="trusted",
    )  # fmt: skip
    yield signed_case(
        "together-other-order", ["Q-02"], "the order of attachments means nothing",
        [romeos, juliets], [valid(ROMEO, both), valid(JULIET, both)], keys=keys, verdict="trusted",
    )  # fmt: skip
    yield signed_case(
        "together-one-absent", ["Q-02"], "who is listed beside the first has not signed",
        [juliets], [valid(JULIET, both)], keys=keys, verdict="invalid", absent=[ROMEO],
    )  # fmt: skip
    yield signed_case(
        "together-first-absent", ["Q-02"], "the first has not signed",
        [romeos], [valid(ROMEO, both)], keys=keys, verdict="invalid", absent=[JULIET],
    )  # fmt: skip
    yield signed_case(
        "together-one-undecided", ["Q-15"], "both are valid, one of them is undecided",
        [juliets, romeos], [valid(JULIET, both), valid(ROMEO, both, "unreliable")],
        keys=[*known(JULIET, JULIETS), *known(ROMEO, ROMEOS, trust="undecided")],
        verdict="unreliable",
    )  # fmt: skip
    for_romeo = sign_data(CANONICAL_ENTRY, ROMEO, stamp="2024-06-02T08:00:00Z")
    alone = attached(
        ROMEO, signature(ROMEOS.sign(for_romeo, _later(hours=20)),
                         stated(ROMEO, stamp="2024-06-02T08:00:00Z")),
    )  # fmt: skip
    yield signed_case(
        "each-alone", ["Q-02"], "two signers, each of a statement of their own",
        [by_juliet(), alone], [valid(JULIET, sign_data()), valid(ROMEO, for_romeo)],
        keys=keys, verdict="trusted",
    )  # fmt: skip
    by_nurse = sign_data(CANONICAL_ENTRY, NURSE)
    yield signed_case(
        "not-the-owner", ["Q-01"], "somebody else signed the item, who need not be its author",
        [attached(NURSE, signature(NURSES.sign(by_nurse), stated(NURSE)))],
        [valid(NURSE, by_nurse)], keys=known(NURSE, NURSES),
    )  # fmt: skip
    yield signed_case(
        "unsigned", ["Q-02"], "no signature at all", [], [], verdict="unsigned",
    )  # fmt: skip


def _later(**by: int) -> datetime:
    return datetime.fromisoformat(STAMP) + timedelta(**by)


def _keys() -> Iterator[Case]:
    tablet = Key("juliet's tablet", f"xmpp:{JULIET}")
    data = sign_data()
    two = attached(JULIET, signature(JULIETS.sign(data) + tablet.sign(data)))
    yield signed_case(
        "two-keys", ["Q-11"], "signed with all keys of the signer", [two], [valid(JULIET, data)],
        keys=known(JULIET, JULIETS, tablet),
    )  # fmt: skip
    yield signed_case(
        "sha-256", ["INTEROP"], "with SHA-256", [by_juliet(digest=8)], [valid(JULIET, data)],
    )  # fmt: skip
    yield signed_case(
        "undecided", ["Q-15"], "the user has not decided about the key", [by_juliet()],
        [valid(JULIET, data, "unreliable")], keys=known(JULIET, JULIETS, trust="undecided"),
    )  # fmt: skip
    month = 31 * 24 * 3600
    ended = Key("ended", f"xmpp:{JULIET}", datetime(2024, 5, 15, tzinfo=UTC), month)
    yield signed_case(
        "expired-since", ["Q-15"], "the key has expired since it signed",
        [attached(JULIET, signature(ended.sign(data)))], [valid(JULIET, data)],
        keys=known(JULIET, ended),
    )  # fmt: skip
    for name, reason in (("superseded", Revoked.SUPERSEDED), ("retired", Revoked.RETIRED)):
        revocation = JULIETS.revocation(reason, datetime(2024, 6, 15, tzinfo=UTC))
        yield signed_case(
            f"{name}-since", ["Q-15"], f"the key was {name} after it had signed",
            [by_juliet()], [valid(JULIET, data)],
            keys=known(JULIET, JULIETS.public(revocation)),
        )  # fmt: skip
    yield signed_case(
        "announced-no-more", ["Q-15"], "the key is on its owner's list no more", [by_juliet()],
        [valid(JULIET, data)],
        keys=[*known(JULIET, JULIETS, announced=False), *known(JULIET, tablet)],
    )  # fmt: skip


def _other_readings() -> Iterator[Case]:
    prose = (
        sign_data()
        .replace("pubsub-signing", "pubsub-signature")
        .replace(f"<signer>{JULIET}</signer>", f'<signer jid="{JULIET}"></signer>')
    )
    example = sign_data().replace(' xmlns="urn:xmpp:pubsub-signing:0"', "", 1)
    example = example.replace('<item xmlns="http://jabber.org/protocol/pubsub">', "<item>")
    for reading, comment, signed in (
        ("prose", "the wrapper by the text of XEP-0475 §5", prose),
        ("example", "the wrapper by the example of XEP-0475 §5", example),
    ):
        yield signed_case(
            f"reading-{reading}", ["Q-10", "OTHER_READING"], comment, [by_juliet(signed)],
            [valid(JULIET, signed, reading=reading)],
        )  # fmt: skip
    signed = sign_data(f'<entry xmlns="{ATOM}">a b</entry>')
    yield signed_case(
        "reading-libervia", ["Q-08", "OTHER_READING"],
        "trimmed of what Unicode calls white space, as Libervia 0.9 does",
        [by_juliet(signed)], [valid(JULIET, signed, "ambiguous", "libervia")],
        fetched=item(f"<entry xmlns='{ATOM}'>\u3000a b\u00a0</entry>"),
    )  # fmt: skip


def _ambiguous() -> Iterator[Case]:
    def entry(inside: str) -> str:
        return f"<entry xmlns='{ATOM}'>{inside}</entry>"

    for case_id, flag, comment, payload, form in (
        ("sum", "X-17", "a text that is trimmed", entry("<b>  pay 10</b>"),
         f'<entry xmlns="{ATOM}"><b>pay 10</b></entry>'),
        ("code", "X-17", "a line that is indented", entry("<pre>    return x</pre>"),
         f'<entry xmlns="{ATOM}"><pre>return x</pre></entry>'),
        ("words", "X-17", "words that are joined", entry("<p>Ann <b>owes</b> Bob</p>"),
         f'<entry xmlns="{ATOM}"><p>Ann<b>owes</b>Bob</p></entry>'),
        ("indented", "X-17", "what is only indented", entry("\n <b/>\n"),
         f'<entry xmlns="{ATOM}"><b></b></entry>'),
        ("default-inside", "X-17", "white space that stopped to count",
         f"<entry xmlns='{ATOM}' xml:space='preserve'> <b xml:space='default'> c </b></entry>",
         f'<entry xmlns="{ATOM}" xml:space="preserve"> <b xml:space="default">c</b></entry>'),
        ("prefix-unused", "X-19", "a prefix that a value may refer to",
         f"<entry xmlns='{ATOM}' xmlns:x='urn:one' t='x:y'/>",
         f'<entry xmlns="{ATOM}" t="x:y"></entry>'),
        ("prefix-rebound", "X-19", "the same value, and another meaning",
         f"<entry xmlns='{ATOM}' xmlns:x='urn:two' t='x:y'/>",
         f'<entry xmlns="{ATOM}" t="x:y"></entry>'),
        ("prefix-used", "X-19", "a prefix of an element", f"<a:entry xmlns:a='{ATOM}'/>",
         f'<a:entry xmlns:a="{ATOM}"></a:entry>'),
        ("prefix-of-attribute", "X-19", "a prefix of an attribute",
         f"<entry xmlns='{ATOM}' xmlns:p='urn:p' p:a='1'/>",
         f'<entry xmlns="{ATOM}" xmlns:p="urn:p" p:a="1"></entry>'),
    ):  # fmt: skip
        signed = sign_data(form)
        yield signed_case(
            f"ambiguous-{case_id}", [flag], comment, [by_juliet(signed)],
            [valid(JULIET, signed, "ambiguous")], fetched=item(payload),
        )  # fmt: skip
    for case_id, flag, comment, attributes, form in (
        ("item-language", "X-19", "a language of the item, which its payload does not say",
         " id='1' xml:lang='de'", ' xml:lang="de"'),
        ("item-base", "X-19", "an address that links in the payload are relative to",
         " id='1' xml:base='http://evil.example/'", ' xml:base="http://evil.example/"'),
        ("item-attribute", "X-27", "any attribute of the item but id and publisher",
         " id='1' a='b'", ' a="b"'),
    ):  # fmt: skip
        signed = sign_data(attributes=form)
        yield signed_case(
            f"ambiguous-{case_id}", [flag], comment, [by_juliet(signed)],
            [valid(JULIET, signed, "ambiguous")], fetched=item(attributes=attributes),
        )  # fmt: skip
    plain = sign_data(f'<entry xmlns="{ATOM}"><b>pay 10</b></entry>')
    yield signed_case(
        "unambiguous-twin", ["X-17"], "the item that is the signed one to the letter",
        [by_juliet(plain)], [valid(JULIET, plain)], fetched=item(entry("<b>pay 10</b>")),
    )  # fmt: skip
