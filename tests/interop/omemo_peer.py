"""A peer that speaks OMEMO by python-omemo's SessionManager, as slixmpp-omemo uses it.

Rule: a program of its own, that imports nothing of this project: it runs under any Python that has
python-omemo 1.x or 2.x. It reads one JSON object a line, does it, and answers with another; what it
would send or publish stands in the answer. Its state is in the file that it is started with.

    python omemo_peer.py STATE JID NAMESPACE...
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import oldmemo
import oldmemo.etree
import omemo
import twomemo
import twomemo.etree
from omemo.storage import Just, Maybe, Nothing, Storage

MODULES: dict[str, Any] = {
    twomemo.twomemo.NAMESPACE: twomemo,
    oldmemo.oldmemo.NAMESPACE: oldmemo,
}


class FileStorage(Storage):
    """All values in one JSON file."""

    def __init__(self, path: Path) -> None:
        super().__init__(True)
        self._path = path
        self._values: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    async def _load(self, key: str) -> Maybe[Any]:
        return Just(self._values[key]) if key in self._values else Nothing()

    async def _store(self, key: str, value: Any) -> None:
        self._values[key] = value

    async def _delete(self, key: str) -> None:
        self._values.pop(key, None)

    def save(self) -> None:
        """Write the file, as is done before anything that was made with it leaves."""
        self._path.write_text(json.dumps(self._values))


class Outside:
    """What is public, as the last command said, and what this peer wants published or sent."""

    lists: dict[str, str] = {}  # noqa: RUF012  # one peer, one process
    bundles: dict[str, str] = {}  # noqa: RUF012
    effects: list[dict[str, Any]] = []  # noqa: RUF012

    @classmethod
    def does(cls, what: str, **fields: Any) -> None:
        cls.effects.append({"does": what, **fields})


def text_of(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")


class Manager(omemo.SessionManager):
    """The SessionManager with the outside world as values."""

    @staticmethod
    async def _upload_bundle(bundle: Any) -> None:
        module = MODULES[bundle.namespace]
        xml = text_of(module.etree.serialize_bundle(bundle))
        Outside.does("bundle", version=bundle.namespace, device=bundle.device_id, xml=xml)

    @staticmethod
    async def _download_bundle(namespace: str, bare_jid: str, device_id: int) -> Any:
        xml = Outside.bundles.get(f"{namespace} {bare_jid} {device_id}")
        if xml is None:
            raise omemo.BundleNotFound("no such bundle")
        return MODULES[namespace].etree.parse_bundle(ET.fromstring(xml), bare_jid, device_id)

    @staticmethod
    async def _delete_bundle(namespace: str, device_id: int) -> None:
        Outside.does("no-bundle", version=namespace, device=device_id)

    @staticmethod
    async def _upload_device_list(namespace: str, device_list: Any) -> None:
        xml = text_of(MODULES[namespace].etree.serialize_device_list(device_list))
        Outside.does("list", version=namespace, xml=xml)

    @staticmethod
    async def _download_device_list(namespace: str, bare_jid: str) -> Any:
        xml = Outside.lists.get(f"{namespace} {bare_jid}")
        return MODULES[namespace].etree.parse_device_list(ET.fromstring(xml)) if xml else {}

    async def _evaluate_custom_trust_level(self, device: Any) -> omemo.TrustLevel:
        return omemo.TrustLevel[device.trust_level_name]

    async def _make_trust_decision(self, undecided: Any, identifier: str | None) -> None:
        for device in undecided:
            await self.set_trust(device.bare_jid, device.identity_key, "TRUSTED")

    @staticmethod
    async def _send_message(message: Any, bare_jid: str) -> None:
        xml = text_of(MODULES[message.namespace].etree.serialize_message(message))
        Outside.does("send", version=message.namespace, to=bare_jid, xml=xml)


class Peer:
    """One device of a SessionManager."""

    def __init__(self, jid: str, manager: Manager) -> None:
        self.jid = jid
        self.manager = manager

    async def do_own(self, _: dict[str, Any]) -> dict[str, Any]:
        own, _others = await self.manager.get_own_device_information()
        return {"device": own.device_id, "identity": own.identity_key.hex()}

    async def do_update(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take in a device list as an event brings it."""
        module = MODULES[asked["version"]]
        devices = module.etree.parse_device_list(ET.fromstring(asked["xml"]))
        await self.manager.update_device_list(asked["version"], asked["jid"], devices)
        return {}

    async def do_encrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Encrypt; ``plaintext`` is base64 by namespace, ``order`` the versions preferred."""
        for jid in asked["to"]:
            for namespace in asked["order"]:
                await self.manager.refresh_device_list(namespace, jid)
        plaintext = {
            namespace: base64.b64decode(text) for namespace, text in asked["plaintext"].items()
        }
        messages, errors = await self.manager.encrypt(
            frozenset(asked["to"]), plaintext, asked["order"]
        )
        if errors:
            raise RuntimeError(f"not encrypted for all: {errors}")
        return {
            "messages": [
                text_of(MODULES[message.namespace].etree.serialize_message(message))
                for message in messages
            ]
        }

    async def do_decrypt(self, asked: dict[str, Any]) -> dict[str, Any]:
        element = ET.fromstring(asked["xml"])
        if element.tag.startswith(f"{{{twomemo.twomemo.NAMESPACE}}}"):
            message = twomemo.etree.parse_message(element, asked["sender"])
        else:
            message = await oldmemo.etree.parse_message(
                element, asked["sender"], self.jid, self.manager
            )
        decrypted = await self.manager.decrypt(message)  # 1.x returns two, 2.x three
        plaintext, device = decrypted[0], decrypted[1]
        return {
            "plaintext": None if plaintext is None else base64.b64encode(plaintext).decode(),
            "device": device.device_id,
        }

    async def do_relabel(self, asked: dict[str, Any]) -> dict[str, Any]:
        await self.manager.set_own_label(asked["label"])
        return {}

    async def do_labels(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the labels of somebody's devices, as far as they are signed."""
        for namespace in asked["order"]:
            await self.manager.refresh_device_list(namespace, asked["jid"])
        devices = await self.manager.get_device_information(asked["jid"])
        return {"labels": {str(device.device_id): device.label for device in devices}}

    async def do_replace(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Replace the sessions with all devices of somebody, as a user may ask for it."""
        for device in await self.manager.get_device_information(asked["jid"]):
            if failures := await self.manager.replace_sessions(device):
                raise RuntimeError(f"not replaced: {failures}")
        return {}

    async def do_before_catch_up(self, _: dict[str, Any]) -> dict[str, Any]:
        self.manager.before_history_sync()
        return {}

    async def do_after_catch_up(self, _: dict[str, Any]) -> dict[str, Any]:
        await self.manager.after_history_sync()
        return {}


async def main() -> None:
    logging.disable()
    state, jid, *namespaces = sys.argv[1:]
    storage = FileStorage(Path(state))
    backends: dict[str, Any] = {
        twomemo.twomemo.NAMESPACE: twomemo.Twomemo,
        oldmemo.oldmemo.NAMESPACE: oldmemo.Oldmemo,
    }
    peer: Peer | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        Outside.lists, Outside.bundles = asked["lists"], asked["bundles"]
        Outside.effects = []
        try:
            if peer is None:
                manager = await Manager.create(
                    [backends[namespace](storage) for namespace in namespaces],
                    storage,
                    jid,
                    None,
                    "UNDECIDED",
                )
                await manager.ensure_data_consistency()
                await manager.after_history_sync()  # which every start begins with
                peer = Peer(jid, manager)
            answer = await getattr(peer, f"do_{asked['do']}")(asked)
        except Exception as error:
            answer = {"failed": type(error).__name__, "why": str(error)}
        storage.save()
        print(json.dumps({**answer, "effects": Outside.effects}), flush=True)


asyncio.run(main())
