"""Encrypted elements: what is written, what is read of it for us, and what is not.

Rule: shapes only; no key here is one, and nothing is decrypted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee import limits
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.lexical import encode_base64
from e2ee.names import BareJid
from e2ee.omemo.device import MAX_DEVICE_ID, Device, DeviceId
from e2ee.omemo.engine import Payload
from e2ee.omemo.message import DeviceKey, EncryptedMessage, ReceivedMessage, read_encrypted
from e2ee.omemo.version import Version
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from tests.support.peers import require_shared
from tests.support.xml import elements

JULIET, ROMEO = BareJid.parse("juliet@capulet.lit"), BareJid.parse("romeo@montague.lit")
NURSE = BareJid.parse("nurse@capulet.lit")
SID = DeviceId(27183)
OWN = Device(ROMEO, DeviceId(31415))
IV = b"i" * 12
KEY = DeviceKey(OWN.id, b"key")
OTHER_KEY = DeviceKey(DeviceId(12321), b"other", kex=True)
PAYLOAD = Payload(b"secret")
LEGACY_PAYLOAD = Payload(b"secret", IV)

Keys = Mapping[BareJid | None, tuple[DeviceKey, ...]]
KEYS: Keys = {JULIET: (OTHER_KEY,), ROMEO: (replace(OTHER_KEY, rid=DeviceId(5)), KEY)}

_IDS = st.integers(1, MAX_DEVICE_ID).map(DeviceId)
_DEVICE_KEYS = st.builds(DeviceKey, _IDS, st.binary(min_size=1), st.booleans())
_KEYS = st.lists(_DEVICE_KEYS, min_size=1, max_size=3, unique_by=lambda key: key.rid).map(tuple)


def message(keys: Keys = KEYS, payload: Payload | None = PAYLOAD) -> EncryptedMessage:
    return EncryptedMessage(Version.TWO, SID, keys, payload)


def legacy(
    *keys: DeviceKey, payload: Payload | None = LEGACY_PAYLOAD, iv: bytes | None = None
) -> EncryptedMessage:
    return EncryptedMessage(Version.LEGACY, SID, {None: keys}, payload, iv)


def two(header: str, after: str = "<payload>c2VjcmV0</payload>") -> Element:
    return parse_xml(
        f"<encrypted xmlns='urn:xmpp:omemo:2'><header sid='27183'>{header}</header>{after}"
        "</encrypted>"
    )


def old(header: str, after: str = "<payload>c2VjcmV0</payload>") -> Element:
    return parse_xml(
        f"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='27183'>{header}</header>"
        f"{after}</encrypted>"
    )


OURS = f"<keys jid='{ROMEO}'><key rid='31415'>a2V5</key></keys>"
OUR_LEGACY = f"<key rid='31415'>a2V5</key><iv>{encode_base64(IV)}</iv>"


def read(source: Element) -> ReceivedMessage:
    return read_encrypted(source, OWN)


def refused(source: Element) -> ErrorCode:
    with pytest.raises(PeerMisbehaved) as caught:
        read(source)
    return caught.value.code


# Writing


def test_version_two_is_written_as_specified() -> None:
    assert write_xml(message().to_xml()) == (
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='27183'>"
        "<keys jid='juliet@capulet.lit'><key rid='12321' kex='true'>b3RoZXI=</key></keys>"
        "<keys jid='romeo@montague.lit'><key rid='5' kex='true'>b3RoZXI=</key>"
        "<key rid='31415'>a2V5</key></keys></header><payload>c2VjcmV0</payload></encrypted>"
    )


def test_the_legacy_version_is_written_as_specified() -> None:
    assert write_xml(legacy(OTHER_KEY, KEY).to_xml()) == (
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='27183'>"
        "<key rid='12321' prekey='true'>b3RoZXI=</key><key rid='31415'>a2V5</key>"
        f"<iv>{encode_base64(IV)}</iv></header><payload>c2VjcmV0</payload></encrypted>"
    )


def test_an_empty_message_has_no_payload() -> None:
    assert not message(payload=None).to_xml().find_all(Version.TWO, "payload")
    transport = legacy(KEY, payload=None, iv=IV).to_xml()
    assert not transport.find_all(Version.LEGACY, "payload")
    assert read(transport).iv == IV


# Reading


def test_what_is_for_us_is_read() -> None:
    assert read(message().to_xml()) == ReceivedMessage(Version.TWO, SID, KEY, PAYLOAD)
    assert read(legacy(OTHER_KEY, KEY).to_xml()) == ReceivedMessage(
        Version.LEGACY, SID, KEY, LEGACY_PAYLOAD
    )
    assert read(legacy(KEY, payload=None, iv=b"i" * 16).to_xml()) == ReceivedMessage(
        Version.LEGACY, SID, KEY, None, b"i" * 16
    )


@given(
    st.dictionaries(st.sampled_from([JULIET, ROMEO, NURSE]), _KEYS, min_size=1),
    st.none() | st.builds(Payload, st.binary(min_size=1)),
    _IDS,
)
def test_each_recipient_reads_its_own_key(
    keys: Keys, payload: Payload | None, sid: DeviceId
) -> None:
    written = parse_xml(write_xml(EncryptedMessage(Version.TWO, sid, keys, payload).to_xml()))
    for jid, for_account in keys.items():
        assert jid is not None
        for key in for_account:
            found = read_encrypted(written, Device(jid, key.rid))
            assert found == ReceivedMessage(Version.TWO, sid, key, payload)


@given(_KEYS, st.binary(min_size=1), st.sampled_from([12, 16]), st.booleans())
def test_each_legacy_recipient_reads_its_own_key(
    keys: tuple[DeviceKey, ...], ciphertext: bytes, size: int, transports: bool
) -> None:
    iv = bytes(size)
    payload = None if transports else Payload(ciphertext, iv)
    sent = EncryptedMessage(Version.LEGACY, SID, {None: keys}, payload, iv if transports else None)
    for key in keys:
        assert read_encrypted(sent.to_xml(), Device(ROMEO, key.rid)) == ReceivedMessage(
            Version.LEGACY, SID, key, payload, sent.iv
        )


@given(elements(depth=1), st.sampled_from([message(), legacy(KEY)]))
def test_unknown_children_and_attributes_are_ignored(
    unknown: Element, sent: EncryptedMessage
) -> None:
    added = tuple(attribute for attribute in unknown.attributes if attribute.namespace)

    def spoilt(source: Element) -> Element:
        inner = (
            spoilt(child) if isinstance(child, Element) else child for child in source.children
        )
        children = (*inner, unknown) if source.elements else tuple(inner)
        return replace(source, attributes=(*source.attributes, *added), children=children)

    assert read(spoilt(sent.to_xml())) == read(sent.to_xml())


@pytest.mark.parametrize(("written", "kex"), [("true", True), ("1", True), ("false", False)])
def test_booleans_are_those_of_xml_schema(written: str, kex: bool) -> None:
    for source in (two(OURS), old(OUR_LEGACY)):
        marked = write_xml(source).replace(
            "'31415'",
            f"'31415' {'kex' if source.namespace == Version.TWO else 'prekey'}='{written}'",
        )
        found = read(parse_xml(marked))
        assert found.key == replace(KEY, kex=kex)


@pytest.mark.parametrize("written", ["", "TRUE", "yes", "2", " true"])
def test_other_booleans_of_ours_are_malformed(written: str) -> None:
    ours = OURS.replace("'31415'", f"'31415' kex='{written}'")
    assert refused(two(ours)) is ErrorCode.MALFORMED
    ours = OUR_LEGACY.replace("'31415'", f"'31415' prekey='{written}'")
    assert refused(old(ours)) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    ("ours", "written"),
    [
        ("romeo@montague.lit", "Romeo@MONTAGUE.lit."),
        ("rom\u00e9o@montague.lit", "ROME\u0301O@montague\uff0elit"),
        ("stra\u00dfe@\u00e9t\u00e9.lit", "STRA\u1e9eE@xn--t-9fab.lit"),
    ],
)
def test_jids_are_compared_prepared(ours: str, written: str) -> None:
    own = Device(BareJid.parse(ours), OWN.id)
    assert read_encrypted(two(OURS.replace(str(ROMEO), written)), own).key == KEY


def test_o_28_a_key_for_our_id_of_another_account_is_not_for_us() -> None:
    assert read(message({JULIET: (KEY,)}).to_xml()).key is None


@pytest.mark.parametrize(
    "ours",
    [
        "",
        "<keys jid='romeo@montague.lit'/>",
        "<keys jid='romeo@montague.lit/orchard'><key rid='31415'>a2V5</key></keys>",
        "<keys><key rid='31415'>a2V5</key></keys>",
        "<keys xmlns:x='urn:x' x:jid='romeo@montague.lit'><key rid='31415'>a2V5</key></keys>",
        "<key rid='31415'>a2V5</key>",
        "<keys jid='romeo@montague.lit'><key rid='031415'>a2V5</key></keys>",
        "<keys jid='romeo@montague.lit'><key xml:rid='31415'>a2V5</key></keys>",
        "<keys jid='romeo@montague.lit'><keys><key rid='31415'>a2V5</key></keys></keys>",
    ],
)
def test_o_28_what_does_not_name_us_is_not_for_us(ours: str) -> None:
    assert read(two(ours)).key is None


@pytest.mark.parametrize(
    "others",
    [
        "<keys jid='@'><key rid='31415'>a2V5</key></keys>",
        "<keys jid=''/>",
        "<keys jid='juliet@capulet.lit'><key rid='1'/></keys>",
        "<keys jid='juliet@capulet.lit'><key rid='1'>no-base64</key></keys>",
        "<keys jid='juliet@capulet.lit'><key rid='0'>a2V5</key><key>a2V5</key></keys>",
        "<keys jid='juliet@capulet.lit'><key rid='1' kex='maybe'>a2V5</key></keys>",
        "<keys jid='juliet@capulet.lit'><key rid='1'>a</key><key rid='1'>b</key></keys>",
        "<keys jid='juliet@capulet.lit'/><keys jid='juliet@capulet.lit'/>",
    ],
)
def test_a_broken_key_for_another_spoils_nothing(others: str) -> None:
    assert read(two(others + OURS)).key == KEY


@pytest.mark.parametrize("other", ["<key rid='1'/>", "<key rid='1'>a</key><key>b</key>"])
def test_a_broken_legacy_key_for_another_spoils_nothing(other: str) -> None:
    assert read(old(other + OUR_LEGACY)).key == KEY


@pytest.mark.parametrize(
    "source",
    [
        two(OURS + OURS),
        two(OURS + OURS.replace("romeo", "ROMEO").replace("31415", "1")),
        two(OURS.replace("</keys>", "<key rid='31415'>b3RoZXI=</key></keys>")),
        two(OURS.replace("a2V5", "")),
        two(OURS.replace("a2V5", " \n ")),
        two(OURS.replace("a2V5", "no-base64")),
        two(OURS.replace("a2V5", "a2V5<x/>")),
        old(OUR_LEGACY + "<key rid='31415'>a2V5</key>"),
        old(OUR_LEGACY.replace("a2V5", "")),
        old(OUR_LEGACY.replace("a2V5", "a2V")),
    ],
)
def test_a_key_for_us_is_read_strictly(source: Element) -> None:
    assert refused(source) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    "payload",
    [
        "<payload/>",
        "<payload></payload>",
        "<payload> \n\t </payload>",
        "<payload>no-base64</payload>",
        "<payload>c2VjcmV0<x/></payload>",
        "<payload>c2VjcmV0</payload><payload>c2VjcmV0</payload>",
    ],
)
def test_o_10_a_payload_that_is_emptied_or_doubled_is_malformed(payload: str) -> None:
    assert refused(two(OURS, payload)) is ErrorCode.MALFORMED
    assert refused(old(OUR_LEGACY, payload)) is ErrorCode.MALFORMED


@pytest.mark.parametrize("iv", ["", "<iv/>", "<iv>aQ==</iv>", "<iv>aaa</iv>", "<iv>aWlp</iv>" * 2])
def test_a_legacy_message_needs_its_iv(iv: str) -> None:
    assert refused(old(f"<key rid='31415'>a2V5</key>{iv}")) is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    "source",
    [
        "<encrypted/>",
        "<encrypted xmlns='urn:xmpp:omemo:2'/>",
        "<encrypted xmlns='urn:xmpp:omemo:2'><header/></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='0'/></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='4294967296'/></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><header sid='2'/></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:1'><header sid='1'/></encrypted>",
        "<header xmlns='urn:xmpp:omemo:2' sid='1'/>",
    ],
)
def test_what_is_no_encrypted_element_is_malformed(source: str) -> None:
    assert refused(parse_xml(source)) is ErrorCode.MALFORMED


def test_too_many_keys_are_refused() -> None:
    most = limits.MAX_MESSAGE_KEYS
    keys = "".join(f"<key rid='{rid}'>a2V5</key>" for rid in range(40_001, 40_000 + most))
    others = f"<keys jid='juliet@capulet.lit'>{keys}</keys>"
    assert read(two(others + OURS)).key == KEY
    one_more = others.replace("</keys>", "<key rid='1'>a2V5</key></keys>")
    assert refused(two(one_more + OURS)) is ErrorCode.LIMIT_EXCEEDED
    assert read(old(keys + OUR_LEGACY)).key == KEY
    assert refused(old(f"{keys}<key/>{OUR_LEGACY}")) is ErrorCode.LIMIT_EXCEEDED


def test_a_key_of_more_bytes_than_any_has_is_refused() -> None:
    """Its reader goes through it octet by octet."""
    most = limits.MAX_DEVICE_KEY_BYTES
    for source in (OURS, OUR_LEGACY):
        make = two if source is OURS else old
        for size in (most, most + 1):
            written = make(source.replace("a2V5", encode_base64(bytes(size))))
            if size > most:
                assert refused(written) is ErrorCode.LIMIT_EXCEEDED
            else:
                assert read(written).key == DeviceKey(OWN.id, bytes(size))


def test_too_many_accounts_are_refused() -> None:
    assert refused(two("<keys/>" * (limits.MAX_MESSAGE_KEYS + 1))) is ErrorCode.LIMIT_EXCEEDED


def test_jids_that_would_take_seconds_to_prepare_are_refused() -> None:
    local = "\u0130" * 500
    many = "".join(f"<keys jid='{local}{number}@x.lit'/>" for number in range(140))
    assert refused(two(many + OURS)) is ErrorCode.LIMIT_EXCEEDED


@pytest.mark.parametrize("name", ["omemo2_first_flight", "legacy_first_flight"])
def test_messages_of_libervia_are_read_by_each_recipient(name: str) -> None:
    recorded = json.loads(require_shared(f"peers/libervia/{name}.json").read_text())
    devices = {
        who: Device(BareJid.parse(each["jid"]), DeviceId(each["device_id"]))
        for who, each in recorded["devices"].items()
    }
    version = Version(recorded["namespace"])
    for sample in recorded["messages"]:
        source = parse_xml(sample["message"]).only(version, "encrypted")
        for who, own in devices.items():
            found = read_encrypted(source, own)
            assert found.sid == devices["juliet"].id
            assert found.payload is not None
            assert (found.key is None) == (who == "juliet")
            assert found.key is None or found.key.kex is sample["kex_expected"]
