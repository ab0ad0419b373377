"""Turns what happens on the line into log lines: one event, one line, `key=value` fields.

Never a payload, a Kafka key or a secret: a record is named by its position.
"""

import json as jsonlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from eos.core.events import (
    Aborted,
    Assigned,
    Claimed,
    Committed,
    Committing,
    Event,
    GivenAway,
    Halted,
    Lived,
    Lost,
    OutboxCounted,
    ProducerRecreated,
    Published,
    Recovered,
    Recovering,
    Retried,
    RowBuried,
    Settled,
    ShardClosed,
    ShardOpened,
    ShardStopped,
    Tally,
    Waiting,
)

_CLAIM = logging.getLogger("eos.claim")
_CONSUME = logging.getLogger("eos.consume")
_HANDLE = logging.getLogger("eos.handle")
_LEDGER = logging.getLogger("eos.ledger")
_LINE = logging.getLogger("eos.line")
MOST_GENERATIONS = 3
"""So many windows of keys are kept at most if no partition is behind: the one that is being filled,
what is within the window, and what is about to go."""
AGAIN_SECONDS = 60.0
"""What is waited for is told again so often."""
_OUTBOX = logging.getLogger("eos.outbox")
_SETTLE = logging.getLogger("eos.settle")

_EXPECTED_ABORTS = frozenset({"rebalance", "pause", "seek"})
_LONGEST_TEXT = 500


class Logs:
    """Listens to one line. Belongs to the line's thread.

    Args:
        group: The consumer group, a field of every line.
        clock: Seconds from any start; tells how long a server was away.
    """

    def __init__(self, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._group = group
        self._clock = clock
        self._waiting: dict[str, float] = {}
        self._say_next: dict[str, float] = {}
        self._say_grows: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Log an event."""
        match event:
            case Claimed():
                self._back()
                self._say_counts(_CLAIM, "claimed", event.tallies)
            case Committing(records=records):
                self._say(_SETTLE, logging.DEBUG, "committing", records=records)
            case Committed():
                self._back()
                self._committed(event)
            case Settled():
                self._back()
                self._say_counts(_SETTLE, "settled", event.tallies)
            case Aborted():
                self._aborted(event)
            case Waiting(on=on, detail=detail):
                self._away(on, detail)
            case _:
                self._beside(event)

    def _beside(self, event: Event) -> None:
        """Log what happens beside the way of a record."""
        match event:
            case Retried(topic, attempt, detail):
                # The kind of error alone: its message may quote the payload.
                fields = {"topic": topic, "attempt": attempt, "error": detail.partition(":")[0]}
                self._say(_HANDLE, logging.WARNING, "handler failed, trying again", **fields)
            case GivenAway(topic, partition, records):
                fields = {"partition": f"{topic}[{partition}]", "records": records}
                self._say(_HANDLE, logging.INFO, "given away while busy", **fields)
            case Assigned(partitions=partitions):
                names = ",".join(f"{topic}[{number}]" for topic, number in partitions)
                self._say(_CONSUME, logging.INFO, "assigned", partitions=names)
            case Halted(topic, partitions, detail) if partitions:
                names = ",".join(f"{topic}[{number}]" for number in partitions)
                self._say(_CONSUME, logging.ERROR, "halted", partitions=names, detail=detail)
            case Lost(topic, partition, offsets, cause, redriven, gone):
                fields = {"partition": f"{topic}[{partition}]", "cause": cause}
                fields |= {"start": offsets.start, "stop": offsets.stop, "redriven": redriven}
                self._say(_CONSUME, logging.ERROR, "records lost", **fields, copies_gone=gone)
            case Recovering(topic, left) if left:
                self._say(_LEDGER, logging.INFO, "recovering", topic=topic, left=left)
            case Recovered(topic, cause, records, seconds):
                fields = {"topic": topic, "cause": cause, "records": records, "seconds": seconds}
                self._say(_LEDGER, logging.INFO, "recovered", **fields)
            case ProducerRecreated(reason=reason):
                self._say(_SETTLE, logging.WARNING, "producer re-created", reason=reason)
            case Lived(topic, generations):
                self._lived(topic, generations)
            case _:
                self._of_outbox(event)

    def _of_outbox(self, event: Event) -> None:
        """Log what a relay does."""
        match event:
            case Published(shard, rows, seconds, waited):
                self._back()
                fields = {"shard": shard, "rows": rows, "seconds": seconds, "waited": waited}
                self._say(_OUTBOX, logging.DEBUG, "published", **fields)
            case RowBuried(shard, reason, detail):
                told = {"reason": reason, "detail": detail}
                self._say(_OUTBOX, logging.ERROR, "row put aside", shard=shard, **told)
            case ShardOpened(shard=shard):
                self._back()
                self._say(_OUTBOX, logging.INFO, "shard taken over", shard=shard)
            case ShardClosed(shard=shard):
                self._say(_OUTBOX, logging.INFO, "shard given back", shard=shard)
            case ShardStopped(shard, cause, detail):
                told = {"cause": cause, "detail": detail}
                self._say(_OUTBOX, logging.WARNING, "shard given up", shard=shard, **told)
            case OutboxCounted(rows, oldest, scheduled, dead):
                fields = {"rows": rows, "oldest": oldest, "scheduled": scheduled, "dead": dead}
                self._say(_OUTBOX, logging.DEBUG, "counted", **fields)

    def _committed(self, event: Committed) -> None:
        for topic, reason, position in event.letters:
            told = {"topic": topic, "reason": reason, "position": position}
            self._say(_HANDLE, logging.WARNING, "dead-lettered", **told)
        fields = {**_counts(event.tallies), "outputs": event.outputs, "seconds": event.seconds}
        level = logging.INFO if event.resolved else logging.DEBUG
        what = "committed, as the offsets tell" if event.resolved else "committed"
        self._say(_SETTLE, level, what, **fields)

    def _aborted(self, event: Aborted) -> None:
        level = logging.INFO if event.cause in _EXPECTED_ABORTS else logging.WARNING
        fields: dict[str, object] = {"cause": event.cause, "records": event.records}
        if event.detail:
            fields["detail"] = event.detail
        self._say(_SETTLE, level, "aborted", **fields)

    def _away(self, on: str, detail: str) -> None:
        """Say that a server is away: when it begins, and now and then, not each time it is told."""
        now = self._clock()
        since = self._waiting.setdefault(on, now)
        if now >= self._say_next.get(on, since):
            self._say_next[on] = now + AGAIN_SECONDS
            told = {"detail": detail} if detail else {}
            lasts = {"seconds": now - since} if now > since else {}
            self._say(_LINE, logging.WARNING, "waiting", on=on, **told, **lasts)

    def _lived(self, topic: str, generations: int) -> None:
        """Say how many windows of keys are kept; and that they are too many, now and then."""
        now, fields = self._clock(), {"topic": topic, "windows": generations}
        if generations <= MOST_GENERATIONS or now < self._say_grows.get(topic, now):
            self._say(_LEDGER, logging.DEBUG, "window moved", **fields)
            return
        self._say_grows[topic] = now + AGAIN_SECONDS
        detail = (
            "they are kept until all partitions have passed them by the window, and one is "
            "behind, or nobody reads it: see eos ledger status"
        )
        self._say(_LEDGER, logging.WARNING, "keys are not forgotten", **fields, detail=detail)

    def _back(self) -> None:
        for on, since in self._waiting.items():
            self._say(_LINE, logging.INFO, "back", on=on, seconds=self._clock() - since)
        self._waiting.clear()
        self._say_next.clear()

    def _say_counts(self, logger: logging.Logger, what: str, tallies: Sequence[Tally]) -> None:
        if logger.isEnabledFor(logging.DEBUG):  # or each batch would be counted for nothing
            self._say(logger, logging.DEBUG, what, **_counts(tallies))

    def _say(self, logger: logging.Logger, level: int, what: str, /, **fields: object) -> None:
        if logger.isEnabledFor(level):
            say(logger, level, what, group=self._group, **fields)


def _counts(tallies: Sequence[Tally]) -> dict[str, object]:
    counts: Counter[str] = Counter()
    for _, verdicts, _ in tallies:
        counts.update({verdict.value: count for verdict, count in verdicts.items()})
    return {"topics": ",".join(sorted({tally.topic for tally in tallies})), **counts}


def say(logger: logging.Logger, level: int, what: str, /, **fields: object) -> None:
    """Log one line: what happened, and the fields."""
    text = " ".join([what, *(f"{name}={_shown(value)}" for name, value in fields.items())])
    logger.log(level, "%s", text, extra={"eos": {"event": what, **fields}})


def configure(level: str = "info", *, json: bool = False, slot: int | None = None) -> None:
    """Send all logs of this process to its standard error.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        json: One JSON object a line, instead of text.
        slot: The worker's slot; None in a process that is no worker.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(slot) if json else _Plain(slot))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Plain(logging.Formatter):
    def __init__(self, slot: int | None) -> None:
        super().__init__()
        self._who = "pool    " if slot is None else f"worker {slot}"

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_time(record)} {record.levelname:<7} {self._who} {record.name}:"
        return f"{head} {record.getMessage()}{_trace(self, record)}"


class _Json(logging.Formatter):
    def __init__(self, slot: int | None) -> None:
        super().__init__()
        self._who = {} if slot is None else {"worker": slot}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            **self._who,
            "logger": record.name,
            **getattr(record, "eos", {"event": record.getMessage()}),
        }
        if trace := _trace(self, record):
            line["trace"] = trace.strip()
        return jsonlib.dumps(line, default=str)


def _time(record: logging.LogRecord) -> str:
    stamp = datetime.fromtimestamp(record.created, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)[:_LONGEST_TEXT]
    # Quoted where it would not read as one value; so no line can be forged by a line break.
    plain = text.isprintable() and text and not set(text) & set(' ="')
    return text if plain else jsonlib.dumps(text)
