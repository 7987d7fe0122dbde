"""KeyRing: the OpenPGP keys that one JID announced, and what we believe of each.

Rule: pure transitions from one KeyRing to the next. A key counts for a JID only if a valid user id
of it says exactly ``xmpp:`` and that JID (XEP-0373 §3.2, §8.5); trust is per fingerprint; a key
that appears after others were known is never trusted by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from e2ee.errors import E2eeError, ErrorCode, PeerMisbehaved
from e2ee.limits import MAX_KEY_RING_BYTES, MAX_PUBLIC_KEYS
from e2ee.names import BareJid, Fetch, Fingerprint, NodeAddress
from e2ee.renewal import Renewal
from e2ee.trust import Trust
from ox.elements import PublicKeysList, data_node, metadata_address
from ox.engine import Certificate

__all__ = ["KeyRing", "KnownKey", "is_user_id_of", "names_jid", "user_id"]

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
class KnownKey:
    """One key of a JID.

    Attributes:
        fingerprint: of the primary key.
        trust: what was decided about it.
        announced: whether the JID's latest list has it.
        raw: the binary public key; ``None`` until it was fetched.
        former: where it must be fetched again, and ``raw`` is ``None`` therefore: the binary public
            key as it was known before. So it is after a renewal of the account, and for our own key
            when it is struck from our list, by another device that revoked it perhaps.
        absent: whether it was asked for since, and was not there to be fetched.
        date: when the list last said that it was published or updated, aware, in seconds.
        changed: whether the list dated it anew, or struck it, since ``raw`` was fetched: its owner
            may have prolonged or revoked it.
    """

    fingerprint: Fingerprint
    trust: Trust
    announced: bool
    raw: bytes | None = field(default=None, repr=False)
    former: bytes | None = field(default=None, repr=False)
    absent: bool = False
    date: datetime | None = None
    changed: bool = False

    @property
    def seen(self) -> bytes | None:
        """The public key as it was last seen, however long ago: to merge, never to believe."""
        return self.raw or self.former

    @property
    def met(self) -> bool:
        """Whether a list ever had the key; the user can distrust one that none had."""
        return self.trust is not Trust.DISTRUSTED or bool(self.announced or self.date or self.seen)

    @property
    def outdated(self) -> bool:
        """Whether the key must be fetched again."""
        return self.raw is None and self.former is not None


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
        return tuple(self._fetch(key.fingerprint) for key in self.keys if self._is_wanted(key))

    def missing_before(self, fingerprint: Fingerprint | None) -> tuple[Fetch, ...]:
        """What to fetch before this key becomes ours: the list, then the key, listed or not.

        One that was revoked may be in no list. ``None`` is a key that is made now.
        """
        if not self.listed:
            return self.missing
        key = fingerprint and self.find(fingerprint)
        known = key and (key.absent or (key.raw and not key.changed))
        return (self._fetch(fingerprint),) if fingerprint and not known else ()

    def _is_wanted(self, key: KnownKey) -> bool:
        if key.trust is Trust.DISTRUSTED:
            return False
        counts = key.announced or key.fingerprint == self.ours
        return key.changed or (counts and key.raw is None and not key.absent)

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

        Where one that the user vouched for was struck, none that nobody vouched for replaces it.
        """
        current = self.current
        struck = any(key.trust is Trust.AUTHENTICATED for key in self.keys if key not in current)
        return tuple(
            key
            for key in current
            if key.trust is Trust.AUTHENTICATED or (key.trust is Trust.AUTOMATIC and not struck)
        )

    @property
    def _addressed(self) -> tuple[KnownKey, ...]:
        """The accepted keys, or those alone that the user vouched for, once there is one."""
        verified = any(key.trust is Trust.AUTHENTICATED for key in self.keys)
        return tuple(
            key for key in self.accepted if key.trust is Trust.AUTHENTICATED or not verified
        )

    @property
    def recipients(self) -> tuple[KnownKey, ...]:
        """The keys that were fetched of those that count: to these is encrypted.

        Once the user has vouched for a key, none is that nobody vouched for (XEP-0450 §6.2): the
        server may have added it before anybody looked.
        """
        return tuple(key for key in self._addressed if key.raw)

    @property
    def unfetched_recipients(self) -> tuple[Fingerprint, ...]:
        """Keys to encrypt to that must be fetched before anything is sealed."""
        return tuple(key.fingerprint for key in self._addressed if key.raw is None)

    @property
    def undecided(self) -> tuple[Fingerprint, ...]:
        """Current keys that wait for the user's decision."""
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
        keys = tuple(map(_to_be_fetched, self.keys))
        return replace(self, keys=keys, listed=False, renewal=renewal.count)

    def with_struck_keys(self) -> KeyRing:
        """Return the ring as if nothing had ever been struck, to judge what is from before."""
        return replace(self, keys=tuple(replace(key, announced=True) for key in self.keys))

    def announce(self, announced: PublicKeysList, first_sight: Trust) -> KeyRing:
        """Take in the JID's list of keys (XEP-0373 §4.2).

        A key that is listed no more and that nobody decided about is forgotten, so that a server
        cannot fill the ring; the last one stays, so that its successor is not met at first sight.
        A known key that is dated anew, or a believed one that is struck, should be fetched again.
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
        kept = tuple(key for key in known if key.announced or key.trust is not Trust.UNDECIDED)
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
        kept = [key for key in self.keys if key.date or key.trust is not Trust.UNDECIDED]
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
        """Note that a key is not there to be fetched, or is none.

        Ours is then what we knew of it; another that was known before is not believed again.
        """
        keys = tuple(
            self._withdrawn(key) if key.fingerprint == fingerprint else key for key in self.keys
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
        return replace(decided, keys=tuple(map(_unseen_untrusted, decided.keys)))

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

        The key that it succeeds is struck. So is itself when it is revoked, unless the list would
        be empty: XEP-0373 §4.2 wants one or more.
        """
        others = tuple(
            replace(key, announced=False, changed=False) if key.fingerprint == self.ours else key
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

    def _relisted(self, key: KnownKey, date: datetime | None) -> KnownKey:
        struck = key.announced and date is None
        dated = _dated(key, date)
        return _to_be_fetched(dated) if struck and key.fingerprint == self.ours else dated

    def _withdrawn(self, key: KnownKey) -> KnownKey:
        withdrawn = replace(key, announced=False, changed=False)
        if key.fingerprint == self.ours:
            return replace(withdrawn, raw=key.seen, former=None)
        return replace(withdrawn, absent=key.raw is None)

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
            step = replace(step, raw=raw, former=None, absent=False, changed=False)
        keys = tuple(step if key.fingerprint == fingerprint else key for key in self.keys)
        return replace(self, keys=_settled(keys))


def _dated(key: KnownKey, date: datetime | None) -> KnownKey:
    """Return a known key as a new list has it: with this date, or not at all."""
    news = key.date != date if date else key.announced and key.trust.accepts
    return replace(
        key,
        announced=date is not None,
        absent=key.absent and date is None,
        date=date or key.date,
        changed=key.raw is not None and (key.changed or news),
    )


def _to_be_fetched(key: KnownKey) -> KnownKey:
    return replace(key, raw=None, former=key.seen, absent=False, changed=False)


def _settled(keys: tuple[KnownKey, ...]) -> tuple[KnownKey, ...]:
    """End first sight for keys that were listed and never shown: they must not wait for their day.

    Not before another key was seen: until then nobody knows any better.
    """
    if not any(key.seen for key in keys):
        return keys
    return tuple(key if key.announced else _unseen_untrusted(key) for key in keys)


def _unseen_untrusted(key: KnownKey) -> KnownKey:
    unseen = key.seen is None and key.trust is Trust.AUTOMATIC
    return replace(key, trust=Trust.UNDECIDED) if unseen else key
