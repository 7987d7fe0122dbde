"""What the benchmark of OMEMO measures: our sessions, python-omemo's SessionManager, and Olm.

Rule: each does no more than is asked of all of them; what is measured stands in ``omemo.py``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import omemo
import twomemo
import twomemo.etree
import vodozemac
from omemo.storage import Just, Maybe, Nothing, Storage

from e2ee.arrival import Arrival
from e2ee.draft import Draft
from e2ee.names import BareJid
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.ring_rows import ring_within
from e2ee.omemo.session_rows import put_session, sessions_within
from e2ee.omemo.version import Version, bundle_fetch
from e2ee.storage import Store
from e2ee.xmltree import Element
from e2ee.xmlwrite import write_xml
from tests.support.omemo_world import Party, World, body

TEXT = "But, soft! what light through yonder window breaks? " * 4
PAGE = 100  # messages of an archive
PERSONAL = 10  # devices of one account in a crowd
_TWO = twomemo.twomemo.NAMESPACE


class Side(Protocol):
    """One device."""

    async def write(self, *to: str) -> Any:
        """Encrypt for all devices of all of these."""

    async def read(self, message: Any) -> None:
        """Decrypt."""

    async def take(self) -> None:
        """Acknowledge what was decrypted."""

    async def browse(self, archive: Sequence[Any]) -> None:
        """Decrypt and acknowledge an archive."""

    async def meet(self, other: str) -> None:
        """Learn what there is to learn about somebody's devices; a session is not made."""


class Subject(Protocol):
    """What is measured."""

    async def side(self, jid: str) -> Side:
        """Return a new device that has published its keys."""

    async def settle(self, *sides: Any) -> None:
        """Deliver the empty messages that answer key exchanges."""

    async def crowd(self, side: Any, devices: int) -> list[str]:
        """Give a device established sessions with so many others; return whose they are."""


# -- ours


class _OurSide:
    """A device of ours."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self._opened: list[OpenedMessage] = []

    async def write(self, *to: str) -> tuple[Element, Arrival]:
        people = {BareJid.parse(jid) for jid in to}
        encrypted = await self.party.sessions.encrypt((body(TEXT),), people)
        (element,) = encrypted.elements
        return element, self.party.arrival(self.party, to=min(people))

    async def read(self, message: tuple[Element, Arrival]) -> None:
        self._opened.append(await self.party.sessions.decrypt(*message))

    async def take(self) -> None:
        await self.party.sessions.delivered(self._opened)
        self._opened = []

    async def browse(self, archive: Sequence[tuple[Element, Arrival]]) -> None:
        await self.party.sessions.catch_up()
        for start in range(0, len(archive), PAGE):
            opened = await self.party.sessions.decrypt_many(archive[start : start + PAGE])
            read = [each for each in opened if isinstance(each, OpenedMessage)]
            if len(read) != len(opened):
                raise SystemExit("a message of the archive could not be read")
            await self.party.sessions.delivered(read)
        await self.party.sessions.caught_up()

    async def meet(self, other: str) -> None:
        await self.party.gather(BareJid.parse(other))


class Ours:
    """Our sessions."""

    def __init__(self, new_store: Callable[[str], Awaitable[Store]]) -> None:
        self._world = World()
        self._new_store = new_store

    async def side(self, jid: str) -> _OurSide:
        return _OurSide(await self._world.device(jid, store=await self._new_store(jid)))

    async def settle(self, *sides: _OurSide) -> None:
        for side in sides:
            await side.party.flush()
        for side in sides:
            await side.party.read()

    async def crowd(self, side: _OurSide, devices: int) -> list[str]:
        people = []
        for number in range(devices // PERSONAL):
            jid = f"crowd{number}of{devices}@x.example"
            self._world.crowd(jid, PERSONAL)
            await side.meet(jid)
            await side.write(jid)
            await self._confirm(side.party, jid)
            people.append(jid)
        return people

    async def _confirm(self, party: Party, jid: str) -> None:
        """Do as if all of them had answered."""
        async with party.store.exclusive(party.sessions.scope) as tx:
            draft = Draft(tx, party.jid)
            ring = await ring_within(draft, BareJid.parse(jid))
            ids = {known.id for known in ring.devices}
            for session in (await sessions_within(draft, Version.TWO, ring.jid, ids)).values():
                put_session(draft, replace(session, confirmed=True))
            await draft.commit()


# -- python-omemo


class _Memory(Storage):
    """A dictionary."""

    def __init__(self) -> None:
        super().__init__(True)
        self.values: dict[str, Any] = {}

    async def _load(self, key: str) -> Maybe[Any]:
        return Just(self.values[key]) if key in self.values else Nothing()

    async def _store(self, key: str, value: Any) -> None:
        self.values[key] = value

    async def _delete(self, key: str) -> None:
        self.values.pop(key, None)


class _TheirSide:
    """A device of python-omemo."""

    def __init__(self, jid: str, manager: Any, storage: _Memory, *, xml: bool) -> None:
        self.jid = jid
        self.manager = manager
        self.storage = storage
        self._xml = xml
        self.empty: list[tuple[Any, str]] = []

    async def write(self, *to: str) -> Any:
        plaintext = {_TWO: (self._envelope(min(to)) if self._xml else TEXT).encode()}
        messages, errors = await self.manager.encrypt(frozenset(to), plaintext)
        if errors:
            raise SystemExit(f"python-omemo did not encrypt for all: {errors}")
        (message,) = messages
        return (twomemo.etree.serialize_message(message), self.jid) if self._xml else message

    async def read(self, message: Any) -> None:
        if not self._xml:
            await self.manager.decrypt(message)
            return
        plaintext, _, _ = await self.manager.decrypt(twomemo.etree.parse_message(*message))
        ET.fromstring(plaintext)

    def _envelope(self, to: str) -> str:
        """Return an envelope as Libervia writes it."""
        return (
            f"<envelope xmlns='urn:xmpp:sce:1'><content><body xmlns='jabber:client'>{TEXT}</body>"
            f"</content><rpad>{'~' * 256}</rpad><time stamp='2026-07-01T12:00:00Z'/>"
            f"<to jid='{to}'/><from jid='{self.jid}'/></envelope>"
        )

    async def take(self) -> None:
        """Do nothing: it keeps no plaintext."""

    async def browse(self, archive: Sequence[Any]) -> None:
        self.manager.before_history_sync()
        for message in archive:
            await self.read(message)
        await self.manager.after_history_sync()

    async def meet(self, other: str) -> None:
        await self.manager.refresh_device_list(_TWO, other)


class PythonOmemo:
    """python-omemo's SessionManager, bare, or with its own XML and an envelope around it."""

    def __init__(self, *, xml: bool = False) -> None:
        self._xml = xml
        self._lists: dict[str, Any] = {}
        self._bundles: dict[tuple[str, int], Any] = {}

    async def side(self, jid: str) -> _TheirSide:
        outside, sent = self, []

        class Manager(omemo.SessionManager):
            @staticmethod
            async def _upload_bundle(bundle: Any) -> None:
                outside._bundles[jid, bundle.device_id] = bundle

            @staticmethod
            async def _download_bundle(namespace: str, bare_jid: str, device_id: int) -> Any:
                return outside._bundles[bare_jid, device_id]

            @staticmethod
            async def _delete_bundle(namespace: str, device_id: int) -> None:
                del outside._bundles[jid, device_id]

            @staticmethod
            async def _upload_device_list(namespace: str, device_list: Any) -> None:
                outside._lists[jid] = device_list

            @staticmethod
            async def _download_device_list(namespace: str, bare_jid: str) -> Any:
                return outside._lists.get(bare_jid, {})

            async def _evaluate_custom_trust_level(self, device: Any) -> omemo.TrustLevel:
                return omemo.TrustLevel[device.trust_level_name]

            async def _make_trust_decision(self, undecided: Any, identifier: str | None) -> None:
                for device in undecided:
                    await self.set_trust(device.bare_jid, device.identity_key, "TRUSTED")

            @staticmethod
            async def _send_message(message: Any, bare_jid: str) -> None:
                sent.append((message, bare_jid))

        storage = _Memory()
        manager = await Manager.create([twomemo.Twomemo(storage)], storage, jid, None, "TRUSTED")
        await manager.after_history_sync()
        side = _TheirSide(jid, manager, storage, xml=self._xml)
        side.empty = sent
        return side

    async def settle(self, *sides: _TheirSide) -> None:
        for writer in sides:
            for message, to in writer.empty:
                for reader in sides:
                    if reader.jid == to:
                        await reader.manager.decrypt(message)
            writer.empty.clear()

    async def crowd(self, side: _TheirSide, devices: int) -> list[str]:
        world, people = World(), []
        for number in range(devices // PERSONAL):
            jid = f"crowd{number}of{devices}@x.example"
            self._lists[jid] = {}
            for device in world.crowd(jid, PERSONAL):
                served = world.serve(bundle_fetch(Version.TWO, device))
                assert served is not None
                bundle = twomemo.etree.parse_bundle(
                    ET.fromstring(write_xml(served)), jid, device.id
                )
                self._bundles[jid, device.id] = bundle
                self._lists[jid][device.id] = None
            await side.meet(jid)
            await side.write(jid)
            for key in list(side.storage.values):  # do as if all of them had answered
                if key.startswith(f"/{_TWO}/{jid}/") and "confirmed" in key:
                    side.storage.values[key] = True
            people.append(jid)
        return people


# -- Olm


class _OlmSide:
    """A device of Olm: what it would send to each device is the key material alone."""

    def __init__(self, jid: str, sides: dict[str, _OlmSide]) -> None:
        self.jid = jid
        self.account = vodozemac.Account()
        self.sessions: dict[str, list[Any]] = {}
        self.sides = sides

    async def write(self, *to: str) -> tuple[_OlmSide, list[Any]]:
        for jid in to:
            if jid not in self.sessions:
                self.begin(jid, self.sides[jid].new_key())
        return self, [session.encrypt(bytes(48)) for jid in to for session in self.sessions[jid]]

    def new_key(self) -> tuple[Any, Any]:
        (key,) = self.account.one_time_keys.values()
        return self.account.curve25519_key, key

    def begin(self, jid: str, keys: tuple[Any, Any]) -> None:
        session = self.account.create_outbound_session(*keys)
        self.sessions.setdefault(jid, []).append(session)

    async def read(self, message: tuple[_OlmSide, list[Any]]) -> None:
        sender, (encrypted,) = message
        if sender.jid in self.sessions:
            self.sessions[sender.jid][0].decrypt(encrypted)
            return
        key = sender.account.curve25519_key
        session, _ = self.account.create_inbound_session(key, encrypted.to_pre_key())
        self.sessions[sender.jid] = [session]

    async def take(self) -> None:
        """Do nothing: it keeps nothing."""

    async def browse(self, archive: Sequence[Any]) -> None:
        for message in archive:
            await self.read(message)

    async def meet(self, other: str) -> None:
        """Do nothing."""


class Olm:
    """vodozemac's sessions."""

    def __init__(self) -> None:
        self._sides: dict[str, _OlmSide] = {}

    async def side(self, jid: str) -> _OlmSide:
        side = self._sides[jid] = _OlmSide(jid, self._sides)
        side.account.generate_one_time_keys(1)
        return side

    async def settle(self, *sides: _OlmSide) -> None:
        """Do nothing: any message is an answer."""

    async def crowd(self, side: _OlmSide, devices: int) -> list[str]:
        jid = f"crowd{devices}@x.example"
        for _ in range(devices):
            side.begin(jid, (await self.side(jid)).new_key())
        return [jid]
