"""OMEMO as a story: a chat, a room with a newcomer, another device, and an impostor.

Rule: the story and its checks. It does what users and their clients do, and one thing more: whoever
runs the server takes Romeo's name, with keys of his own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from e2ee.errors import ErrorCode, PeerMisbehaved, TrustUndecided
from e2ee.key_events import KeyNews
from e2ee.names import BareJid, Jid
from e2ee.omemo import Device, Outcome
from e2ee.ports import Ports
from e2ee.primitives import NativePrimitives
from e2ee.sce import MIN_ENVELOPE_BYTES
from e2ee.trust import BlindTrustOnFirstSight
from xmpp_e2ee.demo import OpenStore
from xmpp_e2ee.eavesdropper import Eavesdropper
from xmpp_e2ee.narrator import Narrator
from xmpp_e2ee.omemo_impostor import Impostor
from xmpp_e2ee.omemo_player import OmemoPlayer
from xmpp_e2ee.omemo_report import OmemoReport, PlayedDevice, Sizes
from xmpp_e2ee.report import Check, Server
from xmpp_e2ee.service import Service

__all__ = ["OMEMO_DEVICES", "play_omemo"]

OMEMO_DEVICES: Final = ("juliet", "romeo", "nurse", "tablet")
"""Who plays; the tablet is Romeo's second device. Each has a store of its own."""

_DOMAIN: Final = BareJid.parse("verona.example")
_SAMPLE: Final = 240  # characters of a message that are shown
_PAYLOAD: Final = re.compile("<payload>([A-Za-z0-9+/]+)=*</payload>")

_OPENING: Final = "What man art thou that, thus bescreen'd in night, so stumblest on my counsel?"
_REPLIES: Final = (
    "By a name I know not how to tell thee who I am.",
    "With love's light wings did I o'erperch these walls.",
)
_IN_SESSION: Final = (
    "How camest thou hither, tell me, and wherefore?",
    "Ay me!",
    "月に誓わないで。",
)
_BEFORE_THE_NURSE: Final = ("If that thy bent of love be honourable", "Thy purpose marriage")
_WITH_THE_NURSE: Final = ("Three words, and good night indeed.", "So thrive my soul.")
_NURSES_LINE: Final = "Madam! A gentleman of the Montagues, and upon my honour a comely one."
_WITHOUT_TABLET: Final = "'Tis twenty years till then; I have forgot why I did call thee back."
_WITH_TABLET: Final = "Parting is such sweet sorrow that I shall say good night till it be morrow."
_FROM_TABLET: Final = "Sleep dwell upon thine eyes, peace in thy breast!"
_FORGED: Final = "Come tonight to the Capulet vault, alone and without thy servant."
_GENUINE: Final = "I would I were thy bird, whatever the watchman whispers."
_LINES: Final = (
    _OPENING, *_REPLIES, *_IN_SESSION, *_BEFORE_THE_NURSE, *_WITH_THE_NURSE, _NURSES_LINE,
    _WITHOUT_TABLET, _WITH_TABLET, _FROM_TABLET, _GENUINE,
)  # fmt: skip


async def play_omemo(open_store: OpenStore, narrator: Narrator) -> OmemoReport:
    """Play the story and report.

    Args:
        open_store: called once for each of ``OMEMO_DEVICES``; whoever gives it closes the stores.
        narrator: told what happens.

    Raises:
        E2eeError: the library gave up: a store or an engine failed.
        StanzaRefused: the server refused what it should not.
    """
    began = time.perf_counter()
    story = _Story(open_store, narrator)
    await story.play()
    return story.report(began)


class _Story:
    """One performance: the server, the players as they come, and what was found so far."""

    def __init__(self, open_store: OpenStore, narrator: Narrator) -> None:
        self._open_store = open_store
        self._narrator = narrator
        self._eavesdropper = Eavesdropper(_LINES, _LINES)
        self._payloads: dict[str, int] = {}
        self._sample = ""
        self._service = Service(_DOMAIN, _now, self._hear)
        self._players: list[OmemoPlayer] = []
        self._checks: list[Check] = []
        self._begun = 0

    def _hear(self, stanza: str) -> None:
        self._eavesdropper.hear(stanza)
        for payload in _PAYLOAD.findall(stanza):
            self._payloads[payload] = len(payload) * 3 // 4
            self._sample = self._sample or stanza[stanza.index("<encrypted") :][:_SAMPLE]

    async def play(self) -> None:
        """Play all scenes."""
        self._narrator.scene("Juliet, Romeo and the Nurse make devices")
        self._juliet = await self._enter("juliet", "Juliet")
        self._romeo = await self._enter("romeo", "Romeo")
        self._nurse = await self._enter("nurse", "the Nurse")
        self._narrator.tell(
            "Each publishes a list with one device, and a bundle of public keys that whoever wants"
            " to write takes one from. The private halves stay where they were made."
        )
        await self._chat()
        await self._talk_in_a_room()
        await self._unpack_a_tablet()
        await self._resist_an_impostor()
        self._look_at_what_the_server_saw()

    async def _enter(self, name: str, title: str, user: str | None = None) -> OmemoPlayer:
        jid = Jid(BareJid(_DOMAIN.domain, user or name), "tablet" if user else "phone")
        ports = Ports(
            await self._open_store(name), NativePrimitives(), BlindTrustOnFirstSight(), _now
        )
        player = OmemoPlayer(name, title, jid, self._service, ports)
        await player.register()
        for other in (player, *self._players):
            await player.client.follow(other.account)
            await other.client.follow(player.account)
        self._players.append(player)
        return player

    async def _settle(self) -> dict[str, list[str]]:
        """Let everybody take in what arrives until nothing does; return what each read."""
        read: dict[str, list[str]] = {player.name: [] for player in self._players}
        while any(player.is_awaited for player in self._players):
            for player in self._players:
                read[player.name] += await player.catch_up()
        return read

    async def _say(
        self,
        speaker: OmemoPlayer,
        lines: Sequence[str],
        to: BareJid,
        leaving_out: Collection[Device] = (),
    ) -> dict[str, list[str]]:
        """Let somebody say something; return what each read of it."""
        for line in lines:
            report = await speaker.say(line, to, leaving_out=leaving_out)
            self._begun += sum(each.outcome is Outcome.STARTED for each in report)
        return await self._settle()

    # -- the scenes

    async def _chat(self) -> None:
        juliet, romeo = self._juliet, self._romeo
        self._narrator.scene("Juliet writes to Romeo, and he answers")
        read = await self._say(juliet, [_OPENING], romeo.account)
        self._check("a-first-message-begins-a-session", "sessions that it began", 1, self._begun)
        self._check_read("romeo-reads-the-first-message", romeo, [_OPENING], read)
        self._narrator.tell("Her first message begins a session. The server passes on")
        self._narrator.show_source(self._sample)
        self._tell_read(romeo, read)
        begun = self._begun
        read = await self._say(romeo, _REPLIES, juliet.account)
        self._check_read("juliet-reads-the-replies", juliet, _REPLIES, read)
        self._tell_read(juliet, read)
        read = await self._say(juliet, _IN_SESSION, romeo.account)
        self._check_read("romeo-reads-on", romeo, _IN_SESSION, read)
        self._tell_read(romeo, read)
        more = self._begun - begun
        self._check("the-session-goes-on", "sessions that later messages began", 0, more)

    async def _talk_in_a_room(self) -> None:
        juliet, romeo, nurse = self._juliet, self._romeo, self._nurse
        self._narrator.scene("They talk in a room, and the Nurse joins later")
        room = self._service.rooms.open("balcony", juliet.account)
        await juliet.client.enter(room)
        await self._admit(romeo, room)
        heard = await self._say(juliet, _BEFORE_THE_NURSE, room)
        self._check_read("romeo-reads-in-the-room", romeo, _BEFORE_THE_NURSE, heard)
        before = await self._admit(nurse, room)
        handed = nurse.refused.count(ErrorCode.NOT_FOR_US)
        about = "old messages that the room handed to the Nurse"
        self._check("nurse-is-handed-the-history", about, len(_BEFORE_THE_NURSE), handed)
        about = "old messages that the Nurse reads"
        self._check("nurse-reads-nothing-from-before", about, 0, len(before[nurse.name]))
        self._narrator.tell(
            f"The room hands her what was said before, {handed} messages. None has a key for her:"
            f" she reads {len(before[nurse.name]) or 'nothing'}."
        )
        after = await self._say(juliet, _WITH_THE_NURSE, room)
        self._check_read("nurse-reads-what-comes-after", nurse, _WITH_THE_NURSE, after)
        self._check_read("romeo-reads-it-too", romeo, _WITH_THE_NURSE, after)
        self._tell_read(nurse, after)
        answer = await self._say(nurse, [_NURSES_LINE], room)
        for reader in (juliet, romeo):
            self._check_read(f"{reader.name}-reads-the-nurse", reader, [_NURSES_LINE], answer)
        self._tell_read(juliet, answer)

    async def _admit(self, newcomer: OmemoPlayer, room: BareJid) -> dict[str, list[str]]:
        await self._juliet.client.admit(room, newcomer.account)
        await newcomer.client.enter(room)
        return await self._settle()

    async def _unpack_a_tablet(self) -> None:
        juliet, romeo = self._juliet, self._romeo
        self._narrator.scene("Romeo unpacks a tablet")
        tablet = await self._enter("tablet", "Romeo's tablet", "romeo")
        history = (await self._settle())[tablet.name]
        about = "old messages that the tablet reads"
        self._check("tablet-reads-nothing-from-before", about, 0, len(history))
        asked: tuple[str, ...] = ()
        try:
            read = await self._say(juliet, [_WITHOUT_TABLET], romeo.account)
        except TrustUndecided as question:
            asked = question.subjects
            undecided = await juliet.undecided(romeo.account)
            read = await self._say(juliet, [_WITHOUT_TABLET], romeo.account, undecided)
        self._check("juliet-is-asked", "new devices that Juliet is asked about", 1, len(asked))
        self._narrator.tell(
            "Anybody with his password, and his server without it, could have listed it. Juliet is"
            f" asked about {', '.join(asked) or 'nothing'}, and writes without it for now."
        )
        self._check_read("romeo-reads-without-the-tablet", romeo, [_WITHOUT_TABLET], read)
        self._check_read("tablet-is-left-out", tablet, [], read)
        for player, others in ((juliet, (romeo, tablet)), (romeo, (tablet,)), (tablet, (romeo,))):
            await player.vouch_for(*others)
        self._narrator.tell(
            "They compare fingerprints. Juliet vouches for both devices, and each of them for the"
            " other."
        )
        read = await self._say(juliet, [_WITH_TABLET], romeo.account)
        for reader in (romeo, tablet):
            self._check_read(f"{reader.name}-reads-once-vouched-for", reader, [_WITH_TABLET], read)
        self._tell_read(tablet, read)
        read = await self._say(tablet, [_FROM_TABLET], juliet.account)
        for reader in (juliet, romeo):
            self._check_read(f"{reader.name}-reads-the-tablet", reader, [_FROM_TABLET], read)

    async def _resist_an_impostor(self) -> None:
        juliet, romeo = self._juliet, self._romeo
        self._narrator.scene("Whoever runs the server takes the name of Romeo's phone")
        ports = juliet.client.sessions.ports
        impostor = Impostor(self._service, romeo.device, romeo.jid.resource or "", ports)
        await impostor.replace_bundle()
        begun = 1
        try:
            await juliet.client.renew_session(romeo.device)
        except PeerMisbehaved as refusal:
            begun = 0
            self._narrator.tell(
                f"He serves a bundle with keys of his own. Juliet begins no session:"
                f" {refusal.code}."
            )
        self._check("forged-bundle-is-refused", "sessions begun with a forged bundle", 0, begun)
        await impostor.write(_FORGED, juliet.account)
        read = await self._settle()
        self._narrator.tell(
            f"He writes in Romeo's name. Juliet reads {len(read[juliet.name]) or 'nothing'}:"
            f" {juliet.refused[-1] if juliet.refused else 'nobody stopped him'}."
        )
        self._check_read("forged-message-is-refused", juliet, [], read)
        warned = [each for each in await juliet.warnings() if each.news is KeyNews.CHANGED]
        about = "changed identities that Juliet is warned of"
        self._check("juliet-is-warned", about, 1, len(warned))
        read = await self._say(romeo, [_GENUINE], juliet.account)
        self._check_read("juliet-still-reads-romeo", juliet, [_GENUINE], read)
        self._tell_read(juliet, read)

    def _look_at_what_the_server_saw(self) -> None:
        heard, found = self._eavesdropper, self._eavesdropper.found
        sizes = self._sizes()
        self._narrator.scene("What the server saw")
        self._narrator.tell(
            f"It read {heard.stanzas:,} stanzas, decoded all base64 in them, and searched for"
            f" {heard.sought:,} words and lines. It found {len(found) or 'none'}. Lines of"
            f" {sizes.shortest} to {sizes.longest} bytes passed in payloads of {sizes.smallest} to"
            f" {sizes.largest}, padded at random."
        )
        self._check("server-finds-nothing", "words that the server saw in clear", 0, len(found))
        short = sum(size < MIN_ENVELOPE_BYTES for size in self._payloads.values())
        about = f"payloads of fewer than {MIN_ENVELOPE_BYTES} bytes"
        self._check("messages-are-padded", about, 0, short)

    # -- checks

    def _check_read(
        self,
        name: str,
        reader: OmemoPlayer,
        expected: Sequence[str],
        read: Mapping[str, Sequence[str]],
    ) -> None:
        found = read[reader.name]
        about = f"messages that {reader.title} reads word for word"
        if not expected:
            self._check(name, f"messages that {reader.title} must not read", 0, len(found))
        else:
            equal = sum(one == other for one, other in zip(found, expected, strict=False))
            self._check(name, about, len(expected), equal)

    def _check(self, name: str, about: str, expected: int, found: int) -> None:
        self._checks.append(Check(name, about, expected, found))

    def _tell_read(self, reader: OmemoPlayer, read: Mapping[str, Sequence[str]]) -> None:
        lines = " ".join(f"“{line}”" for line in read[reader.name]) or "nothing"
        self._narrator.tell(f"{reader.title[:1].upper()}{reader.title[1:]} reads: {lines}")

    # -- the end

    def report(self, began: float) -> OmemoReport:
        """Sum up: what the server saw, what each device read, how much there was."""
        heard = self._eavesdropper
        return OmemoReport(
            messages=sum(player.said for player in self._players),
            devices=tuple(
                PlayedDevice(
                    str(player.jid),
                    player.device.id,
                    player.said,
                    len(player.read),
                    len(player.refused),
                )
                for player in self._players
            ),
            bytes=self._sizes(),
            server=Server(heard.stanzas, heard.sought, tuple(sorted(heard.found)), self._sample),
            checks=tuple(self._checks),
            seconds=round(time.perf_counter() - began, 3),
        )

    def _sizes(self) -> Sizes:
        lines = [len(line.encode()) for line in _LINES]
        payloads = self._payloads.values()
        return Sizes(
            plain=sum(lines),
            shortest=min(lines),
            longest=max(lines),
            smallest=min(payloads, default=0),
            largest=max(payloads, default=0),
            wire=self._eavesdropper.bytes,
        )


def _now() -> datetime:
    return datetime.now(UTC)
