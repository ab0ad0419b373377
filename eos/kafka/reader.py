"""A member of the consumer group."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from eos.core.errors import AbortableError, FatalError, PositionGoneError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Partition, Revoking
from eos.core.record import Message
from eos.kafka.config import CLIENT_LOG, is_incremental, poll_interval
from eos.kafka.errors import is_place_taken, translated, translating
from eos.kafka.forms import committed, generation, offsets, place_of, topic_partitions
from eos.kafka.vigil import Vigil
from eos.kafka.within import within

_TIMEOUT = 5.0
_STABLE_TIMEOUT = 1.0
# Told through the poll although the client mends them itself.
_PASSING = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._PARTITION_EOF,
        KafkaError._RESOLVE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


class KafkaReader:
    """Implements `eos.core.ports.Reader` on a `confluent_kafka.Consumer`.

    Rebalance callbacks only keep the books: an exception in one of them would destroy records
    that were fetched already. Partitions are assigned paused; `seek` lets one flow.

    It belongs to one thread, the line's. A second one, the vigil, polls in its place while that
    one is busy for long; each use of the client goes through the lock that the two share.

    Args:
        conf: librdkafka's consumer configuration.
        first_offset: `earliest`, `latest` or `error`, for partitions that nothing was settled of.
        consumer: A consumer that was made with that configuration already.
    """

    def __init__(
        self, conf: dict[str, Any], first_offset: str, consumer: Consumer | None = None
    ) -> None:
        self._incremental = is_incremental(conf)
        self._first_offset = first_offset
        # Replaced when it changes, never changed: the line may be going through it.
        self._assigned: dict[Partition, int] = {}
        self._assignments = 0
        self._flowing: set[Partition] = set()
        self._standing_in = False  # the vigil polls, not the line
        self._stood_in = False  # it did so since the line's last poll
        self._moved_on = False  # and partitions were given away in it
        self._giving_back = False  # what is given back is being settled, in a callback
        self._stuck = False  # a commit waits for a coordinator that is away
        self._errors: list[Any] = []
        self._asked: dict[Partition, Frontier] = {}  # commits that nobody waits for
        self._refused: dict[Partition, Frontier] = {}  # those of them that must be repeated
        self._revoking: Revoking = lambda _: None
        # Re-entrant: what is given back is settled from within a poll.
        self._lock = threading.RLock()
        self._vigil = Vigil(poll_interval(conf) / 3, self._lock, self._stand_in)
        self._conf = conf
        self._topics: list[str] = []
        self._consumer = consumer or self._made()

    def subscribe(self, topics: Sequence[str], revoking: Revoking) -> None:
        """Join the group."""
        self._topics, self._revoking = list(topics), revoking
        with self._lock:
            self._join()
        self._vigil.start()

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:
        """Wait for a message, and give up to `limit` that are there."""
        with self._lock:
            self._take_over()
            self._commit_again()
            with translating("read"):
                messages = self._consume(limit, seconds)
            self._vigil.passed()
            if self._errors:
                messages, self._errors = self._errors + messages, []
        if any(message.error() for message in messages):
            told, gone = self._started(messages)
            if gone:
                raise PositionGoneError(gone)
            for message in told:
                if (error := message.error()) and error.code() not in _PASSING:
                    raise self._failed(message.topic(), message.partition(), error)
            return [message for message in told if not message.error()]
        return messages

    def _consume(self, limit: int, seconds: float) -> list[Any]:
        """Wait for the first message, and take what is there beside it.

        The client waits for as many as it is asked for, to the end of the time.
        """
        messages = self._consumer.consume(1, seconds)
        if messages and limit > 1:
            messages += self._consumer.consume(limit - 1, 0)
        return messages

    def _started(self, messages: Sequence[Message]) -> tuple[list[Message], dict[Partition, str]]:
        """Start partitions anew that the client gave up: it can seek there no more.

        It may fetch between an assignment and our pause, from an offset that is none of the
        group's, and find that what stood there was removed. That is no news.

        Returns:
            The other messages, and those of the partitions that were read from where we said.
        """
        given_up = {
            (message.topic(), message.partition()): error.str()
            for message in messages
            if (error := message.error()) and error.code() == KafkaError._AUTO_OFFSET_RESET
        }
        gone = {p: why for p, why in given_up.items() if p in self._flowing}
        if given_up:
            with self._lock, translating("start partitions anew"):
                self._flowing -= gone.keys()
                self._start_anew(list(given_up))
        others = [m for m in messages if (m.topic(), m.partition()) not in given_up]
        return others, gone

    def _start_anew(self, partitions: Sequence[Partition]) -> None:
        if self._incremental:
            anew = [self._at_low(partition) for partition in partitions]
            self._consumer.incremental_unassign(anew)
            self._consumer.incremental_assign(anew)
        else:  # an eager protocol lets nothing be changed but the whole
            flowing = self._consumer.position(topic_partitions(self._flowing))
            closed = self._assigned.keys() - self._flowing
            anew = [*flowing, *(self._at_low(partition) for partition in closed)]
            self._consumer.assign(anew)
            self._flowing = set()
            self._assignments += 1  # the line shall go back to where it was
        self._consumer.pause(anew)

    def _at_low(self, partition: Partition) -> TopicPartition:
        low, _ = self._consumer.get_watermark_offsets(TopicPartition(*partition), _TIMEOUT)
        return TopicPartition(*partition, low)

    def _failed(self, topic: str | None, partition: int | None, error: KafkaError) -> Exception:
        if is_place_taken(error):
            self._join_anew()
            return RetriableError(
                "our place in the group is not free: its last holder is not known to be gone "
                f"yet, or another process has our group.instance.id ({error.str()})"
            )
        return translated(error, f"read {topic}[{partition}]")

    def assigned(self) -> dict[Partition, int]:
        """Give each assigned partition and the number of its assignment."""
        return self._assigned

    @property
    def assignments(self) -> int:
        """How many times the assignment changed: compare it to see whether it did."""
        return self._assignments

    def frontiers(self, partitions: Sequence[Partition]) -> dict[Partition, Frontier | None]:
        """Read committed offsets, waiting a moment for open transactions (KIP-447)."""
        with self._lock, translating("read committed offsets"):
            answer = self._consumer.committed(topic_partitions(partitions), _STABLE_TIMEOUT)
        return committed(answer)

    def commit(self, frontiers: Mapping[Partition, Frontier], *, wait: bool) -> None:
        """Commit offsets, fenced by the group's generation."""
        with self._lock, translating("commit offsets"):
            self._forget_commits(frontiers)
            if not wait:
                self._asked.update(frontiers)
                self._consumer.commit(offsets=offsets(frontiers), asynchronous=True)
                return
            answer = self._committed(offsets(frontiers))
        for partition in answer:
            if partition.error:
                raise translated(partition.error, f"commit {partition.topic}")

    def _committed(self, given: list[TopicPartition]) -> list[TopicPartition]:
        """Commit, and wait for the answer, but not for as long as the coordinator is away."""
        consumer = self._consumer

        def commit() -> list[TopicPartition]:
            return list(consumer.commit(offsets=given, asynchronous=False))

        if self._giving_back:  # in a callback of the client no other thread gets an answer
            return commit()
        try:
            answer = within(_TIMEOUT, "commit offsets", commit)
        except RetriableError:
            self._stuck = True
            raise
        self._stuck = False
        return answer

    def beginnings(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Give where to begin in partitions that nothing was settled of."""
        found = {}
        for topic, partition in partitions:
            if self._first_offset == "error":
                raise FatalError(
                    f"{topic}[{partition}] has no committed offset, and auto.offset.reset is error"
                )
            with self._lock, translating(f"read the ends of {topic}[{partition}]"):
                low, high = self._consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), _TIMEOUT
                )
            found[topic, partition] = high if self._first_offset == "latest" else low
        return found

    def seek(self, partition: Partition, offset: int, leader_epoch: int = -1) -> None:
        """Read this partition from here, and let it flow."""
        target = place_of(partition, offset, leader_epoch)
        with self._lock:
            try:
                self._consumer.seek(target)
                self._consumer.resume([target])
            except KafkaException as error:
                # Right after an assignment the client may not have started the partition yet.
                if error.args[0].code() in {KafkaError._STATE, KafkaError._UNKNOWN_PARTITION}:
                    raise RetriableError(f"{partition} is not started yet") from error
                raise translated(error.args[0], "seek") from error
            self._flowing.add(partition)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Hold partitions back."""
        partitions = list(partitions)
        with self._lock, translating("pause"):
            self._flowing.difference_update(partitions)
            self._consumer.pause(topic_partitions(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Let partitions flow again from where they were held back."""
        partitions = list(partitions)
        with self._lock, translating("resume"):
            self._consumer.resume(topic_partitions(partitions))
            self._flowing.update(partitions)

    def group_metadata(self) -> object:
        """Give the membership that fences us.

        Raises:
            AbortableError: It would not: it has no generation, or is newer than what the line
                knows of its partitions.
        """
        with self._lock:
            metadata: bytes = self._consumer.consumer_group_metadata()
            if generation(metadata) < 0 or self._moved_on:
                raise AbortableError("not a member of the group any more", cause="rebalance")
        return metadata

    def close(self) -> None:
        """Leave the group."""
        with self._lock:
            self._vigil.stop()
            if not self._stuck:
                self._consumer.close()
                return
        # It would wait for the commit that does not come back. Without the lock: what is told in
        # it belongs to another thread then.
        with suppress(RetriableError):
            within(_TIMEOUT, "leave the group", self._consumer.close)

    def _made(self) -> Consumer:
        with translating("make a Kafka consumer"):
            return Consumer({"on_commit": self._on_commit, **self._conf}, logger=CLIENT_LOG)

    def _join(self) -> None:
        with translating("subscribe"):
            self._consumer.subscribe(
                self._topics,
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )

    def _join_anew(self) -> None:
        """Replace a client that will not try again by itself; it never got a partition."""
        with self._lock:
            self._consumer.close()
            self._consumer = self._made()
            self._join()

    def _stand_in(self) -> None:
        """Poll in the line's place; nothing flows meanwhile. Called by the vigil, with the lock."""
        self._standing_in = self._stood_in = True
        try:
            self._consumer.pause(topic_partitions(self._flowing))
            messages = self._consumer.consume(1, 0)
        except (KafkaException, RuntimeError) as error:
            CLIENT_LOG.warning("polling while a handler is busy: %s", error)
        else:
            self._errors += [message for message in messages if message.error()]
            if any(not message.error() for message in messages):
                self._assignments += 1  # the line shall go back to where it was
        finally:
            self._standing_in = False

    def _take_over(self) -> None:
        """Let flow again what was paused while the vigil polled in the line's place."""
        self._vigil.passed()
        self._moved_on = False  # from here on the line can see it
        if self._stood_in:
            self._stood_in = False
            with translating("resume"):
                self._consumer.resume(topic_partitions(self._flowing))

    def _commit_again(self) -> None:
        """Repeat what was refused: while a group rebalances it takes no offsets.

        With no further record there would be no further commit, and the group would seem to lag.
        """
        if self._refused:
            again, self._refused = self._refused, {}
            with suppress(KafkaException):
                self._consumer.commit(offsets=offsets(again), asynchronous=True)

    def _forget_commits(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._asked.pop(partition, None)
            self._refused.pop(partition, None)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            partition = (each.topic, each.partition)
            asked = self._asked.get(partition)
            if asked is None or asked.offset != each.offset:
                continue
            if error is None and each.error is None:
                del self._asked[partition]
            else:
                self._refused[partition] = asked

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        new = {(p.topic, p.partition): self._assignments for p in partitions}
        self._assigned = {**self._assigned, **new}
        self._flowing.difference_update(new)
        for partition in partitions:
            # Nothing is fetched before `seek`. A plain number: the client would resolve a logical
            # offset once more when connections break, and jump there.
            partition.offset = 0
        if self._incremental:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        if partitions:
            consumer.pause(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            if not self._standing_in:
                self._giving_back = True
                self._revoking([(partition.topic, partition.partition) for partition in partitions])
        finally:
            self._giving_back = False
            self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        self._moved_on = self._standing_in
        gone = {(partition.topic, partition.partition) for partition in partitions}
        self._assigned = {p: number for p, number in self._assigned.items() if p not in gone}
        self._flowing -= gone
        self._forget_commits(gone)
        if self._incremental:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
