from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from eos.core.events import (
    Aborted,
    Assigned,
    Claimed,
    Committed,
    Committing,
    DeadLettered,
    Event,
    GivenAway,
    Lived,
    OutboxCounted,
    ProducerRecreated,
    Published,
    Recovered,
    Retried,
    RowBuried,
    Settled,
    ShardOpened,
    ShardStopped,
    Tally,
    Waiting,
)
from eos.core.rules import Verdict
from eos.observe import fan_out
from eos.observe.metrics import Metrics

Value = Callable[..., float | None]

TALLY = Tally(
    topic="orders",
    verdicts={
        Verdict.FRESH: 5,
        Verdict.AGAIN: 1,
        Verdict.DUPLICATE: 3,
        Verdict.CONFLICT: 1,
        Verdict.SETTLED: 2,
    },
    same_partition=2,
)
BATCH = Claimed([TALLY], "orders", unkeyed=4)
RECORDS = 12
LETTER = DeadLettered("orders", "handler_failed", "id/0/7")


def committed(
    batches: int = 1, *, letters: tuple[DeadLettered, ...] = (), seconds: float = 0.02, **more: bool
) -> Committed:
    return Committed([TALLY] * batches, letters, 6 * batches, seconds, **more)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics("billing", registry)


@pytest.fixture
def value(registry: CollectorRegistry) -> Value:
    def read(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"group": "billing", **labels})

    return read


def tell(metrics: Metrics, *events: Event) -> None:
    for event in events:
        metrics(event)


def test_claims_are_counted_by_verdict_as_they_are_made(metrics: Metrics, value: Value) -> None:
    tell(metrics, BATCH, BATCH)
    assert value("eos_records_total", topic="orders", verdict="fresh") == 10
    assert value("eos_records_total", topic="orders", verdict="settled") == 4
    assert value("eos_missing_keys_total", topic="orders") == 8


def test_duplicates_count_as_suppressed_once_their_transaction_is_committed(
    metrics: Metrics, value: Value
) -> None:
    name = "eos_duplicates_suppressed_total"
    tell(metrics, BATCH, Committing(RECORDS))
    assert value(name, topic="orders", cause="redelivery") == 0
    tell(metrics, committed())
    assert value(name, topic="orders", cause="redelivery") == 2
    assert value(name, topic="orders", cause="resend_same_partition") == 2
    assert value(name, topic="orders", cause="resend_other_partition") == 1


def test_duplicates_of_an_aborted_transaction_are_not_counted_twice(
    metrics: Metrics, value: Value
) -> None:
    abort = Aborted("transaction", RECORDS, committing=True)
    tell(metrics, BATCH, Committing(RECORDS), abort)
    tell(metrics, BATCH, Committing(RECORDS), committed())
    assert value("eos_duplicates_suppressed_total", topic="orders", cause="redelivery") == 2


def test_dead_letters_are_counted_with_the_transaction_that_publishes_them(
    metrics: Metrics, value: Value
) -> None:
    tell(metrics, BATCH, Committing(RECORDS), Aborted("transaction", RECORDS, committing=True))
    assert not value("eos_dead_letters_total", topic="orders", reason="handler_failed")
    tell(metrics, BATCH, Committing(RECORDS), committed(letters=(LETTER,)))
    assert value("eos_dead_letters_total", topic="orders", reason="handler_failed") == 1


def test_all_that_is_claimed_is_held_until_it_is_settled(metrics: Metrics, value: Value) -> None:
    assert value("eos_in_flight_records") == 0
    tell(metrics, BATCH, BATCH)
    assert value("eos_in_flight_records") == 2 * RECORDS
    tell(metrics, Committing(2 * RECORDS))
    assert value("eos_committing") == 1
    tell(metrics, committed(2))
    assert value("eos_in_flight_records") == 0
    assert value("eos_committing") == 0


def test_records_claimed_are_settled_given_back_or_in_flight(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    def total(name: str) -> float:
        return sum(s.value for m in registry.collect() for s in m.samples if s.name == name)

    half = Tally("orders", {Verdict.FRESH: 4, Verdict.DUPLICATE: 2}, 1)
    history: list[Event] = [
        *(BATCH, BATCH, Committing(24), committed(2)),
        *(BATCH, Aborted("rebalance", 12)),
        *(BATCH, Committing(12), Aborted("transaction", 12, committing=True)),
        *(BATCH, Committing(12), committed(resolved=True)),
        *(BATCH, Settled([TALLY])),
        *(BATCH, Retried("orders", 1, "ValueError", given_back=6), Settled([half])),
        *(BATCH, GivenAway("orders", 1, 6), Settled([half])),
        BATCH,
    ]
    for event in history:
        metrics(event)
        assert total("eos_records_total") == (
            total("eos_records_settled_total")
            + total("eos_records_given_back_total")
            + total("eos_in_flight_records")
        )


def test_what_a_failed_handler_gives_back_is_no_longer_held(metrics: Metrics, value: Value) -> None:
    tell(metrics, BATCH, Retried("orders", 1, "ValueError", given_back=7))
    assert value("eos_in_flight_records") == RECORDS - 7
    assert value("eos_records_given_back_total") == 7
    assert value("eos_handler_retries_total", topic="orders") == 1


def test_what_settles_without_a_transaction_is_settled_and_no_transaction(
    metrics: Metrics, value: Value
) -> None:
    tell(metrics, BATCH, Settled([TALLY]))
    assert value("eos_records_settled_total", topic="orders", verdict="fresh") == 5
    assert value("eos_duplicates_suppressed_total", topic="orders", cause="redelivery") == 2
    assert value("eos_in_flight_records") == 0
    assert value("eos_transactions_total", outcome="committed") == 0
    assert value("eos_transaction_records_count") == 0


def test_what_is_in_doubt_or_unchecked_is_counted(metrics: Metrics, value: Value) -> None:
    tell(metrics, Claimed([TALLY], "orders", unkeyed=0, in_doubt=3, unchecked=12))
    assert value("eos_records_in_doubt_total", topic="orders") == 3
    assert value("eos_records_unchecked_total", topic="orders") == 12


def test_a_transaction_is_counted_by_its_outcome(metrics: Metrics, value: Value) -> None:
    tell(metrics, BATCH, Committing(12), committed())
    tell(metrics, BATCH, Committing(12), committed(seconds=3.0, resolved=True))
    tell(metrics, BATCH, Committing(12), Aborted("ledger_resealed", 12, committing=True))
    for outcome in ("committed", "resolved", "aborted"):
        assert value("eos_transactions_total", outcome=outcome) == 1
    assert value("eos_outputs_total") == 12
    assert value("eos_transaction_duration_seconds_sum") == pytest.approx(3.02)
    assert value("eos_transaction_records_count") == 2
    assert value("eos_transaction_records_sum") == 24


def test_work_given_up_before_a_transaction_began_is_no_aborted_transaction(
    metrics: Metrics, value: Value
) -> None:
    tell(metrics, BATCH, Aborted("ledger_gap", 12))
    assert value("eos_aborts_total", cause="ledger_gap") == 1
    assert value("eos_transactions_total", outcome="aborted") == 0


def test_what_happens_beside_the_way_of_a_record_is_counted(metrics: Metrics, value: Value) -> None:
    tell(
        metrics,
        Retried("orders", 1, "ValueError"),
        Waiting("ledger", 1.0),
        Recovered("orders", "closed", 300, 0.7),
        ProducerRecreated("slow"),
        Lived("orders", 25),
    )
    assert value("eos_handler_retries_total", topic="orders") == 1
    assert value("eos_waits_total", on="ledger") == 1
    assert value("eos_recoveries_total", topic="orders", cause="closed") == 1
    assert value("eos_recovery_records_total", topic="orders") == 300
    assert value("eos_recovery_duration_seconds_sum") == pytest.approx(0.7)
    assert value("eos_producers_recreated_total", reason="slow") == 1
    assert value("eos_ledger_generations", topic="orders") == 25


def test_a_topic_is_shown_at_zero_once_it_is_assigned(metrics: Metrics, value: Value) -> None:
    tell(metrics, Assigned((("orders", 0), ("orders", 1))))
    for verdict in Verdict:
        assert value("eos_records_total", topic="orders", verdict=verdict.value) == 0
    # What an alert asks about must be there before it happens for the first time.
    assert value("eos_waits_total", on="frontier") == 0
    assert value("eos_dead_letters_total", topic="orders", reason="handler_failed") == 0
    assert value("eos_gap_records_total", topic="orders", cause="retention") == 0


def test_a_sentence_makes_no_series_of_its_own(metrics: Metrics, value: Value) -> None:
    tell(metrics, ProducerRecreated("broker 10.0.0.7: timed out after 5003 ms"))
    tell(metrics, ProducerRecreated("broker 10.0.0.8: timed out after 5011 ms"))
    assert value("eos_producers_recreated_total", reason="other") == 2


def test_a_relay_tells_what_it_published_took_over_and_put_aside(
    metrics: Metrics, value: Value
) -> None:
    tell(
        metrics,
        ShardOpened(0),
        ShardOpened(3),
        Published(3, 200, 0.02, 1.5),
        Published(3, 1, 0.01, 0.5),
        RowBuried(3, "rejected", "Broker: Message size too large"),
        ShardStopped(3, "outbox_fenced", "another relay has it"),
    )
    assert value("eos_outbox_takeovers_total") == 2
    assert value("eos_outbox_published_total", shard="3") == 201
    assert value("eos_outbox_published_total", shard="0") == 0
    assert value("eos_outbox_batch_rows_count") == 2
    assert value("eos_outbox_batch_rows_sum") == 201
    assert value("eos_outbox_publish_duration_seconds_sum") == pytest.approx(0.03)
    assert value("eos_outbox_wait_seconds_sum") == pytest.approx(2.0)
    assert value("eos_outbox_dead_total", reason="rejected") == 1
    assert value("eos_outbox_dead_total", reason="too_large") == 0
    assert value("eos_aborts_total", cause="outbox_fenced") == 1


def test_a_relay_tells_what_waits_as_it_was_counted_last(metrics: Metrics, value: Value) -> None:
    tell(metrics, ShardOpened(0), OutboxCounted(7, 2.5, 3, 1))
    assert value("eos_outbox_rows") == 7
    assert value("eos_outbox_oldest_seconds") == 2.5
    assert value("eos_outbox_scheduled_rows") == 3
    assert value("eos_outbox_dead_rows") == 1
    tell(metrics, OutboxCounted(0, 0.0, 0, 0))
    assert value("eos_outbox_rows") == value("eos_outbox_dead_rows") == 0


def test_a_group_without_an_outbox_says_nothing_of_one(metrics: Metrics, value: Value) -> None:
    tell(metrics, BATCH, Committing(RECORDS), committed())
    assert value("eos_outbox_rows") is None
    assert value("eos_outbox_takeovers_total") is None


def test_two_lines_share_a_registry(registry: CollectorRegistry) -> None:
    for group in ("billing", "shipping"):
        tell(Metrics(group, registry), BATCH)
        assert registry.get_sample_value("eos_in_flight_records", {"group": group}) == RECORDS


def test_every_listener_is_told_in_order() -> None:
    heard: list[tuple[str, Event]] = []
    emit = fan_out(
        lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event))
    )
    emit(BATCH)
    assert heard == [("a", BATCH), ("b", BATCH)]
