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

    # Of dead letters that are redriven.
    claim_moves: bool = True
    """The claim lets a redriven record have its key; otherwise the tool that publishes it does."""
    exact_owner: bool = True
    """It takes the key from the position of the letter, not from whoever owns it."""
    audit_redriven: bool = True
    """The audit says of the letter's position that it gave its key away."""
    audit_digests: bool = True
    """It says which key that was, and no other key is taken from the position."""

    # Of replays.
    replay_rewinds: bool = True
    """The ledger's floors are taken back with the group's offsets."""
    replay_carried: bool = True
    """Each commit carries on what is handled again, until that is over."""
    replay_loads: bool = True
    """Before the first record of it is claimed, the ledger gets the owners that it forgot."""
    replay_load_sealed: bool = True
    """It gets them only while it is sealed: else what opens it would hide that it lost the rest."""
    replay_owners: bool = True
    """With them, those in whose favour records were suppressed that are read again."""
    replay_follows: bool = True
    """But not where these were suppressed themselves: then those in whose favour they were."""
    replay_to_peak: bool = True
    """Recovery meanwhile goes up to where the first run had come, not to the frontier."""
    replay_floor_checked: bool = True
    """A floor above where a replay is comes from before it: who claims takes it back."""
    replay_from_frontier: bool = True
    """And recovery begins at the frontier, not at such a floor."""
    replay_floor: bool = True
    """And it leaves the floor at the frontier, not where it read to."""

    # Of replays of what became dead letters.
    replay_discards: bool = True
    """Letters of what is replayed are done with."""
    replay_letters_to_end: bool = True
    """They are read to the end, and not to where a transaction is open."""
    replay_counts_letters: bool = True
    """Nothing is replayed if one of them was redriven meanwhile."""
    replay_audit_knows: bool = True
    """Whether a redriven one was handled, the audit says where the ledger was lost."""

    # Of gaps: what the log lets go of before it was handled.
    gap_proved: bool = True
    """First the group's generation says that the partition is ours still."""
    gap_voids: bool = True
    """The ledger is told of it: owners there are void."""
    gap_unseals: bool = True
    """Then its seal is broken: who has claimed before has nothing confirmed."""
    gap_audited: bool = True
    """The audit says so, before the ledger is told."""
    gap_recovered: bool = True
    """And recovery tells a ledger that has lost it."""
    gap_redrives: bool = True
    """Copies that were suppressed in favour of what is lost are published again."""
    gap_audit_to_end: bool = True
    """The audit is read to its end for that, and not to where a transaction is open."""
    gap_frontier_last: bool = True
    """The frontier is moved over the gap when all that is done."""

    # Powers of the adversary.
    claims_ahead: bool = True
    """Workers claim one batch ahead of the one that they settle."""
    copies_across: bool = True
    """Copies of one key stand on several partitions, not only on one."""
    old_timelines: bool = True
    """The ledger rolls back to any earlier state, also to one from before an earlier loss."""
    redrives: bool = True
    """Handlers fail for good, and an operator has the dead letters published again."""
    replays: bool = True
    """An operator has what was settled handled again."""
    quiet: bool = True
    """In half of the histories nobody operates; otherwise an operator replays in each of them."""
    gaps: bool = True
    """A log lets go of records before they were handled."""
    tool_first: bool = True
    """A tool that moves owners itself does so before it publishes, not after."""

    @property
    def mends(self) -> bool:
        """Whether gaps are mended with every ingredient; if not, each history has some."""
        return all(getattr(self, field.name) for field in fields(self) if "gap_" in field.name)

    def without(self, *names: str) -> "Switches":
        """Leave out what is named; dashes and underscores are one."""
        return replace(self, **{name.replace("-", "_"): False for name in names})


NAMES = tuple(field.name.replace("_", "-") for field in fields(Switches))

SIMPLE = ("audit", "copies-across", "redrives", "replays", "gaps")
"""Recovery without an audit, as in the first form of it: exact for copies on one partition."""
