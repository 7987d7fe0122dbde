"""What the stanzas of an archive hold, and whose word counts for where it stood."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from e2ee.arrival import StanzaKind
from e2ee.errors import ErrorCode
from e2ee.names import BareJid, Jid, NodeAddress
from e2ee.xmlparse import parse_xml
from xmpp_e2ee.archived import ArchivedItem, ArchivedMessage, Entry, Unusable, entries_of

JULIET = BareJid.parse("juliet@capulet.lit")
STAMP = "2010-07-10T23:08:25Z"
DELAY = f"<delay xmlns='urn:xmpp:delay' stamp='{STAMP}'/>"
MESSAGE = (
    "<message xmlns='jabber:client' from='romeo@montague.lit/orchard' to='juliet@capulet.lit'>"
    "<body>Hark</body></message>"
)


def result(content: str = DELAY + MESSAGE, attributes: str = "") -> str:
    return (
        f"<message xmlns='jabber:client' {attributes}><result xmlns='urn:xmpp:mam:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{content}</forwarded></result></message>"
    )


def carbon(attributes: str, delay: str) -> str:
    return (
        f"<message xmlns='jabber:client' {attributes}><received xmlns='urn:xmpp:carbons:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{delay}{MESSAGE}</forwarded></received></message>"
    )


def entries(stanza: str) -> list[Entry]:
    return list(entries_of(parse_xml(stanza), JULIET))


def code(stanza: str) -> ErrorCode:
    (entry,) = entries(stanza)
    assert isinstance(entry, Unusable), entry
    return entry.error.code


class TestResults:
    @pytest.mark.parametrize(
        "attributes",
        [
            "",
            "from='juliet@capulet.lit'",
            "to='juliet@capulet.lit/x'",
            "from='JULIET@capulet.lit.'",
        ],
    )
    def test_a_message_comes_with_its_own_facts(self, attributes: str) -> None:
        (entry,) = entries(result(attributes=attributes))
        assert isinstance(entry, ArchivedMessage)
        arrival = entry.arrival
        assert arrival.sender == Jid.parse("romeo@montague.lit/orchard")
        assert arrival.to == Jid(JULIET)
        assert arrival.stamp == datetime(2010, 7, 10, 23, 8, 25, tzinfo=UTC)
        assert not arrival.is_live
        assert [child.text for child in entry.children] == ["Hark"]
        assert str(entry) == f"message from romeo@montague.lit/orchard of {STAMP}"

    @pytest.mark.parametrize(
        "attributes",
        [
            "from='mallory@example.org'",
            "from='capulet.lit'",
            "from='juliet@capulet.lit/phone'",
            "from='juliet@capulet.lit' to='romeo@montague.lit'",
            "to='romeo@montague.lit'",
        ],
    )
    def test_s_14_of_another_archive_it_is_refused(self, attributes: str) -> None:
        assert code(result(attributes=attributes)) is ErrorCode.FORBIDDEN

    def test_s_14_a_wrapper_in_an_archived_message_is_not_taken_off(self) -> None:
        """Whoever sent it could have put any message of anybody into it."""
        for wrapper in (result(), carbon("from='juliet@capulet.lit'", DELAY)):
            posing = wrapper.replace("<message ", "<message from='mallory@example.org' ", 1)
            posing = posing.replace("from='juliet@capulet.lit'", "", 1)
            (entry,) = entries(result(DELAY + posing))
            assert isinstance(entry, ArchivedMessage)
            assert str(entry.arrival.sender) == "mallory@example.org"
            assert entry.children[0].name in ("result", "received")

    @pytest.mark.parametrize(
        "content",
        [
            "",
            MESSAGE,
            DELAY,
            DELAY + DELAY + MESSAGE,
            DELAY + MESSAGE + MESSAGE,
            DELAY.replace("stamp", "when") + MESSAGE,
            DELAY.replace("2010", "year") + MESSAGE,
            DELAY + MESSAGE.replace("from", "by"),
            DELAY + MESSAGE.replace("romeo@", "@"),
            DELAY + MESSAGE.replace("jabber:client", "jabber:other"),
        ],
    )
    def test_what_is_malformed_is_refused(self, content: str) -> None:
        assert code(result(content)) is ErrorCode.MALFORMED

    def test_so_are_two_results_in_one(self) -> None:
        one = result()
        start, end = one.index("<result"), one.rindex("</message>")
        assert code(one[:end] + one[start:]) is ErrorCode.MALFORMED


class TestMessages:
    def test_without_a_stamp_nobody_says_when_it_came(self) -> None:
        """It would count as live: its time would be judged by the present, and be answered."""
        assert code(MESSAGE) is ErrorCode.MALFORMED

    @pytest.mark.parametrize("by", ["capulet.lit", "juliet@capulet.lit"])
    def test_our_own_server_may_say_it(self, by: str) -> None:
        delay = DELAY.replace("stamp", f"from='{by}' stamp")
        (entry,) = entries(MESSAGE.replace("</message>", f"{delay}</message>"))
        assert isinstance(entry, ArchivedMessage)
        assert not entry.arrival.is_live

    @pytest.mark.parametrize("by", ["montague.lit", "romeo@montague.lit", ""])
    def test_nobody_else_may(self, by: str) -> None:
        delay = DELAY.replace("stamp", f"from='{by}' stamp")
        assert code(MESSAGE.replace("</message>", f"{delay}</message>")) is ErrorCode.MALFORMED

    def test_s_14_a_carbon_is_our_own_servers(self) -> None:
        delay = DELAY.replace("stamp", "from='capulet.lit' stamp")
        (entry,) = entries(carbon("from='juliet@capulet.lit'", delay))
        assert isinstance(entry, ArchivedMessage)
        for from_ in ("mallory@example.org", "capulet.lit", "juliet@capulet.lit/phone"):
            assert code(carbon(f"from='{from_}'", delay)) is ErrorCode.FORBIDDEN

    def test_errors_and_requests_say_nothing(self) -> None:
        bounced = MESSAGE.replace("<message ", "<message type='error' ")
        assert entries(result(DELAY + bounced)) == []
        assert (
            entries("<iq xmlns='jabber:client' type='get'><ping xmlns='urn:xmpp:ping'/></iq>") == []
        )
        assert (
            entries("<iq xmlns='jabber:client' type='result'><fin xmlns='urn:xmpp:mam:2'/></iq>")
            == []
        )


class TestItems:
    ITEMS = "<items node='blog'><item id='1' {}><a xmlns='urn:x'/></item></items>"

    def answer(self, items: str, attributes: str = "from='pubsub.capulet.lit'") -> str:
        return (
            f"<iq xmlns='jabber:client' type='result' {attributes}>"
            f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub></iq>"
        )

    def test_an_answer_says_in_which_node_they_stand(self) -> None:
        (entry,) = entries(self.answer(self.ITEMS.format("publisher='romeo@montague.lit'")))
        assert isinstance(entry, ArchivedItem)
        assert entry.address == NodeAddress(BareJid.parse("pubsub.capulet.lit"), "blog")
        assert entry.arrival.kind is StanzaKind.ITEM
        assert (entry.arrival.node, entry.arrival.item_id) == (entry.address, "1")
        assert str(entry.arrival.sender) == "romeo@montague.lit"
        assert str(entry) == "item 1 in blog at pubsub.capulet.lit"

    def test_without_a_sender_it_is_of_the_account_itself(self) -> None:
        (entry,) = entries(self.answer(self.ITEMS.format(""), ""))
        assert isinstance(entry, ArchivedItem)
        assert entry.address.service == JULIET

    def test_a_bad_item_stops_no_other(self) -> None:
        items = (
            "<items node='blog'><item><a xmlns='urn:x'/></item>"
            "<item id='1'><a xmlns='urn:x'/><a xmlns='urn:x'/></item><item id='2'/>"
            "<item id='3' publisher='@'><a xmlns='urn:x'/></item>"
            "<item id='4'><a xmlns='urn:x'/></item></items>"
        )
        found = entries(self.answer(items))
        assert [type(each) for each in found].count(Unusable) == 3
        assert isinstance(found[-1], ArchivedItem)
        assert found[-1].arrival.item_id == "4"

    @pytest.mark.parametrize("items", ["<items/>", "<items node=''/>", ITEMS.format("") * 2])
    def test_a_node_has_a_name(self, items: str) -> None:
        found = entries(self.answer(items))
        assert all(isinstance(each, ArchivedItem) for each in found) == ("blog" in items)
        assert found

    def test_an_event_in_a_message_has_some_too(self) -> None:
        event = (
            "<message xmlns='jabber:client' from='pubsub.capulet.lit' to='juliet@capulet.lit'>"
            "<event xmlns='http://jabber.org/protocol/pubsub#event'>"
            f"{self.ITEMS.format('')}</event></message>"
        )
        for stanza in (event, result(DELAY + event)):
            (entry,) = entries(stanza)
            assert isinstance(entry, ArchivedItem)
            assert str(entry.address) == "blog at pubsub.capulet.lit"
