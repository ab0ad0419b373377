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
from eos.kafka.errors import translated, translating
from eos.kafka.reader import committed, generation

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
    ],
)
def test_an_error_says_what_the_caller_must_do(
    code: int, flags: dict[str, bool], expected: type[EosError]
) -> None:
    found = translated(KafkaError(code, "the reason", **flags), "do something")
    assert type(found) is expected
    assert "do something" in str(found)
    assert "the reason" in str(found)


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


def test_a_partition_without_a_committed_offset_has_none() -> None:
    answer: list[Answer] = [Answer(0, 5), Answer(1, -1001), Answer(2, 0)]
    assert committed(answer) == {  # type: ignore[arg-type]
        ("orders", 0): 5,
        ("orders", 1): None,
        ("orders", 2): 0,
    }


def test_an_offset_that_waits_for_a_transaction_is_not_taken_for_none() -> None:
    answer: list[Answer] = [Answer(0, -1001, KafkaError(K.UNSTABLE_OFFSET_COMMIT))]
    with pytest.raises(RetriableError):
        committed(answer)  # type: ignore[arg-type]
