"""KnownKey: one OpenPGP key of a JID, as it was announced and fetched, and how far it is trusted.

Rule: pure transitions of one key; what it counts for beside the JID's other keys is decided in
``keys.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from e2ee.names import Fingerprint
from e2ee.trust import Trust

__all__ = ["KnownKey"]


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One key of a JID.

    Attributes:
        fingerprint: of the primary key.
        trust: what was decided about it.
        announced: whether the JID's latest list has it.
        raw: the binary public key; ``None`` until it was fetched.
        former: where it must be fetched again, and ``raw`` is ``None`` therefore: the binary public
            key as it was known before. So it is after a renewal of the account, for our own key
            when it is struck from our list, by another device that revoked it perhaps, and for one
            that a backup brought.
        absent: whether it was asked for since, and was not there to be fetched.
        date: when the list last said that it was published or updated, aware, in seconds.
        changed: whether the list dated it anew, struck it or had it again, since ``raw`` was
            fetched: its owner may have prolonged or revoked it.
        succeeded: whether it is a former key of our own, which another one succeeded: it counts no
            more, but what it signed before is ours.
    """

    fingerprint: Fingerprint
    trust: Trust
    announced: bool
    raw: bytes | None = field(default=None, repr=False)
    former: bytes | None = field(default=None, repr=False)
    absent: bool = False
    date: datetime | None = None
    changed: bool = False
    succeeded: bool = False

    @property
    def seen(self) -> bytes | None:
        """The public key as it was last seen, however long ago: to merge, never to believe."""
        return self.raw or self.former

    @property
    def met(self) -> bool:
        """Whether a list ever had the key; the user can distrust one that none had."""
        return self.trust is not Trust.DISTRUSTED or bool(self.announced or self.date or self.seen)

    @property
    def kept(self) -> bool:
        """Whether it is remembered when no list names it."""
        return self.succeeded or self.trust is not Trust.UNDECIDED

    @property
    def outdated(self) -> bool:
        """Whether the key must be fetched again."""
        return self.raw is None and self.former is not None

    def is_wanted(self, *, ours: bool) -> bool:
        """Say whether it is to be fetched; ``ours``: whether we hold its secret part in use."""
        if self.trust is Trust.DISTRUSTED:
            return False
        counts = self.announced or ours or self.succeeded
        return self.changed or (counts and self.raw is None and not self.absent)

    def relisted(self, date: datetime | None) -> KnownKey:
        """Return it as a new list has it: with this date, or not at all."""
        struck = self.announced and self.trust.accepts
        news = not self.announced or self.date != date if date else struck
        return replace(
            self,
            announced=date is not None,
            absent=self.absent and date is None,
            date=date or self.date,
            changed=self.raw is not None and (self.changed or news),
        )

    def to_be_fetched(self) -> KnownKey:
        """Return it as it is until it was fetched again."""
        return replace(self, raw=None, former=self.seen, absent=False, changed=False)

    def fetched(self, raw: bytes) -> KnownKey:
        """Return it with what was fetched, and merged with what was known."""
        return replace(self, raw=raw, former=None, absent=False, changed=False)

    def withdrawn(self, *, ours: bool) -> KnownKey:
        """Return it as it is once it was not there to be fetched.

        Ours, former ones too, is then what we knew of it; another that was known before is not
        believed again until a list has it, and then it is asked for anew.
        """
        withdrawn = replace(self, announced=False, changed=False)
        if ours or self.succeeded:
            return replace(withdrawn, raw=self.seen, former=None, absent=self.seen is None)
        return replace(withdrawn, absent=self.raw is None)

    def past_first_sight(self) -> KnownKey:
        """Return it without the trust of first sight, if nobody saw it yet."""
        unseen = self.seen is None and self.trust is Trust.AUTOMATIC
        return replace(self, trust=Trust.UNDECIDED) if unseen else self
