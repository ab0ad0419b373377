import pytest
from confluent_kafka import KafkaError, KafkaException

from eos.core.errors import (
    AbortableError,
    ConfigError,
    EosError,
    FatalError,
    FencedError,
    RetriableError,
)
from eos.core.frontier import Frontier, parse
from eos.kafka.errors import is_indefinite, translated, translating
from eos.kafka.forms import committed, generation, offsets

K = KafkaError


@pytest.mark.parametrize(
    ("code", "flags", "expected"),
    [
        (K._FENCED, {"fatal": True}, FencedError),  # noqa: SLF001
        (K.PRODUCER_FENCED, {}, FencedError),
        (K.INVALID_PRODUCER_EPOCH, {"txn_requires_abort": True}, FencedError),
        (K.TRANSACTION_COORDINATOR_FENCED, {}, FencedError),
        (K.INVALID_TXN_STATE, {"txn_requires_abort": True}, AbortableError),
        (K._TIMED_OUT, {"txn_requires_abort": True}, AbortableError),  # noqa: SLF001
        (K.ILLEGAL_GENERATION, {}, AbortableError),
        (K.REBALANCE_IN_PROGRESS, {}, AbortableError),
        (K.UNKNOWN_MEMBER_ID, {}, AbortableError),
        (K._TIMED_OUT, {}, RetriableError),  # noqa: SLF001
        (K._TRANSPORT, {}, RetriableError),  # noqa: SLF001
        (K._ALL_BROKERS_DOWN, {}, RetriableError),  # noqa: SLF001
        (K.UNSTABLE_OFFSET_COMMIT, {}, RetriableError),
        (K.COORDINATOR_LOAD_IN_PROGRESS, {}, RetriableError),
        (K.NOT_COORDINATOR, {}, RetriableError),
        (K.UNKNOWN, {"retriable": True}, RetriableError),
        # A broker that was restarted, or moved its leaders, answers so for a while.
        (K.FENCED_LEADER_EPOCH, {}, RetriableError),
        (K.UNKNOWN_LEADER_EPOCH, {}, RetriableError),
        (K.OFFSET_NOT_AVAILABLE, {}, RetriableError),
        (K.REPLICA_NOT_AVAILABLE, {}, RetriableError),
        (K.KAFKA_STORAGE_ERROR, {}, RetriableError),
        (K.NOT_ENOUGH_REPLICAS_AFTER_APPEND, {}, RetriableError),
        (K.ELIGIBLE_LEADERS_NOT_AVAILABLE, {}, RetriableError),
        (K.THROTTLING_QUOTA_EXCEEDED, {}, RetriableError),
        (K.NOT_CONTROLLER, {}, RetriableError),
        (K._INVALID_ARG, {}, ConfigError),  # noqa: SLF001
        (K.SASL_AUTHENTICATION_FAILED, {}, ConfigError),
        (K._STATE, {}, FatalError),  # noqa: SLF001
        (K.TOPIC_AUTHORIZATION_FAILED, {}, FatalError),
        # Aborted, it would only be denied again.
        (K.TOPIC_AUTHORIZATION_FAILED, {"txn_requires_abort": True}, FatalError),
        (K.GROUP_AUTHORIZATION_FAILED, {"txn_requires_abort": True}, FatalError),
        (K.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, {"fatal": True}, FatalError),
    ],
)
def test_an_error_says_what_the_caller_must_do(
    code: int, flags: dict[str, bool], expected: type[EosError]
) -> None:
    found = translated(KafkaError(code, "the reason", **flags), "do something")
    assert type(found) is expected
    assert "do something" in str(found)
    assert "the reason" in str(found)


@pytest.mark.parametrize("flags", [{}, {"txn_requires_abort": True}])
@pytest.mark.parametrize(
    "code",
    [
        K.ILLEGAL_GENERATION,
        K.UNKNOWN_MEMBER_ID,
        K.REBALANCE_IN_PROGRESS,
        K.STALE_MEMBER_EPOCH,
        K.FENCED_MEMBER_EPOCH,
    ],
)
def test_offsets_that_the_group_refuses_because_it_moved_on_are_a_rebalance_and_no_failure(
    code: int, flags: dict[str, bool]
) -> None:
    found = translated(KafkaError(code, "the reason", **flags), "send offsets")
    assert isinstance(found, AbortableError)
    assert found.cause == "rebalance"


def test_what_is_denied_says_what_to_grant() -> None:
    denied = KafkaError(K.GROUP_AUTHORIZATION_FAILED, "Group authorization failed")
    assert str(translated(denied, "send offsets")).endswith("needs an ACL: READ on the group")


def test_no_exception_of_the_client_passes_and_its_own_is_kept_as_cause() -> None:
    with pytest.raises(RetriableError) as caught, translating("read"):
        raise KafkaException(KafkaError(K._TRANSPORT))  # noqa: SLF001
    assert isinstance(caught.value.__cause__, KafkaException)


@pytest.mark.parametrize(("number", "expected"), [(-1, -1), (0, 0), (1, 1), (70_000, 70_000)])
def test_the_generation_is_read_out_of_the_client_s_metadata(number: int, expected: int) -> None:
    metadata = b"CGMDv2:" + number.to_bytes(4, "little", signed=True) + b"group\x00member\x00"
    assert generation(metadata) == expected


class Answer:
    def __init__(self, partition: int, offset: int, error: KafkaError | None = None) -> None:
        self.topic, self.partition, self.offset, self.error = "orders", partition, offset, error
        self.metadata = None if offset < 0 else Frontier(offset, 2, note="ours").metadata
        self.leader_epoch = 3 if offset == 5 else None


def test_a_partition_without_a_committed_offset_has_none() -> None:
    answer: list[Answer] = [Answer(0, 5), Answer(1, -1001), Answer(2, 0)]
    assert committed(answer) == {  # type: ignore[arg-type]
        ("orders", 0): Frontier(5, 2, note="ours", leader_epoch=3),
        ("orders", 1): None,
        ("orders", 2): Frontier(0, 2, note="ours"),
    }


def test_an_offset_that_waits_for_a_transaction_is_not_taken_for_none() -> None:
    answer: list[Answer] = [Answer(0, -1001, KafkaError(K.UNSTABLE_OFFSET_COMMIT))]
    with pytest.raises(RetriableError):
        committed(answer)  # type: ignore[arg-type]


def test_frontiers_are_committed_with_what_travels_beside_them() -> None:
    [given] = offsets({("orders", 1): Frontier(7, attempts=2, note="mine")})
    assert (given.topic, given.partition, given.offset) == ("orders", 1, 7)
    assert parse(7, given.metadata) == Frontier(7, attempts=2, note="mine")


@pytest.mark.parametrize(
    ("code", "flags", "expected"),
    [
        (K._TIMED_OUT, {}, True),  # noqa: SLF001
        (K._TRANSPORT, {}, True),  # noqa: SLF001
        (K._MSG_TIMED_OUT, {}, True),  # noqa: SLF001
        (K._PURGE_INFLIGHT, {}, True),  # noqa: SLF001
        (K.REQUEST_TIMED_OUT, {}, True),
        (K.UNKNOWN, {"retriable": True}, True),
        (K._PURGE_QUEUE, {}, False),  # noqa: SLF001
        (K.MSG_SIZE_TOO_LARGE, {}, False),
        (K.UNKNOWN_TOPIC_OR_PART, {}, False),
        (K.ILLEGAL_GENERATION, {}, False),
    ],
)
def test_a_request_that_may_still_take_place_is_told_from_one_that_was_refused(
    code: int, flags: dict[str, bool], expected: bool
) -> None:
    assert is_indefinite(KafkaError(code, "the reason", **flags)) is expected
