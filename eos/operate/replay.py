"""Has what a group has settled handled again.

The workers are stopped meanwhile. What is done, and what a crash of the command leaves behind:

1. The partitions are taken over in the ledger: a worker that was thought dead can claim and settle
   nothing any more.
2. Kafka's offsets are made to say how far all is settled, where they had fallen behind.
3. The ledger's floors are taken back. Up to here the workers would go on where they were.
4. Inbox tier: the row is taken back. Up to the last step workers refuse to start, and say why.
5. Dead letters of what is handled again are noted to be done with, and it is written into the
   audit.
6. Kafka's offsets are taken back. What is handled again, and how far the first run had come,
   travels in their metadata (`eos.core.frontier.Replay`), with each commit until that is reached.

Each step may be done twice: a command that was killed is run again.
"""

import getpass
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from eos.consume.resets import move_row
from eos.core.errors import ConfigError
from eos.core.frontier import INBOX, PLAIN, Frontier, Replay
from eos.core.ports import Audited, Groups, Inbox, Ledger, Log, Mark, Publish, Topics
from eos.core.ports.inspection import Inspection, LedgerState, PartitionState
from eos.core.record import Shard
from eos.operate.audit import audited
from eos.operate.redrive import Redrive
from eos.operate.replay_letters import ReplayLetters
from eos.operate.replay_plan import Place, Plan, Span, Wanted

MAX_METADATA = 4000
_NOTHING = PartitionState(0, 0, 0, 0)


class _Ledger(Ledger, Inspection, Protocol):
    """A ledger, and what looks at it."""


class Replays:
    """Replays of a group.

    Args:
        ledger: The group's ledger.
        topics: Describes topics.
        log: Reads offsets, and the log.
        groups: Knows the group's members, and sets its offsets.
        shard: Names the shard of a topic id.
        audit: The audit's topic.
        publish: Publishes to it.
        digests: Gives the digests that a key may have, for so many partitions.
        redrive: Does with dead letters.
        inbox: The database that has the frontiers, where one has.
    """

    def __init__(
        self,
        *,
        ledger: _Ledger,
        topics: Topics,
        log: Log,
        groups: Groups,
        shard: Callable[[str], Shard],
        audit: str,
        publish: Publish,
        digests: Callable[[str, int], Sequence[bytes]],
        redrive: Redrive,
        inbox: Inbox | None = None,
    ) -> None:
        self._ledger = ledger
        self._topics = topics
        self._log = log
        self._groups = groups
        self._shard = shard
        self._audit = audit
        self._publish = publish
        self._digests = digests
        self._inbox = inbox
        keys = inbox if inbox and inbox.joins else ledger
        self._letters = ReplayLetters(topics, keys.owners, digests, redrive, self._audited)

    def plan(self, wanted: Wanted) -> Plan:
        """See what is to be done; nothing is changed.

        Raises:
            ConfigError: It cannot be done; says why.
            RetriableError: A server is away, or a transaction is still open.
        """
        topic = wanted.topic
        if not self._topics.exists(topic):
            raise ConfigError([f"topic {topic!r} does not exist"])
        topic_id, count = self._topics.describe(topic)
        shard = self._shard(topic_id)
        if members := self._groups.members(shard.group):
            raise ConfigError(
                [f"group {shard.group!r} has {members} members: stop its workers, then run again"]
            )
        if unknown := sorted(set(wanted.partitions) - set(range(count))):
            raise ConfigError([f"{topic!r} has partitions 0 to {count - 1}, and no {unknown[0]}"])
        was = self._settled(topic, shard)
        numbers = sorted(wanted.partitions or range(count))
        starts = self._offsets(topic, wanted.begin, numbers, count)
        ends = self._offsets(topic, wanted.until, numbers, count) if wanted.until else {}
        digests = [d for key in wanted.keys for d in self._digests(key, count)]
        spans = {}
        for number in numbers:
            if number not in was or starts[number] >= was[number][0]:
                continue
            peak, frontier = was[number]
            until = min(ends.get(number, peak), peak)
            if starts[number] < until:
                replay = Replay(peak, until, wanted.run, frozenset(digests))
                spans[number] = Span(starts[number], replay, frontier)
        _check_unfinished(topic, spans)
        if not spans:
            told = ", ".join(f"{number} to {was[number][0]}" for number in numbers if number in was)
            raise ConfigError(
                [f"nothing of that is settled in {topic!r}: partition {told}"]
                if told
                else [f"group {shard.group!r} has settled nothing of {topic!r}"]
            )
        _check_size(spans)
        peaks = {number: peak for number, (peak, _) in was.items()}
        return Plan(topic, shard, spans, self._letters.find(topic, shard, count, spans, peaks))

    def count(self, plan: Plan) -> dict[int, tuple[int, int]]:
        """Count, by partition, how many records there are, and how many of them stay suppressed."""
        ranges = {p: range(span.start, span.replay.until) for p, span in plan.spans.items()}
        found = self._audited(plan.topic, plan.shard, ranges)
        counted = {}
        for number, offsets in ranges.items():
            batches = self._log.read(plan.topic, number, offsets)
            suppressed = len(found[number].suppressed) if number in found else 0
            counted[number] = (sum(map(len, batches)), suppressed)
        return counted

    def __call__(self, plan: Plan, reason: str) -> None:
        """Do it. May be done again after it raised.

        Args:
            plan: What.
            reason: Why; it is written into the audit.

        Raises:
            FatalError: The group has members: workers were started meanwhile.
            RetriableError: A server is away.
        """
        shard, group = plan.shard, plan.shard.group
        epochs = self._ledger.take(shard, list(plan.spans))
        behind = {
            (plan.topic, p): span.was._replace(
                offset=span.replay.peak, ours=True, replay=None, leader_epoch=-1
            )
            for p, span in plan.spans.items()
            if span.was.offset < span.replay.peak
            and span.was.tier != INBOX
            # Where a replay is under way, that says it already, and would be forgotten.
            and (span.was.replay is None or span.was.replay.peak < span.replay.peak)
        }
        if behind:
            self._groups.commit(group, behind)
        marks = [Mark(p, epochs[p].epoch, span.start) for p, span in plan.spans.items()]
        self._ledger.rewind(shard, marks)
        if self._inbox:
            rows = self._inbox.frontiers(shard, list(plan.spans))
            for number, row in rows.items():
                start = plan.spans[number].start
                if row.offset > start:
                    move_row(self._inbox, shard, number, row.offset, start)
        if plan.letters:
            self._letters.settle(plan.letters)
        self._topics.ensure([self._audit])
        self._publish(self._audit, _entry(plan, reason), None, [])
        self._groups.commit(
            group,
            {
                (plan.topic, p): span.was._replace(
                    offset=span.start, attempts=0, ours=True, replay=span.replay, leader_epoch=-1
                )
                for p, span in plan.spans.items()
            },
        )

    def _audited(
        self, topic: str, shard: Shard, ranges: Mapping[int, range]
    ) -> Mapping[int, Audited]:
        """Read what the audit says of these records."""
        if self._inbox:
            return {p: self._inbox.audited(shard, p, at) for p, at in ranges.items()}
        if not self._topics.exists(self._audit):
            return {}
        since = self._log.log_time(topic, {p: at.start for p, at in ranges.items()})
        told = (self._audit, shard, ranges, since, lambda: None)
        return audited(self._log, self._topics, *told)

    def _settled(self, topic: str, shard: Shard) -> dict[int, tuple[int, Frontier]]:
        """Give how far each partition is settled, and what Kafka says of it."""
        committed = self._log.frontiers(topic)
        state = self._ledger.look(shard)
        rows = self._inbox.frontiers(shard, list(committed)) if self._inbox else {}
        found: dict[int, tuple[int, Frontier]] = {}
        for number, frontier in committed.items():
            known = state.partitions.get(number, _NOTHING)
            row = rows[number].offset if number in rows else 0
            if frontier is None and not (known.floor or row):
                continue
            at = frontier or Frontier(0, ours=False)
            replay = at.replay.peak if at.replay else 0
            peak = max(at.offset, replay, row, known.floor)
            self._check(topic, number, at, state, peak)
            tier = INBOX if self._inbox else at.tier
            found[number] = (peak, at._replace(tier=tier, note=at.note if at.ours else ""))
        return found

    def _check(self, topic: str, number: int, at: Frontier, state: LedgerState, peak: int) -> None:
        if at.tier == INBOX and self._inbox is None:
            raise ConfigError([f"the frontiers of {topic!r} are in a database: give --into URL"])
        if at.tier == PLAIN and state.partitions.get(number, _NOTHING).begun > peak:
            died = f"{topic}[{number}]: a worker died, and what it began at {peak} is not settled"
            raise ConfigError([f"{died}. Let workers settle it, stop them, then run this again"])

    def _offsets(
        self, topic: str, place: Place, numbers: Sequence[int], count: int
    ) -> dict[int, int]:
        """Find a place in each partition."""
        if place.offset < 0:
            found = self._log.window_starts(topic, place.time)
            return {number: found[number] for number in numbers}
        if len(numbers) > 1:
            raise ConfigError(
                [f"{topic!r} has {count} partitions: an offset needs --partitions with one of them"]
            )
        number = numbers[0]
        begin = self._log.window_starts(topic, 0)[number]
        end = self._topics.ends([(topic, number)])[topic, number]
        if not begin <= place.offset <= end:
            raise ConfigError(
                [f"{topic}[{number}] goes from {begin} to {end}: {place.offset} is outside of it"]
            )
        return {number: place.offset}


def _check_unfinished(topic: str, spans: Mapping[int, Span]) -> None:
    """See that what an earlier replay has not come to is handled again by this one, too."""
    for number, (start, replay, was) in spans.items():
        if was.replay is None or was.offset >= was.replay.until:
            continue
        keys = was.replay.keys
        narrower = replay.keys and not (keys and keys <= replay.keys)
        if was.offset < start or replay.until < was.replay.until or narrower:
            left = f"{was.offset} to {was.replay.until}" + (" of some keys" if keys else "")
            told = f"{topic}[{number}]: a replay of {left} is not finished, and this one would cut"
            raise ConfigError([f"{told} it short: let workers finish it first, or replay all that"])


def _check_size(spans: Mapping[int, Span]) -> None:
    """See that what travels with the offsets is not too much for that."""
    for span in spans.values():
        told = Frontier(span.replay.peak, replay=span.replay, tier=span.was.tier)
        if len(told.metadata) > MAX_METADATA:
            raise ConfigError(
                [f"{len(span.replay.keys)} keys are too many for one replay: give at most 180"]
            )


def _entry(plan: Plan, reason: str) -> bytes:
    """Write down who wants what handled again, and why."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    replay = {
        "reason": reason,
        "user": user,
        "time": int(time.time()),
        "partitions": {p: [s.start, s.replay.until, s.replay.peak] for p, s in plan.spans.items()},
        "keys": sorted({key.hex() for s in plan.spans.values() for key in s.replay.keys}),
        "run": next(iter(plan.spans.values())).replay.run,
    }
    told = {"group": plan.shard.group, "topic": plan.topic, "topic_id": plan.shard.topic_id}
    return json.dumps({**told, "replay": replay}, separators=(",", ":")).encode()
