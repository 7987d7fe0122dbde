"""The elements of Pubsub Signing (XEP-0475 0.1.0) as values, and their XML.

Rule: shape only. What bytes a statement stands for is in ``readings.py``; whether a signature is
good, in ``verifying.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn

from e2ee import limits, ns
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import parse_time, trim_xml
from e2ee.names import BareJid
from e2ee.xmltree import Element, element

__all__ = ["Signature", "Statement"]

_RULE: Final = "XEP-0475 §5"
_PROFILES: Final = ((ns.PUBSUB_SIGNING_OPENPGP, "sign"),)  # XEP-0476 §2


def _malformed(what: str) -> NoReturn:
    raise PeerMisbehaved(ErrorCode.MALFORMED, what, rule=_RULE)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed beside the item: when, and by whom (XEP-0475 §5).

    Co-signers sign one statement: theirs are equal, and equal hashes find them. The order of the
    signers is part of it.

    Attributes:
        stamp: the time exactly as written (XEP-0082), since that text is signed.
        signers: from 1 to ``limits.MAX_SIGNERS``, in order, none twice.
        time: what ``stamp`` means, aware and in UTC.

    Raises:
        PeerMisbehaved: ``malformed``; ``limit-exceeded`` for too many signers.
    """

    stamp: str
    signers: tuple[BareJid, ...]
    time: datetime = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.signers) > limits.MAX_SIGNERS:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED, "a signature of too many signers", rule=_RULE
            )
        if not self.signers or len(set(self.signers)) != len(self.signers):
            _malformed("a signature without a signer, or with one twice")
        object.__setattr__(self, "time", parse_time(self.stamp))


@dataclass(frozen=True, slots=True)
class Signature:
    """``<signature/>``: what one signer attaches to an item (XEP-0475 §5).

    Attributes:
        statement: what was signed beside the item.
        profile: the element with the signature itself, of a signing profile that we know:
            ``<sign xmlns='urn:xmpp:pubsub-signing:openpgp:0'/>``.
        to: the service that it is for, where it says so; the example of XEP-0475 does not.
    """

    statement: Statement
    profile: Element
    to: BareJid | None = None

    def to_xml(self) -> Element:
        """Return the element."""
        addressed = () if self.to is None else (_own("to", {"jid": str(self.to)}),)
        time = _own("time", {"stamp": self.statement.stamp})
        signers = [_own("signer", {}, str(jid)) for jid in self.statement.signers]
        return _own("signature", {}, *addressed, time, *signers, self.profile)

    @classmethod
    def from_xml(cls, source: Element) -> Signature:
        """Read the element.

        Every child counts, for it may be signed, and say what nobody would be shown. XEP-0476 adds
        none to those of XEP-0475, so any other is of a profile that we do not know. Attributes of
        ``<signature/>`` itself are in no signed bytes and ignored.

        Raises:
            PeerMisbehaved: ``malformed``; ``limit-exceeded`` for too many signers;
                ``context-mismatch`` for more than one ``<to/>``; ``unsupported-algorithm`` for
                an element of a profile that we do not know.
        """
        if not source.is_(ns.PUBSUB_SIGNING, "signature"):
            _malformed("an element that is no <signature/>")
        if trim_xml(source.text):
            _malformed("a <signature/> with text")
        to: list[BareJid] = []
        stamps: list[str] = []
        signers: list[BareJid] = []
        profiles: list[Element] = []
        for child in source.elements:
            if (child.namespace, child.name) in _PROFILES:
                profiles.append(child)
            elif child.is_(ns.PUBSUB_SIGNING, "to"):
                to.append(BareJid.parse(_value(child, "jid")))
            elif child.is_(ns.PUBSUB_SIGNING, "time"):
                if stamps or signers:
                    _malformed("a <signature/> whose one <time/> does not come first")
                stamps.append(_value(child, "stamp"))
            elif child.is_(ns.PUBSUB_SIGNING, "signer"):
                signers.append(_read_signer(child))
            else:
                raise PeerMisbehaved(
                    ErrorCode.UNSUPPORTED_ALGORITHM,
                    "a <signature/> with an element of no known profile",
                    rule=_RULE,
                )
        if not stamps:
            _malformed("a <signature/> without <time/>")
        statement = Statement(stamps[0], tuple(signers))
        if len(to) > 1:
            raise PeerMisbehaved(
                ErrorCode.CONTEXT_MISMATCH, "a <signature/> for several services", rule=_RULE
            )
        if len(profiles) != 1:
            _malformed("a <signature/> that does not hold exactly one signature")
        return cls(statement, profiles[0], to[0] if to else None)


def _own(name: str, attributes: dict[str, str], *children: Element | str) -> Element:
    return element(ns.PUBSUB_SIGNING, name, attributes, *children)


def _value(source: Element, name: str) -> str:
    """Return its one attribute; whatever else it held might be signed, and would be lost."""
    if source.children or len(source.attributes) != 1:
        _malformed(f"a <{source.name}/> with more or less than its attribute {name}")
    return source.require(name, _RULE)


def _read_signer(source: Element) -> BareJid:
    """Read the JID as text, as the examples and everybody write it, or as the prose has it."""
    if source.attributes:
        return BareJid.parse(_value(source, "jid"))
    return BareJid.parse(trim_xml(source.leaf_text(_RULE)))
