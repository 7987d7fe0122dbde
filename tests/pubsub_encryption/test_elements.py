"""The elements of XEP-0473: what is written, and what is refused when read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from e2ee import limits
from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.names import BareJid, NodeAddress, SecretId
from e2ee.secret import Secret
from e2ee.xmlparse import parse_xml
from e2ee.xmlwrite import write_xml
from pubsub_encryption.elements import EncryptedItem, Reason, Revoke, SharedSecret

NODE = NodeAddress(BareJid.parse("pubsub.capulet.lit"), "123abc")
NS = "urn:xmpp:openpgp:pubsub:0"
SECRET = "ZSRD5lK9mz-5VHNyu2N1XLiJZ8I87jkv85ceZkVrOGA"


def code_of(kind: type[EncryptedItem] | type[SharedSecret] | type[Revoke], xml: str) -> ErrorCode:
    with pytest.raises(PeerMisbehaved) as error:
        kind.from_xml(parse_xml(xml))
    return error.value.code


class TestEncryptedItem:
    def test_it_survives_the_wire(self) -> None:
        item = EncryptedItem(SecretId("a"), b"\x00\xff" * 40)
        assert EncryptedItem.from_xml(parse_xml(write_xml(item.to_xml()))) == item

    @pytest.mark.parametrize(
        "xml",
        [
            f"<encrypted xmlns='{NS}'>AAAA</encrypted>",
            f"<encrypted xmlns='{NS}' key=''>AAAA</encrypted>",
            f"<encrypted xmlns='{NS}' secret='a'>AAAA</encrypted>",
            f"<encrypted xmlns='{NS}' xmlns:p='{NS}' p:key='a'>AAAA</encrypted>",
            f"<encrypted xmlns='{NS}' key='{'k' * 257}'>AAAA</encrypted>",
            f"<encrypted xmlns='{NS}' key='a'>AAA</encrypted>",
            f"<encrypted xmlns='{NS}' key='a'>A*AA</encrypted>",
            "<encrypted xmlns='urn:other' key='a'>AAAA</encrypted>",
        ],
    )
    def test_n_15_without_a_key_or_proper_base64_it_is_malformed(self, xml: str) -> None:
        assert code_of(EncryptedItem, xml) is ErrorCode.MALFORMED


class TestSharedSecret:
    def test_the_example_of_the_specification_is_read(self) -> None:
        shared = SharedSecret.from_xml(
            parse_xml(
                f"""<shared-secret xmlns='{NS}' jid='pubsub.capulet.lit' node='123abc'
                id='1234-abcd-5678-efgh' timestamp='2022-10-10T13:24:31Z'
                type='http://www.w3.org/2005/Atom'>
                  {SECRET}
                </shared-secret>"""
            )
        )
        assert shared.address == NODE
        assert shared.created == datetime(2022, 10, 10, 13, 24, 31, tzinfo=UTC)
        assert shared.value.reveal().strip() == SECRET.encode()
        assert not shared.revoked
        assert shared.type == "http://www.w3.org/2005/Atom"

    @pytest.mark.parametrize("revoked", [True, False])
    def test_it_survives_the_wire(self, revoked: bool) -> None:
        shared = SharedSecret(
            NODE,
            SecretId("a"),
            Secret(SECRET.encode()),
            datetime(2026, 1, 2, tzinfo=UTC),
            revoked,
            "t",
        )
        assert SharedSecret.from_xml(parse_xml(write_xml(shared.to_xml()))) == shared

    def test_nothing_surrounds_a_secret_that_we_write(self) -> None:
        shared = SharedSecret(NODE, SecretId("a"), Secret(b"x"), datetime(2026, 1, 2, tzinfo=UTC))
        assert shared.to_xml().children == ("x",)

    @pytest.mark.parametrize("lexical", ["TRUE", "yes", "", " maybe"])
    def test_revoked_is_an_xml_schema_boolean(self, lexical: str) -> None:
        xml = self._xml(f"revoked='{lexical}'")
        assert code_of(SharedSecret, xml) is ErrorCode.MALFORMED

    def test_one_and_true_mean_revoked(self) -> None:
        for lexical in ("1", "true"):
            assert SharedSecret.from_xml(parse_xml(self._xml(f"revoked='{lexical}'"))).revoked

    @pytest.mark.parametrize("stamp", ["2022-10-10T13:24:31", "2022-10-10", "yesterday", ""])
    def test_n_05_a_naive_or_broken_stamp_is_malformed(self, stamp: str) -> None:
        xml = self._xml("").replace("2022-10-10T13:24:31Z", stamp)
        assert code_of(SharedSecret, xml) is ErrorCode.MALFORMED

    @pytest.mark.parametrize("text", ["", "  \n ", "<b xmlns='urn:x'>x</b>"])
    def test_n_08_an_empty_secret_is_malformed(self, text: str) -> None:
        assert code_of(SharedSecret, self._xml("").replace(SECRET, text)) is ErrorCode.MALFORMED

    def test_n_08_an_oversized_secret_is_refused(self) -> None:
        xml = self._xml("").replace(SECRET, "x" * (limits.MAX_SECRET_BYTES + 1))
        assert code_of(SharedSecret, xml) is ErrorCode.LIMIT_EXCEEDED

    @pytest.mark.parametrize("missing", ["jid", "node", "id", "timestamp"])
    def test_every_required_attribute_is_required(self, missing: str) -> None:
        xml = self._xml("").replace(f" {missing}=", f" not-{missing}=")
        assert code_of(SharedSecret, xml) is ErrorCode.MALFORMED

    @pytest.mark.parametrize("jid", ["pubsub.capulet.lit/resource", "a@b@c", ""])
    def test_the_service_is_a_bare_jid(self, jid: str) -> None:
        xml = self._xml("").replace("jid='pubsub.capulet.lit'", f"jid='{jid}'")
        assert code_of(SharedSecret, xml) is ErrorCode.MALFORMED

    def test_its_repr_does_not_print_the_secret(self) -> None:
        assert SECRET not in repr(SharedSecret.from_xml(parse_xml(self._xml(""))))

    @staticmethod
    def _xml(more: str) -> str:
        return (
            f"<shared-secret xmlns='{NS}' jid='pubsub.capulet.lit' node='123abc' id='a' "
            f"timestamp='2022-10-10T13:24:31Z' {more}>{SECRET}</shared-secret>"
        )


class TestRevoke:
    def test_it_survives_the_wire_with_reasons_in_languages(self) -> None:
        revoke = Revoke(
            NODE, SecretId("a"), (Reason("gone"), Reason("parti", "fr"), Reason("", "de"))
        )
        assert Revoke.from_xml(parse_xml(write_xml(revoke.to_xml()))) == revoke

    def test_two_reasons_in_one_language_are_malformed(self) -> None:
        xml = (
            f"<revoke xmlns='{NS}' jid='pubsub.capulet.lit' node='n' id='a'>"
            "<reason xml:lang='en'>a</reason><reason xml:lang='en'>b</reason></revoke>"
        )
        assert code_of(Revoke, xml) is ErrorCode.MALFORMED
