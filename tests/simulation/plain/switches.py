"""What the model of the plain tier can leave out, to see which violation comes of it."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Switches:
    """The ingredients of the tier, all on, and the powers of the adversary, all on.

    An ingredient that is left out must let a violation through, or it carries no weight. A
    power that is left out makes the world kinder.
    """

    # Marks.
    begun_mark: bool = True
    """What begins is marked in the ledger before a handler sees it."""
    record_marks: bool = True
    """All policies but `retry` mark record by record, not a whole batch with its claim."""
    own_marks: bool = True
    """A process remembers what it only marked ahead: that is not in doubt."""
    asked_late: bool = True
    """`reconcile` is asked right before the handler, not with the claim."""
    marks_of_epoch: bool = True
    """Only if nobody else had the partition meanwhile, whatever the client knows of the group."""
    marks_of_seal: bool = True
    """Only under the seal of its last claim: what stands there after another opening is not."""
    begin_seal: bool = True
    """A mark is refused under another seal than that of the claim."""
    begin_epoch: bool = True
    """A mark is refused under an older epoch."""

    # Frontiers.
    settle_seal: bool = True
    """A frontier is refused under another seal than that of the claim."""
    settle_epoch: bool = True
    """A frontier is refused under an older epoch."""
    claim_epoch: bool = True
    """Claims are refused under an older epoch."""
    settled_first: bool = True
    """Kafka's committed offset follows what was handled, and never runs ahead."""
    open_at_floor: bool = True
    """A lane opens at the ledger's frontier where Kafka's committed offset lies behind."""
    committed_beginning: bool = True
    """Where a partition begins is committed before its first record is handed out."""
    open_before_beginning: bool = True
    """That is done under an open ledger: a first start is no loss of the ledger."""

    # After a loss of the ledger.
    begun_to_end: bool = True
    """What stands in the log at the re-opening may have begun."""
    owners_to_end: bool = True
    """Recovery puts owners back up to there: what is in doubt keeps its key."""
    hearsay_to_end: bool = True
    """They are hearsay up to there, not only up to the frontiers."""
    hearsay: bool = True
    """An owner that recovery put back suppresses nothing that may be in doubt."""
    all_partitions: bool = True
    """Recovery restores every partition of the topic, not only the recoverer's own."""

    # Powers of the adversary.
    losses: bool = True
    """The ledger is flushed, restarted, or restored from an older state."""
    crashes: bool = True
    """Workers die."""
    zombies: bool = True
    """The group rebalances behind the backs of its members."""
    failures: bool = True
    """Handlers raise, with or without their effect."""
    lost_answers: bool = True
    """Requests are lost, or carried out without an answer."""
    late_packets: bool = True
    """Requests arrive long after their sender gave up."""
    appends: bool = True
    """Records and copies are appended while workers read."""
    copies_across: bool = True
    """Copies of one key stand on several partitions, not only on one."""
    rewinds: bool = True
    """The user announces replays."""

    def without(self, *names: str) -> "Switches":
        """Leave out what is named; dashes and underscores are one."""
        return replace(self, **{name.replace("-", "_"): False for name in names})


NAMES = tuple(field.name.replace("_", "-") for field in fields(Switches))
