"""Effects: what they print, how they are stored, and what to do when one is refused."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.effect_record import effect_from_fields, effect_to_fields
from e2ee.effects import (
    ACCESS_MODEL,
    MAX_ITEMS,
    PERSIST_ITEMS,
    Affiliate,
    Affiliation,
    Configure,
    Create,
    Delete,
    Effect,
    NodeConfig,
    Publish,
    Retract,
    Send,
    Subscribe,
    Unsubscribe,
    fulfilled,
    remedy,
)
from e2ee.errors import ErrorCode, StoreFailed
from e2ee.names import BareJid, ItemId, NodeAddress
from e2ee.xmlnames import NOT_CHAR
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import element

JULIET = BareJid.parse("juliet@capulet.lit")
ROMEO = BareJid.parse("romeo@montague.lit")
BLOG = NodeAddress(JULIET, "blog/ö '\"")  # a node's name is the service's business
CONFIG: NodeConfig = ((ACCESS_MODEL, "whitelist"), (MAX_ITEMS, "max"))
PAYLOAD = parse_xml("<a:entry xmlns:a='urn:x' a:b='&quot;&#10;'>ö&lt;<c/></a:entry>")
STORE = parse_xml("<store xmlns='urn:xmpp:hints'/>")

EFFECTS: tuple[Effect, ...] = (
    Publish(BLOG, ItemId("1"), PAYLOAD, CONFIG),
    Publish(BLOG, None, PAYLOAD),
    Retract(BLOG, ItemId("")),
    Create(BLOG, CONFIG),
    Create(BLOG),
    Configure(BLOG, CONFIG),
    Delete(BLOG),
    *(Affiliate(BLOG, ROMEO, affiliation) for affiliation in Affiliation),
    Subscribe(BLOG),
    Unsubscribe(BLOG, ROMEO),
    Send(ROMEO, (PAYLOAD, STORE), "stanza-1"),
    Send(ROMEO, (), ""),
)


# What XML can hold (XML 1.0 §2.2); anything else is no name of a node.
NODES = st.text(min_size=1).filter(lambda node: not NOT_CHAR.search(node))


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
def test_a_stored_effect_is_the_same_effect(effect: Effect) -> None:
    fields = json.loads(json.dumps(effect_to_fields(effect)))
    assert effect_from_fields(fields) == effect


@given(NODES, st.text(), st.text(), st.lists(st.tuples(st.text(), st.text())))
def test_r_14_any_text_in_a_name_is_kept(
    node: str, item: str, stanza_id: str, config: list[tuple[str, str]]
) -> None:
    address = NodeAddress(JULIET, node)
    for effect in (
        Publish(address, ItemId(item), PAYLOAD, tuple(config)),
        Retract(address, ItemId(item)),
        Configure(address, tuple(config)),
        Send(ROMEO, (), stanza_id),
    ):
        assert effect_from_fields(json.loads(json.dumps(effect_to_fields(effect)))) == effect


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
def test_r_04_a_stored_effect_with_any_field_spoiled_is_corrupt(effect: Effect) -> None:
    fields = effect_to_fields(effect)
    spoiled = [{name: fields[name] for name in fields if name != left} for left in fields]
    for name in fields:
        spoiled += [{**fields, name: wrong} for wrong in (0, True, [1], [[1, "a"]], {"a": 1})]
        if name not in ("node", "item", "id"):  # any text will do for these
            spoiled.append({**fields, name: "@"})
        if name != "item":
            spoiled.append({**fields, name: None})
    for wrong in spoiled:
        with pytest.raises(StoreFailed) as failure:
            effect_from_fields(wrong)
        assert failure.value.code is ErrorCode.STORE_CORRUPT


def test_z_01_an_effect_prints_nothing_of_its_content() -> None:
    secret = element("urn:x", "entry", {"key": "canary"}, "canary")
    for effect in (Publish(BLOG, ItemId("1"), secret), Send(ROMEO, (secret,), "1")):
        assert "canary" not in repr(effect) + str(effect) + f"{[effect]}"


def test_effects_are_values() -> None:
    assert Publish(BLOG, None, PAYLOAD) == Publish(BLOG, None, PAYLOAD)
    assert len({*EFFECTS, *EFFECTS}) == len(EFFECTS)
    with pytest.raises(FrozenInstanceError):
        EFFECTS[0].address = BLOG  # type: ignore[misc,union-attr]


@pytest.mark.parametrize("condition", ["precondition-not-met", "conflict"])
def test_a_publication_whose_preconditions_fail_is_configured_for_and_repeated(
    condition: str,
) -> None:
    publish = Publish(BLOG, ItemId("1"), PAYLOAD, CONFIG)
    assert remedy(publish, condition) == (Configure(BLOG, CONFIG), publish)


def test_what_a_service_does_not_know_as_a_precondition_is_configured_first() -> None:
    """Such as ejabberd 23, for every publication with ``max_items``, be the node there or not."""
    options: NodeConfig = ((ACCESS_MODEL, "open"), (PERSIST_ITEMS, "true"), (MAX_ITEMS, "max"))
    publish = Publish(BLOG, ItemId("1"), PAYLOAD, options)
    create, configure, again = remedy(publish, "resource-constraint")
    assert (create, configure) == (Create(BLOG), Configure(BLOG, options))
    assert fulfilled(create, "conflict")
    assert again == Publish(BLOG, ItemId("1"), PAYLOAD, options[:2])
    assert remedy(again, "resource-constraint") == ()  # the service has another reason


def test_a_node_that_exists_is_configured() -> None:
    assert remedy(Create(BLOG, CONFIG), "conflict") == (Configure(BLOG, CONFIG),)


def test_nothing_else_has_a_remedy() -> None:
    for effect in EFFECTS:
        assert remedy(effect, "forbidden") == ()
        if not isinstance(effect, Create | Publish) or effect in (
            Create(BLOG),
            Publish(BLOG, None, PAYLOAD),
        ):
            assert remedy(effect, "conflict") == remedy(effect, "precondition-not-met") == ()


def test_what_was_performed_before_is_fulfilled() -> None:
    assert fulfilled(Retract(BLOG, ItemId("a")), "item-not-found")
    assert fulfilled(Delete(BLOG), "item-not-found")
    assert fulfilled(Unsubscribe(BLOG, ROMEO), "item-not-found")
    assert fulfilled(Affiliate(BLOG, ROMEO, Affiliation.NONE), "item-not-found")
    assert not fulfilled(Affiliate(BLOG, ROMEO, Affiliation.MEMBER), "item-not-found")
    assert fulfilled(Create(BLOG), "conflict")
    assert not fulfilled(Create(BLOG, CONFIG), "conflict")  # it may be configured otherwise
    assert not fulfilled(Delete(BLOG), "forbidden")
