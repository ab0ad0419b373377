"""What a topic is, asked of the brokers: its id, its partitions; and topics of our own."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    OffsetSpec,
)
from confluent_kafka.cimpl import NewTopic

from eos.core.errors import FatalError, RetriableError
from eos.core.ports import Partition
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import is_denied, translated, translating

TIMEOUT = 10.0
GRACE_SECONDS = 5.0
"""For how long a topic may be missing before it is called so."""
DELETED_SECONDS = 30.0
"""For how long a topic that was there may be missing before whoever publishes takes it for deleted:
longer, because mostly it is a broker that does not know its topics yet."""
_OF_USE = frozenset({AclOperation.READ, AclOperation.WRITE, AclOperation.ALL})


class _NoTopicError(FatalError):
    """There is no such topic, and was none for a while."""


class KafkaTopics:
    """Implements `eos.core.ports.Topics`."""

    def __init__(self, conf: dict[str, Any]) -> None:
        self._seen: set[str] = set()
        self._missing: dict[str, float] = {}
        with translating("make a Kafka admin client"):
            self._admin = AdminClient(conf, logger=CLIENT_LOG)

    def describe(self, topic: str) -> tuple[str, int]:
        """Give a topic's id (KIP-516) and how many partitions it has.

        Raises:
            FatalError: If there is no such topic, and was none for a while; or if we may neither
                read it nor publish to it, which the client tells only seconds later.
            RetriableError: If the brokers are away, or do not know the topic now.
        """
        asked = self._admin.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=TIMEOUT
        )
        try:
            found = asked[topic].result(TIMEOUT + 1)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_EXCEPTION:
                raise _NoTopicError(f"{topic!r} is no name of a topic") from error
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                since = self._missing.setdefault(topic, time.monotonic())
                if topic in self._seen or time.monotonic() < since + GRACE_SECONDS:
                    # A broker that has just started does not know its topics yet.
                    raise RetriableError(f"topic {topic!r} is not there right now") from error
                raise _NoTopicError(
                    f"topic {topic!r} does not exist: create it, or correct its name"
                ) from error
            raise translated(error.args[0], f"describe topic {topic!r}") from error
        allowed = found.authorized_operations  # None, or nothing, where servers do not tell
        if allowed and _OF_USE.isdisjoint(allowed):
            raise FatalError(
                f"topic {topic!r} may neither be read nor be published to: the user that we log "
                "in as needs an ACL, READ if it is a source, WRITE if not"
            )
        self._seen.add(topic)
        self._missing.pop(topic, None)
        # In the form that Kafka's own tools print, which has no slashes.
        return str(found.topic_id).replace("+", "-").replace("/", "_"), len(found.partitions)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where partitions end now, open transactions included, in one request."""
        return self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give the first offset that each partition still has, in one request."""
        return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def compacts(self, topic: str) -> bool:
        """Tell whether a topic may be compacted; False where we may not ask."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        asked = self._admin.describe_configs([resource], request_timeout=TIMEOUT)
        try:
            found = asked[resource].result(TIMEOUT + 1)
        except KafkaException as error:
            if is_denied(error.args[0]):
                return False
            raise translated(error.args[0], f"read the settings of topic {topic!r}") from error
        return "compact" in found["cleanup.policy"].value

    def _offsets(self, partitions: Sequence[Partition], where: OffsetSpec) -> dict[Partition, int]:
        wanted = {TopicPartition(*partition): where for partition in partitions}
        asked = self._admin.list_offsets(wanted, request_timeout=TIMEOUT)
        try:
            found = {
                (of.topic, of.partition): at.result(TIMEOUT + 1).offset for of, at in asked.items()
            }
        except KafkaException as error:
            self._ask_anew()
            if error.args[0].code() == KafkaError._NOENT:
                raise RetriableError("none of the partitions has a leader right now") from error
            raise translated(error.args[0], "read the ends of partitions") from error
        if any(offset < 0 for offset in found.values()):
            self._ask_anew()
            raise RetriableError("a broker does not know where a partition ends")
        return found

    def _ask_anew(self) -> None:
        """Let the client ask what the cluster is like.

        After a change of leaders it asks under the old epoch for as long as it keeps the answer.
        """
        with suppress(KafkaException):
            self._admin.list_topics(timeout=TIMEOUT)

    def exists(self, topic: str) -> bool:
        """Tell whether there is such a topic; `RetriableError` while it may still come."""
        try:
            self.describe(topic)
        except _NoTopicError:
            return False
        except RetriableError:
            since = self._missing.get(topic)
            if since is None or time.monotonic() < since + DELETED_SECONDS:
                raise
            return False
        return True

    def ensure(self, names: Sequence[str], partitions: int = -1, *, retention: int = 0) -> None:
        """Make topics that do not exist yet, with the cluster's default replication."""
        config = {"retention.ms": str(retention * 1000)} if retention else {}
        wanted = [
            NewTopic(name, num_partitions=partitions, replication_factor=-1, config=config)
            for name in names
        ]
        for name, made in self._admin.create_topics(wanted, request_timeout=TIMEOUT).items():
            try:
                made.result(TIMEOUT + 1)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue
                if is_denied(error.args[0]):
                    self._describe_own(name)  # who may not make it may not learn that it is there
                    continue
                raise translated(error.args[0], f"create topic {name!r}") from error

    def _describe_own(self, name: str) -> None:
        """See that a topic of our own is there, which we may not make."""
        try:
            self.describe(name)
        except FatalError as error:
            raise FatalError(
                f"topic {name!r} cannot be made: the user that we log in as needs ACLs, WRITE on "
                "it and CREATE; or create it yourself, and grant WRITE"
            ) from error
