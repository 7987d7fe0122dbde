"""What is fuzzed: one function for each parser that takes octets from outside.

Rule: a target refuses by ``PeerMisbehaved`` or ``CannotDecrypt``, takes in what it was given, or is
a finding. What was taken must read back, and must not be more than what was given accounts for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

from e2ee import sce
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import ApiMisuse, CannotDecrypt, ErrorCode, PeerMisbehaved
from e2ee.lexical import (
    decode_base64,
    encode_base64,
    format_time,
    parse_boolean,
    parse_integer,
    parse_time,
)
from e2ee.limits import (
    MAX_BACKUP_KEYS,
    MAX_DEVICES,
    MAX_EXPANSION,
    MAX_PKESK,
    MAX_PRE_KEYS,
    MIN_EXPANSION_BYTES,
)
from e2ee.names import BareJid, Jid
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.device_list import DeviceList
from e2ee.omemo.message import EncryptedMessage, read_encrypted
from e2ee.omemo.version import Version
from e2ee.primitives import NativePrimitives
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.aead import open_aead, read_aead_container
from ox.backup import open_backup
from ox.ciphers import Symmetric
from ox.container import expand
from ox.elements import Content, ContentKind, PublicKeysList, read_openpgp, read_pubkey
from ox.engine import KeyHandle, Revocation, S2kCount
from ox.engine_sequoia import SequoiaEngine
from ox.grammar import (
    check_encrypted_message,
    check_passphrase_message,
    check_signed_payload,
    check_unsigned_payload,
)
from ox.session_key import SessionKey
from ox.uri import KeyUri
from pubsub_encryption.elements import EncryptedItem, Revoke, SharedSecret
from signing.canonical import (
    canonical,
    canonical_as_libervia,
    has_prefixes,
    trims,
    trims_as_libervia,
)
from tests.fuzz.item_signatures import item_signature
from tests.support.openpgp import PASSPHRASE
from tests.support.ox_keys import typed_code
from tests.support.ox_world import World
from tests.support.xml import PARSERS
from xmpp_e2ee.feed import FeedError, read_feed

__all__ = ["AEAD_KEY", "CODE", "DATA", "JULIET", "SEEDS", "TARGETS", "Target", "try_on"]

_T = TypeVar("_T")

Target = Callable[[bytes], bool]
"""Tries octets; says whether they were taken."""

SEEDS = Path(__file__).with_name("seeds")
"""A folder for each target; ``make_seeds`` wrote what is in it."""

JULIET, ROMEO = BareJid.parse("juliet@capulet.lit"), BareJid.parse("romeo@montague.lit")
DATA = b"<signcrypt/>"  # what the seeds of signatures are over
AEAD_KEY = bytes(range(32))
CODE = typed_code("TWNK-KD5Y-MT3T-E1GS-DRDB-KVTW")

_LOOP = asyncio.new_event_loop()
_PRIMITIVES = NativePrimitives()
_ENGINE = SequoiaEngine(_PRIMITIVES)
_NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
_MOST_HASHED = 1 << 20  # octets of an S2K; the costly ones are right, and would slow all others
_ROOM = BareJid.parse("orchard@rooms.capulet.lit")
_DEVICE = Device(JULIET, DeviceId(31415))
_ARRIVALS = (
    (Arrival(StanzaKind.MESSAGE, Jid(ROMEO, "a"), Jid(JULIET, "b")), sce.OMEMO),
    (Arrival(StanzaKind.GROUPCHAT, Jid(_ROOM, "a"), occupant=ROMEO), sce.GROUPCHAT),
    (Arrival(StanzaKind.IQ, Jid(ROMEO, "a"), Jid(JULIET, "b")), sce.SceProfile(time=True)),
    (Arrival(StanzaKind.ITEM, Jid(ROMEO)), sce.SceProfile()),
)


class _Written(Protocol):
    def to_xml(self) -> Element: ...


def try_on(target: str, data: bytes) -> bool:
    """Give octets to a target.

    Returns:
        Whether they were taken, ``False`` if they were refused as they should be.

    Raises:
        Exception: a finding.
    """
    try:
        return TARGETS[target](data)
    except (PeerMisbehaved, CannotDecrypt):
        return False


def _now(work: Coroutine[Any, Any, _T]) -> _T:
    return _LOOP.run_until_complete(work)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _own(name: str) -> KeyHandle:
    return _now(_ENGINE.adopt(Secret((SEEDS / "secret-key" / name).read_bytes())))


def _xml(data: bytes) -> bool:
    trees: list[Element | None] = []
    for parse in PARSERS.values():
        try:
            trees.append(parse(data))
        except PeerMisbehaved:
            trees.append(None)
    tree = trees[0]
    assert all(other == tree for other in trees), "one parser reads what another does not"
    if tree is None:
        return False
    written = write_xml(tree)
    assert len(written) <= 8 * len(data)
    assert parse_xml(written) == tree
    return True


def _read_back(form: bytes) -> Element:
    """Parse a canonical form, which may be too large, because declarations multiply."""
    try:
        return parse_xml(form)
    except PeerMisbehaved as error:
        if error.code is ErrorCode.LIMIT_EXCEEDED:
            raise
        raise AssertionError("a canonical form that is no XML") from error


def _canonical(data: bytes) -> bool:
    tree = parse_xml(data)
    form = canonical(tree)
    again = _read_back(form)
    assert canonical(again) == form
    assert again.same_content(tree) is not trims(tree)
    if not has_prefixes(tree):
        theirs = canonical_as_libervia(tree)
        assert canonical_as_libervia(_read_back(theirs)) == theirs
        assert trims_as_libervia(tree) or not trims(tree)
    return True


def _sce_envelope(data: bytes) -> bool:
    taken = False
    for arrival, profile in _ARRIVALS:
        with suppress(PeerMisbehaved):
            opened = sce.open_envelope(data, arrival, profile, _NOW)
            anew = sce.seal_envelope(replace(opened.envelope, rpad=None), profile, _PRIMITIVES)
            again = sce.open_envelope(anew, arrival, profile, _NOW)
            assert len(again.envelope.content) == len(opened.envelope.content)
            assert not again.dropped
            taken = True
    return taken


def _elements(data: bytes) -> bool:
    source = parse_xml(data)
    readers: list[Callable[[Element], _Written]] = [
        lambda given, kind=kind: Content.from_xml(given, kind)  # type: ignore[misc]
        for kind in ContentKind
    ]
    readers += [PublicKeysList.from_xml, SharedSecret.from_xml, Revoke.from_xml]
    taken = False
    for read in readers:
        with suppress(PeerMisbehaved):
            written = read(source).to_xml()
            assert read(written).to_xml() == written
            taken = True
    for octets in (
        read_openpgp,
        read_pubkey,
        lambda given: EncryptedItem.from_xml(given).ciphertext,
    ):
        with suppress(PeerMisbehaved):
            assert len(octets(source)) <= len(data)
            taken = True
    return taken


def _omemo_bundle(data: bytes) -> bool:
    bundle = Bundle.from_xml(parse_xml(data))
    assert 1 <= len(bundle.pre_keys) <= MAX_PRE_KEYS
    assert Bundle.from_xml(parse_xml(write_xml(bundle.to_xml()))) == bundle
    return True


def _omemo_device_list(data: bytes) -> bool:
    listed = DeviceList.from_xml(parse_xml(data))
    assert len(listed.devices) <= MAX_DEVICES
    assert DeviceList.from_xml(parse_xml(write_xml(listed.to_xml()))) == listed
    return True


def _omemo_encrypted(data: bytes) -> bool:
    found = read_encrypted(parse_xml(data), _DEVICE)
    if found.key is not None:
        keys = {JULIET if found.version is Version.TWO else None: (found.key,)}
        ours = EncryptedMessage(found.version, found.sid, keys, found.payload, found.iv)
        again = read_encrypted(parse_xml(write_xml(ours.to_xml())), _DEVICE)
        assert again == found
    return True


def _message(data: bytes) -> bool:
    message = check_encrypted_message(data)
    assert 1 <= len(message.recipients) <= MAX_PKESK
    keys = [_own("curve25519"), _own("x25519"), _own("rsa2048")]
    with suppress(PeerMisbehaved):
        return bool(_now(_ENGINE.open(data, keys, [key.certificate.raw for key in keys])).signers)
    _now(_ENGINE.decrypt(data, keys))
    return True


def _aead_container(data: bytes) -> bool:
    plain = open_aead(read_aead_container(data), SessionKey(Symmetric.AES256, Secret(AEAD_KEY)))
    assert len(plain) < len(data)
    return True


def _payload(data: bytes) -> bool:
    inner = expand(data)
    assert len(inner) <= max(MIN_EXPANSION_BYTES, MAX_EXPANSION * len(data))
    with suppress(PeerMisbehaved):
        return len(check_unsigned_payload(inner)) <= len(inner)
    payload = check_signed_payload(inner)
    assert len(payload.data) <= len(inner)
    with suppress(PeerMisbehaved):
        own = _own("curve25519").certificate
        assert set(_now(_ENGINE.verify_message(data, [own.raw])).signers) == {own.fingerprint}
    return True


def _certificate(data: bytes) -> bool:
    certificate = _now(_ENGINE.inspect(data))
    again = _now(_ENGINE.inspect(certificate.raw))
    assert again == replace(certificate, raw=again.raw)
    if certificate.encrypts:
        check_encrypted_message(_now(_ENGINE.encrypt(DATA, [certificate])))
    minimal = _now(_ENGINE.minimal(certificate, certificate.user_ids))
    assert minimal.fingerprint == certificate.fingerprint
    assert _now(_ENGINE.merge(data, data)).fingerprint == certificate.fingerprint
    with suppress(PeerMisbehaved):  # as a newer copy of a key that we know
        own = _own("curve25519").certificate
        assert _now(_ENGINE.merge(own.raw, data)).user_ids[:1] == own.user_ids
    return True


def _secret_key(data: bytes) -> bool:
    key = _now(_ENGINE.adopt(Secret(data)))
    with suppress(ApiMisuse):  # expired, revoked or cannot sign
        signature = _now(_ENGINE.sign(DATA, key))
        with suppress(PeerMisbehaved):  # the two parts need not be one key
            _now(_ENGINE.verify(DATA, signature, [key.certificate.raw]))
    with suppress(PeerMisbehaved, CannotDecrypt):
        _now(_ENGINE.decrypt(_now(_ENGINE.encrypt(DATA, [key.certificate])), [key]))
    with suppress(PeerMisbehaved):
        assert _now(_ENGINE.extend(key, None)).certificate.fingerprint
    with suppress(PeerMisbehaved):
        assert _now(_ENGINE.revoke(key, Revocation.RETIRED)).certificate.revoked
    return True


def _signature(data: bytes) -> bool:
    own = _own("curve25519").certificate
    assert set(_now(_ENGINE.verify(DATA, data, [own.raw])).signers) == {own.fingerprint}
    return True


def _passphrase_message(data: bytes) -> bool:
    message = check_passphrase_message(data)
    if message.skesk.s2k.count > _MOST_HASHED:
        return False
    plain = _now(_ENGINE.unlock(data, PASSPHRASE))
    assert len(plain) <= max(MIN_EXPANSION_BYTES, MAX_EXPANSION * len(data))
    return True


def _backup(data: bytes) -> bool:
    """Open a backup with ``data`` inside; what is around it is another target's."""
    locked = _now(_ENGINE.lock(data, CODE.passphrase, S2kCount.RANDOM_SECRET))
    source = element("urn:xmpp:openpgp:0", "secretkey", None, encode_base64(locked))
    backup = _now(open_backup(World().stranger(str(JULIET)).ox, source, CODE))
    assert 1 <= len(backup.keys) + len(backup.skipped) <= MAX_BACKUP_KEYS
    return True


def _backup_code(data: bytes) -> bool:
    code = typed_code(_text(data))
    assert typed_code(code.shown) == code
    return True


def _uri(data: bytes) -> bool:
    uri = KeyUri.parse(_text(data))
    assert KeyUri.parse(str(uri)) == uri
    return True


def _jid(data: bytes) -> bool:
    jid = Jid.parse(_text(data))
    assert Jid.parse(str(jid)) == jid
    return True


def _lexical(data: bytes) -> bool:
    text, taken = _text(data), False
    with suppress(PeerMisbehaved):
        octets = decode_base64(text)
        assert decode_base64(encode_base64(octets)) == octets
        taken = True
    with suppress(PeerMisbehaved):
        moment = parse_time(text).replace(microsecond=0)
        assert parse_time(format_time(moment)) == moment
        taken = True
    with suppress(PeerMisbehaved):
        assert 0 <= parse_integer(text, 0, 255) <= 255
        taken = True
    with suppress(PeerMisbehaved):
        parse_boolean(text)
        taken = True
    return taken


def _feed(data: bytes) -> bool:
    path = Path(_FOLDER.name, str(os.getpid()))
    path.write_bytes(data)
    try:
        entries = read_feed(path).entries
    except FeedError:
        return False
    assert all(parse_xml(write_xml(entry)).same_content(entry) for entry in entries)
    return True


_FOLDER = TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)

TARGETS: dict[str, Target] = {
    "aead-container": _aead_container,
    "backup": _backup,
    "backup-code": _backup_code,
    "canonical": _canonical,
    "certificate": _certificate,
    "elements": _elements,
    "feed": _feed,
    "item-signature": item_signature,
    "jid": _jid,
    "lexical": _lexical,
    "message": _message,
    "omemo-bundle": _omemo_bundle,
    "omemo-device-list": _omemo_device_list,
    "omemo-encrypted": _omemo_encrypted,
    "passphrase-message": _passphrase_message,
    "payload": _payload,
    "sce-envelope": _sce_envelope,
    "secret-key": _secret_key,
    "signature": _signature,
    "uri": _uri,
    "xml": _xml,
}
"""By name: whatever somebody sends, publishes or hands over meets one of them first."""
