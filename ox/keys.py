"""KeyRing: the OpenPGP keys that one JID announced, and what we believe of each.

Rule: pure transitions from one KeyRing to the next. A key counts for a JID only if a valid user id
of it says exactly ``xmpp:`` and that JID (XEP-0373 §3.2, §8.5); trust is per fingerprint; a key
that appears after others were known is never trusted by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_KEY_RING_BYTES, MAX_PUBLIC_KEYS
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress
from e2ee.renewal import Renewal
from e2ee.trust import Trust
from ox.elements import PublicKeysList, data_node, metadata_address
from ox.engine import Certificate
from ox.known_key import KnownKey

__all__ = ["KeyRing", "is_user_id_of", "names_jid", "user_id"]

_SCHEME: Final = "xmpp:"


def user_id(jid: BareJid) -> str:
    """Return the user id that a key of ``jid`` must have (XEP-0373 §8.5)."""
    return f"{_SCHEME}{jid}"


def names_jid(certificate: Certificate, jid: BareJid) -> bool:
    """Say whether a self-certified, unrevoked user id of the key is ``xmpp:`` plus ``jid``.

    Whole and normalised (RFC 7622): no prefix, suffix, resource or query passes.
    """
    return any(is_user_id_of(text, jid) for text in certificate.user_ids)


def is_user_id_of(text: str, jid: BareJid) -> bool:
    """Say whether a user id is ``xmpp:`` plus ``jid``, normalised."""
    try:
        return text.startswith(_SCHEME) and BareJid.parse(text.removeprefix(_SCHEME)) == jid
    except E2eeError:
        return False


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one JID, in the order in which they were met.

    Attributes:
        jid: whose.
        keys: the keys that are announced or were decided about; fingerprints are unique.
        listed: whether a list was ever fetched, even an empty one.
        ours: the key whose secret part this account holds; only in the ring of the account itself.
        renewal: the count of the account's renewals that the ring knows of.
    """

    jid: BareJid
    keys: tuple[KnownKey, ...] = ()
    listed: bool = False
    ours: Fingerprint | None = None
    renewal: int = 0

    def find(self, fingerprint: Fingerprint) -> KnownKey | None:
        """Return the key with this fingerprint, or ``None``."""
        return next((key for key in self.keys if key.fingerprint == fingerprint), None)

    @property
    def missing(self) -> tuple[Fetch, ...]:
        """What to fetch before this JID can be written to or verified."""
        # Who has announced nothing may do so any day.
        if not self.listed or not any(key.met for key in self.keys):
            return (Fetch(metadata_address(self.jid)),)
        return tuple(
            self._fetch(key.fingerprint)
            for key in self.keys
            if key.is_wanted(ours=key.fingerprint == self.ours)
        )

    def missing_before(self, fingerprint: Fingerprint | None) -> tuple[Fetch, ...]:
        """What to fetch before this key becomes ours: the list, then the key, listed or not.

        One that was revoked may be in no list. ``None`` is a key that is made now.
        """
        if not self.listed:
            return self.missing
        key = fingerprint and self.find(fingerprint)
        known = key and (key.absent or (key.raw and not key.changed))
        return (self._fetch(fingerprint),) if fingerprint and not known else ()

    def _fetch(self, fingerprint: Fingerprint) -> Fetch:
        return Fetch(NodeAddress(self.jid, data_node(fingerprint)))

    @property
    def outdated(self) -> bool:
        """Whether the list, or an accepted key that was known before, must be fetched first.

        So must ours when it is dated anew: another device may have revoked it.
        """
        return not self.listed or any(
            key.outdated or (key.changed and key.fingerprint == self.ours) for key in self.accepted
        )

    @property
    def current(self) -> tuple[KnownKey, ...]:
        """The keys that count today: those announced, and ours, which no server strikes."""
        return tuple(key for key in self.keys if key.announced or key.fingerprint == self.ours)

    @property
    def accepted(self) -> tuple[KnownKey, ...]:
        """The current keys that are encrypted to and believed.

        Once the user has vouched for a key, struck since or not, none counts that nobody vouched
        for (XEP-0450 §6.2): the server may have added it before anybody looked.
        """
        levels = [key.trust for key in self.keys]
        return tuple(key for key in self.current if key.trust.accepts_beside(levels))

    @property
    def recipients(self) -> tuple[KnownKey, ...]:
        """The accepted keys that were fetched: to these is encrypted."""
        return tuple(key for key in self.accepted if key.raw)

    @property
    def unfetched_recipients(self) -> tuple[Fingerprint, ...]:
        """Keys to encrypt to that must be fetched before anything is sealed."""
        return tuple(key.fingerprint for key in self.accepted if key.raw is None)

    @property
    def undecided(self) -> tuple[Fingerprint, ...]:
        """Current keys that wait for the user's decision: none was made, or only at first sight."""
        accepted = self.accepted
        return tuple(
            key.fingerprint
            for key in self.current
            if key not in accepted and key.trust is not Trust.DISTRUSTED
        )

    def renewed(self, renewal: Renewal) -> KeyRing:
        """Return the ring as it counts under the account's newest renewal.

        What was known before is fetched again before anything is sealed to it or believed of it: a
        key may have been revoked since, or be listed no more.

        Raises:
            StoreFailed: ``store-corrupt``: the ring knows of a later renewal.
        """
        if not renewal.outdates(self.renewal):
            return self
        keys = tuple(key.to_be_fetched() for key in self.keys)
        return replace(self, keys=keys, listed=False, renewal=renewal.count)

    def with_former_keys(self) -> KeyRing:
        """Return the ring as if nothing had been struck or succeeded, to judge what is from before.

        What the user decided counts, and so does every revocation.
        """
        keys = tuple(
            replace(
                key,
                announced=True,
                trust=Trust.AUTHENTICATED
                if key.succeeded and key.trust is Trust.UNDECIDED
                else key.trust,
            )
            for key in self.keys
        )
        return replace(self, keys=keys)

    def announce(self, announced: PublicKeysList, first_sight: Trust) -> KeyRing:
        """Take in the JID's list of keys (XEP-0373 §4.2).

        A key that is listed no more and that nobody decided about is forgotten, so that a server
        cannot fill the ring; the last one stays, so that its successor is not met at first sight.
        A known key that is dated anew or listed again, or a believed one that is struck, should be
        fetched again.
        When ours is struck, it must be fetched before it is used: it may be revoked.

        Args:
            announced: the list.
            first_sight: the trust of keys met while none was known; later ones are undecided.
        """
        dates = {key.fingerprint: key.date.replace(microsecond=0) for key in announced.keys}
        trust = Trust.UNDECIDED if any(key.met for key in self.keys) else first_sight
        known = _settled(
            tuple(self._relisted(key, dates.get(key.fingerprint)) for key in self.keys)
        )
        kept = tuple(key for key in known if key.announced or key.kept)
        met = {key.fingerprint for key in kept}
        new = tuple(
            KnownKey(fingerprint, trust, announced=True, date=date)
            for fingerprint, date in dates.items()
            if fingerprint not in met
        )
        last = () if any(key.met for key in kept + new) else [key for key in known if key.met][-1:]
        return replace(self, keys=(*kept, *new, *last), listed=True)

    def asked_for(self, fingerprint: Fingerprint) -> KeyRing:
        """Make room for one key of ours that no list names, until the next list comes."""
        if self.find(fingerprint) is not None:
            return self
        kept = [key for key in self.keys if key.date or key.kept]
        return replace(self, keys=(*kept, KnownKey(fingerprint, Trust.UNDECIDED, announced=False)))

    def deliver(self, certificate: Certificate, expected: Fingerprint) -> KeyRing:
        """Take in a fetched key, merged with what was known of it.

        A known key may have lost its user id, by a revocation or with time. That must become known,
        too: whoever uses a key asks :func:`names_jid` again.

        Raises:
            PeerMisbehaved: ``signer-mismatch``: it is not the key that the node names, or it is new
                and no valid user id of it names this JID; ``limit-exceeded``: too many bytes with
                the JID's other keys. A revocation is taken in however long.
        """
        if certificate.fingerprint != expected:
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH, "another key than its node names", rule="XEP-0373 §4.1"
            )
        others = sum(len(key.seen or b"") for key in self.keys if key.fingerprint != expected)
        if others + len(certificate.raw) > MAX_KEY_RING_BYTES and not certificate.revoked:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED,
                f"keys of more than {MAX_KEY_RING_BYTES} bytes for one JID",
                rule="XEP-0373 §4.1",
            )
        known = self.find(expected)
        if (known is None or known.seen is None) and not names_jid(certificate, self.jid):
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH,
                f"a key without the user id {user_id(self.jid)}",
                rule="XEP-0373 §8.5",
            )
        return self._with(expected, raw=certificate.raw)

    def withdraw(self, fingerprint: Fingerprint) -> KeyRing:
        """Note that a key is not there to be fetched, or is none."""
        keys = tuple(
            key.withdrawn(ours=key.fingerprint == self.ours)
            if key.fingerprint == fingerprint
            else key
            for key in self.keys
        )
        return replace(self, keys=_settled(keys))

    def decide(self, fingerprint: Fingerprint, trust: Trust) -> KeyRing:
        """Set the trust of one key that the ring has.

        With the first key that is vouched for, first sight is over: what was listed with it and not
        seen yet is trusted no more.

        Raises:
            PeerMisbehaved: ``signer-mismatch``: the JID never announced this key.
        """
        decided = self._with(fingerprint, trust=trust)
        if trust is not Trust.AUTHENTICATED:
            return decided
        return replace(decided, keys=tuple(key.past_first_sight() for key in decided.keys))

    def distrust(self, fingerprint: Fingerprint) -> KeyRing:
        """Distrust a key, also one that the JID never announced, should it ever do so.

        Raises:
            PeerMisbehaved: ``limit-exceeded``: too many that it never announced.
        """
        if self.find(fingerprint) is not None:
            return self.decide(fingerprint, Trust.DISTRUSTED)
        if sum(not key.met for key in self.keys) >= MAX_PUBLIC_KEYS:
            what = f"more than {MAX_PUBLIC_KEYS} keys that {self.jid} never announced"
            raise PeerMisbehaved(ErrorCode.LIMIT_EXCEEDED, what, rule="XEP-0434 §9.1")
        unmet = (KnownKey(fingerprint, Trust.DISTRUSTED, announced=False),)
        return replace(self, keys=self.keys + unmet)

    def own(self, certificate: Certificate, now: datetime) -> KeyRing:
        """Add the key whose secret part we hold, authenticated and announced anew.

        The key that it succeeds is struck, and no server that lists it again brings it back. So is
        itself when it is revoked, unless the list would be empty: XEP-0373 §4.2 wants one or more.
        """
        others = tuple(
            _succeeded(key) if key.fingerprint == self.ours else key
            for key in self.keys
            if key.fingerprint != certificate.fingerprint
        )
        alone = not any(key.announced and key.trust is not Trust.DISTRUSTED for key in others)
        key = KnownKey(
            certificate.fingerprint,
            Trust.AUTHENTICATED,
            announced=alone or not certificate.revoked,
            raw=certificate.raw,
            date=now.replace(microsecond=0),
        )
        return replace(self, keys=(*others, key), listed=True, ours=certificate.fingerprint)

    def owned(self, certificate: Certificate) -> KeyRing:
        """Add a former key of our own that a backup brought, to be fetched before it is believed.

        What is known of it already stays.
        """
        known = self.find(certificate.fingerprint)
        if known is None:
            key = KnownKey(
                certificate.fingerprint,
                Trust.UNDECIDED,
                announced=False,
                former=certificate.raw,
                succeeded=True,
            )
            return replace(self, keys=(*self.keys, key))
        owned = replace(known, succeeded=True)
        if known.seen is None:
            owned = replace(owned, former=certificate.raw, absent=False)
        return replace(self, keys=tuple(owned if key is known else key for key in self.keys))

    def _relisted(self, key: KnownKey, date: datetime | None) -> KnownKey:
        struck = key.announced and date is None
        relisted = key.relisted(date)
        return relisted.to_be_fetched() if struck and key.fingerprint == self.ours else relisted

    def _with(
        self, fingerprint: Fingerprint, *, trust: Trust | None = None, raw: bytes | None = None
    ) -> KeyRing:
        known = self.find(fingerprint)
        if known is None:
            raise PeerMisbehaved(
                ErrorCode.SIGNER_MISMATCH, f"{self.jid} announced no such key", rule="XEP-0373 §4.2"
            )
        step = replace(known, trust=trust or known.trust)
        if raw is not None:
            step = step.fetched(raw)
        keys = tuple(step if key.fingerprint == fingerprint else key for key in self.keys)
        return replace(self, keys=_settled(keys))


def _succeeded(key: KnownKey) -> KnownKey:
    """Return the key that was ours; one that the user distrusts stays so."""
    undecided = key.trust is not Trust.DISTRUSTED
    return replace(
        key,
        trust=Trust.UNDECIDED if undecided else key.trust,
        announced=False,
        changed=False,
        succeeded=True,
    )


def _settled(keys: tuple[KnownKey, ...]) -> tuple[KnownKey, ...]:
    """End first sight for keys that were listed and never shown: they must not wait for their day.

    Not before another key was seen: until then nobody knows any better.
    """
    if not any(key.seen for key in keys):
        return keys
    return tuple(key if key.announced else key.past_first_sight() for key in keys)
