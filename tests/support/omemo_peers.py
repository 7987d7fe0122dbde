"""Devices of python-omemo, each in a program of its own, among ours in a world of OMEMO.

Rule: plumbing, and envelopes as Libervia writes them; nothing here uses our own code for what is
encrypted, so that two mistakes cannot cancel each other out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from e2ee import ns
from e2ee.names import BareJid, Jid
from e2ee.omemo.device import Device, DeviceId
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.version import Version, bundle_fetch, devices_fetch
from e2ee.storage import Store
from e2ee.trust import BlindTrustBeforeVerification
from e2ee.xmlparse import parse_xml
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from tests.support.omemo_world import Letter, Party, World, body
from tests.support.peers import require_debian_python, require_module
from tests.support.source import ROOT

__all__ = [
    "BOTH",
    "JULIET",
    "NURSE",
    "ROMEO",
    "PeerDevice",
    "PeerRefused",
    "Peers",
    "exchanges",
    "ours",
    "peer_python",
    "say",
    "settle",
    "text_of",
    "written",
]

JULIET, ROMEO, NURSE = "juliet@capulet.example", "romeo@montague.example", "nurse@capulet.example"
BOTH = (Version.TWO, Version.LEGACY)

_PROGRAM = ROOT / "tests" / "interop" / "omemo_peer.py"
_PACKAGES = ("oldmemo", "omemo", "twomemo", "xmlschema")
_SCE = "{urn:xmpp:sce:1}"
_ROUNDS = 20


Peers = Callable[..., "PeerDevice"]
"""Makes a device of the peer: its JID, the versions that it speaks, and its release if another."""


class PeerRefused(Exception):
    """The peer raised an error; its class comes first, its words second."""


def peer_python(release: int) -> str:
    """Return a Python that has python-omemo: 2 as pip installs it, 1 as Debian does; or skip."""
    if release == 1:
        return require_debian_python(*_PACKAGES)
    for name in _PACKAGES:
        require_module(name)
    return sys.executable


class PeerDevice:
    """One device of python-omemo; its state is in a file, and everything else in the world.

    Attributes:
        device: its name.
    """

    def __init__(
        self,
        world: World,
        jid: str,
        python: str,
        state: Path,
        versions: Sequence[Version] = (Version.TWO,),
    ) -> None:
        """Start the program; a new device is made where there is no file."""
        self.world = world
        self.jid = BareJid.parse(jid)
        self.versions = versions
        self.letters_read = 0
        self._command = [python, str(_PROGRAM), str(state), jid, *versions]
        self._start()
        own = self._ask("own")
        self.device = Device(self.jid, DeviceId(own["device"]))

    @property
    def address(self) -> Jid:
        """The full JID of its stream."""
        return Jid(self.jid, f"device-{self.device.id}")

    def _start(self) -> None:
        self._program = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> None:
        """End the program."""
        with self._program as program:
            program.kill()

    def restart(self) -> None:
        """End the program, and start it anew on its file."""
        self.stop()
        self._start()

    # -- messages

    def encrypt(
        self, text: str, *to: BareJid, room: BareJid | None = None, version: Version | None = None
    ) -> tuple[Element, ...]:
        """Encrypt a body for all devices of ``to``, and for its own others.

        Args:
            text: of the body.
            to: the recipients.
            room: the room it is sent to; its name is in the envelope then.
            version: the one to be preferred; the first of its own where not given.
        """
        order = sorted(self.versions, key=lambda each: each != version)
        envelope = self._envelope(text, room or to[0])
        plaintext = {Version.TWO: envelope, Version.LEGACY: text.encode()}
        answer = self._ask(
            "encrypt",
            to=[str(each) for each in (*to, self.jid)],
            order=order,
            plaintext={each: b64encode(plaintext[each]).decode() for each in order},
        )
        return tuple(parse_xml(message) for message in answer["messages"])

    def say(self, text: str, to: BareJid, version: Version | None = None) -> None:
        """Send a body."""
        elements = self.encrypt(text, to, version=version)
        self.world.mail.append(Letter(self.address, to, elements))

    def decrypt(
        self, encrypted: Element, sender: Party | PeerDevice, *, to: BareJid | None = None
    ) -> str | None:
        """Decrypt what came from ``sender``; return the body's text, ``None`` for an empty message.

        Raises:
            PeerRefused: it did not.
        """
        answer = self._ask("decrypt", xml=write_xml(encrypted), sender=str(sender.jid))
        assert answer["device"] == sender.device.id
        if answer["plaintext"] is None:
            return None
        plaintext = b64decode(answer["plaintext"])
        if encrypted.namespace == Version.LEGACY:
            return plaintext.decode()
        return _body_of(plaintext, sender.jid, to or self.jid)

    def read(self, *senders: Party | PeerDevice) -> list[str]:
        """Decrypt all mail to or from its account that is new; what is not for it is passed by."""
        texts: list[str] = []
        letters = self.world.mail[self.letters_read :]
        self.letters_read = len(self.world.mail)
        for letter in letters:
            if self.jid not in (letter.to, letter.sender.bare) or letter.sender == self.address:
                continue
            (sender,) = (each for each in senders if each.address == letter.sender)
            for child in letter.children:
                if child.name != "encrypted" or child.namespace not in self.versions:
                    continue
                try:
                    text = self.decrypt(child, sender, to=letter.to)
                except PeerRefused as refusal:
                    if refusal.args[0] != "MessageNotForUs":
                        raise
                    continue
                texts += [] if text is None else [text]
        return texts

    def replace_sessions(self, jid: BareJid) -> None:
        """Start new sessions with all devices of somebody."""
        self._ask("replace", jid=str(jid))

    def relabel(self, label: str) -> None:
        """Give itself another label."""
        self._ask("relabel", label=label)

    def labels(self, jid: BareJid) -> dict[DeviceId, str | None]:
        """Return the labels of somebody's devices, as far as they are signed."""
        labels = self._ask("labels", jid=str(jid), order=self.versions)["labels"]
        return {DeviceId(int(device)): label for device, label in labels.items()}

    def before_catch_up(self) -> None:
        """Begin to read an archive."""
        self._ask("before_catch_up")

    def after_catch_up(self) -> None:
        """End it."""
        self._ask("after_catch_up")

    # -- the program

    def _ask(self, what: str, **fields: object) -> dict[str, Any]:
        program = self._program
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(json.dumps({"do": what, **fields, **self._public()}) + "\n")
        program.stdin.flush()
        answer: dict[str, Any] = json.loads(program.stdout.readline())
        for effect in answer["effects"]:
            self._perform(**effect)
        if "failed" in answer:
            raise PeerRefused(answer["failed"], answer["why"])
        return answer

    def _public(self) -> dict[str, dict[str, str]]:
        """Return every list and every bundle in the world."""
        lists: dict[str, str] = {}
        bundles: dict[str, str] = {}
        for address, items in self.world.nodes.items():
            for version in self.versions:
                if address.node == version.devices_node and items:
                    lists[f"{version} {address.service}"] = write_xml([*items.values()][-1])
                elif address.node.startswith(version.bundles_node):
                    for item_id, item in items.items():
                        device = address.node.removeprefix(version.bundles_node) or item_id
                        bundles[f"{version} {address.service} {device}"] = write_xml(item)
        return {"lists": lists, "bundles": bundles}

    def _perform(
        self, does: str, version: str, xml: str = "", device: int = 0, to: str = ""
    ) -> None:
        spoken = Version(version)
        if does == "list":
            self.world.publish(devices_fetch(spoken, self.jid), parse_xml(xml))
        elif does == "bundle":
            fetch = bundle_fetch(spoken, Device(self.jid, DeviceId(device)))
            self.world.publish(fetch, parse_xml(xml))
        else:
            assert does == "send", does
            self.world.mail.append(Letter(self.address, BareJid.parse(to), (parse_xml(xml),)))

    def _envelope(self, text: str, to: BareJid) -> bytes:
        """Return an envelope as Libervia 0.9 orders and pads it."""
        stamp = self.world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>{escape(text)}"
            f"</body></content><rpad>{'~' * 99}</rpad><time stamp='{stamp}'/>"
            f"<to jid='{to}'/><from jid='{self.jid}'/></envelope>"
        ).encode()


def _body_of(envelope: bytes, sender: BareJid, to: BareJid) -> str:
    """Read an envelope as a careful client does, and return its body's text."""
    root = ET.fromstring(envelope)
    assert root.tag == f"{_SCE}envelope"
    affixes = {child.tag.removeprefix(_SCE): child for child in root}
    assert affixes["from"].get("jid") == str(sender)
    assert affixes["to"].get("jid") == str(to)
    assert affixes["rpad"].text
    assert affixes["time"].get("stamp", "").endswith("Z")
    (body,) = affixes["content"]
    assert body.tag == f"{{{ns.CLIENT}}}body"
    return body.text or ""


def text_of(opened: OpenedMessage) -> str:
    """Return the text of the body in a message that we read."""
    (body,) = opened.content
    assert body.is_(ns.CLIENT, "body")
    return body.text


async def ours(world: World, jid: str, version: Version, store: Store | None = None) -> Party:
    """Return a new device of ours that believes every new device, as chat clients do."""
    versions, trust = BOTH[: 1 + BOTH.index(version)], BlindTrustBeforeVerification()
    return await world.device(jid, versions=versions, trust=trust, store=store)


async def say(writer: Party, text: str, to: Party | PeerDevice) -> None:
    """Send a body of ours."""
    writer.post(to.jid, *await written(writer, text, to))


async def written(writer: Party, text: str, *to: Party | PeerDevice) -> tuple[Element, ...]:
    """Return a body of ours, encrypted and not sent."""
    encrypted = await writer.encrypt(*(each.jid for each in to), content=(body(text),))
    return encrypted.elements


def exchanges(letter: Letter) -> int:
    """Count the keys of a message that have a key exchange around them."""
    keys = [
        key
        for encrypted in letter.children
        for header in encrypted.elements
        for part in header.elements
        for key in (part, *part.elements)
    ]
    return sum(key.get("kex") == "true" or key.get("prekey") == "true" for key in keys)


async def settle(*devices: Party | PeerDevice) -> list[list[str]]:
    """Let all perform, fetch and read until nothing moves; return what each one was told."""
    told: list[list[str]] = [[] for _ in devices]
    for _ in range(_ROUNDS):
        before = len(devices[0].world.mail)
        for device, texts in zip(devices, told, strict=True):
            if isinstance(device, PeerDevice):
                texts += device.read(*devices)
            else:
                texts += [text_of(each) for each in await device.read() if each.content]
                await device.flush()
        if len(devices[0].world.mail) == before:
            return told
    raise AssertionError("they never come to rest")
