"""Turns what happens on the line into Prometheus metrics."""

import re
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from eos.core.events import (
    Aborted,
    Answered,
    Assigned,
    Claimed,
    Committed,
    Committing,
    DeadLettered,
    Event,
    GivenAway,
    Halted,
    Lived,
    Lost,
    OutboxCounted,
    ProducerRecreated,
    Published,
    Pushed,
    Recovered,
    Recovering,
    Retried,
    RowBuried,
    Settled,
    ShardOpened,
    ShardStopped,
    Tally,
    Waiting,
)
from eos.core.rules import Verdict
from eos.observe.catalogue import CATALOGUE, COMMITTING, IN_FLIGHT, OUTBOX_ROWS, Instrument

REDELIVERY = "redelivery"
SAME_PARTITION = "resend_same_partition"
OTHER_PARTITION = "resend_other_partition"

_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OTHER = "other"

_ABORT_CAUSES = (
    "rebalance",
    "ledger_closed",
    "ledger_gap",
    "ledger_resealed",
    "ledger_fenced",
    "ledger_mark",
    "inbox_fenced",
    "database",
    "pause",
    "seek",
    "transaction",
    "rejected",
    "unknown_outcome",
    "server_away",
)
_WAITS = ("kafka", "ledger", "recovery", "frontier")
_LETTER_REASONS = (
    "handler_failed",
    "not_retryable",
    "undecodable",
    "unsendable",
    "conflict",
    "missing_key",
    "in_doubt",
)
_GAP_CAUSES = ("retention", "compaction")

_OUTBOX = "eos_outbox_"
_OUTBOX_CAUSES = ("outbox_fenced", "fenced", "fatal")
_BURIAL_REASONS = ("unknown_topic", "too_large", "rejected")

_Family = Counter | Gauge | Histogram
_Child = Callable[[float], None]

# A registry takes each name once, but several lines may run in one process.
_made: WeakKeyDictionary[CollectorRegistry, dict[str, _Family]] = WeakKeyDictionary()


class Metrics:
    """Listens to one line. Belongs to the line's thread.

    Args:
        group: The consumer group, a label of every metric.
        registry: Where the metrics are registered; None means prometheus_client's own.
    """

    def __init__(self, group: str, registry: CollectorRegistry | None = None) -> None:
        self._group = group
        self._families = _families(REGISTRY if registry is None else registry)
        # `labels()` costs more than the increment itself, so each child is asked for once.
        self._children: dict[tuple[str, ...], _Child] = {}
        self._in_flight = 0
        self._topics: set[str] = set()
        self._relays = False
        for name, instrument in CATALOGUE.items():
            # Whether a group relays an outbox shows when it does.
            if instrument.labels == ("group",) and not name.startswith(_OUTBOX):
                self._child(name)
        for outcome in ("committed", "resolved", "aborted"):
            self._child("eos_transactions_total", outcome)
        for cause in _ABORT_CAUSES:
            self._child("eos_aborts_total", cause)
        for on in _WAITS:
            self._child("eos_waits_total", on)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case Claimed():
                self._claimed(event)
            case Committing():
                self._tell(COMMITTING, 1)
            case Committed():
                self._committed(event)
            case Settled():
                self._settled(event.tallies, event.letters)
            case Aborted():
                self._aborted(event)
            case _:
                self._beside(event)

    def _beside(self, event: Event) -> None:
        """Count what happens beside the way of a record."""
        match event:
            case Retried(topic=topic):
                self._tell("eos_handler_retries_total", 1, topic)
                self._give_back(event.given_back)
            case GivenAway(given_back=given_back):
                self._give_back(given_back)
            case Waiting(on=on):
                self._tell("eos_waits_total", 1, _word(on))
            case Assigned(partitions=partitions):
                for topic, _ in partitions:
                    self._know(topic)
            case Lost(topic=topic, offsets=offsets, cause=cause):
                self._tell("eos_gap_records_total", len(offsets), topic, _word(cause))
            case Halted(topic, partitions):
                self._tell("eos_halted_partitions", len(partitions), topic)
            case ProducerRecreated(reason=reason):
                self._tell("eos_producers_recreated_total", 1, _word(reason))
            case _:
                self._of_sidecar(event)

    def _of_sidecar(self, event: Event) -> None:
        """Count what goes over HTTP."""
        match event:
            case Pushed():
                self._pushed(event)
            case Answered(topic, status, seconds):
                self._tell("eos_publish_calls_total", 1, topic, str(status))
                self._tell("eos_publish_call_duration_seconds", seconds, topic)
            case _:
                self._of_ledger(event)

    def _of_ledger(self, event: Event) -> None:
        """Count what happens to the ledger."""
        match event:
            case Recovering(topic, left):
                self._tell("eos_recovery_left_offsets", left, topic)
            case Recovered():
                self._recovered(event)
            case Lived(topic=topic, generations=generations):
                self._tell("eos_ledger_generations", generations, topic)
            case _:
                self._of_outbox(event)

    def _of_outbox(self, event: Event) -> None:
        """Count what a relay does."""
        match event:
            case ShardOpened(shard=shard):
                self._know_outbox()
                self._child("eos_outbox_published_total", str(shard))
                self._tell("eos_outbox_takeovers_total", 1)
            case ShardStopped(cause=cause):
                self._know_outbox()
                self._tell("eos_aborts_total", 1, _word(cause))
            case Published(shard, rows, seconds, waited):
                self._tell("eos_outbox_published_total", rows, str(shard))
                self._tell("eos_outbox_batch_rows", rows)
                self._tell("eos_outbox_publish_duration_seconds", seconds)
                self._tell("eos_outbox_wait_seconds", waited)
            case RowBuried(reason=reason):
                self._tell("eos_outbox_dead_total", 1, _word(reason))
            case OutboxCounted(rows, oldest, scheduled, dead):
                self._tell(OUTBOX_ROWS, rows)
                self._tell("eos_outbox_oldest_seconds", oldest)
                self._tell("eos_outbox_scheduled_rows", scheduled)
                self._tell("eos_outbox_dead_rows", dead)

    # A worker may be stopped or killed between any two of the lines below, and others then read
    # its gauges: they rise before the counters that explain them and fall after them, so that
    # `held` never says less than the truth.

    def _claimed(self, event: Claimed) -> None:
        self._know(event.topic)
        self._in_flight += _records(event.tallies)
        self._tell(IN_FLIGHT, self._in_flight)
        for topic, verdicts, _ in event.tallies:
            for verdict, count in verdicts.items():
                self._tell("eos_records_total", count, topic, verdict.value)
        self._count("eos_missing_keys_total", event.unkeyed, event.topic)
        self._count("eos_records_in_doubt_total", event.in_doubt, event.topic)
        self._count("eos_records_unchecked_total", event.unchecked, event.topic)

    def _committed(self, event: Committed) -> None:
        outcome = "resolved" if event.resolved else "committed"
        self._tell("eos_transactions_total", 1, outcome)
        self._tell("eos_outputs_total", event.outputs)
        self._tell("eos_transaction_duration_seconds", event.seconds)
        self._tell("eos_transaction_records", _records(event.tallies))
        self._settled(event.tallies, event.letters)
        self._tell(COMMITTING, 0)

    def _settled(self, tallies: Sequence[Tally], letters: Sequence[DeadLettered]) -> None:
        for letter in letters:
            self._tell("eos_dead_letters_total", 1, letter.topic, _word(letter.reason))
        for topic, verdicts, same_partition in tallies:
            for verdict, count in verdicts.items():
                self._tell("eos_records_settled_total", count, topic, verdict.value)
            # Only now, as with dead letters: what is aborted is read, and found to be one, again.
            resent = verdicts.get(Verdict.DUPLICATE, 0)
            for cause, count in (
                (REDELIVERY, verdicts.get(Verdict.SETTLED, 0)),
                (SAME_PARTITION, same_partition),
                (OTHER_PARTITION, resent - same_partition),
            ):
                self._count("eos_duplicates_suppressed_total", count, topic, cause)
        self._in_flight -= _records(tallies)
        self._tell(IN_FLIGHT, self._in_flight)

    def _pushed(self, event: Pushed) -> None:
        for fate, count in event.fates.items():
            self._tell("eos_pushes_total", count, event.topic, _word(fate))
        for seconds in event.seconds:
            self._tell("eos_push_duration_seconds", seconds, event.topic)
        self._tell("eos_app_away", int(event.away), event.topic)

    def _aborted(self, event: Aborted) -> None:
        self._tell("eos_aborts_total", 1, _word(event.cause))
        if event.committing:
            self._tell("eos_transactions_total", 1, "aborted")
        self._give_back(self._in_flight - event.left)
        self._tell(COMMITTING, 0)

    def _give_back(self, records: int) -> None:
        self._tell("eos_records_given_back_total", records)
        self._in_flight -= records
        self._tell(IN_FLIGHT, self._in_flight)

    def _recovered(self, event: Recovered) -> None:
        self._tell("eos_recoveries_total", 1, event.topic, _word(event.cause))
        self._tell("eos_recovery_records_total", event.records, event.topic)
        self._tell("eos_recovery_duration_seconds", event.seconds)

    def _know(self, topic: str) -> None:
        """Show a topic's series at zero: `rate` cannot see the step from nothing to one."""
        if topic in self._topics:
            return
        self._topics.add(topic)
        for verdict in Verdict:
            self._child("eos_records_total", topic, verdict.value)
            self._child("eos_records_settled_total", topic, verdict.value)
        for cause in (REDELIVERY, SAME_PARTITION, OTHER_PARTITION):
            self._child("eos_duplicates_suppressed_total", topic, cause)
        for reason in _LETTER_REASONS:
            self._child("eos_dead_letters_total", topic, reason)
        for cause in _GAP_CAUSES:
            self._child("eos_gap_records_total", topic, cause)
        self._child("eos_missing_keys_total", topic)
        self._child("eos_records_in_doubt_total", topic)
        self._child("eos_records_unchecked_total", topic)

    def _know_outbox(self) -> None:
        """Show the outbox's series at zero; in groups that have none they would only mislead."""
        if self._relays:
            return
        self._relays = True
        for name, instrument in CATALOGUE.items():
            if instrument.labels == ("group",) and name.startswith(_OUTBOX):
                self._child(name)
        for reason in _BURIAL_REASONS:
            self._child("eos_outbox_dead_total", reason)
        for cause in _OUTBOX_CAUSES:
            self._child("eos_aborts_total", cause)

    def _tell(self, name: str, amount: float, *labels: str) -> None:
        self._child(name, *labels)(amount)

    def _count(self, name: str, amount: int, *labels: str) -> None:
        """Add to a counter that `_know` shows already; most of what happens is not there."""
        if amount:
            self._child(name, *labels)(amount)

    def _child(self, name: str, *labels: str) -> _Child:
        child = self._children.get((name, *labels))
        if child is None:
            child = _verb(self._families[name], (self._group, *labels))
            self._children[name, *labels] = child
        return child


def _verb(family: _Family, labels: tuple[str, ...]) -> _Child:
    child = family.labels(*labels)
    if isinstance(child, Counter):
        return child.inc
    return child.set if isinstance(child, Gauge) else child.observe


def _families(registry: CollectorRegistry) -> dict[str, _Family]:
    if registry not in _made:
        _made[registry] = {name: _make(it, registry) for name, it in CATALOGUE.items()}
    return _made[registry]


def _make(it: Instrument, registry: CollectorRegistry) -> _Family:
    if it.kind == "counter":
        return Counter(it.name, it.meaning, it.labels, registry=registry)
    if it.kind == "gauge":
        return Gauge(it.name, it.meaning, it.labels, registry=registry, multiprocess_mode=it.across)
    return Histogram(it.name, it.meaning, it.labels, registry=registry, buckets=it.buckets)


def _records(tallies: Sequence[Tally]) -> int:
    return sum(sum(tally.verdicts.values()) for tally in tallies)


def _word(text: str) -> str:
    """Let a word through, and nothing that could make ever more series."""
    return text if _WORD.fullmatch(text) else _OTHER
