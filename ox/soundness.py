"""Which stored keys still count: judged anew at every use, because time and revocations pass.

Rule: from a ring and an engine to certificates or fingerprints; nothing is read from or written to
a store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
        except PeerMisbehaved:
            continue
        if names_jid(certificate, ring.jid):
            sound.append(certificate)
    return sound


async def refused_keys(engine: OpenPgpEngine, ring: KeyRing) -> frozenset[Fingerprint]:
    """Return the keys of a ring that the user distrusts or that are known to be revoked.

    Whomever they name: whoever stole a key can take its owner's name away before it is revoked.
    """
    distrusted = {key.fingerprint for key in ring.keys if key.trust is Trust.DISTRUSTED}
    return frozenset(distrusted | await _seen(engine, ring, lambda found: found.revoked))


async def compromised_keys(engine: OpenPgpEngine, ring: KeyRing) -> frozenset[Fingerprint]:
    """Return the keys of a ring that are revoked so that they never proved anything."""
    return await _seen(engine, ring, lambda found: found.compromised)


async def _seen(
    engine: OpenPgpEngine, ring: KeyRing, is_over: Callable[[Certificate], bool]
) -> frozenset[Fingerprint]:
    """Return the keys of which that is so by what was ever seen of them, or by now unreadable."""
    found = set()
    for key in ring.keys:
        if key.seen is None:
            continue
        try:
            over = is_over(await engine.inspect(key.seen))
        except PeerMisbehaved:
            over = True
        if over:
            found.add(key.fingerprint)
    return frozenset(found)
