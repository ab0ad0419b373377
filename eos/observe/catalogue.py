"""Every metric that eos has: its name, its labels and what it means.

`metrics.py` makes its instruments from this table, and `docs/reference/metrics.md` is checked
against it. A name or a label changes here and nowhere else.
"""

from dataclasses import dataclass
from typing import Literal

IN_FLIGHT = "eos_in_flight_records"
COMMITTING = "eos_committing"
ABANDONED = "eos_records_abandoned_total"
OUTBOX_ROWS = "eos_outbox_rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One metric.

    Attributes:
        name: As Prometheus sees it.
        kind: What it is to Prometheus.
        labels: Label names, in the order in which values are given.
        meaning: One line for `# HELP` and for the reference.
        buckets: Upper bounds of a histogram, in the metric's own unit.
        across: How a gauge is put together from the workers that are alive.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    across: Literal["livesum", "livemax"] = "livesum"


def _counter(name: str, meaning: str, *labels: str) -> Instrument:
    return Instrument(name=name, kind="counter", labels=("group", *labels), meaning=meaning)


_ALL = (
    # records
    _counter("eos_records_total", "Records claimed, by verdict.", "topic", "verdict"),
    _counter(
        "eos_records_settled_total",
        "Records whose offsets were committed, by the verdict they had got.",
        "topic",
        "verdict",
    ),
    _counter(
        "eos_records_given_back_total",
        "Claimed records that an abort gave back; they are claimed again.",
    ),
    _counter(
        ABANDONED,
        "Claimed records that a worker held when it died; its successor settles them.",
    ),
    Instrument(
        name=IN_FLIGHT,
        kind="gauge",
        labels=("group",),
        meaning="Records claimed and neither settled nor given back yet, of live workers.",
    ),
    _counter(
        "eos_duplicates_suppressed_total",
        "Duplicates that were settled without being handled, by cause.",
        "topic",
        "cause",
    ),
    _counter(
        "eos_records_in_doubt_total",
        "Plain tier: records claimed whose earlier attempt may have had its effect.",
        "topic",
    ),
    _counter(
        "eos_records_unchecked_total",
        "Records let through without the ledger, which was away (ledger_down=pass_through).",
        "topic",
    ),
    _counter("eos_missing_keys_total", "Records claimed without an idempotency key.", "topic"),
    # handlers
    _counter("eos_handler_retries_total", "Handlers that failed and were tried again.", "topic"),
    _counter(
        "eos_dead_letters_total", "Dead letters of committed transactions.", "topic", "reason"
    ),
    _counter("eos_outputs_total", "Messages published by committed transactions."),
    # pushes of a sidecar
    _counter(
        "eos_pushes_total", "Events pushed to the app, by what became of it.", "topic", "fate"
    ),
    Instrument(
        name="eos_push_duration_seconds",
        kind="histogram",
        labels=("group", "topic"),
        meaning="How long a call of the app took, with one event or a batch.",
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30, 60),
    ),
    Instrument(
        name="eos_app_away",
        kind="gauge",
        labels=("group", "topic"),
        meaning="Whether a sidecar takes its app to be away (1).",
    ),
    # calls of a sidecar
    _counter(
        "eos_publish_calls_total",
        "Calls that asked a sidecar to publish, by the status of its answer.",
        "topic",
        "status",
    ),
    Instrument(
        name="eos_publish_call_duration_seconds",
        kind="histogram",
        labels=("group", "topic"),
        meaning="How long a call that asked a sidecar to publish took, until it was answered.",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    ),
    # transactions
    _counter(
        "eos_transactions_total",
        "Transactions by outcome; resolved: committed, as the committed offsets told.",
        "outcome",
    ),
    _counter("eos_aborts_total", "Times that work was given up to start over, by cause.", "cause"),
    Instrument(
        name=COMMITTING,
        kind="gauge",
        labels=("group",),
        meaning="Live workers that are inside a transaction.",
    ),
    Instrument(
        name="eos_transaction_duration_seconds",
        kind="histogram",
        labels=("group",),
        meaning="From begin to the answer of the commit, of committed transactions.",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ),
    Instrument(
        name="eos_transaction_records",
        kind="histogram",
        labels=("group",),
        meaning="Input records that a committed transaction settled.",
        buckets=(1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000),
    ),
    _counter("eos_producers_recreated_total", "Producers that were replaced.", "reason"),
    # the ledger, and what is away
    _counter(
        "eos_recoveries_total",
        "Recoveries that a worker took part in, by cause.",
        "topic",
        "cause",
    ),
    _counter("eos_recovery_records_total", "Records read again by recoveries.", "topic"),
    Instrument(
        name="eos_recovery_duration_seconds",
        kind="histogram",
        labels=("group",),
        meaning="How long a worker took part in a recovery.",
        buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900),
    ),
    Instrument(
        name="eos_halted_partitions",
        kind="gauge",
        labels=("group", "topic"),
        meaning="Partitions that wait for an operator: offset set back, or log cut off.",
    ),
    _counter(
        "eos_gap_records_total",
        "Offsets that the log had let go of before they were handled, by cause.",
        "topic",
        "cause",
    ),
    Instrument(
        name="eos_recovery_left_offsets",
        kind="gauge",
        labels=("group", "topic"),
        meaning="Offsets that a recovery under way has still to read again.",
        across="livemax",  # each who takes part tells of the whole
    ),
    Instrument(
        name="eos_ledger_generations",
        kind="gauge",
        labels=("group", "topic"),
        meaning="Live generations of the topic's shard of the ledger.",
        across="livemax",
    ),
    _counter("eos_waits_total", "Times that a line paused because a server was away.", "on"),
    # the outbox
    Instrument(
        name=OUTBOX_ROWS,
        kind="gauge",
        labels=("group",),
        meaning="Rows that are to be published now. One relay counts them; the others say 0.",
    ),
    Instrument(
        name="eos_outbox_oldest_seconds",
        kind="gauge",
        labels=("group",),
        meaning="How long the oldest of these rows has waited. One relay tells; the others say 0.",
        across="livemax",
    ),
    Instrument(
        name="eos_outbox_scheduled_rows",
        kind="gauge",
        labels=("group",),
        meaning="Rows that wait for their time. One relay counts them; the others say 0.",
    ),
    Instrument(
        name="eos_outbox_dead_rows",
        kind="gauge",
        labels=("group",),
        meaning="Rows that were put aside and are there still. One relay counts them; "
        "the others say 0.",
    ),
    _counter("eos_outbox_published_total", "Rows that were published, by shard.", "shard"),
    Instrument(
        name="eos_outbox_batch_rows",
        kind="histogram",
        labels=("group",),
        meaning="Rows of a batch that was published.",
        buckets=(1, 5, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000),
    ),
    Instrument(
        name="eos_outbox_publish_duration_seconds",
        kind="histogram",
        labels=("group",),
        meaning="From begin to the answer of the commit, of batches that were published.",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    ),
    Instrument(
        name="eos_outbox_wait_seconds",
        kind="histogram",
        labels=("group",),
        meaning="From when the oldest row of a batch was added until it was published.",
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600, 3_600),
    ),
    _counter(
        "eos_outbox_takeovers_total",
        "Times that a relay took over a shard of the outbox, or began anew with one.",
    ),
    _counter(
        "eos_outbox_dead_total",
        "Rows that were put aside because Kafka will not take them.",
        "reason",
    ),
)

CATALOGUE = {instrument.name: instrument for instrument in _ALL}
