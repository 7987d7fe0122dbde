"""OmemoSessions: one account's OMEMO on this device: its keys, the devices of others, messages.

Rule: every operation is one transaction of the account's store; what must be sent is queued in it.
How is in the modules beside this one; here is their face.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from e2ee.arrival import Arrival
from e2ee.errors import ApiMisuse, E2eeError
from e2ee.names import BareJid, Fetch
from e2ee.omemo import (
    decrypting,
    empty_messages,
    encrypting,
    inbox,
    maintenance,
    own_device,
    peers,
)
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.encrypting import Encrypted
from e2ee.omemo.engine import OmemoEngine
from e2ee.omemo.opened import OpenedMessage
from e2ee.omemo.own_record import OwnDevice
from e2ee.omemo.ring import DeviceRing
from e2ee.omemo.version import Version
from e2ee.ports import Ports
from e2ee.storage import Key
from e2ee.trust import Trust
from e2ee.xmltree import Element

__all__ = ["OmemoSessions"]


class OmemoSessions:
    """OMEMO (XEP-0384 0.9.1, and 0.2.2 where asked for) of one device of one account."""

    def __init__(self, account: BareJid, ports: Ports, engines: Sequence[OmemoEngine]) -> None:
        """Bind a device to its ports; state is read from the store by each operation.

        Args:
            account: whose device this is. A store has one device of an account.
            ports: what the outside gives.
            engines: one for each version to be spoken. Version 2 is always; the legacy version only
                where its engine is given, and only with devices that have no other.

        Raises:
            ApiMisuse: two engines of one version, or none of version 2.
        """
        self.account = account
        self.ports = ports
        self.engines = {engine.version: engine for engine in engines}
        self.scope: Key = (str(account),)
        if len(self.engines) != len(engines) or Version.TWO not in self.engines:
            raise ApiMisuse("one engine for each version is needed, version 2 among them")

    # -- our own device

    async def register(self, label: str | None = None) -> Device:
        """Make this device, and queue that its bundle and then its id are published (§5.3).

        A device that has left comes back, under its id and with its identity; and one that is
        there is announced in a version whose engine it did not have before.

        Args:
            label: what the user calls it; signed, and seen by everybody (§5.3.1). Programs with
                python-omemo 1.0, as Libervia 0.9 and Debian have it, refuse the whole list of an
                account in which any device has one, and so write to none of its devices.

        Raises:
            ApiMisuse: there is nothing to register: the device is announced in every version; a
                label that is too long.
            DataMissing: the account's own device lists must be fetched first.
            PeerMisbehaved: ``limit-exceeded``: there is no room for another in a list.
        """
        return await own_device.register(self, label)

    async def own_device(self) -> OwnDevice:
        """Return this device.

        Raises:
            ApiMisuse: there is none; see :meth:`register`.
            StoreFailed: ``store-corrupt``: there was one, and part of it is lost.
        """
        return await own_device.own_device(self)

    async def relabel(self, label: str | None) -> None:
        """Give this device another label, or none, and queue that the list is published.

        Raises:
            ApiMisuse: no device; a label that is too long.
            DataMissing: the account's own device lists must be fetched first.
        """
        await own_device.relabel(self, label)

    async def leave(self) -> None:
        """Stop using OMEMO: queue that this device and its bundle are withdrawn (§6).

        What is on its way can still be read. Where a service refused that, call it again.

        Raises:
            ApiMisuse: no device.
            DataMissing: the account's own device lists must be fetched first.
        """
        await own_device.leave(self)

    async def maintain(self) -> None:
        """Do what is due with time. Call it daily.

        It rotates the signed prekey, publishes the bundle once more, because that may have been
        refused, and deletes prekeys that were used more than a day ago.

        Raises:
            ApiMisuse: no device.
        """
        await maintenance.maintain(self)

    async def catch_up(self) -> None:
        """Begin a catch-up with the archive: used prekeys are kept until it ends (§6).

        So that of two messages that were sent with the same prekey meanwhile, both can be read.
        """
        await maintenance.catch_up(self)

    async def caught_up(self) -> None:
        """End a catch-up: used prekeys are deleted after a day again."""
        await maintenance.caught_up(self)

    # -- the devices of others

    async def missing(self, people: Collection[BareJid]) -> tuple[Fetch, ...]:
        """Say what must be fetched before ``people`` can be written to, our own devices included.

        Ask again after feeding: a list names bundles. Bundles are asked for only right before they
        are needed, and only a few of one person's at once.
        """
        return await peers.missing(self, people)

    def notified(self, arrival: Arrival) -> tuple[Fetch, ...]:
        """Say for which need the payload of a PEP event is to be fed; nothing if it is no list.

        An event that is not from the bare account whose list it is about is ignored.

        Args:
            arrival: of the event: an item, its node, who sent the stanza.
        """
        return peers.notified(self, arrival)

    async def feed(self, fetch: Fetch, payload: Element | None) -> None:
        """Take in what was fetched, and note what the user should be told (``KeyEvents``).

        A bundle that is wrong is no error of this call: its device is left out, and every report
        of ``encrypt`` says why.

        Args:
            fetch: what was asked for.
            payload: the payload of the item; ``None`` where there is none.

        Raises:
            ApiMisuse: no node of OMEMO, or of a version that is not spoken here.
            PeerMisbehaved: a device list that is none; nothing was kept.
        """
        await peers.feed(self, fetch, payload)

    async def devices(self, jid: BareJid) -> DeviceRing:
        """Return what is known of the devices of ``jid``."""
        return await peers.devices(self, jid)

    async def decide(self, jid: BareJid, fingerprint: IdentityFingerprint, trust: Trust) -> None:
        """Record the user's decision about one identity, named by the fingerprint that was shown.

        To accept an identity that another device id was known by makes it that device's.

        Raises:
            PeerMisbehaved: ``signer-mismatch``: no device of the JID ever showed it.
        """
        await peers.decide(self, jid, fingerprint, trust)

    async def answer_opt_out(self, jid: BareJid) -> None:
        """Record that the user knows that ``jid`` asked to write in clear (§5.7).

        Whatever they decided: from now on :meth:`encrypt` does not refuse any more.
        """
        await peers.answer_opt_out(self, jid)

    # -- messages

    async def encrypt(
        self,
        content: Sequence[Element],
        to: Collection[BareJid],
        *,
        room: BareJid | None = None,
        leaving_out: Collection[Device] = (),
        verified_only: bool = False,
    ) -> Encrypted:
        """Encrypt ``content`` for all devices of ``to``, and for our own others.

        Args:
            content: the elements to be read by them alone. A device that only speaks the legacy
                version gets the text of ``<body/>`` and nothing else.
            to: the recipients; in a room everybody who is in its lists, see ``RoomRoster``.
            room: the room that it is sent to, if any.
            leaving_out: devices that the user was shown and has not decided about, to go without.
            verified_only: write to no device that the user did not vouch for.

        Returns:
            The elements to place in one stanza, one for each version that was needed, and what
            became of each device.

        Raises:
            ApiMisuse: nobody to write to; an element without a namespace, or one that is encrypted
                already; no device of our own; ``opted-out``: somebody asked to write in clear, and
                the user has not answered.
            DataMissing: lists or bundles must be fetched first. Feed them and call again, until it
                does not say so: a message that arrives in between may use up what was there.
            TrustUndecided: devices that the user must decide about or leave out.
            PeerMisbehaved: ``unusable-key``: somebody has no device that could read it;
                ``downgrade``: somebody had devices, and has none now.
        """
        return await encrypting.encrypt(
            self,
            content,
            to,
            room=room,
            leaving_out=leaving_out,
            verified_only=verified_only,
        )

    async def renew_session(self, device: Device) -> None:
        """Replace the session with a device by a new one, because the user asked for it (§6).

        Queues an empty message, by which the other side replaces its own. What is on its way still
        finds the old one.

        Raises:
            ApiMisuse: no device of our own, or it is the one.
            DataMissing: the device's list or bundle must be fetched first.
            PeerMisbehaved: ``untrusted``, ``identity-changed``, or what its bundle was refused for.
        """
        await empty_messages.renew_session(self, device)

    async def decrypt(self, encrypted: Element, arrival: Arrival) -> OpenedMessage:
        """Decrypt one message, and keep it until :meth:`delivered` is called with it.

        The same stanza again yields the same message until then, and a replay from then on.

        Args:
            encrypted: the ``<encrypted/>`` element.
            arrival: where it stood.

        Raises:
            ApiMisuse: no device of our own.
            DataMissing: the sender's device list must be fetched first.
            PeerMisbehaved: ``not-for-us``; ``no-session``; ``replay``: it was decrypted before, or
                passed over so long ago that its key was dropped; ``untrusted``;
                ``identity-changed``, or ``signer-mismatch``: the identity is another's;
                ``too-many-skipped`` (see :meth:`renew_session`); ``unsupported-algorithm``: a
                version that is not spoken here; ``forbidden``: we sent it ourselves, something in
                it is encrypted once more, or it is a legacy message in an item;
                ``context-mismatch``, ``stale``; ``limit-exceeded`` and what else the parsers raise.
            CannotDecrypt: every cryptographic failure.
        """
        return await decrypting.decrypt(self, encrypted, arrival)

    async def decrypt_many(
        self, page: Sequence[tuple[Element, Arrival]]
    ) -> tuple[OpenedMessage | E2eeError, ...]:
        """Decrypt a page of messages in one commit, oldest first.

        Returns:
            For each what :meth:`decrypt` would return or raise; none stands in another's way. Of a
            message that the page has twice, the second one is a ``replay``.

        Raises:
            ApiMisuse: no device of our own.
            StoreFailed: nothing of the page was kept.
        """
        return await decrypting.decrypt_many(self, page)

    async def delivered(self, opened: Collection[OpenedMessage]) -> None:
        """Forget messages that the program has taken in; to report one again changes nothing."""
        await inbox.delivered(self, opened)

    async def undelivered(self) -> tuple[OpenedMessage, ...]:
        """Return the messages that were decrypted and not reported as delivered, oldest first.

        Call it when the program starts: a crash may have come between.
        """
        return await inbox.undelivered(self)
