"""What the producer's supervisor goes by, and what it makes of it."""

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Event
from eos.core.supervisor import Seen
from eos.kafka import transactions as module
from eos.kafka.transactions import KafkaTransactions
from tests.unit.producers import Producers, reasons, transactions, whole


@pytest.fixture
def producers() -> Producers:
    return Producers()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def made(producers: Producers, events: list[Event]) -> Iterator[KafkaTransactions]:
    supervised = transactions(producers, events)
    yield supervised
    supervised.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_DELIVERY", 0.0)


@pytest.mark.parametrize("counter", ["req_timeouts", "disconnects"])
def test_a_producer_whose_statistics_count_a_broken_request_is_replaced_once(
    made: KafkaTransactions, producers: Producers, events: list[Event], counter: str
) -> None:
    whole(made)
    producers.plan["flush"].append(lambda: producers.counts(**{counter: 1}))
    whole(made)
    whole(made)
    assert producers.count("make") == 2
    assert reasons(events) == [Seen.COUNTED.value]


def test_what_was_counted_at_the_last_look_costs_nothing_at_the_next(
    made: KafkaTransactions, producers: Producers
) -> None:
    whole(made)
    producers.counts(disconnects=2)
    whole(made)
    producers.counts()
    producers.counts()
    whole(made)
    assert producers.count("make") == 2


def test_a_transaction_that_had_to_wait_for_the_one_before_costs_no_producer(
    made: KafkaTransactions, producers: Producers
) -> None:
    # The client counts that as a retry, in nearly every transaction.
    for ended in range(1, 4):
        whole(made)
        producers.counts(end_txn=ended)
    whole(made)
    assert producers.count("make") == 1


def test_a_request_to_end_a_transaction_that_was_sent_twice_costs_the_producer(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    whole(made)
    made.begin()
    made.produce("receipts", b"v", None, [])
    made.abort()
    producers.counts(end_txn=2)
    whole(made)
    assert producers.count("make") == 1
    producers.counts(end_txn=4)
    whole(made)
    assert reasons(events) == [Seen.COUNTED.value]


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT])  # noqa: SLF001
def test_offsets_that_may_still_arrive_cost_the_producer(
    made: KafkaTransactions, producers: Producers, events: list[Event], code: int
) -> None:
    # Aborted and kept, its next transaction could be hit by the old offsets.
    producers.fails("send_offsets_to_transaction", code)
    with pytest.raises(RetriableError):
        whole(made)
    made.abort()
    assert producers.count("abort_transaction") == 0
    assert whole(made)
    assert reasons(events) == [Seen.INDEFINITE.value]


def test_a_request_that_needs_an_abort_and_may_still_arrive_costs_the_producer(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    producers.fails(
        "send_offsets_to_transaction",
        KafkaError._TIMED_OUT,  # noqa: SLF001
        txn_requires_abort=True,
    )
    with pytest.raises(AbortableError):
        whole(made)
    made.abort()
    assert whole(made)
    assert reasons(events) == [Seen.INDEFINITE.value]


@pytest.mark.parametrize(
    ("code", "replaced"),
    [
        (KafkaError._MSG_TIMED_OUT, True),  # noqa: SLF001
        (KafkaError.MSG_SIZE_TOO_LARGE, False),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, False),
    ],
)
def test_a_message_that_may_still_arrive_costs_the_producer_and_one_that_was_refused_does_not(
    made: KafkaTransactions, producers: Producers, code: int, *, replaced: bool
) -> None:
    made.begin()
    producers.plan["flush"].append(lambda: producers.not_delivered(code))
    with pytest.raises(AbortableError, match="not delivered"):
        made.commit()
    made.abort()
    assert whole(made)
    assert producers.count("make") == 1 + replaced


def test_an_abort_waits_until_a_first_message_is_delivered(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    made.begin()
    made.produce("receipts", b"v", None, [])
    made.produce("receipts", b"v", None, [])
    producers.left = 2
    looks = len(producers.plan["flush"]) + 3

    def deliver() -> None:
        producers.left = 1

    producers.plan["flush"] += [lambda: None] * (looks - 1) + [deliver]
    made.abort()
    assert producers.calls[-1] == "abort_transaction"
    assert producers.calls[-1 - looks : -1] == ["flush"] * looks
    assert events == []


@pytest.mark.usefixtures("impatient")
def test_an_abort_of_which_the_coordinator_may_not_know_is_left_to_the_next_producer(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    made.begin()
    made.produce("receipts", b"v", None, [])
    producers.left = 1
    made.abort()
    assert producers.count("abort_transaction") == 0
    producers.left = 0
    assert whole(made)
    assert reasons(events) == [Seen.UNREACHED.value]


@pytest.mark.usefixtures("impatient")
def test_a_message_that_failed_is_not_taken_for_one_that_was_delivered(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    made.begin()
    made.produce("receipts", b"v", None, [])
    made.produce("no-such-topic", b"v", None, [])
    producers.left = 1
    producers.plan["flush"].append(
        lambda: producers.not_delivered(KafkaError.UNKNOWN_TOPIC_OR_PART)
    )
    made.abort()
    producers.left = 0
    assert whole(made)
    assert reasons(events) == [Seen.UNREACHED.value]


@pytest.mark.usefixtures("impatient")
def test_an_abort_after_the_offsets_were_sent_waits_for_nothing(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    made.produce("receipts", b"v", None, [])
    producers.left = 1
    made.send_offsets({}, b"membership")
    made.abort()
    assert producers.calls[-2:] == ["send_offsets_to_transaction", "abort_transaction"]


def test_a_start_that_failed_for_whatever_reason_is_made_again(
    made: KafkaTransactions, producers: Producers
) -> None:
    producers.fails("init_transactions", KafkaError.UNKNOWN, txn_requires_abort=True)
    with pytest.raises(AbortableError):
        made.prepare()
    assert whole(made)
    assert producers.count("make") == 2


def test_what_a_producer_tells_between_transactions_is_listened_to(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    whole(made)
    producers.plan["poll"].append(producers.disconnect)
    made._attend()  # noqa: SLF001 what the vigil calls
    whole(made)
    assert reasons(events) == [Seen.DISCONNECTED.value]


def test_nobody_else_serves_a_producer_while_a_transaction_is_open(
    made: KafkaTransactions, producers: Producers
) -> None:
    made._attend()  # noqa: SLF001 what the vigil calls
    made.begin()
    made._attend()  # noqa: SLF001
    assert producers.count("poll") == 0
