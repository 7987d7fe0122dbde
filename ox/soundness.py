"""Which stored keys still count: judged anew at every use, because time and revocations pass.

Rule: from a ring and an engine to certificates or fingerprints; nothing is read from or written to
a store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from e2ee.errors import PeerMisbehaved
from e2ee.names import Fingerprint
from e2ee.trust import Trust
from ox.engine import Certificate, OpenPgpEngine
from ox.keys import KeyRing, names_jid
from ox.known_key import KnownKey

__all__ = ["compromised_keys", "refused_keys", "sound_keys"]


async def sound_keys(
    engine: OpenPgpEngine, ring: KeyRing, keys: Iterable[KnownKey]
) -> list[Certificate]:
    """Inspect stored keys; those count that still name their JID."""
    sound = []
    for key in keys:
        if key.raw is None:
            continue
        try:
            certificate = await engine.inspect(key.raw)
        except PeerMisbehaved:  # sound when it came, and no more: a signature in it expired
            continue
        if names_jid(certificate, ring.jid):
            sound.append(certificate)
    return sound


async def refused_keys(engine: OpenPgpEngine, ring: KeyRing) -> frozenset[Fingerprint]:
    """Return the keys of a ring that the user distrusts or that are known to be revoked."""
    distrusted = {key.fingerprint for key in ring.keys if key.trust is Trust.DISTRUSTED}
    return frozenset(
        distrusted | {each.fingerprint for each in await _seen(engine, ring) if each.revoked}
    )


async def compromised_keys(engine: OpenPgpEngine, ring: KeyRing) -> frozenset[Fingerprint]:
    """Return the keys of a ring that are revoked so that they never proved anything."""
    return frozenset(each.fingerprint for each in await _seen(engine, ring) if each.compromised)


async def _seen(engine: OpenPgpEngine, ring: KeyRing) -> list[Certificate]:
    """Inspect what was ever seen of the keys of a ring: a revocation is for ever."""
    return await sound_keys(engine, ring, (replace(key, raw=key.seen) for key in ring.keys))
