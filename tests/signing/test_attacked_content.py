"""What was signed: items and signatures that were changed, wrapped or read in another way.

Rule: one attack each, made by whoever can make it, against a reader who knows all keys.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from e2ee import ns
from e2ee.attachments import Attachments
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved
from e2ee.xmltree import Attribute, Element, element
from ox.packets import Tag, write_packet
from pubsub_encryption import NodeEncryption
from signing.elements import Signature
from signing.openpgp import seal_sign
from signing.profile import bare_item
from signing.readings import Reading, signed_bytes
from signing.signatures import ItemSignatures
from signing.signed_by import SignedBy, find_signatures
from signing.verdict import Verdict
from tests.support.forge import (
    SignatureKind,
    one_pass_message,
    sign,
)
from tests.support.item_pairs import PAIRS
from tests.support.ox_world import refused
from tests.support.signed_items import (
    JULIET,
    NODE,
    TYBALT,
    Scene,
    item_of,
    own,
    post,
    refusal,
    rewritten,
    stated,
    xml_of,
)


def with_sign(by: SignedBy, packets: bytes) -> SignedBy:
    """Return a signature with other octets of OpenPGP."""
    signature = Signature.from_xml(by.signature)
    return SignedBy(by.publisher, replace(signature, profile=seal_sign(packets)).to_xml())


class TestContent:
    @pytest.mark.parametrize(
        "text",
        [
            "<entry xmlns='urn:x'><a/><b k='1'>text.</b></entry>",
            "<entry xmlns='urn:x'><a/><b k='2'>text</b></entry>",
            "<entry xmlns='urn:x'><a/><b k='1' l='1'>text</b></entry>",
            "<entry xmlns='urn:x'><a/><b>text</b></entry>",
            "<entry xmlns='urn:x'><b k='1'>text</b><a/></entry>",
            "<entry xmlns='urn:x'><a/><b k='1'>text</b><a/></entry>",
            "<entry xmlns='urn:x'><b k='1'>text</b></entry>",
            "<entry xmlns='urn:y'><a/><b k='1'>text</b></entry>",
            "<entry xmlns='urn:x'><a xmlns=''/><b k='1'>text</b></entry>",
            "<p:entry xmlns:p='urn:x'><p:a/><p:b k='1'>text</p:b></p:entry>",
            "<entry xmlns='urn:x'><a/><b xmlns:p='urn:x' p:k='1'>text</b></entry>",
            "<entry xmlns='urn:x' xml:lang='it'><a/><b k='1'>text</b></entry>",
            "<entry xmlns='urn:x'><a/><b k='1'>te<c/>xt</b></entry>",
            "<entry xmlns='urn:x'><a/><b k='1'>te xt</b></entry>",
        ],
    )
    async def test_q_05_an_item_that_was_replaced(self, scene: Scene, text: str) -> None:
        item = item_of(xml_of("<entry xmlns='urn:x'><a/><b k='1'>text</b></entry>"))
        genuine = scene.signed(scene.juliet, item)
        assert refusal(await scene.verify(item_of(xml_of(text)), genuine)) is (
            ErrorCode.BAD_SIGNATURE
        )
        assert (await scene.verify(item, genuine)).require()

    @pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
    async def test_q_08_pairs_with_one_canonical_form(
        self, scene: Scene, one: str, other: str
    ) -> None:
        """Whichever of two was signed, by whatever program: never are both plainly valid."""
        items = [item_of(xml_of(each)) for each in (one, other)]
        for original, reading in product(items, Reading):
            try:
                signed = scene.signed(scene.juliet, original, reading=reading)
            except ApiMisuse:  # a form that nobody can sign
                continue
            verdicts = [(await scene.verify(each, signed)).verdict for each in items]
            assert verdicts.count(Verdict.TRUSTED) <= 1
            assert set(verdicts) <= {Verdict.TRUSTED, Verdict.AMBIGUOUS, Verdict.INVALID}
            if verdicts.count(Verdict.INVALID) == 0:
                assert Verdict.AMBIGUOUS in verdicts

    @pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
    async def test_x_17_what_we_sign_of_a_pair_is_good_for_nothing_else(
        self, scene: Scene, one: str, other: str
    ) -> None:
        signatures = ItemSignatures(scene.juliet.ox)
        for text, others in ((one, other), (other, one)):
            try:
                signed = await signatures.sign(xml_of(text), NODE)
            except ApiMisuse:  # outside of the profile
                continue
            by = SignedBy(scene.juliet.jid, signed.signature)
            assert (await scene.verify(item_of(signed.payload), by)).require()
            shown = xml_of(others)
            preserving = replace(shown, attributes=(Attribute("space", "preserve", ns.XML, "xml"),))
            for each in (shown, preserving):
                if each != signed.payload:
                    found = await scene.verify(item_of(each), by)
                    assert found.verdict in (Verdict.INVALID, Verdict.AMBIGUOUS)

    async def test_q_08_ambiguous_is_refused_and_says_why(self, scene: Scene) -> None:
        item = item_of(xml_of("<value>  pay 10</value>"))
        found = await scene.verify(item, scene.signed(scene.juliet, item))
        assert (found.verdict, found.signers[0].verdict) == (Verdict.AMBIGUOUS, Verdict.AMBIGUOUS)
        assert found.signers[0].ambiguities
        with pytest.raises(PeerMisbehaved) as caught:
            found.require()
        assert caught.value.code is ErrorCode.AMBIGUOUS
        assert found.require(Verdict.AMBIGUOUS) == item.elements[0]

    @pytest.mark.parametrize(
        "text",
        [
            "<p:v xmlns:p='urn:x'/>",
            "<v xmlns:p='urn:x' p:k='1'/>",
            "<v xmlns:x='urn:one' t='x:y'/>",
            "<v>x&#13;y</v>",
            "<v k='x&#9;y'/>",
            "<v> x<w xml:space='default'> y</w></v>",
        ],
    )
    async def test_q_09_nothing_outside_of_the_profile_is_signed(
        self, scene: Scene, text: str
    ) -> None:
        async with refused(ErrorCode.AMBIGUOUS, scene.juliet):
            await ItemSignatures(scene.juliet.ox).sign(xml_of(text), NODE)

    @pytest.mark.parametrize("reading", Reading)
    async def test_q_10_each_reading_is_said(self, scene: Scene, reading: Reading) -> None:
        item = item_of(xml_of("<v xmlns='urn:x' é='1' xml:lang='it'/>"))
        found = await scene.verify(item, scene.signed(scene.juliet, item, reading=reading))
        assert (found.verdict, found.signers[0].reading) == (Verdict.TRUSTED, reading)

    @pytest.mark.parametrize("namespace", [ns.PUBSUB_SIGNATURE, "", ns.PUBSUB])
    async def test_q_10_an_attachment_has_one_namespace(self, scene: Scene, namespace: str) -> None:
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        renamed = replace(genuine.signature, namespace=namespace)
        by = replace(genuine, signature=renamed)
        assert refusal(await scene.verify(item, by)) is ErrorCode.MALFORMED

    async def test_q_10_a_signer_has_two_forms_and_one_meaning(self, scene: Scene) -> None:
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        time = genuine.signature.elements[0]
        named = rewritten(genuine, time, own("signer", {"jid": JULIET}))
        assert (await scene.verify(item, named)).require()
        for signer in (
            own("signer", {"jid": JULIET}, TYBALT),
            own("signer", {"jid": TYBALT}, JULIET),
            own("signer", None, f"{JULIET}/balcony"),
            own("signer"),
        ):
            confused = rewritten(genuine, time, signer)
            assert refusal(await scene.verify(item, confused)) is ErrorCode.MALFORMED

    async def test_q_11_only_detached_binary_signatures(self, scene: Scene) -> None:
        item, statement = item_of(post()), stated(scene.juliet)
        genuine = scene.signed(scene.juliet, item, statement)
        key = scene.keys[scene.juliet.jid].primary
        data = signed_bytes(bare_item(item), NODE.service, statement)
        good, bad = sign(key, data), sign(scene.keys[scene.tybalt.jid].primary, data)
        cases = {
            one_pass_message(data, good): ErrorCode.BAD_SIGNATURE,
            write_packet(Tag.LITERAL, b"b\0\0\0\0\0" + data): ErrorCode.BAD_SIGNATURE,
            b"-----BEGIN PGP SIGNATURE-----\n": ErrorCode.MALFORMED,
            b"\0": ErrorCode.MALFORMED,
            good[:-1]: ErrorCode.MALFORMED,
            sign(key, data, SignatureKind.TEXT): ErrorCode.BAD_SIGNATURE,
            sign(key, data, SignatureKind.STANDALONE): ErrorCode.BAD_SIGNATURE,
            sign(key, data, hash_name="sha1"): ErrorCode.BAD_SIGNATURE,
            good + bad: ErrorCode.BAD_SIGNATURE,
            bad + good: ErrorCode.BAD_SIGNATURE,
            good + sign(key, data + b" "): ErrorCode.BAD_SIGNATURE,
            good * 9: ErrorCode.LIMIT_EXCEEDED,
        }
        for packets, code in cases.items():
            assert refusal(await scene.verify(item, with_sign(genuine, packets))) is code
        assert (await scene.verify(item, with_sign(genuine, good * 2))).require()

    async def test_q_12_cipher_text_in_place_of_plain_text(self, scene: Scene) -> None:
        """A signature over one is none over the other."""
        own_node = replace(NODE, service=scene.juliet.jid)
        node = NodeEncryption(own_node, scene.juliet.ox)
        await node.create()
        plain, cipher = item_of(post()), item_of(await node.encrypt(post()))
        over_plain, over_cipher = (scene.signed(scene.juliet, each) for each in (plain, cipher))
        for item, by in ((plain, over_cipher), (cipher, over_plain)):
            assert refusal(await scene.verify(item, by)) is ErrorCode.BAD_SIGNATURE

    async def test_q_16_other_attachments_stay(self, scene: Scene) -> None:
        """Whoever attaches a signature puts it in the place of their former one alone."""
        item = item_of(post())
        before = Attachments.from_xml(
            element(
                ns.PUBSUB_ATTACHMENTS,
                "attachments",
                None,
                element(ns.PUBSUB_ATTACHMENTS, "noticed"),
                scene.signed(scene.juliet, item_of(post("older"))).signature,
                element("urn:x", "unknown", {"k": "v"}),
            )
        )
        signed = await ItemSignatures(scene.juliet.ox).sign(post(), NODE)
        after = Attachments.from_xml(before.replacing(signed.signature).to_xml())
        assert after.noticed == before.noticed
        assert element("urn:x", "unknown", {"k": "v"}) in after.others
        (by,) = find_signatures(scene.juliet.jid, after)
        assert (await scene.verify(item, by)).require()

    @pytest.mark.parametrize(
        "item",
        [
            element(ns.PUBSUB, "item", None, post(), post()),
            element(ns.PUBSUB, "item", None, item_of(post())),
            element(ns.PUBSUB, "item", None, "text", post()),
            element(ns.PUBSUB, "item"),
            element(ns.PUBSUB, "items", None, item_of(post())),
            post(),
        ],
    )
    async def test_x_16_no_item_but_one_with_one_payload(self, scene: Scene, item: Element) -> None:
        async with refused(ErrorCode.MALFORMED, scene.nurse):
            await scene.verify(item, scene.signed(scene.juliet, item_of(post())))

    async def test_x_16_wrapped_signatures(self, scene: Scene) -> None:
        """What is in or around an element that was signed is not verified with it."""
        item = item_of(post())
        genuine = scene.signed(scene.juliet, item)
        hidden = element("urn:x", "wrapper", None, item.elements[0], post("Kill Romeo"))
        assert refusal(await scene.verify(item_of(hidden), genuine)) is ErrorCode.BAD_SIGNATURE
        more = rewritten(genuine, *genuine.signature.elements[:-1], item)
        assert refusal(await scene.verify(item, more)) is ErrorCode.UNSUPPORTED_ALGORITHM
