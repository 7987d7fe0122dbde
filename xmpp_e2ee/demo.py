"""The main job as a story: an encrypted blog, from its first item to a member who is shut out.

Rule: the story and its checks. It does what users and their clients do, and one thing more: the
server's operator hands everything that it has to the member who was removed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from e2ee import limits, ns
from e2ee.names import BareJid, Jid, NodeAddress
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.storage import Store
from e2ee.stores.memory import MemoryStore
from e2ee.tokens import random_token
from e2ee.trust import BlindTrustOnFirstSight
from e2ee.xmltree import Element, element
from e2ee.xmlwrite import write_xml
from pubsub_encryption import OpenedItem, SecretState
from signing import Policy, Verdict, any_of
from xmpp_e2ee.demo_signing import announce_together, forge_a_post
from xmpp_e2ee.demo_targeted import LETTERS, write_for_one
from xmpp_e2ee.eavesdropper import Eavesdropper
from xmpp_e2ee.entry import is_signable, signable, text_of, title_of
from xmpp_e2ee.narrator import Narrator, Silence
from xmpp_e2ee.nodes import StoredItem
from xmpp_e2ee.player import Player
from xmpp_e2ee.report import Account, Bytes, Check, Report, Server
from xmpp_e2ee.service import Service
from xmpp_e2ee.transport import StanzaRefused

__all__ = ["DEVICES", "OpenStore", "play"]

OpenStore = Callable[[str], Awaitable[Store]]
"""Opens an empty store for the device of this name."""

DEVICES: Final = ("juliet", "romeo", "tybalt", "nurse", "tablet")
"""Who plays; the tablet is Juliet's second device. Each has a store of its own."""

_TITLES: Final = {"nurse": "the Nurse", "tablet": "the tablet"}
_DOMAIN: Final = BareJid.parse("verona.example")
_SIGNED: Final = limits.MAX_ATTACHMENT_NODES - 1  # entries; one more is signed between them
_SAMPLE: Final = 240  # characters of a stored payload that are shown
_BLANK: Final = (element(ns.ATOM, "entry"), element(ns.ATOM, "entry"))


async def play(
    entries: Sequence[Element], feed: str, open_store: OpenStore, narrator: Narrator
) -> Report:
    """Play the story and report.

    Args:
        entries: what Juliet publishes, at least two: some before the removal, some after it.
        feed: where they came from, for the report.
        open_store: called once for each of ``DEVICES``; whoever gives it closes the stores.
        narrator: told what happens.

    Raises:
        E2eeError: the library gave up: a store or an engine failed.
        StanzaRefused: the server refused what it should not.
    """
    began = time.perf_counter()
    entries = [signable(entry) for entry in entries]
    secret = [*entries, *LETTERS]
    eavesdropper = _eavesdropper(secret)
    story = _Story(entries, LETTERS, eavesdropper, narrator)
    await story.play(open_store)
    leaked = eavesdropper.found and eavesdropper.found - await _words_of_protocol(secret)
    return await story.report(feed, sorted(leaked), began)


async def _words_of_protocol(secret: Sequence[Element]) -> set[str]:
    """Return those words of the entries that cross the server even if none of the entries does."""
    eavesdropper = _eavesdropper(secret)
    await _Story(_BLANK, _BLANK, eavesdropper, Silence()).play(_in_memory)
    return eavesdropper.found


def _eavesdropper(entries: Sequence[Element]) -> Eavesdropper:
    return Eavesdropper(map(title_of, entries), map(text_of, entries))


async def _in_memory(name: str) -> Store:
    return MemoryStore()


class _Story:
    """One performance: the server, the players as they come, and what was found so far."""

    def __init__(
        self,
        entries: Sequence[Element],
        letters: Sequence[Element],
        eavesdropper: Eavesdropper,
        narrator: Narrator,
    ) -> None:
        self._letters = letters
        self._eavesdropper = eavesdropper
        self._entries = entries
        self._early, self._late = entries[: len(entries) // 2], entries[len(entries) // 2 :]
        self._signed = [n < _SIGNED and is_signable(each) for n, each in enumerate(entries)]
        self._narrator = narrator
        self._service = Service(_DOMAIN, _now, eavesdropper.hear)
        self._checks: list[Check] = []
        self._readable: dict[BareJid, int] = {}

    async def play(self, open_store: OpenStore) -> None:
        """Play all scenes."""
        players = [await self._enter(name, open_store) for name in DEVICES[:-1]]
        self._juliet, self._romeo, self._tybalt, self._nurse = players
        await self._make_node()
        await self._publish_first_half()
        await self._grant_access()
        await self._admit_newcomer()
        await self._forge_a_post()
        await self._remove_member()
        await self._publish_second_half()
        await self._compare_readers()
        await self._let_tybalt_try()
        self._tablet = await self._enter(DEVICES[-1], open_store)
        await self._use_second_device()
        await self._announce_together()
        await self._write_for_one()

    async def _enter(self, name: str, open_store: OpenStore) -> Player:
        of_juliet = name == "tablet"
        account = BareJid(_DOMAIN.domain, "juliet" if of_juliet else name)
        policy = BlindTrustOnFirstSight()
        ports = Ports(await open_store(name), NativePrimitives(), policy, _now)
        title = _TITLES.get(name, name.capitalize())
        jid = Jid(account, "tablet" if of_juliet else "phone")
        return Player(name, title, jid, self._service, ports)

    # -- the scenes

    async def _make_node(self) -> None:
        self._narrator.scene("Juliet makes an encrypted node")
        for player in (self._juliet, self._romeo, self._tybalt, self._nurse):
            await player.make_key()
        name = random_token(NativePrimitives(), 12)
        await self._juliet.make_blog(NodeAddress(self._juliet.account, name), ns.ATOM)
        self._narrator.tell(
            f"It is called {name}. Her server is told that its items are encrypted, and not what"
            " they are; only she has the secret that opens them."
        )

    async def _publish_first_half(self) -> None:
        await self._publish(self._early, self._signed, "")
        self._narrator.tell("Her server stores the first as")
        self._narrator.show_source(self._sample())

    async def _publish_second_half(self) -> None:
        await self._publish(self._late, self._signed[len(self._early) :], "the other ")
        self._check_notifications()

    async def _publish(
        self, entries: Sequence[Element], signed: Sequence[bool], which: str
    ) -> None:
        part = f"{which}{len(entries):,} of {len(self._entries):,} entries"
        self._narrator.scene(f"Juliet publishes {part}")
        with self._narrator.work("publishing", len(entries)) as progress:
            for entry, is_signed in zip(entries, signed, strict=False):
                await self._juliet.publish(entry, signed=is_signed)
                for member in (self._romeo, self._nurse, self._tybalt):
                    await member.catch_up()
                progress(1)

    def _check_notifications(self) -> None:
        for member in (self._romeo, self._nurse):
            heard = [item.payload for item in member.heard if isinstance(item, OpenedItem)]
            read = _equal(heard, self._late)
            about = f"new entries that {member.title} was notified of, and read"
            self._check(f"{member.name}-is-notified", about, len(self._late), read)
        uninvited = len(self._tybalt.heard)
        about = "new items that Tybalt was notified of"
        self._check("tybalt-is-not-notified", about, 0, uninvited)
        self._narrator.tell(
            "Romeo and the Nurse are notified of each, and read it on arrival;"
            f" Tybalt is notified of {uninvited or 'none'}."
        )

    async def _grant_access(self) -> None:
        self._narrator.scene("Juliet gives access to Romeo and to Tybalt")
        for member in (self._romeo, self._tybalt):
            await self._juliet.grant(member.account)
            await member.catch_up()
            await member.subscribe()
        await self._read("the-first-half", self._romeo, self._early)
        await self._read("the-first-half", self._tybalt, self._early)

    async def _admit_newcomer(self) -> None:
        self._narrator.scene("The Nurse joins later, and reads the whole history")
        await self._juliet.grant(self._nurse.account)
        await self._nurse.catch_up()
        await self._nurse.subscribe()
        await self._read("the-history", self._nurse, self._early)

    async def _forge_a_post(self) -> None:
        self._checks += await forge_a_post(
            self._juliet, self._tybalt, self._nurse, self._service, self._narrator
        )
        for player in (self._romeo, self._tybalt, self._nurse):
            await player.catch_up()
            player.heard.clear()

    async def _remove_member(self) -> None:
        self._narrator.scene("Juliet removes Tybalt, and rotates the secret")
        await self._juliet.remove(self._tybalt.account)
        for player in (self._juliet, self._romeo, self._tybalt, self._nurse):
            await player.catch_up()
        self._narrator.tell(
            "He is unsubscribed, then shut out, then told that the old secret is revoked. The new"
            " one goes to Romeo, to the Nurse and to Juliet's own devices."
        )

    async def _compare_readers(self) -> None:
        self._narrator.scene("Romeo and the Nurse read everything")
        await self._read("everything", self._romeo, self._entries)
        await self._read("everything", self._nurse, self._entries)

    async def _let_tybalt_try(self) -> None:
        self._narrator.scene("Tybalt tries to read on")
        fetched = 0
        try:
            fetched = len(await self._tybalt.read(self._by_juliet, lambda steps: None))
        except StanzaRefused as refusal:
            self._narrator.tell(f"The server refuses him: {refusal.condition}.")
        self._check("tybalt-is-refused", "entries that Tybalt could still fetch", 0, fetched)
        stored = self._stored()
        with self._narrator.work("Tybalt tries every secret", len(stored)) as progress:
            opened = []
            for item in stored:
                opened.append(await self._tybalt.try_everything(item))
                progress(1)
        old = _equal(opened[: len(self._early)], self._early)
        new = sum(payload is not None for payload in opened[len(self._early) :])
        self._readable[self._tybalt.account] = old + new
        self._check(
            "tybalt-keeps-the-first-half",
            "old entries that stay his to read",
            len(self._early),
            old,
        )
        self._check("tybalt-opens-nothing-new", "new entries that Tybalt opened", 0, new)
        self._narrator.tell(
            "So the operator of the server, a friend of his, hands him all that is stored, and he"
            f" tries every secret he ever had. He opens {old} of {len(self._early)} old items,"
            f" which were his to read before, and {new} of {len(self._late)} new ones."
        )

    async def _use_second_device(self) -> None:
        self._narrator.scene("Juliet unpacks a tablet")
        await self._tablet.take_key_from(self._juliet)
        await self._tablet.catch_up()
        self._narrator.tell(
            "From the archive of her messages it knows the secrets and the members."
        )
        await self._read("everything", self._tablet, self._entries)
        members = (await self._tablet.keychain()).members
        same = members & {self._romeo.account, self._nurse.account}
        self._check("tablet-knows-the-members", "members that the tablet knows", 2, len(same))

    async def _announce_together(self) -> None:
        self._checks += await announce_together(
            self._juliet, self._romeo, self._nurse, self._service, self._narrator
        )

    async def _write_for_one(self) -> None:
        self._checks += await write_for_one(
            self._juliet, self._romeo, self._nurse, self._letters, self._narrator
        )

    async def _read(self, what: str, player: Player, expected: Sequence[Element]) -> None:
        with self._narrator.work(f"{player.title} reads", len(expected)) as progress:
            read = await player.read(self._by_juliet, progress)
        entries = [each.payload for each in read]
        about = f"entries that {player.title} reads word for word"
        self._readable[player.account] = _equal(entries, expected)
        name = f"{player.name}-reads-{what}"
        self._check(name, about, len(expected), self._readable[player.account])
        about = f"entries whose signature proves to {player.title} that Juliet wrote them"
        signed = sum(self._signed[: len(expected)])
        trusted = sum(each.verdict is Verdict.TRUSTED for each in read)
        self._check(f"{player.name}-verifies-{what}", about, signed, trusted)
        self._narrator.show_reading(player.title, entries)
        self._narrator.tell(f"Signatures prove that Juliet wrote {trusted:,} of them.")

    @property
    def _by_juliet(self) -> Policy:
        return any_of(self._juliet.account)

    def _check(self, name: str, about: str, expected: int, found: int) -> None:
        self._checks.append(Check(name, about, expected, found))

    # -- the end

    async def report(self, feed: str, leaked: Sequence[str], began: float) -> Report:
        """Sum up: what the server saw, what each account can read, how much there was."""
        self._narrator.scene("What the server saw")
        heard = self._eavesdropper
        self._narrator.tell(
            f"It read {heard.stanzas:,} stanzas, decoded all base64 in them, and searched for"
            f" {heard.sought:,} words and titles of the entries. It found {len(leaked) or 'none'}."
        )
        self._check("server-finds-nothing", "words that the server saw in clear", 0, len(leaked))
        secrets = (await self._juliet.keychain()).secrets
        return Report(
            feed=feed,
            items=len(self._entries),
            secrets=len(secrets),
            revocations=sum(secret.state is SecretState.REVOKED for secret in secrets),
            accounts=(
                await self._account(self._juliet, "owner", devices=2),
                await self._account(self._romeo, "member"),
                await self._account(self._tybalt, "removed"),
                await self._account(self._nurse, "member"),
            ),
            bytes=Bytes(
                plain=sum(_size(entry) for entry in self._entries),
                encrypted=sum(_size(item.payload) for item in self._stored()),
                wire=heard.bytes,
            ),
            server=Server(heard.stanzas, heard.sought, tuple(leaked), self._sample()),
            checks=tuple(self._checks),
            seconds=round(time.perf_counter() - began, 3),
        )

    async def _account(self, player: Player, role: str, devices: int = 1) -> Account:
        secrets = len((await player.keychain()).secrets)
        readable = self._readable[player.account]
        return Account(str(player.account), role, devices, secrets, readable)

    def _stored(self) -> tuple[StoredItem, ...]:
        return self._service.stored(self._juliet.blog.address)

    def _sample(self) -> str:
        return write_xml(self._stored()[0].payload)[:_SAMPLE]


def _now() -> datetime:
    return datetime.now(UTC)


def _size(payload: Element) -> int:
    return len(write_xml(payload).encode())


def _equal(read: Sequence[Element | None], expected: Sequence[Element]) -> int:
    """Count what was read as it was published, in the same order."""
    pairs = zip(read, expected, strict=False)
    return sum(one is not None and one.same_content(other) for one, other in pairs)
