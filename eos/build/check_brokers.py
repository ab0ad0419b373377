"""The checks of a Kafka cluster."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from eos.build.relays import relay_settings
from eos.core.errors import FatalError, RetriableError
from eos.core.ports import Partition
from eos.core.ports.preflight import Cluster, Extent, Group, Topic
from eos.kafka import config, trial
from eos.kafka.preflight import KafkaPreflight
from eos.kafka.topics import KafkaTopics
from eos.operate.checks import Check, Finding, OwnTopic, Role, Section, Subject, ok
from eos.operate.checks import brokers as broker_rules
from eos.operate.checks import groups as group_rules
from eos.operate.checks import rights as right_rules
from eos.operate.checks import topics as topic_rules
from eos.operate.checks.preferences import number

_LOOK_SECONDS = 5.0
_TRANSACT_SECONDS = 20.0
"""The first one of a cluster has the brokers make their topic of transactions."""
_INTERNAL = tuple(each.name for each in broker_rules.INTERNAL)


def brokers(subject: Subject, topic_ids: dict[str, str], *, create: bool) -> Section:
    """Give the checks of the cluster.

    Args:
        subject: What is to be checked.
        topic_ids: Filled with the ids of the subject's topics.
        create: Whether topics that are missing are made first.
    """
    it = _Brokers(subject, topic_ids, create=create)
    checks = [
        Check("broker settings", it.settings),
        Check("topics", it.topics),
        Check("rights", it.rights),
        Check("transactional ids", it.transactional_ids),
        Check("groups", it.groups),
        Check("offsets", it.offsets),
        Check("open transactions", it.open_transactions),
    ]
    return Section("brokers", checks, Check("brokers", it.reach))


class _Brokers:
    def __init__(self, subject: Subject, topic_ids: dict[str, str], *, create: bool) -> None:
        self._subject = subject
        self._ids = topic_ids
        self._create = create
        self._roles = subject.topics()

    @cached_property
    def _asked(self) -> KafkaPreflight:
        return KafkaPreflight(config.client(self._subject.settings))

    @cached_property
    def _cluster(self) -> Cluster:
        return self._asked.cluster()

    @cached_property
    def _settings(self) -> dict[str, str] | None:
        *first, last = sorted(self._cluster.brokers)
        for broker in first:
            with suppress(RetriableError):  # one that hangs is listed until its session is over
                return self._asked.broker_settings(broker)
        return self._asked.broker_settings(last)

    @cached_property
    def _found(self) -> dict[str, Topic | FatalError | None]:
        return self._asked.topics(sorted(self._roles))

    @cached_property
    def _there(self) -> dict[str, Topic]:
        return {name: found for name, found in self._found.items() if isinstance(found, Topic)}

    @cached_property
    def _extents(self) -> dict[Partition, Extent]:
        places = [
            (name, partition)
            for name, topic in self._there.items()
            if self._roles[name] in (Role.SOURCE, Role.AUDIT)
            for partition in range(len(topic.copies))
            if partition not in topic.leaderless
        ]
        return self._asked.extents(places)

    @cached_property
    def _groups(self) -> dict[str, Group | FatalError]:
        found: dict[str, Group | FatalError] = {}
        for name in self._subject.groups():
            try:
                found[name] = self._asked.group(name)
            except FatalError as error:
                found[name] = error
        return found

    def reach(self) -> Iterator[Finding]:
        """Find out what is there, for all that follow; make what is missing, if that is wanted."""
        yield from broker_rules.cluster(self._cluster, self._settings)
        if self._create:
            yield from self._made()
        self._ids |= {name: topic.id for name, topic in self._there.items()}
        _ = self._extents

    def settings(self) -> Iterator[Finding]:
        """Compare the brokers' settings with ours."""
        count, settings = len(self._cluster.brokers), self._settings
        if settings is not None:
            yield from broker_rules.broker_settings(settings, self._subject, count)
            there = {
                name: found.in_sync
                for name, found in self._asked.topics(_INTERNAL).items()
                if isinstance(found, Topic)
            }
            yield from broker_rules.internal_topics(there, settings, count)

    def topics(self) -> Iterator[Finding]:
        """Judge each topic."""
        settings = self._asked.topic_settings(list(self._there))
        own = {topic.name: topic.partitions for topic in self._subject.own_topics()}
        for name, role in sorted(self._roles.items(), key=_by_role):
            found = self._found[name]
            if found is None:
                why_not = self._asked.refusal(name, own[name]) if name in own else None
                yield topic_rules.missing(name, role, why_not)
            elif isinstance(found, FatalError):
                yield right_rules.unseen(name, role, str(found))
            else:
                yield from self._topic(name, found, settings[name])
        yield from topic_rules.unreadable([name for name, s in settings.items() if s is None])

    def rights(self) -> list[Finding]:
        """Judge what our user may do."""
        roles = {(name, role) for name, role in self._roles.items()}
        roles |= {(name, Role.TARGET) for name in self._subject.targets}
        topics = [
            right_rules.Use(name, role, self._there[name].operations)
            for name, role in sorted(roles)
            if name in self._there
        ]
        groups = {
            name: group.operations
            for name, group in self._groups.items()
            if isinstance(group, Group)
        }
        return right_rules.rights(topics, groups) if topics or groups else []

    def groups(self) -> Iterator[Finding]:
        """Judge the groups that workers, or relays, would join."""
        for name, group in self._groups.items():
            if isinstance(group, Group):
                yield from group_rules.group(name, group, self._subject.settings)
            else:
                yield right_rules.closed(name)

    def offsets(self) -> Iterator[Finding]:
        """Compare what the group has committed with what is in the log."""
        subject = self._subject
        if not isinstance(self._groups.get(subject.settings.group), Group):
            return
        read = [place for place in self._extents if place[0] in subject.sources]
        found = self._asked.offsets(subject.settings.group, read)
        others = {topic for topic, _ in found.committed} - set(self._found)
        described = self._asked.topics(sorted(others)) | self._found
        missing = [name for name, topic in described.items() if topic is None]
        group, extents, there = subject.settings.group, self._extents, list(self._there)
        yield from group_rules.offsets(group, found, extents, missing, there)

    def open_transactions(self) -> Iterator[Finding]:
        """Judge transactions that readers of the sources wait for."""
        conf = config.consumer(replace(self._subject.settings, kafka=self._plain_kafka))
        extents = dict(self._extents)
        for place, extent in extents.items():
            if extent.stable < extent.end:
                since = trial.time_of(conf, place, extent.stable, _LOOK_SECONDS)
                extents[place] = replace(extent, waits_since=since)
        patience = broker_rules.TRANSACTION_MS / 1000
        if extents:
            yield from topic_rules.open_transactions(extents, time.time(), patience)

    def transactional_ids(self) -> Iterator[Finding]:
        """See that transactional ids may be used.

        A worker's own id is tried only where it is known that this cannot fence the worker.
        """
        subject, settings = self._subject, self._subject.settings
        known = number(self._settings or {}, "transaction.max.timeout.ms", trial.LONGEST_MS)
        slot = "0" if known < trial.LONGEST_MS else "check"
        ids = [settings.transactional_id(0)] if subject.transactional and subject.consumes else []
        if subject.relays:
            ids.append(f"{relay_settings(settings).group}.0")
        for first in ids:
            name, why = f"{first.rpartition('.')[0]}.{slot}", None
            try:
                trial.transact(config.producer(settings, name), _TRANSACT_SECONDS)
            except FatalError as error:
                why = str(error)
            yield right_rules.transactional_id(name, f"{first}, …", why, is_theirs=name == first)

    @property
    def _plain_kafka(self) -> Mapping[str, object]:
        """The client's settings without those that would take somebody's place in the group."""
        kafka = self._subject.settings.kafka
        return {name: value for name, value in kafka.items() if name != "group.instance.id"}

    def _topic(
        self, name: str, topic: Topic, settings: Mapping[str, str] | None
    ) -> Iterator[Finding]:
        subject = self._subject
        known = topic_rules.Known(
            name=name,
            role=self._roles[name],
            topic=topic,
            settings=settings,
            extents={p: e for (of, p), e in self._extents.items() if of == name},
            recovered=name not in subject.unrecovered,
        )
        yield from topic_rules.of_topic(
            known,
            window=subject.settings.window_seconds,
            brokers=len(self._cluster.brokers),
            max_bytes=config.max_message_bytes(subject.settings),
            now=time.time(),
        )

    def _made(self) -> Iterator[Finding]:
        """Make topics that are missing."""
        own = {topic.name: topic for topic in self._subject.own_topics()}
        before = self._asked.topics(sorted(self._roles))
        missing = [name for name, found in before.items() if found is None]
        if not missing:
            return
        topics, made = KafkaTopics(config.client(self._subject.settings)), []
        for name in missing:
            wanted = own.get(name, OwnTopic(name, self._roles[name]))
            if (why_not := self._asked.refusal(name, wanted.partitions)) is not None:
                yield topic_rules.not_made(name, why_not)
                continue
            topics.ensure([name], wanted.partitions, retention=wanted.retention)
            made.append(name)
            yield ok(f"topic {name}", "made, with the cluster's default replication")
        self._asked.await_topics(made)


def _by_role(each: tuple[str, Role]) -> tuple[int, str]:
    return list(Role).index(each[1]), each[0]
