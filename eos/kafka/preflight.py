"""What a cluster tells of itself. Nothing is joined, published or committed."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    OffsetSpec,
)
from confluent_kafka.cimpl import NewTopic

from eos.core.errors import ConfigError, EosError, FatalError, RetriableError
from eos.core.ports import Partition
from eos.core.ports.preflight import Cluster, Extent, Group, Offsets, Operations, Topic
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import is_denied, translated, translating
from eos.kafka.forms import topic_partitions

T = TypeVar("T")

TIMEOUT = 8.0
_UNSTABLE_SECONDS = 11.0
"""A transaction of ours is over after 10 s, whatever becomes of its worker."""
_PAUSE = 0.3
_SETTLED = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED)
_OWN = re.compile(r"/bootstrap(?=:)| \(after [^)]*\)")
_NONE_YET = KafkaError.GROUP_ID_NOT_FOUND


class KafkaPreflight:
    """Asks a cluster about itself, its topics and groups, and what our user may do.

    Args:
        conf: librdkafka's configuration of an admin client.
    """

    def __init__(self, conf: Mapping[str, Any]) -> None:
        self._told: list[KafkaError] = []
        watched: dict[str, Any] = {**conf, "error_cb": self._told.append}
        with translating("make a Kafka admin client"):
            self._admin = AdminClient(watched, logger=CLIENT_LOG)

    def cluster(self) -> Cluster:
        """Reach the cluster.

        Raises:
            RetriableError: It is away; says what the client saw.
            ConfigError: The login, or the certificate, is refused.
        """
        try:
            found = self._admin.describe_cluster(
                include_authorized_operations=True, request_timeout=TIMEOUT
            ).result(TIMEOUT + 1)
        except KafkaException as error:
            raise self._why(error.args[0]) from error
        return Cluster(
            id=str(found.cluster_id),
            brokers={int(node.id): f"{node.host}:{node.port}" for node in found.nodes},
            operations=_names(found.authorized_operations),
        )

    def broker_settings(self, broker: int) -> dict[str, str] | None:
        """Give a broker's settings; None if we may not read them."""
        asked = ConfigResource(ConfigResource.Type.BROKER, str(broker))
        (found,) = self._settings([asked]).values()
        if isinstance(found, FatalError):
            return None
        return found

    def topic_settings(self, names: Sequence[str]) -> dict[str, dict[str, str] | None]:
        """Give the settings of topics; None for those of which we may not read them."""
        asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        found = self._settings(asked) if asked else {}
        return {
            name: None if isinstance(settings, FatalError) else settings
            for name, settings in found.items()
        }

    def topics(self, names: Sequence[str]) -> dict[str, Topic | FatalError | None]:
        """Describe topics.

        Returns:
            None for those that are not there; an error for those that may not be described.
        """
        if not names:
            return {}
        asked = self._admin.describe_topics(
            TopicCollection(list(names)),
            include_authorized_operations=True,
            request_timeout=TIMEOUT,
        )
        return {name: _topic(name, answer) for name, answer in asked.items()}

    def await_topics(self, names: Sequence[str]) -> None:
        """Wait, not for ever, until topics that were made are known to the broker that we ask."""
        deadline = time.monotonic() + TIMEOUT
        while None in self.topics(names).values() and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def extents(self, partitions: Sequence[Partition]) -> dict[Partition, Extent]:
        """Give how far partitions reach; those without a leader are left out."""
        if not partitions:
            return {}
        start = self._ends(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        stable = self._ends(partitions, latest, IsolationLevel.READ_COMMITTED)
        end = self._ends(partitions, latest)
        newest = self._ends(partitions, OffsetSpec.max_timestamp())  # type: ignore[no-untyped-call]
        return {
            place: Extent(
                start=start[place][0],
                stable=min(stable[place][0], end[place][0]),
                end=end[place][0],
                newest=newest.get(place, (-1, -1))[1],
                newest_at=newest.get(place, (-1, -1))[0],
            )
            for place in partitions
            if place in start and place in stable and place in end
        }

    def group(self, name: str) -> Group:
        """Describe a group.

        Raises:
            FatalError: We may not.
        """
        found = self._asked(
            f"describe group {name!r}",
            lambda: self._admin.describe_consumer_groups(
                [name], include_authorized_operations=True, request_timeout=TIMEOUT
            )[name].result(TIMEOUT + 1),
            _NONE_YET,
        )
        if found is None:
            return Group(state="DEAD")
        return Group(
            state=str(found.state.name),
            protocol=str(found.type.name).lower(),
            assignor=str(found.partition_assignor or ""),
            members=tuple(str(member.client_id) for member in found.members),
            operations=_names(found.authorized_operations),
        )

    def offsets(self, group: str, partitions: Sequence[Partition]) -> Offsets:
        """Give what a group has committed; waits for open transactions for as long as ours last.

        Args:
            group: The group.
            partitions: Those that it is to read: the first offset of one may stand in a transaction
                that is open, and then nobody lists it.
        """
        deadline = time.monotonic() + _UNSTABLE_SECONDS
        listed = [(each.topic, each.partition) for each in self._committed(group, None)]
        asked = sorted({*listed, *partitions})
        while True:
            found = self._committed(group, asked) if asked else []
            unstable = [(each.topic, each.partition) for each in found if each.error]
            if not unstable or time.monotonic() > deadline:
                committed = {
                    (each.topic, each.partition): each.offset
                    for each in found
                    if not each.error and each.offset >= 0
                }
                return Offsets(committed=committed, unstable=tuple(sorted(unstable)))
            time.sleep(_PAUSE)

    def refusal(self, topic: str, partitions: int) -> str | None:
        """Say why a topic cannot be made, without making it; None if it can."""
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=-1)
        asked = self._admin.create_topics([wanted], validate_only=True, request_timeout=TIMEOUT)
        try:
            asked[topic].result(TIMEOUT + 1)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                return str(error.args[0].str())
        return None

    def _committed(self, group: str, of: Sequence[Partition] | None) -> list[TopicPartition]:
        """Read committed offsets: of these, with a stable read; or all that are listed."""
        asked = ConsumerGroupTopicPartitions(group, None if of is None else topic_partitions(of))
        found = self._asked(
            f"read the offsets of group {group!r}",
            lambda: self._admin.list_consumer_group_offsets(
                [asked], require_stable=of is not None, request_timeout=TIMEOUT
            )[group].result(TIMEOUT + 1),
            _NONE_YET,
        )
        return [] if found is None else list(found.topic_partitions)

    def _settings(self, asked: Sequence[ConfigResource]) -> dict[str, dict[str, str] | FatalError]:
        found: dict[str, dict[str, str] | FatalError] = {}
        answers = self._admin.describe_configs(list(asked), request_timeout=TIMEOUT)
        for resource, answer in answers.items():
            try:
                entries = answer.result(TIMEOUT + 1).values()
            except KafkaException as error:
                meaning = translated(error.args[0], f"read the settings of {resource.name}")
                if not is_denied(error.args[0]):
                    raise meaning from error
                found[resource.name] = FatalError(str(meaning))
            else:
                found[resource.name] = {
                    each.name: str(each.value) for each in entries if each.value is not None
                }
        return found

    def _ends(
        self,
        partitions: Sequence[Partition],
        spec: OffsetSpec,
        level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> dict[Partition, tuple[int, int]]:
        """Give offset and time stamp of one point of each partition."""
        asked = {TopicPartition(*place): spec for place in partitions}
        answers = self._admin.list_offsets(asked, isolation_level=level, request_timeout=TIMEOUT)
        found = {}
        for place, answer in answers.items():
            try:
                told = answer.result(TIMEOUT + 1)
            except KafkaException:
                continue  # no leader: `topics` says so
            found[place.topic, place.partition] = (told.offset, told.timestamp)
        return found

    def _asked(self, doing: str, ask: Callable[[], T], none: int) -> T | None:
        """Ask until there is an answer; None if it is this error."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                return ask()
            except KafkaException as error:
                if error.args[0].code() == none:
                    return None
                meaning = translated(error.args[0], doing)
                # A cluster whose first group this is makes a topic for it first.
                if not isinstance(meaning, RetriableError) or time.monotonic() > deadline:
                    raise meaning from error
            time.sleep(_PAUSE)

    def _why(self, error: KafkaError) -> EosError:
        """Say why the cluster does not answer: the client tells it beside the call."""
        self._admin.poll(0)
        final = [each for each in self._told if each.code() in _SETTLED]
        if final:
            return ConfigError([f"the brokers refuse the login: {_plain(final[0])}"])
        told = [each for each in self._told if each.code() != KafkaError._ALL_BROKERS_DOWN]
        return RetriableError(
            "the brokers cannot be reached: check their address, that they run, and the network "
            f"to them ({_plain(told[0] if told else error)})"
        )


def _plain(error: KafkaError) -> str:
    """Give what an error says, without the client's own names and timings."""
    return _OWN.sub("", str(error.str()))


def _topic(name: str, answer: Any) -> Topic | FatalError | None:
    try:
        found = answer.result(TIMEOUT + 1)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        if error.args[0].code() == KafkaError.TOPIC_EXCEPTION:
            return FatalError(f"{name!r} is no name of a topic")
        if is_denied(error.args[0]):
            return FatalError("our user has no right on it, or it does not exist")
        raise translated(error.args[0], f"describe topic {name!r}") from error
    partitions = sorted(found.partitions, key=lambda each: each.id)
    return Topic(
        id=str(found.topic_id).replace("+", "-").replace("/", "_"),
        copies=tuple(len(each.replicas) for each in partitions),
        in_sync=tuple(len(each.isr) for each in partitions),
        leaderless=tuple(
            each.id for each in partitions if each.leader is None or each.leader.id < 0
        ),
        operations=_names(found.authorized_operations),
    )


def _names(operations: Any) -> Operations:
    """Give operations by their names; None where the brokers tell of none."""
    return frozenset(str(each.name) for each in operations) if operations else None
