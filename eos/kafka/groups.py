"""Consumer groups, seen from outside."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from eos.core.errors import EosError, FatalError
from eos.core.frontier import Frontier
from eos.core.ports import Partition
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import translated, translating
from eos.kafka.forms import offsets

_TIMEOUT = 10.0
# What brokers say of a group that has members, whose offsets are theirs to commit.
_BUSY = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.NON_EMPTY_GROUP,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)


class KafkaGroups:
    """Implements `eos.core.ports.Groups`.

    Args:
        conf: librdkafka's configuration.
    """

    def __init__(self, conf: dict[str, Any]) -> None:
        with translating("make a Kafka admin client"):
            self._admin = AdminClient(conf, logger=CLIENT_LOG)

    def members(self, group: str) -> int:
        """Give how many members a group has."""
        asked = self._admin.describe_consumer_groups([group], request_timeout=_TIMEOUT)
        try:
            return len(asked[group].result(_TIMEOUT + 1).members)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise translated(error.args[0], f"describe group {group!r}") from error

    def offsets(self, group: str) -> dict[Partition, int]:
        """Read all committed offsets, without waiting for open transactions."""
        request = [ConsumerGroupTopicPartitions(group)]
        asked = self._admin.list_consumer_group_offsets(request, request_timeout=_TIMEOUT)
        try:
            told = asked[group].result(_TIMEOUT + 1).topic_partitions
        except KafkaException as error:
            raise translated(error.args[0], f"read the offsets of group {group!r}") from error
        for each in told:
            if each.error:
                raise translated(each.error, f"read the offsets of group {group!r}")
        return {(each.topic, each.partition): each.offset for each in told if each.offset >= 0}

    def commit(self, group: str, frontiers: Mapping[Partition, Frontier]) -> None:
        """Set the offsets of a group that has no members."""
        request = [ConsumerGroupTopicPartitions(group, offsets(frontiers))]
        answer = self._admin.alter_consumer_group_offsets(request, request_timeout=_TIMEOUT)
        try:
            told = answer[group].result(_TIMEOUT + 1)
        except KafkaException as error:
            raise _refused(group, error.args[0]) from error
        for partition in told.topic_partitions:
            if partition.error:
                raise _refused(group, partition.error)


def _refused(group: str, error: KafkaError) -> EosError:
    if error.code() in _BUSY:
        return FatalError(f"group {group!r} has members: stop its workers, then run this again")
    return translated(error, f"set the offsets of group {group!r}")
