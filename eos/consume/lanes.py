"""What the steps hand on: stretches of open partitions."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from eos.core.events import Tally
from eos.core.frontier import INBOX, PLAIN, TRANSACTION, Frontier, Replay
from eos.core.ports import Partition, Suppressed
from eos.core.record import Message, Record, Shard
from eos.core.rules import Owner, Verdict


@dataclass(slots=True)
class Lane:
    """An open partition.

    Attributes:
        partition: Topic and number.
        shard: The ledger's shard that its claims go to.
        epoch: The epoch of this take-over, handed to handlers as fencing token.
        assignment: The number of the assignment that it was opened under.
        frontier: The first offset that is not settled.
        next: The first offset that was not read yet.
        time: Log time of the frontier, seconds since the epoch; 0 if nothing was settled yet.
        first: Where the group begins in it, if it had settled nothing of it before; else 0.
        ours: Whether it stands in the log that eos has begun it.
        note: The user's own metadata at the committed offset.
        told: What was committed before it was begun, by the user say; -1 if nothing.
        failed: The offset of a record that was tried already, and how many tries failed.
        due: When to read on after such a try, monotonic seconds; 0 if it is not held back.
        handed: Where a loop of the user's was handed records and settles them itself: one past
            the last of them. A rewind goes back to here, not to the frontier.
        jumped: Whether the user skipped records, and nothing behind them was handed out yet.
        plain: Whether the effects of its records lie outside of Kafka.
        inbox: Whether its frontier is a row beside the effects, in a database.
        joined: Whether its claims are made there, too, in the transaction of the effects.
        begun: Plain tier: below it, a record may have begun before.
        marked: Plain tier: the highest such mark that the ledger is known to hold.
        seal: The seal of the latest claim; marks under another one are not ours.
        replay: What is handled again of what was settled; None: nothing.
        loaded: Whether the ledger knows the owners of what is handled again, however old it is.
        pending: Below it somebody has claimed keys and not settled them, in a topic that may be
            compacted: what is not delivered there leaves owners behind. 0: nowhere.
        leader_epoch: Of the frontier (`Frontier.leader_epoch`).
    """

    partition: Partition
    shard: Shard
    epoch: int
    assignment: int
    frontier: int
    next: int
    time: int = 0
    first: int = 0
    ours: bool = True
    note: str = ""
    told: int = -1
    failed: tuple[int, int] = (-1, 0)
    due: float = 0.0
    handed: int = 0
    jumped: bool = False
    plain: bool = False
    inbox: bool = False
    joined: bool = False
    begun: int = 0
    marked: int = 0
    seal: str = ""
    replay: Replay | None = None
    loaded: bool = True
    pending: int = 0
    leader_epoch: int = -1

    def replayed(self, offset: int) -> Replay | None:
        """Give the replay that a record is handled in; None if it was not settled before."""
        return self.replay if self.replay and offset < self.replay.peak else None

    def frontier_at(
        self, offset: int, attempts: int = 0, note: str = "", leader_epoch: int = -1
    ) -> Frontier:
        """Give what is committed to Kafka where this offset is the first that is not settled."""
        tier = INBOX if self.inbox else PLAIN if self.plain else TRANSACTION
        return Frontier(
            offset,
            attempts,
            note=note,
            tier=tier,
            replay=self.replayed(offset),
            topic_id=self.shard.topic_id,
            leader_epoch=self.leader_epoch if offset == self.frontier else leader_epoch,
        )


class Judged(NamedTuple):
    """What the claim found of one record.

    Attributes:
        verdict: What the ledger says.
        keyed: Whether the record carries a key.
        same_partition: Whether the owner, if it is another position, is on the same partition.
        in_doubt: Plain tier: whether an earlier attempt may have had its effect.
        owner: Another position that owns its key.
    """

    verdict: Verdict
    keyed: bool
    same_partition: bool
    in_doubt: bool
    owner: Owner | None = None


@dataclass(slots=True)
class Slice:
    """A contiguous stretch of one lane.

    Attributes:
        lane: Where it is from.
        start: Where the reading of it began.
        end: One past its last offset.
        records: In offset order; what was read, until the claim leaves what is to be handled.
        offsets: The offsets of all that was read.
        messages: What was read, where records are made of it only when somebody asks for them.
        judged: What the claim found of each that was read; None if all of them are FRESH.
        seal: The seal under which it was claimed.
        rejected: Records that go to the dead letter topic, with the reason; the claim fills it.
        suppressed: What the audit is to hold of it; nothing in the plain tier.
        attempts: How many tries of the record at `end` have failed, where the handler cut the
            slice short.
        leader_epoch: Of the last record that was read for it (`Frontier.leader_epoch`).
    """

    lane: Lane
    start: int
    end: int
    records: list[Record]
    offsets: list[int] = field(default_factory=list)
    messages: Sequence[Message] = ()
    judged: list[Judged] | None = None
    seal: str = ""
    rejected: list[tuple[Record, str]] = field(default_factory=list)
    suppressed: list[Suppressed] = field(default_factory=list)
    attempts: int = 0
    leader_epoch: int = -1

    @property
    def frontier(self) -> Frontier:
        """What is committed to Kafka once it is settled."""
        return self.lane.frontier_at(self.end, self.attempts, leader_epoch=self.leader_epoch)

    @property
    def read(self) -> int:
        """How many records were read for it, the suppressed ones included."""
        return len(self.offsets)

    @property
    def tally(self) -> Tally:
        """What became of its records, counted."""
        topic = self.lane.partition[0]
        if self.judged is None:
            return Tally(topic, {Verdict.FRESH: len(self.offsets)}, 0)
        same = sum(
            j.same_partition and j.verdict is Verdict.DUPLICATE and not j.in_doubt
            for j in self.judged
        )
        # What is handed out in doubt is no suppressed duplicate, whatever the verdict was.
        verdicts = Counter(Verdict.AGAIN if j.in_doubt else j.verdict for j in self.judged)
        return Tally(topic, verdicts, same)

    @property
    def log_time(self) -> int:
        """The log time of its last record, in seconds; that of the frontier if it has none."""
        if self.records:
            return self.records[-1].timestamp // 1000
        if self.messages:
            return self.messages[-1].timestamp()[1] // 1000
        return self.lane.time

    def forget(self) -> None:
        """Let go of what it read: it is handed out, and only the numbers count from now on."""
        self.messages, self.records = self.messages[-1:], []

    def complete(self) -> list[Record]:
        """Give the records, made of the messages if need be."""
        if not self.records and self.messages:
            shard, epoch = self.lane.shard, self.lane.epoch
            self.records = [record_of(m, shard.topic_id, epoch) for m in self.messages]
        return self.records

    def split(self, offset: int) -> "Slice":
        """Take off the part below an offset, and keep the rest.

        Returns:
            The part below.
        """
        at = bisect_left(self.offsets, offset)
        judged = self.judged
        head = replace(
            self,
            end=offset,
            records=[record for record in self.records if record.offset < offset],
            offsets=self.offsets[:at],
            messages=self.messages[:at] if len(self.messages) == self.read else self.messages,
            judged=None if judged is None else judged[:at],
            rejected=[(record, why) for record, why in self.rejected if record.offset < offset],
            suppressed=[each for each in self.suppressed if _caused_at(each) < offset],
        )
        self.start = offset
        self.records = [record for record in self.records if record.offset >= offset]
        if len(self.messages) == self.read:
            self.messages = self.messages[at:]
        self.offsets = self.offsets[at:]
        self.judged = None if judged is None else judged[at:]
        self.rejected = [(record, why) for record, why in self.rejected if record.offset >= offset]
        self.suppressed = [each for each in self.suppressed if _caused_at(each) >= offset]
        return head


def _caused_at(entry: Suppressed) -> int:
    """Give the offset of the record in the slice because of which an entry is written."""
    return entry.owner.offset if entry.verdict is Verdict.FRESH else entry.offset


def record_of(message: Message, topic_id: str, fencing_token: int = 0) -> Record:
    """Make a record of a message."""
    return Record(
        message.topic(),
        topic_id,
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.headers() or [],
        message.timestamp()[1],
        fencing_token,
    )


def epoch_of(message: Message) -> int:
    """Give the epoch of the leader that wrote a message; -1 where nobody knows."""
    epoch = message.leader_epoch()
    return -1 if epoch is None else int(epoch)
