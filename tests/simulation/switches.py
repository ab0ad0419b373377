"""What the model can leave out, to see which violation comes of it."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Switches:
    """The ingredients of the design, all on, and the powers of the adversary, all on.

    An ingredient that is left out must let a violation through, or it carries no weight. A
    power that is left out makes the world kinder.
    """

    # The four of rule 6, and the floor.
    confirm: bool = True
    """Before commit, ask whether the seal is still the one that was claimed under."""
    stable_read: bool = True
    """Recovery reads frontiers when no transaction is open on them."""
    all_partitions: bool = True
    """Recovery restores every partition of the topic, not only the recoverer's own."""
    audit: bool = True
    """Suppressed positions are written down in the transaction; recovery skips them."""
    floor: bool = True
    """The ledger refuses positions below the highest frontier it was told."""

    # Finer ones.
    contiguous_start: bool = True
    """A batch of claims begins at or below what was claimed."""
    one_seal: bool = True
    """A claim answered under another seal than what is pending: drop everything, rewind."""
    open_checks_identity: bool = True
    """The ledger is opened only under the identity that was recovered against."""
    open_checks_lock: bool = True
    """The ledger is opened only by who still holds the recovery lock."""
    reassert_checks: bool = True
    """Owners are put back only under the same identity and lock."""
    stamped_lock: bool = True
    """Each taking of the lock is another: a late request never revives one that was lost."""
    audit_to_high_watermark: bool = True
    """Recovery waits for the transactions that stand open in the audit."""
    audit_after_frontiers: bool = True
    """Recovery reads the audit after the frontiers, so that it covers what lies below them."""
    audit_conflicts: bool = True
    """The audit holds conflicts too."""
    facts_overrule: bool = True
    """Recovery reads from the floor and overrules owners that the log knows better."""
    pinned_generation: bool = True
    """Offsets are sent with the group generation under which the batch was read."""
    confirm_after_offsets: bool = True
    """Confirm when the offsets were sent, not before."""
    stable_assignment: bool = True
    """A worker that is assigned a partition reads its frontier with a stable read."""
    renewed_producer: bool = True
    """After an unknown outcome the producer is made anew: a stray EndTxn meets a fence."""
    epochs: bool = True
    """The ledger refuses claims under an older epoch."""

    # Powers of the adversary.
    claims_ahead: bool = True
    """Workers claim one batch ahead of the one that they settle."""
    copies_across: bool = True
    """Copies of one key stand on several partitions, not only on one."""
    old_timelines: bool = True
    """The ledger rolls back to any earlier state, also to one from before an earlier loss."""

    def without(self, *names: str) -> "Switches":
        """Leave out what is named; dashes and underscores are one."""
        return replace(self, **{name.replace("-", "_"): False for name in names})


NAMES = tuple(field.name.replace("_", "-") for field in fields(Switches))

SIMPLE = ("audit", "copies-across")
"""Recovery without an audit, as in the first form of it: exact for copies on one partition."""
