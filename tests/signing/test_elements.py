"""``<signature/>``: what is read, kept and written, and what is refused (XEP-0475 §5).

Rule: elements only; no bytes are signed here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml
from signing.elements import Signature, Statement

JULIET, ROMEO = BareJid.parse("juliet@capulet.example"), BareJid.parse("romeo@montague.example")
SERVICE = BareJid.parse("pubsub.capulet.example")
STAMP = "2026-01-02T03:04:05Z"
TIME = f"<time stamp='{STAMP}'/>"
FIRST, SECOND = f"<signer>{JULIET}</signer>", f"<signer>{ROMEO}</signer>"
SIGN = f"<sign xmlns='{ns.PUBSUB_SIGNING_OPENPGP}'>aGk=</sign>"
UNKNOWN = "<valid-until xmlns='urn:example:profile' stamp='2001-01-01T00:00:00Z'/>"


def read(inner: str, attributes: str = "") -> Signature:
    return Signature.from_xml(
        parse_xml(f"<signature xmlns='{ns.PUBSUB_SIGNING}'{attributes}>{inner}</signature>")
    )


def refusal(inner: str) -> ErrorCode:
    with pytest.raises(PeerMisbehaved) as caught:
        read(inner)
    return caught.value.code


def test_the_element_is_written_as_libervia_writes_it() -> None:
    profile = element(ns.PUBSUB_SIGNING_OPENPGP, "sign", {}, "aGk=")
    written = write_xml(Signature(Statement(STAMP, (JULIET, ROMEO)), profile).to_xml())
    assert written == (
        f"<signature xmlns='{ns.PUBSUB_SIGNING}'>{TIME}{FIRST}{SECOND}{SIGN}</signature>"
    )


@pytest.mark.parametrize(
    "inner",
    [
        TIME + FIRST + SIGN,
        f"<to jid='{SERVICE}'/>" + TIME + FIRST + SECOND + SIGN,
    ],
    ids=["alone", "two signers and a service"],
)
def test_what_was_read_is_written_alike(inner: str) -> None:
    signature = read(inner)
    assert write_xml(signature.to_xml()) == write_xml(
        parse_xml(f"<signature xmlns='{ns.PUBSUB_SIGNING}'>{inner}</signature>")
    )
    assert Signature.from_xml(signature.to_xml()) == signature


def test_the_example_of_the_specification_is_read() -> None:
    signature = read(
        f"\n  <time stamp='2022-10-16T18:39:03Z' />\n  {FIRST}\n  {SIGN}\n",
        " timestamp='2022-10-16T18:39:04Z'",
    )
    assert signature.statement == Statement("2022-10-16T18:39:03Z", (JULIET,))
    assert signature.to is None


def test_a_signer_is_read_as_text_and_as_the_prose_has_it() -> None:
    by_attribute = read(f"{TIME}<signer jid='{JULIET}'/><signer> {ROMEO}\n</signer>{SIGN}")
    assert by_attribute == read(TIME + FIRST + SECOND + SIGN)


def test_the_stamp_stays_as_it_was_written() -> None:
    signature = read(TIME.replace("05Z", "05.120+01:00") + FIRST + SIGN)
    assert signature.statement.stamp == "2026-01-02T03:04:05.120+01:00"
    assert signature.statement.time.isoformat() == "2026-01-02T02:04:05.120000+00:00"
    assert signature.to_xml().elements[0].get("stamp") == signature.statement.stamp


def test_co_signatures_are_one_statement() -> None:
    mine, theirs = read(TIME + FIRST + SECOND + SIGN), read(TIME + FIRST + SECOND + SIGN)
    theirs = replace(theirs, to=SERVICE, profile=replace(theirs.profile, children=("aG8=",)))
    assert mine != theirs
    assert len({mine.statement, theirs.statement}) == 1


@pytest.mark.parametrize(
    "other",
    [
        TIME + SECOND + FIRST + SIGN,
        TIME + FIRST + SIGN,
        TIME.replace("05Z", "05+00:00") + FIRST + SECOND + SIGN,
    ],
    ids=["other order", "fewer", "the same moment, written otherwise"],
)
def test_q_02_any_other_list_is_another_statement(other: str) -> None:
    assert read(other).statement != read(TIME + FIRST + SECOND + SIGN).statement


@pytest.mark.parametrize(
    "inner",
    [
        FIRST + SIGN,
        TIME + SIGN,
        TIME + FIRST,
        TIME + TIME + FIRST + SIGN,
        FIRST + TIME + SIGN,
        TIME + FIRST + FIRST + SIGN,
        TIME + FIRST + f"<signer jid='{JULIET}'/>" + SIGN,
        TIME + FIRST + SIGN + SIGN,
        TIME + FIRST + SIGN + "signed",
        "<time/>" + FIRST + SIGN,
        "<time stamp='yesterday'/>" + FIRST + SIGN,
        f"<time stamp='{STAMP}' zone='UTC'/>" + FIRST + SIGN,
        f"<time stamp='{STAMP}'> </time>" + FIRST + SIGN,
        f"<time xmlns:p='u:p' p:stamp='{STAMP}'/>" + FIRST + SIGN,
        TIME + "<signer/>" + SIGN,
        TIME + "<signer>@</signer>" + SIGN,
        TIME + f"<signer>{JULIET}/balcony</signer>" + SIGN,
        TIME + f"<signer jid='{JULIET}'>{JULIET}</signer>" + SIGN,
        TIME + f"<signer role='author'>{JULIET}</signer>" + SIGN,
        TIME + f"<signer>{JULIET}<x/></signer>" + SIGN,
        "<to/>" + TIME + FIRST + SIGN,
        f"<to jid='{SERVICE}'>x</to>" + TIME + FIRST + SIGN,
        f"<to jid='{SERVICE}/x'/>" + TIME + FIRST + SIGN,
    ],
)
def test_q_02_a_broken_or_doubtful_signature_is_refused(inner: str) -> None:
    assert refusal(inner) is ErrorCode.MALFORMED


@pytest.mark.parametrize("namespace", ["", ns.PUBSUB, ns.PUBSUB_SIGNING, ns.PUBSUB_SIGNATURE])
@pytest.mark.parametrize("name", ["signer", "item", "to", "anything"])
def test_x_16_nothing_passes_for_a_part_of_the_wrapper(namespace: str, name: str) -> None:
    """Under some reading ``<signer xmlns=''/>`` would be one signer more, and unheard of."""
    if namespace == ns.PUBSUB_SIGNING and name in ("signer", "to"):
        return
    stolen = f"<{name} xmlns='{namespace}' jid='{ROMEO}'/>"
    assert refusal(TIME + FIRST + stolen + SIGN) is ErrorCode.UNSUPPORTED_ALGORITHM


@pytest.mark.parametrize(
    "inner",
    [
        UNKNOWN + TIME + FIRST + SIGN,
        TIME + UNKNOWN + FIRST + SIGN,
        TIME + FIRST + UNKNOWN + SIGN,
        TIME + FIRST + SIGN + UNKNOWN,
        TIME + FIRST + UNKNOWN,
    ],
)
def test_q_02_what_a_signature_says_beyond_what_we_know_is_refused(inner: str) -> None:
    """It may be signed and change what the rest means, and nobody would be shown it."""
    assert refusal(inner) is ErrorCode.UNSUPPORTED_ALGORITHM


def test_q_03_a_signature_for_several_services_is_refused() -> None:
    to = f"<to jid='{SERVICE}'/>"
    assert read(to + TIME + FIRST + SIGN).to == SERVICE
    assert refusal(to + to + TIME + FIRST + SIGN) is ErrorCode.CONTEXT_MISMATCH


def test_q_17_signers_are_bounded() -> None:
    signers = tuple(BareJid.parse(f"s{n}@x.example") for n in range(limits.MAX_SIGNERS + 1))
    assert len(Statement(STAMP, signers[1:]).signers) == limits.MAX_SIGNERS
    inner = "".join(f"<signer>{jid}</signer>" for jid in signers)
    assert refusal(TIME + inner + SIGN) is ErrorCode.LIMIT_EXCEEDED


@pytest.mark.parametrize("signers", [(), (JULIET, JULIET)])
def test_a_statement_is_checked_when_it_is_made(signers: tuple[BareJid, ...]) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        Statement(STAMP, signers)
    assert caught.value.code is ErrorCode.MALFORMED


@pytest.mark.parametrize("source", ["<signature/>", f"<sign xmlns='{ns.PUBSUB_SIGNING}'/>"])
def test_another_element_is_no_signature(source: str) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        Signature.from_xml(parse_xml(source))
    assert caught.value.code is ErrorCode.MALFORMED
