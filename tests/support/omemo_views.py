"""What a device of the world knows of another one, and how a test shows it something.

Rule: looks by the face that programs use; nothing is altered past it.
"""

from __future__ import annotations

from e2ee.draft import Draft
from e2ee.errors import ErrorCode
from e2ee.key_events import KeyNews
from e2ee.omemo import peers
from e2ee.omemo.bundle import Bundle
from e2ee.omemo.device import Device, IdentityFingerprint
from e2ee.omemo.identities import identify_within
from e2ee.omemo.known_device import KnownDevice
from e2ee.omemo.version import Version, bundle_fetch
from e2ee.trust import Trust
from tests.support.omemo_world import Party, World

__all__ = ["fingerprint", "identify", "known", "level", "served", "told"]


async def known(party: Party, device: Device) -> KnownDevice:
    """Return what a party knows of a device."""
    found = (await peers.devices(party.sessions, device.jid)).find(device.id)
    assert found is not None
    return found


async def told(party: Party) -> set[tuple[str, str, KeyNews]]:
    """Return what waits to be shown to a party's user: whose key, which, what."""
    return {(str(event.jid), event.key, event.news) for event in await party.events.pending()}


async def level(party: Party, device: Device) -> Trust:
    """Return what a device is worth to a party."""
    devices = await peers.devices(party.sessions, device.jid)
    return devices.level(await known(party, device), party.trust)


async def identify(
    party: Party, device: Device, fingerprint: IdentityFingerprint, *, proven: bool
) -> ErrorCode | None:
    """Let a device show an identity, as a key exchange of it would."""
    async with party.store.exclusive(party.sessions.scope) as tx:
        draft = Draft(tx, party.jid)
        code = await identify_within(party.sessions, draft, device, fingerprint, proven=proven)
        await draft.commit()
    return code


def served(world: World, device: Device) -> Bundle:
    """Return the bundle that is served for a device."""
    payload = world.serve(bundle_fetch(Version.TWO, device))
    assert payload is not None
    return Bundle.from_xml(payload)


def fingerprint(party: Party, bundle: Bundle) -> IdentityFingerprint:
    return party.sessions.engines[bundle.version].fingerprint(bundle.identity)
