"""Items of an encrypted node: what is sealed opens, and says no more than it proves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from e2ee import limits
from e2ee.arrival import Arrival, StanzaKind
from e2ee.errors import (
    ApiMisuse,
    CannotDecrypt,
    ErrorCode,
    SecretMissing,
)
from e2ee.names import BareJid, Jid, NodeAddress, SecretId
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from ox.grammar import check_passphrase_message
from pubsub_encryption.elements import EncryptedItem
from pubsub_encryption.items import (
    Authorship,
    ClearItem,
    OpenedItem,
    UnreadableItem,
    open_items,
    seal_item,
)
from pubsub_encryption.node_secret import SecretState
from tests.support.node_items import (
    ENGINE,
    ENTRY,
    JULIET,
    KEYCHAIN,
    NODE,
    NOW,
    OTHER_NODE,
    ROMEO,
    TEXT,
    holding,
    holds,
    item,
    opened,
    refusal,
    secret,
)
from tests.support.node_world import entry, stood_in
from tests.support.xml import nested


class TestSeal:
    async def test_an_item_survives_the_wire(self) -> None:
        sealed = await seal_item(ENGINE, secret(), ENTRY)
        assert sealed.get("key") == "s"
        result = await opened(parse_xml(write_xml(sealed)))
        assert isinstance(result, OpenedItem)
        assert result.payload.same_content(ENTRY)
        assert (result.secret_id, result.secret_state) == ("s", SecretState.ACTIVE)
        assert result.arrival == stood_in(NODE)

    @pytest.mark.parametrize(
        "payload",
        [element("", "entry"), parse_xml("<encrypted xmlns='urn:xmpp:openpgp:pubsub:0' key='k'/>")],
    )
    async def test_what_is_no_payload_is_refused(self, payload: Element) -> None:
        with pytest.raises(ApiMisuse):
            await seal_item(ENGINE, secret(), payload)

    @pytest.mark.parametrize(
        "payload",
        [
            entry("x" * (limits.MAX_TEXT_BYTES // 4 * 3)),  # too long once it is base64
            entry("é" * (limits.MAX_TEXT_BYTES - 1)),
            element("urn:x", "many", None, *[element("urn:x", "a")] * limits.MAX_ELEMENTS),
            nested(limits.MAX_PAYLOAD_DEPTH + 1),
            nested(limits.MAX_DEPTH),
        ],
        ids=["text", "references", "elements", "depth", "more depth"],
    )
    async def test_what_we_would_not_read_is_not_written(self, payload: Element) -> None:
        with pytest.raises(ApiMisuse) as error:
            await seal_item(ENGINE, secret(), payload)
        assert error.value.code is ErrorCode.LIMIT_EXCEEDED

    async def test_the_longest_item_that_is_sealed_is_read(self) -> None:
        payload = entry("x" * (limits.MAX_TEXT_BYTES // 4 * 3 - 500))
        sealed = parse_xml(write_xml(await seal_item(ENGINE, secret(), payload)))
        assert isinstance(await opened(sealed), OpenedItem)

    async def test_a_name_that_is_not_ascii_survives(self) -> None:
        payload = element("urn:x", "réponse", {"clé": "ç"}, "où")
        result = await opened(await seal_item(ENGINE, secret(), payload))
        assert isinstance(result, OpenedItem)
        assert result.payload.same_content(payload)

    async def test_n_20_two_items_of_one_payload_have_nothing_in_common(self) -> None:
        """Neither salt nor session key nor text tells the service that two items are equal."""
        messages = [
            EncryptedItem.from_xml(await seal_item(ENGINE, secret(), ENTRY)).ciphertext
            for _ in range(20)
        ]
        parts = [check_passphrase_message(message) for message in messages]
        assert len({part.skesk.s2k.salt for part in parts}) == 20
        assert len({part.skesk.encrypted_key for part in parts}) == 20
        assert len({part.container[1 : 1 + 18] for part in parts}) == 20


class TestPage:
    async def test_a_bad_item_never_spoils_the_others_and_the_order_stays(self) -> None:
        texts = [f"entry {number}" for number in range(6)]
        page = [(await seal_item(ENGINE, secret(), entry(text)), stood_in(NODE)) for text in texts]
        page[1] = (
            parse_xml("<encrypted xmlns='urn:xmpp:openpgp:pubsub:0'>AAAA</encrypted>"),
            page[1][1],
        )
        page[2] = (item(b"\xc3\x00", "s"), page[2][1])
        page[3] = (ENTRY, page[3][1])
        page[4] = (item(holds(write_xml(ENTRY)), "unknown"), page[4][1])
        results = await open_items(ENGINE, KEYCHAIN, page)
        shown = []
        for (_, arrival), result in zip(page, results, strict=True):
            assert result.arrival == arrival
            match result:
                case OpenedItem():
                    shown.append(result.payload.elements[0].text)
                case UnreadableItem():
                    shown.append(result.error.code.value)
                case ClearItem():
                    shown.append("in clear")
        assert shown == [
            "entry 0", "malformed", "malformed", "in clear", "unknown-secret", "entry 5"
        ]  # fmt: skip

    async def test_an_empty_page_is_no_page(self) -> None:
        assert await open_items(ENGINE, KEYCHAIN, []) == ()


async def test_n_07_an_item_of_another_node_is_refused() -> None:
    sealed = await seal_item(ENGINE, secret(), ENTRY)
    for arrival in (
        stood_in(OTHER_NODE),
        stood_in(NodeAddress(ROMEO, "blog")),
        replace(stood_in(NODE), node=None),
        Arrival(StanzaKind.MESSAGE, Jid(JULIET), Jid(ROMEO), node=NODE),
    ):
        result = await opened(sealed, arrival=arrival)
        assert isinstance(result, UnreadableItem)
        assert result.arrival == arrival
        assert result.error.code is ErrorCode.CONTEXT_MISMATCH
    assert isinstance(await opened(sealed), OpenedItem)


async def test_n_07_the_same_id_means_another_secret_in_another_node() -> None:
    other = holding(secret(value="y" * 43), address=OTHER_NODE)
    sealed = await seal_item(ENGINE, secret(), ENTRY)
    assert isinstance(await refusal(sealed, other, stood_in(OTHER_NODE)), CannotDecrypt)
    unknown = await refusal(sealed, holding(address=OTHER_NODE), stood_in(OTHER_NODE))
    assert isinstance(unknown, SecretMissing)
    assert unknown.secret_id == "s"


class TestWhiteSpace:
    """N-08: the specification's example has white space around the secret; who means it differs."""

    SPACED = "\n    " + TEXT + "\n  "

    @pytest.mark.parametrize("meant", [TEXT, SPACED], ids=["trimmed", "as it stood"])
    async def test_n_08_both_readings_of_a_spaced_secret_open(self, meant: str) -> None:
        keychain = holding(secret(value=self.SPACED))
        result = await opened(item(holds(write_xml(ENTRY), meant)), keychain)
        assert isinstance(result, OpenedItem)
        assert result.payload.same_content(ENTRY)

    async def test_n_08_we_mean_the_trimmed_one(self) -> None:
        sealed = await seal_item(ENGINE, secret(value=self.SPACED), ENTRY)
        assert isinstance(await opened(sealed, holding(secret(value=TEXT))), OpenedItem)

    async def test_n_08_a_third_reading_is_not_tried(self) -> None:
        keychain = holding(secret(value=self.SPACED))
        half_trimmed = item(holds(write_xml(ENTRY), self.SPACED.rstrip()))
        assert isinstance(await refusal(half_trimmed, keychain), CannotDecrypt)

    async def test_n_08_a_page_mixes_both_readings(self) -> None:
        keychain = holding(secret(value=self.SPACED))
        page = [
            (item(holds(write_xml(entry(str(n))), meant)), stood_in(NODE))
            for n, meant in enumerate([TEXT, self.SPACED, "wrong", self.SPACED, TEXT])
        ]
        results = await open_items(ENGINE, keychain, page)
        assert [isinstance(result, OpenedItem) for result in results] == [
            True,
            True,
            False,
            True,
            True,
        ]

    async def test_n_08_white_space_that_is_not_xml_is_part_of_the_secret(self) -> None:
        spaced = "\u00a0" + TEXT + "\u2003"
        sealed = await seal_item(ENGINE, secret(value=spaced), ENTRY)
        assert isinstance(await opened(sealed, holding(secret(value=spaced))), OpenedItem)
        assert isinstance(await refusal(sealed), CannotDecrypt)

    async def test_n_08_a_short_or_strange_secret_decrypts(self) -> None:
        for value in ("x", "mot de passe", "пароль", "\U0001f339" * 8):
            result = await opened(
                item(holds(write_xml(ENTRY), value)), holding(secret(value=value))
            )
            assert isinstance(result, OpenedItem)


async def test_n_09_an_item_under_a_revoked_secret_opens_and_says_so() -> None:
    revoked = holding(secret(state=SecretState.REVOKED))
    result = await opened(await seal_item(ENGINE, secret(), ENTRY), revoked)
    assert isinstance(result, OpenedItem)
    assert result.secret_state is SecretState.REVOKED


async def test_n_10_there_is_no_way_to_seal_with_what_is_not_current() -> None:
    older, newer = secret("a"), replace(secret("b"), created=NOW + timedelta(seconds=1))
    assert holding(older, newer).current.id == "b"
    for nothing in (holding(), holding(secret(state=SecretState.REVOKED))):
        with pytest.raises(ApiMisuse):
            _ = nothing.current


@pytest.mark.parametrize(
    "clear", [ENTRY, element("urn:xmpp:openpgp:pubsub:1", "encrypted", {"key": "s"})]
)
async def test_n_14_an_item_in_clear_is_never_given_as_decrypted(clear: Element) -> None:
    result = await opened(clear)
    assert isinstance(result, ClearItem)
    assert not hasattr(result, "authorship")
    assert not hasattr(result, "secret_id")


async def test_n_14_a_secret_that_stands_in_an_item_is_only_an_item() -> None:
    planted = parse_xml(
        "<shared-secret xmlns='urn:xmpp:openpgp:pubsub:0' jid='juliet@capulet.lit' node='blog' "
        f"id='evil' timestamp='2026-11-22T00:00:00Z'>{'e' * 43}</shared-secret>"
    )
    assert isinstance(await opened(planted), ClearItem)
    inside = await opened(await seal_item(ENGINE, secret(), planted))
    assert isinstance(inside, OpenedItem)
    assert KEYCHAIN.find(SecretId("evil")) is None


@pytest.mark.parametrize("publisher", [JULIET, ROMEO, None])
async def test_n_16_the_author_is_any_holder_of_the_secret(publisher: BareJid | None) -> None:
    """Romeo, a member, writes in Juliet's name, and the service says that she published it."""
    atom = "http://www.w3.org/2005/Atom"
    author = element(atom, "author", None, element(atom, "uri", None, "xmpp:juliet@capulet.lit"))
    forged = await seal_item(ENGINE, secret(), element(atom, "entry", None, author))
    result = await opened(forged, arrival=stood_in(NODE, publisher))
    assert isinstance(result, OpenedItem)
    assert result.authorship is Authorship.NODE_KEY_HOLDER


async def test_n_18_a_type_that_lies_changes_nothing() -> None:
    lying = replace(secret(), type="http://jabber.org/protocol/geoloc")
    result = await opened(await seal_item(ENGINE, lying, ENTRY), holding(lying))
    assert isinstance(result, OpenedItem)
    assert result.payload.same_content(ENTRY)
