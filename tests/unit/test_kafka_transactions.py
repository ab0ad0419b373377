import logging
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from eos.core.errors import AbortableError, FatalError, FencedError, RetriableError
from eos.core.events import Event
from eos.core.supervisor import Seen
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


def test_a_producer_is_made_when_it_is_needed_and_kept_as_long_as_it_is_trusted(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    assert producers.calls == []
    made.prepare()
    assert producers.calls == ["make", "init_transactions"]
    assert whole(made)
    assert whole(made)
    assert producers.count("make") == 1
    assert events == []


def test_nothing_is_committed_before_all_is_delivered(
    made: KafkaTransactions, producers: Producers
) -> None:
    whole(made)
    order = [c for c in producers.calls if c in {"produce", "flush", "commit_transaction"}]
    assert order[-2:] == ["flush", "commit_transaction"]


def test_a_message_that_was_not_delivered_prevents_the_commit_and_is_told(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    producers.plan["flush"].append(producers.not_delivered)
    with pytest.raises(AbortableError, match="'receipts'"):
        made.commit()
    assert producers.count("commit_transaction") == 0


def test_messages_that_are_still_under_way_prevent_the_commit(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    producers.left = 3
    with pytest.raises(AbortableError, match="3 messages"):
        made.commit()
    assert producers.count("commit_transaction") == 0
    producers.left = 0  # or giving it up would wait for the first delivery


def test_what_was_not_delivered_before_does_not_burden_the_next_transaction(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    producers.not_delivered()
    made.abort()
    assert whole(made)


@pytest.mark.parametrize(
    ("tell", "reason"),
    [
        ("broker 1: Disconnected (after 2 ms)", Seen.DISCONNECTED),
        ("EndTxnRequest timed out (after 1000 ms)", Seen.DISCONNECTED),
        ("Timed out 1 in-flight request", Seen.DISCONNECTED),
    ],
)
def test_a_producer_whose_connection_broke_is_replaced_before_the_next_transaction(
    made: KafkaTransactions, producers: Producers, events: list[Event], tell: str, reason: Seen
) -> None:
    made.begin()
    producers.logger.log(logging.INFO, tell)
    assert made.commit()  # this one goes on
    assert producers.count("make") == 1
    assert whole(made)
    assert producers.count("make") == 2
    assert reasons(events) == [reason.value]


def test_harmless_log_lines_cost_no_producer(made: KafkaTransactions, producers: Producers) -> None:
    whole(made)
    producers.logger.log(logging.INFO, "broker 1: Connected")
    whole(made)
    assert producers.count("make") == 1


def test_a_commit_so_slow_that_it_may_have_been_sent_twice_costs_the_producer(
    producers: Producers, events: list[Event]
) -> None:
    made = transactions(producers, events, socket_timeout_ms=0)
    assert whole(made)
    assert whole(made)
    assert reasons(events) == [Seen.SLOW.value]


@pytest.mark.parametrize(
    ("code", "flags"),
    [
        (KafkaError._TIMED_OUT, {"retriable": True}),  # noqa: SLF001
        (KafkaError._TRANSPORT, {}),  # noqa: SLF001
        (KafkaError.REQUEST_TIMED_OUT, {}),
        (KafkaError.NOT_COORDINATOR, {"retriable": True}),
    ],
)
def test_a_commit_that_nobody_answered_is_unknown_until_a_new_producer_makes_it_final(
    made: KafkaTransactions,
    producers: Producers,
    events: list[Event],
    code: int,
    flags: dict[str, bool],
) -> None:
    producers.fails("commit_transaction", code, **flags)
    assert whole(made) is False
    made.settle_unknown()
    assert producers.calls[-2:] == ["make", "init_transactions"]
    assert reasons(events) == [Seen.INDEFINITE.value]
    assert whole(made)
    assert producers.count("make") == 2


def test_a_commit_that_was_refused_is_aborted(
    made: KafkaTransactions, producers: Producers
) -> None:
    producers.fails("commit_transaction", KafkaError.INVALID_TXN_STATE, txn_requires_abort=True)
    with pytest.raises(AbortableError):
        whole(made)
    made.abort()
    assert producers.calls[-1] == "abort_transaction"
    assert whole(made)
    assert producers.count("make") == 1


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
    ],
)
def test_offsets_of_a_group_that_moved_on_are_aborted_and_no_reason_to_distrust_the_producer(
    made: KafkaTransactions, producers: Producers, code: int
) -> None:
    producers.fails("send_offsets_to_transaction", code)
    with pytest.raises(AbortableError):
        whole(made)
    made.abort()
    assert whole(made)
    assert producers.count("make") == 1


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH])  # noqa: SLF001
@pytest.mark.parametrize(
    "method", ["begin_transaction", "send_offsets_to_transaction", "commit_transaction"]
)
def test_a_twin_is_named_and_nothing_begins_any_more(
    made: KafkaTransactions, producers: Producers, method: str, code: int
) -> None:
    producers.fails(method, code, fatal=True)
    with pytest.raises(FencedError, match=r"'ns\.host\.0'.*EOS_INSTANCE"):
        whole(made)
    made.abort()
    with pytest.raises(FencedError):
        made.begin()
    assert producers.count("make") == 1


@pytest.mark.parametrize("method", ["send_offsets_to_transaction", "commit_transaction"])
def test_a_transaction_that_expired_is_no_proof_of_a_twin(
    producers: Producers, events: list[Event], method: str
) -> None:
    made = transactions(producers, events, transaction_timeout_ms=0)
    producers.fails(method, KafkaError._FENCED, fatal=True)  # noqa: SLF001
    with pytest.raises(AbortableError, match="expired"):
        whole(made)
    made.abort()
    assert whole(made)
    assert reasons(events) == [Seen.EXPIRED.value]


@pytest.mark.parametrize("method", ["flush", "abort_transaction"])
@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError._TIMED_OUT, KafkaError._STATE])  # noqa: SLF001
def test_an_abort_that_fails_is_left_to_the_next_producer(
    made: KafkaTransactions, producers: Producers, events: list[Event], method: str, code: int
) -> None:
    made.begin()
    producers.fails(method, code, fatal=True)
    made.abort()
    assert whole(made)
    assert producers.count("make") == 2
    assert len(reasons(events)) == 1


@pytest.mark.parametrize("code", [KafkaError._FENCED, KafkaError._FATAL, KafkaError._STATE])  # noqa: SLF001
def test_a_fatal_error_that_shows_while_messages_are_delivered_is_one_of_ours(
    producers: Producers, events: list[Event], code: int
) -> None:
    made = transactions(producers, events, transaction_timeout_ms=0)
    made.begin()
    producers.fails("flush", code, fatal=True)
    with pytest.raises(AbortableError):
        made.commit()
    made.abort()
    assert whole(made)


def test_a_tainted_producer_is_not_asked_to_abort(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    producers.disconnect()
    made.abort()
    assert producers.count("abort_transaction") == 0
    made.prepare()
    assert producers.count("init_transactions") == 2


def test_aborting_what_was_not_begun_asks_nobody(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.abort()
    whole(made)
    before = list(producers.calls)
    made.abort()
    assert producers.calls == before


def test_a_full_queue_is_waited_for(made: KafkaTransactions, producers: Producers) -> None:
    producers.plan["produce"] += [BufferError(), BufferError()]
    assert whole(made)
    assert producers.count("produce") == 3


def test_a_queue_that_stays_full_ends_the_transaction(
    producers: Producers, events: list[Event]
) -> None:
    made = transactions(producers, events, transaction_timeout_ms=0)
    producers.plan["produce"] += [BufferError()] * 10
    with pytest.raises(AbortableError, match="full"):
        whole(made)


def test_a_message_that_the_client_refuses_ends_the_transaction(
    made: KafkaTransactions, producers: Producers
) -> None:
    # The client itself would commit the transaction without it.
    producers.fails("produce", KafkaError.MSG_SIZE_TOO_LARGE)
    with pytest.raises(AbortableError, match="receipts") as caught:
        whole(made)
    assert caught.value.cause == "rejected"


@pytest.mark.parametrize(
    ("codes", "cause"),
    [
        ([KafkaError.MSG_SIZE_TOO_LARGE], "rejected"),
        ([KafkaError.INVALID_RECORD], "rejected"),
        ([KafkaError.POLICY_VIOLATION], "rejected"),
        ([KafkaError._PURGE_QUEUE, KafkaError.MSG_SIZE_TOO_LARGE], "rejected"),  # noqa: SLF001
        ([KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._PURGE_QUEUE], "rejected"),  # noqa: SLF001
        ([KafkaError._MSG_TIMED_OUT], "transaction"),  # noqa: SLF001
        ([KafkaError.UNKNOWN_TOPIC_OR_PART], "transaction"),
    ],
    ids=str,
)
def test_a_message_that_is_refused_for_what_it_is_is_told_from_one_that_may_be_sent_again(
    made: KafkaTransactions, producers: Producers, codes: list[int], cause: str
) -> None:
    made.begin()
    for code in codes:
        producers.not_delivered(code)
    with pytest.raises(AbortableError) as caught:
        made.commit()
    assert caught.value.cause == cause
    made.abort()
    assert whole(made)


def test_a_call_that_fails_for_a_message_before_says_so(
    made: KafkaTransactions, producers: Producers
) -> None:
    # The client answers any later call with what its transaction failed for.
    producers.fails(
        "send_offsets_to_transaction", KafkaError.INVALID_RECORD, txn_requires_abort=True
    )
    with pytest.raises(AbortableError) as caught:
        whole(made)
    assert caught.value.cause == "rejected"
    made.abort()
    made.begin()
    producers.fails("produce", KafkaError._STATE)  # noqa: SLF001
    producers.fails("begin_transaction", KafkaError.INVALID_RECORD, txn_requires_abort=True)
    with pytest.raises(AbortableError) as caught:
        made.produce("receipts", b"v", None, [])
    assert caught.value.cause == "rejected"


def test_brokers_that_are_away_at_the_start_are_waited_for(
    made: KafkaTransactions, producers: Producers
) -> None:
    producers.fails("init_transactions", KafkaError._TIMED_OUT, retriable=True)  # noqa: SLF001
    with pytest.raises(RetriableError):
        made.prepare()
    assert whole(made)
    assert producers.count("make") == 2


def test_closing_aborts_what_is_open_and_drops_what_is_queued(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    made.close()
    assert producers.calls[-2:] == ["abort_transaction", "purge"]


def test_closing_what_was_never_used_asks_nobody(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.close()
    assert producers.calls == []


def test_nothing_begins_after_closing(made: KafkaTransactions, producers: Producers) -> None:
    whole(made)
    made.close()
    with pytest.raises(AbortableError):
        made.begin()
    assert producers.count("make") == 1


def test_offsets_of_a_member_that_the_group_moved_on_without_cost_no_producer(
    made: KafkaTransactions, producers: Producers, events: list[Event]
) -> None:
    producers.fails("send_offsets_to_transaction", KafkaError.ILLEGAL_GENERATION)
    made.begin()
    with pytest.raises(AbortableError) as caught:
        made.send_offsets({}, b"")
    made.abort()
    assert caught.value.cause == "rebalance"
    assert whole(made)
    assert producers.count("make") == 1
    assert events == []


def test_a_transactional_id_that_is_denied_is_fatal_and_named(
    made: KafkaTransactions, producers: Producers
) -> None:
    producers.fails(
        "init_transactions", KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True
    )
    with pytest.raises(FatalError, match=r"'ns.host.0'.*WRITE on the transactional id"):
        made.prepare()
    assert whole(made)  # what was granted meanwhile needs a new producer
    assert producers.count("make") == 2


def test_messages_that_were_purged_because_their_topic_is_denied_say_so(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    producers.plan["flush"].append(lambda: producers.not_delivered(KafkaError._PURGE_QUEUE))  # noqa: SLF001
    producers.fails(
        "begin_transaction", KafkaError.TOPIC_AUTHORIZATION_FAILED, txn_requires_abort=True
    )
    with pytest.raises(FatalError, match="WRITE"):
        made.commit()
    assert producers.count("commit_transaction") == 0


def test_a_fatal_error_that_a_callback_ran_into_is_told_for_what_it_is(
    made: KafkaTransactions, producers: Producers
) -> None:
    """The client raises it within `flush`, and calls on: whatever is called fails then."""
    made.begin()
    fenced = KafkaException(KafkaError(KafkaError._FENCED, "planned", fatal=True))  # noqa: SLF001
    beside = SystemError("<method 'retriable'> returned a result with an exception set")
    beside.__cause__ = fenced
    producers.plan["flush"].append(beside)
    with pytest.raises(FencedError):
        made.commit()


def test_another_error_of_the_interpreter_is_not_taken_for_one_of_kafka(
    made: KafkaTransactions, producers: Producers
) -> None:
    made.begin()
    producers.plan["flush"].append(SystemError("unknown opcode"))
    with pytest.raises(SystemError):
        made.commit()
