"""The one table that translates what librdkafka raises."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from eos.core.errors import (
    AbortableError,
    ConfigError,
    EosError,
    FatalError,
    FencedError,
    RetriableError,
)

FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)
_SETTINGS = frozenset(
    {
        KafkaError._INVALID_ARG,
        KafkaError._SSL,
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
    }
)
# What may be missing when the servers forbid something: no call helps before it is granted.
_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "READ on a topic that is read, WRITE on one that is "
    "published to",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "READ on the group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "WRITE on the transactional id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "IDEMPOTENT_WRITE on the cluster",
}
# The group moved on while a batch was handled: start over with what the new generation assigns.
_MEMBERSHIP = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)
# A server is away, starting, or busy with a request before ours; and all that Kafka's own
# protocol tables call retriable.
_AWAY = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError._RESOLVE,
        KafkaError._PREV_IN_PROGRESS,
        # A call was under way when the client dropped a broker's handle.
        KafkaError._DESTROY,
        KafkaError._DESTROY_BROKER,
        KafkaError._FAIL,
        KafkaError._UNKNOWN_BROKER,
        KafkaError._WAIT_CACHE,
        KafkaError._IN_PROGRESS,
        KafkaError._INTR,
        KafkaError._RETRY,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.FETCH_SESSION_ID_NOT_FOUND,
        KafkaError.INVALID_FETCH_SESSION_EPOCH,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)


# A broker that has just started does not know its topics yet: nothing was done, call again. Whoever
# means "the topic is missing" asks `KafkaTopics.describe`.
_NOT_KNOWN = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

# A consumer tells these as `_FATAL`, with the reason in words alone.
_STATIC_TWIN = "Static consumer fenced"
_PLACE_TAKEN = "instance ID is still used"
_LOST_MESSAGES = frozenset(
    {KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_INFLIGHT, KafkaError._OUTDATED}
)


# What the brokers, or the client before them, will not take however often it is sent: the message
# itself is at fault, or what its topic demands of one. Whoever can tell which message it was need
# not stop for it.
REJECTED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,  # for the client, the broker, or the topic
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.RECORD_LIST_TOO_LARGE,  # than a segment of the topic
        KafkaError.INVALID_RECORD,  # such as one without a key in a compacted topic (KIP-467)
        KafkaError.INVALID_TIMESTAMP,  # too far from the broker's, for this topic
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,  # headers or transactions in an old topic
        KafkaError.POLICY_VIOLATION,
    }
)


def is_indefinite(error: KafkaError) -> bool:
    """Tell whether the request may still take place, or have taken place."""
    return error.retriable() or error.code() in _AWAY or error.code() in _LOST_MESSAGES


def is_place_taken(error: KafkaError) -> bool:
    """Tell whether a static member was not let in, because its place is somebody's still.

    In groups of KIP-848 a member that died keeps its place until its session is over.
    """
    return error.code() == KafkaError.UNRELEASED_INSTANCE_ID or _PLACE_TAKEN in error.str()


def is_rejected(error: KafkaError) -> bool:
    """Tell whether no retry can help a message: it is refused for what it is."""
    return error.code() in REJECTED


def is_denied(error: KafkaError) -> bool:
    """Tell whether the servers do not allow it to the user that we log in as."""
    return error.code() in _DENIED


def translated(error: KafkaError, doing: str) -> EosError:  # noqa: PLR0911 it is a table
    """Give the error of ours that says what the caller must do.

    The order is librdkafka's own: a transaction that needs an abort first, then what may be
    called again, then what is final. But what nobody may do would be aborted for ever, and a
    transaction of a member that the group moved on without is a rebalance, whoever tells it.
    """
    text = f"{doing}: {error.str()}"
    code = error.code()
    if code == KafkaError.FENCED_INSTANCE_ID or _STATIC_TWIN in error.str():
        return FencedError(
            f"{text}. Another process is a member of the group under our group.instance.id: two "
            "workers run with the same group.instance.id and slot. Stop one of them, or give "
            "each process a group.instance.id of its own"
        )
    if code in FENCED:
        return FencedError(text)
    if code in _DENIED:
        return FatalError(f"{text}. The user that we log in as needs an ACL: {_DENIED[code]}")
    if code in _MEMBERSHIP:
        return AbortableError(text, cause="rebalance")
    if error.txn_requires_abort():
        cause = "rejected" if code in REJECTED else "transaction"
        return AbortableError(text, cause)
    if error.retriable() or code in _AWAY or code in _NOT_KNOWN:
        return RetriableError(f"Kafka is away or busy, {text}")
    if code in _SETTINGS:
        return ConfigError([text])
    return FatalError(text)


@contextmanager
def translating(doing: str) -> Iterator[None]:
    """Translate what the block raises."""
    try:
        yield
    except KafkaException as error:
        raise translated(error.args[0], doing) from error
