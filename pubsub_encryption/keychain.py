"""Keychain: the secrets of one encrypted node, and every rule by which they change (XEP-0473).

Rule: each change is a pure function from one Keychain to the next. No XML, no storage, no clock
but the one passed in. A refused change raises and leaves the keychain that you hold as it was.

The life of a secret: ACTIVE ──revoke──▶ REVOKED, and never back. A revocation that arrives before
its secret is kept as a tombstone, so that the secret is born revoked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from e2ee import limits
from e2ee.errors import ApiMisuse, ErrorCode, PeerMisbehaved, SecretMissing
from e2ee.names import BareJid, Fingerprint, NodeAddress, SecretId
from e2ee.renewal import Renewal
from e2ee.secret import Secret
from pubsub_encryption.node_secret import NodeSecret, SecretState, newest_of

__all__ = ["Keychain"]

_TICK: Final = timedelta(seconds=1)  # what a stamp on the wire resolves


@dataclass(frozen=True, slots=True)
class Keychain:
    """All that one account knows of one node's secrets.

    Attributes:
        address: the node.
        owner: the only JID that may share and revoke.
        approved: the owner's keys that may sign for it.
        secrets: in the order in which they were met; ids are unique.
        tombstones: ids that the owner revoked before their secret was met.
        buried: the same of former owners, each with its owner, who may be named again.
        members: whom the owner granted access; empty for everybody but the owner.
        removed: whom this device of the owner removed, until they are granted access again.
        renewal: the count of the account's renewals that the keychain knows of.
        confirmed: whether the owner has said since then what is current; else nothing encrypts.
    """

    address: NodeAddress
    owner: BareJid
    approved: frozenset[Fingerprint]
    secrets: tuple[NodeSecret, ...] = ()
    tombstones: frozenset[SecretId] = frozenset()
    buried: frozenset[tuple[BareJid, SecretId]] = frozenset()
    members: frozenset[BareJid] = frozenset()
    removed: frozenset[BareJid] = frozenset()
    renewal: int = 0
    confirmed: bool = True

    @property
    def current(self) -> NodeSecret:
        """The secret that encrypts new items: the newest active one, ties decided by id.

        Raises:
            ApiMisuse: ``no-active-secret``: there is none; ``store-rolled-back``: the account was
                renewed since, and the owner has not confirmed it; ``forbidden``: it is too short,
                or another device of ours shared it with somebody whom we removed: rotate.
        """
        newest = self._newest_active
        if newest is None:
            raise ApiMisuse(
                f"no active secret for {self.address}",
                code=ErrorCode.NO_ACTIVE_SECRET,
                rule="XEP-0473 §5.2",
            )
        if not self.confirmed:
            raise ApiMisuse(
                f"the secret of {self.address} is from an older copy of the store; "
                f"{self.owner} must rotate it, or grant the others access again",
                code=ErrorCode.STORE_ROLLED_BACK,
            )
        if newest.is_weak:
            raise ApiMisuse(
                f"the secret of {self.address} has under {limits.MIN_SECRET_CHARS} characters",
                code=ErrorCode.FORBIDDEN,
                rule="XEP-0473 §9",
            )
        if newest.shared_with & self.removed:
            raise ApiMisuse(
                f"somebody who was removed has the secret of {self.address}; rotate it",
                code=ErrorCode.FORBIDDEN,
                rule="XEP-0473 §5.3",
            )
        return newest

    @property
    def _newest_active(self) -> NodeSecret | None:
        return newest_of(s for s in self.secrets if s.state is SecretState.ACTIVE)

    @property
    def to_revoke(self) -> tuple[NodeSecret, ...]:
        """The secrets of whose revocation a rotation tells people.

        The active ones, and those of a key that was disapproved: they are revoked here, and whoever
        was sent them has not been told.
        """
        return tuple(
            secret
            for secret in self.secrets
            if secret.state is SecretState.ACTIVE
            or (not secret.foreign and secret.signer not in self.approved)
        )

    def renewed(self, renewal: Renewal) -> Keychain:
        """Return the keychain as it counts under the account's newest renewal.

        What is known from before it decrypts, and encrypts no more: it may have been revoked since.

        Raises:
            StoreFailed: ``store-corrupt``: the keychain knows of a later renewal.
        """
        if not renewal.outdates(self.renewal):
            return self
        return replace(self, renewal=renewal.count, confirmed=False)

    def confirm(self, secret_id: SecretId) -> Keychain:
        """Take the owner's word, given since the renewal, that this secret is in use.

        It says nothing of a newer secret that we may hold, and a revoked one says nothing at all.
        """
        current = self._newest_active
        return self if current is None or current.id != secret_id else replace(self, confirmed=True)

    def find(self, secret_id: SecretId) -> NodeSecret | None:
        """Return the secret with this id, or ``None``."""
        return next((secret for secret in self.secrets if secret.id == secret_id), None)

    def require(self, secret_id: SecretId) -> NodeSecret:
        """Return the secret with this id.

        Raises:
            SecretMissing: it is not known here.
        """
        found = self.find(secret_id)
        if found is None:
            raise SecretMissing(f"a secret of {self.address} is missing", secret_id=secret_id)
        return found

    def adopt(
        self, secret: NodeSecret, sharer: BareJid, signer: Fingerprint, now: datetime
    ) -> Keychain:
        """Take in a secret that somebody shared.

        A known secret is never changed by what comes later: its value and its date stay, only a
        revocation and further people who have it are added. Only what a former owner left under
        the same id gives way.

        Args:
            secret: what came.
            sharer: whose account sent it.
            signer: the key that signed it.
            now: the present, or the archive's stamp for a message from an archive; aware.

        Raises:
            PeerMisbehaved: ``not-owner``: shared by anybody but the pinned owner (XEP-0473 §9);
                ``secret-conflict``: another secret has this id; ``stale``: generated in the
                future; ``limit-exceeded``: the node has too many secrets.
        """
        self._check_authority(sharer, signer)
        if secret.is_ahead_of(now):
            raise PeerMisbehaved(
                ErrorCode.STALE, "a secret generated in the future", rule="XEP-0473 §5.2"
            )
        known = self.find(secret.id)
        if known is None or (known.foreign and known.passphrase != secret.passphrase):
            self._check_room()
            if secret.id in self.tombstones:
                secret = replace(secret, state=SecretState.REVOKED)
            return replace(
                self,
                secrets=(
                    *(kept for kept in self.secrets if kept is not known),
                    replace(secret, signer=signer),
                ),
                tombstones=self.tombstones - {secret.id},
            )
        if known.passphrase != secret.passphrase:
            raise PeerMisbehaved(
                ErrorCode.SECRET_CONFLICT, "two secrets with one id", rule="XEP-0473 §5.1"
            )
        revoked = SecretState.REVOKED in (known.state, secret.state)
        return self._with(
            replace(
                known,
                state=SecretState.REVOKED if revoked else SecretState.ACTIVE,
                shared_with=known.shared_with | secret.shared_with,
            )
        )

    def revoke(self, secret_id: SecretId, sharer: BareJid, signer: Fingerprint) -> Keychain:
        """Take in a revocation; an unknown id becomes a tombstone.

        Raises:
            PeerMisbehaved: ``not-owner``; ``limit-exceeded``.
        """
        self._check_authority(sharer, signer)
        known = self.find(secret_id)
        if known is not None:
            return self._with(replace(known, state=SecretState.REVOKED))
        if secret_id in self.tombstones:
            return self
        self._check_room()
        return replace(self, tombstones=self.tombstones | {secret_id})

    def rotate(
        self,
        secret_id: SecretId,
        value: Secret,
        now: datetime,
        signer: Fingerprint,
        *,
        leaving: Collection[BareJid] = (),
        content_type: str | None = None,
        clock_is_right: bool = False,
    ) -> Keychain:
        """Revoke every active secret and make a new one current; those ``leaving`` lose access.

        The new secret is dated after every other one, so that all members agree on what is
        current even when clocks or quick rotations do not. No number of secrets is too great: else
        nobody could be removed any more. Where the members are those of before a renewal, none is a
        member until they are granted access again: somebody may have been removed since.

        Args:
            secret_id: the new secret's id.
            value: the new secret.
            now: the present, aware.
            signer: our key that vouches for it.
            leaving: who loses access.
            content_type: the ``pubsub#type`` of the plain text; inherited where it is not given.
            clock_is_right: the user's word that our clock was ahead before and is right now, so
                that secrets dated ahead, which every member has refused, are dated to the present.

        Raises:
            ApiMisuse: the id is taken, or secrets are dated ahead of our clock.
        """
        if self.find(secret_id) is not None or secret_id in self.tombstones:
            raise ApiMisuse("a new secret needs a new id")
        if clock_is_right and len(self.believed(now)) < len(self.secrets):
            return self._redated(now).rotate(
                secret_id, value, now, signer, leaving=leaving, content_type=content_type
            )
        dates = [secret.created + _TICK for secret in self.secrets]
        created = max([now.replace(microsecond=0), *dates])
        if created > now + limits.MAX_CLOCK_SKEW:
            raise ApiMisuse("secrets of this node are dated ahead of our clock; is it right?")
        before = newest_of(self.secrets)
        inherited = before.type if before else None
        new = NodeSecret(secret_id, value, created, type=content_type or inherited, signer=signer)
        return replace(
            self,
            secrets=(*self._all_revoked(), new),
            members=self.members - frozenset(leaving) if self.confirmed else frozenset(),
            removed=self.removed | frozenset(leaving),
            confirmed=True,
        )

    def believed(self, now: datetime) -> tuple[NodeSecret, ...]:
        """Return the secrets that are not dated ahead of our clock."""
        return tuple(secret for secret in self.secrets if not secret.is_ahead_of(now))

    def shared(self, secret_id: SecretId, people: Collection[BareJid]) -> Keychain:
        """Note that ``people`` were sent this secret."""
        known = self.require(secret_id)
        return self._with(replace(known, shared_with=known.shared_with | frozenset(people)))

    def untold(self, secret_id: SecretId, person: BareJid) -> Keychain:
        """Note that ``person`` could not be told of a revocation.

        The secret counts as not shared with them, so that a later grant sends it, as revoked.
        """
        known = self.require(secret_id)
        return self._with(replace(known, shared_with=known.shared_with - {person}))

    def admit(self, member: BareJid) -> Keychain:
        """Note that ``member`` may read the node."""
        return replace(self, members=self.members | {member}, removed=self.removed - {member})

    def follow(
        self,
        before: Keychain,
        secret_id: SecretId,
        now: datetime,
        people: Collection[BareJid] = (),
    ) -> Keychain:
        """Note what another device of ours did with a secret, and so who the members are.

        The members are those who were sent the secret of the latest date. Once it is revoked there
        are none until its successor arrives, for somebody is leaving and nothing says who: whom the
        other device has removed must not be sent the next secret by this one.

        Args:
            before: the keychain before the secret was adopted or revoked.
            secret_id: what was shared or revoked.
            now: the present, aware; what a runaway clock of ours dated ahead of it does not count.
            people: with whom it was shared, ourselves not counted.
        """
        if self.find(secret_id) is None:
            return self  # a tombstone
        changed = self.shared(secret_id, people)
        latest = changed.require(secret_id)
        if latest is not newest_of(changed.believed(now)):
            return changed
        was = before.find(secret_id)
        is_news = was is None or was.state is not latest.state
        known = frozenset() if is_news else self.members
        active = latest.state is SecretState.ACTIVE
        told = frozenset(people) - self.removed if active else frozenset()
        return replace(changed, members=known | told)

    def approve(self, owner: BareJid, signer: Fingerprint) -> Keychain:
        """Pin ``owner`` with this key.

        Another owner than before replaces all earlier approvals, and what the one before shared
        encrypts no more and gives way to what the new one shares: that may have been somebody who
        never owned the node.
        """
        if owner == self.owner:
            return replace(self, approved=self.approved | {signer})
        buried = self.buried | {(self.owner, secret_id) for secret_id in self.tombstones}
        return replace(
            self,
            owner=owner,
            approved=frozenset({signer}),
            secrets=tuple(replace(secret, foreign=True) for secret in self._all_revoked()),
            tombstones=frozenset(secret_id for whose, secret_id in buried if whose == owner),
            buried=frozenset(each for each in buried if each[0] != owner),
            members=frozenset(),
        )

    def disapprove(self, signer: Fingerprint) -> Keychain:
        """Believe this key no more; what it vouched for still decrypts, and encrypts no more.

        Whom it let in cannot be told from others, so there are no members until they are granted
        access again.
        """
        if signer not in self.approved:
            return self
        return replace(
            self,
            approved=self.approved - {signer},
            members=frozenset(),
            secrets=tuple(
                replace(secret, state=SecretState.REVOKED) if secret.signer == signer else secret
                for secret in self.secrets
            ),
        )

    def _redated(self, now: datetime) -> Keychain:
        """Date what a runaway clock of ours dated ahead to the present, where members take it.

        Members are those who were sent the latest of the others too: while our clock was ahead,
        nothing that another device of ours did looked new.
        """
        present = now.replace(microsecond=0)
        believed = self.believed(now)
        latest = newest_of(believed)
        return replace(
            self,
            secrets=tuple(
                secret if secret in believed else replace(secret, created=present)
                for secret in self.secrets
            ),
            members=self.members & latest.shared_with if latest else self.members,
        )

    def _all_revoked(self) -> tuple[NodeSecret, ...]:
        return tuple(replace(secret, state=SecretState.REVOKED) for secret in self.secrets)

    def _with(self, changed: NodeSecret) -> Keychain:
        return replace(
            self,
            secrets=tuple(
                changed if secret.id == changed.id else secret for secret in self.secrets
            ),
        )

    def _check_authority(self, sharer: BareJid, signer: Fingerprint) -> None:
        if sharer != self.owner or signer not in self.approved:
            raise PeerMisbehaved(
                ErrorCode.NOT_OWNER,
                f"{sharer} may not share or revoke secrets of {self.address} with this key",
                rule="XEP-0473 §9",
            )

    def _check_room(self) -> None:
        ours = sum(not secret.foreign for secret in self.secrets)
        if ours + len(self.tombstones) >= limits.MAX_SECRETS_PER_NODE:
            raise PeerMisbehaved(
                ErrorCode.LIMIT_EXCEEDED,
                f"too many secrets for {self.address}",
                rule="XEP-0473 §5.2",
            )
