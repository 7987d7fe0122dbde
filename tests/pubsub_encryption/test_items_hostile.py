"""Items that are no items (N-15): each one error, and the genuine item opens afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from e2ee import ns
from e2ee.errors import (
    ErrorCode,
)
from e2ee.lexical import encode_base64
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element
from e2ee.xmlwrite import write_xml
from ox.container import wrap
from ox.packets import Tag, write_packet
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import (
    OpenedItem,
    UnreadableItem,
    open_items,
    seal_item,
)
from tests.support.node_items import (
    ENGINE,
    ENTRY,
    KEYCHAIN,
    NODE,
    TEXT,
    assert_refused,
    holds,
    item,
    opened,
    secret,
)
from tests.support.node_world import stood_in
from tests.support.openpgp import (
    encryption_keys_of,
    literal,
    locked,
    own_key,
    seipd,
    signature,
    skesk,
)


def to_public_keys() -> bytes:
    certificate, _ = own_key()
    return wrap(literal(b"<a xmlns='urn:x'/>"), encryption_keys_of(certificate), os.urandom)


def twice() -> bytes:
    way_in, key = skesk(Secret(TEXT.encode()))
    return way_in + way_in + seipd(key, literal(b"<a xmlns='urn:x'/>"))


class TestHostileMessages:
    @pytest.mark.parametrize(
        ("make", "code"),
        [
            (to_public_keys, ErrorCode.MALFORMED),
            (lambda: literal(b"<a xmlns='urn:x'/>"), ErrorCode.NOT_ENCRYPTED),
            (lambda: signature() + literal(b"<a xmlns='urn:x'/>"), ErrorCode.NOT_ENCRYPTED),
            (lambda: write_packet(Tag.COMPRESSED, b"\0" + literal(b"x")), ErrorCode.NOT_ENCRYPTED),
            (twice, ErrorCode.LIMIT_EXCEEDED),
            (
                lambda: skesk()[0] + write_packet(Tag.SED, b"x" * 40),
                ErrorCode.UNSUPPORTED_ALGORITHM,
            ),
            (lambda: skesk()[0], ErrorCode.MALFORMED),
            (lambda: b"-----BEGIN PGP MESSAGE-----", ErrorCode.MALFORMED),
            (lambda: holds("<a xmlns='urn:x'/>")[:-1], ErrorCode.MALFORMED),
            (lambda: holds("<a xmlns='urn:x'/>") + b"\0", ErrorCode.MALFORMED),
        ],
    )
    async def test_n_15_what_is_no_passphrase_message_is_refused(
        self, make: Callable[[], bytes], code: ErrorCode
    ) -> None:
        await assert_refused(item(make()), code)

    @pytest.mark.parametrize(
        "xml",
        [
            "<encrypted xmlns='urn:xmpp:openpgp:pubsub:0'>AAAA</encrypted>",
            "<encrypted xmlns='urn:xmpp:openpgp:pubsub:0' key=''>AAAA</encrypted>",
            "<encrypted xmlns='urn:xmpp:openpgp:pubsub:0' key='s'>not base64</encrypted>",
            "<encrypted xmlns='urn:xmpp:openpgp:pubsub:0' key='s'/>",
        ],
    )
    async def test_n_15_a_malformed_element_is_refused(self, xml: str) -> None:
        await assert_refused(parse_xml(xml), ErrorCode.MALFORMED)

    async def test_n_15_a_list_of_keys_is_an_unknown_key(self) -> None:
        await assert_refused(item(holds(write_xml(ENTRY)), "s t"), ErrorCode.UNKNOWN_SECRET)

    async def test_n_15_every_altered_octet_is_noticed(self) -> None:
        message = EncryptedItem.from_xml(await seal_item(ENGINE, secret(), ENTRY)).ciphertext
        page = [
            (item(message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :]), stood_in(NODE))
            for at in range(len(message))
        ]
        results = await open_items(ENGINE, KEYCHAIN, page)
        assert all(isinstance(result, UnreadableItem) for result in results)

    @pytest.mark.parametrize(
        ("plaintext", "code"),
        [
            ("<!DOCTYPE a><a xmlns='urn:x'/>", ErrorCode.MALFORMED),
            ("<?xml version='1.0'?><a xmlns='urn:x'/>", ErrorCode.MALFORMED),
            ("<a xmlns='urn:x'/><b xmlns='urn:x'/>", ErrorCode.MALFORMED),
            ("<a xmlns='urn:x'/>trailing", ErrorCode.MALFORMED),
            ("<a/>", ErrorCode.MALFORMED),
            ("", ErrorCode.MALFORMED),
            ("no xml", ErrorCode.MALFORMED),
            (b"<a xmlns='urn:x'>\xff</a>", ErrorCode.MALFORMED),
            ("<a xmlns='urn:x'>" * 65 + "</a>" * 65, ErrorCode.LIMIT_EXCEEDED),
            ("<a xmlns='urn:x'>" * 63 + "</a>" * 63, ErrorCode.LIMIT_EXCEEDED),
        ],
    )
    async def test_what_a_member_put_inside_is_read_as_strictly(
        self, plaintext: bytes | str, code: ErrorCode
    ) -> None:
        await assert_refused(item(holds(plaintext)), code)

    async def test_x_08_what_was_opened_has_room_in_an_item_that_is_signed(self) -> None:
        result = await opened(item(holds("<a xmlns='urn:x'>" * 62 + "</a>" * 62)))
        assert isinstance(result, OpenedItem)
        element(
            ns.PUBSUB_SIGNING, "sign-data", None, element(ns.PUBSUB, "item", None, result.payload)
        )

    async def test_two_literals_inside_are_malformed(self) -> None:
        inside = literal(b"<a xmlns='urn:x'/>") * 2
        await assert_refused(item(locked(inside)), ErrorCode.MALFORMED)

    async def test_base64_may_be_broken_by_white_space(self) -> None:
        text = encode_base64(holds(write_xml(ENTRY)))
        broken = "\n  ".join(text[at : at + 64] for at in range(0, len(text), 64))
        payload = element("urn:xmpp:openpgp:pubsub:0", "encrypted", {"key": "s"}, f"\n  {broken}\n")
        assert isinstance(await opened(payload), OpenedItem)
