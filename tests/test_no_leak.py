"""No secret and no plaintext is ever printed: not by repr, nor a traceback, nor a log (Z-01).

Rule: a class that holds a secret or a plaintext gets a line in ``HOLDERS``, an operation that fails
while it holds one gets a line in ``FAILURES``; how to look is in ``support/leaks.py``.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from e2ee import ns
from e2ee.arrival import Arrival, StanzaKind
from e2ee.effects import Publish, Send
from e2ee.errors import (
    ApiMisuse,
    CannotDecrypt,
    DataMissing,
    E2eeError,
    EngineFailed,
    ErrorCode,
    PeerMisbehaved,
    SecretMissing,
    StoreFailed,
    TrustUndecided,
)
from e2ee.names import BareJid, Fingerprint, Jid, NodeAddress, SecretId
from e2ee.primitives import NativePrimitives
from e2ee.records import pack, unpack
from e2ee.sce import Envelope
from e2ee.secret import Secret
from e2ee.storage import Put
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Attribute, Element, element
from ox.backup import Backup
from ox.backup_code import BackupCode
from ox.chat import OpenedMessage
from ox.ciphers import Ed25519Private, Symmetric, X25519Private
from ox.elements import Content, ContentKind
from ox.engine import Certificate, KeyHandle, S2kCount, Signed
from ox.engine_sequoia import SequoiaEngine
from ox.opened import OpenedCrypt, OpenedOx
from ox.session_key import SessionKey
from pubsub_encryption.elements import SharedSecret
from pubsub_encryption.items import Authorship, ClearItem, OpenedItem
from pubsub_encryption.keychain import Keychain
from pubsub_encryption.node_secret import NodeSecret, SecretState
from tests.support.leaks import Canary, everything_printable, no_leak_in_logs

CANARY = Canary("K4n4r1envogelSingtNiemalsLautImWaldeXYZ")
JULIET = BareJid.parse("juliet@capulet.lit")
NODE = NodeAddress(JULIET, "blog")
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
SIGNER = Fingerprint("A" * 40)
ARRIVAL = Arrival(StanzaKind.ITEM, Jid.parse("juliet@capulet.lit"), node=NODE)


def _node_secret(value: bytes = CANARY.raw) -> NodeSecret:
    return NodeSecret(SecretId("s1"), Secret(value), NOW)


def _keychain() -> Keychain:
    return Keychain(NODE, JULIET, frozenset({SIGNER})).adopt(_node_secret(), JULIET, SIGNER, NOW)


def _certificate() -> Certificate:
    return Certificate(SIGNER, b"", ("xmpp:juliet@capulet.lit",), NOW, None, False, False, True)


def _element() -> Element:
    return element(ns.ATOM, "title", {"x": CANARY.text}, CANARY.text)


def _opened_ox() -> OpenedOx:
    return OpenedOx(
        ContentKind.SIGNCRYPT, JULIET, JULIET, SIGNER, (JULIET,), NOW, (_element(),), ARRIVAL, b""
    )


HOLDERS: dict[str, Callable[[], object]] = {
    "Attribute": lambda: Attribute("title", CANARY.text),
    "Backup": lambda: Backup((KeyHandle(_certificate(), Secret(CANARY.raw)),), ()),
    "BackupCode": lambda: BackupCode(Secret(CANARY.raw)),
    "ClearItem": lambda: ClearItem(_element(), ARRIVAL),
    "Content": lambda: Content(ContentKind.SIGN, (JULIET,), NOW, (_element(),), CANARY.text),
    "Ed25519Private": lambda: Ed25519Private(Secret(CANARY.raw[:32])),
    "Element": _element,
    "Envelope": lambda: Envelope((_element(),)),
    "KeyHandle": lambda: KeyHandle(_certificate(), Secret(CANARY.raw)),
    "Keychain": _keychain,
    "NodeSecret": _node_secret,
    "OpenedItem": lambda: OpenedItem(
        _element(), Authorship.NODE_KEY_HOLDER, SecretId("s1"), SecretState.ACTIVE, ARRIVAL
    ),
    "OpenedCrypt": lambda: OpenedCrypt(JULIET, NOW, (_element(),), ARRIVAL, b""),
    "OpenedMessage": lambda: OpenedMessage(_opened_ox(), (_element(),), (_element(),)),
    "OpenedOx": _opened_ox,
    "Publish": lambda: Publish(NODE, None, _element()),
    "Put": lambda: Put(("oxps", "capulet.lit", "blog"), CANARY.raw),
    "Secret": lambda: Secret(CANARY.raw),
    "Send": lambda: Send(JULIET, (_element(),), "id"),
    "SessionKey": lambda: SessionKey(Symmetric.AES256, Secret(CANARY.raw[:32])),
    "SharedSecret": lambda: SharedSecret(NODE, SecretId("s1"), Secret(CANARY.raw), NOW),
    "Signed": lambda: Signed(CANARY.raw, {SIGNER: NOW}),
    "X25519Private": lambda: X25519Private(Secret(CANARY.raw[:32])),
    "a copied Secret": lambda: copy.deepcopy(Secret(CANARY.raw)),
}
"""Objects that hold the canary, each by the name of its class."""


def _pickle() -> None:
    pickle.dumps(Secret(CANARY.raw))


def _conflicting_secret() -> None:
    _keychain().adopt(_node_secret(CANARY.raw[::-1]), JULIET, SIGNER, NOW)


def _unknown_record() -> None:
    unpack(pack("key", 1, {"value": CANARY.text}), "keychain", 1)


def _record_from_the_future() -> None:
    unpack(pack("key", 2, {"value": CANARY.text}), "key", 1)


def _broken_record() -> None:
    unpack(pack("key", 1, {"value": CANARY.text})[:-1], "key", 1)


def _malformed_plaintext() -> None:
    parse_xml(f"<entry><title>{CANARY.text}</title></wrong>")


def _plaintext_with_a_comment() -> None:
    parse_xml(f"<entry>{CANARY.text}<!-- {CANARY.text} --></entry>")


def _unwritable_text() -> None:
    Element("", "title", (), (CANARY.text, CANARY.text))


FAILURES = [
    _pickle,
    _conflicting_secret,
    _unknown_record,
    _record_from_the_future,
    _broken_record,
    _malformed_plaintext,
    _plaintext_with_a_comment,
    _unwritable_text,
]
"""Operations that must fail with the canary in their hands."""

RAW_IN_FRAMES = [
    _unknown_record,
    _record_from_the_future,
    _broken_record,
    _malformed_plaintext,
    _plaintext_with_a_comment,
    _unwritable_text,
]
"""Those that read raw text or bytes: a traceback with the locals of their own frames shows them."""

ERRORS = [
    ApiMisuse("never right"),
    CannotDecrypt(),
    DataMissing("fetch first", fetches=()),
    EngineFailed("engine", "failed"),
    PeerMisbehaved(ErrorCode.MALFORMED, "malformed", rule="XEP-0473 §5"),
    SecretMissing("unknown secret", secret_id="s1"),
    StoreFailed(ErrorCode.STORE_FULL, "the store is full"),
    TrustUndecided("decide first", subjects=("juliet@capulet.lit",)),
]
"""One of each class."""


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
def test_z_01_holders_do_not_print_what_they_hold(make: Callable[[], object]) -> None:
    """However they are printed, alone, in a container or as a local of a frame that fails."""
    with no_leak_in_logs(CANARY):
        for where, printed in everything_printable(make()):
            CANARY.assert_absent(printed, where)


@pytest.mark.parametrize("fail", FAILURES, ids=lambda fail: fail.__name__.strip("_"))
def test_z_01_failures_do_not_print_what_they_held(fail: Callable[[], None]) -> None:
    """What is raised says which rule was broken, and by no cause or argument what was read."""
    with no_leak_in_logs(CANARY), pytest.raises((E2eeError, TypeError)) as caught:
        fail()
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    for where, printed in everything_printable(error):
        if "traceback" not in where or fail not in RAW_IN_FRAMES:
            CANARY.assert_absent(printed, where)


async def test_z_01_an_engine_that_fails_does_not_print_passphrase_or_plaintext() -> None:
    """The passphrase not even by a frame on the way; the plaintext by nothing that is raised."""
    engine = SequoiaEngine(NativePrimitives())
    passphrase, plaintext = Canary("Nachtigall0815" * 4), Canary("DiePostkutscheFaehrtUmZwoelf" * 3)
    with no_leak_in_logs(passphrase, plaintext):
        secret = Secret(passphrase.raw)
        message = await engine.lock(plaintext.raw, secret, S2kCount.RANDOM_SECRET)
        altered = message[:-1] + bytes([message[-1] ^ 1])
        for data, key in ((altered, secret), (message, Secret(passphrase.raw[::-1]))):
            with pytest.raises(E2eeError) as caught:
                await engine.unlock(data, key)
            for where, printed in everything_printable(caught.value):
                passphrase.assert_absent(printed, where)
                if "traceback" not in where:
                    plaintext.assert_absent(printed, where)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_z_01_an_error_raised_beside_a_secret_does_not_print_it(error: E2eeError) -> None:
    """A frame whose locals are secrets may be printed by a crash reporter."""
    secret = Secret(CANARY.raw)
    with pytest.raises(E2eeError) as caught:
        _raise(error, secret)
    for where, printed in everything_printable(caught.value):
        CANARY.assert_absent(printed, where)


def _raise(error: E2eeError, secret: Secret) -> None:
    held = {"secret": secret, "more": [secret]}
    assert held
    raise error


def test_every_error_class_is_tried() -> None:
    """A new class gets a line in ``ERRORS``."""
    assert {type(error) for error in ERRORS} == set(E2eeError.__subclasses__())


def test_the_search_finds_what_is_planted() -> None:
    """Else all of this would prove nothing."""
    for planted in (CANARY.text, CANARY.raw, CANARY.raw.hex(), list(CANARY.raw), [{1: CANARY.raw}]):
        for where, printed in everything_printable(planted):
            with pytest.raises(AssertionError, match="a secret is printed"):
                CANARY.assert_absent(printed, where)
