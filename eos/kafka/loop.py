"""The group member below a loop of the user's own: same client, the user's callbacks told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    OFFSET_STORED,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from eos.core.errors import EosError, PositionGoneError
from eos.core.frontier import Frontier
from eos.core.ports import Partition, Revoking
from eos.kafka.errors import translating
from eos.kafka.forms import offsets
from eos.kafka.reader import KafkaReader

_TIMEOUT = 5.0

Told = Callable[[list[TopicPartition]], None]


class Stretch(NamedTuple):
    """Messages of one partition that stand together in what a read gave."""

    partition: Partition
    places: list[int]
    offsets: list[int]
    messages: list[Message]


class LoopReader(KafkaReader):
    """A `KafkaReader` whose assignment the user may watch and choose, as with the client itself.

    Args:
        conf: librdkafka's consumer configuration.
        first_offset: Where to begin in partitions that nothing was settled of.
        consumer: A consumer that somebody else made.

    Attributes:
        client: The client itself.
        starts: Where the user wants partitions read from, by what he assigned.
        held: Partitions that the user paused.
    """

    def __init__(
        self, conf: dict[str, Any], first_offset: str, consumer: Consumer | None = None
    ) -> None:
        super().__init__(conf, first_offset, consumer)
        self.client = self._consumer
        self.starts: dict[Partition, int] = {}
        self.held: set[Partition] = set()
        self._tell: dict[str, Told] = {}
        self._rebalancing = False
        self._chosen: list[TopicPartition] | None = None
        self._manual = False
        self._untold: list[tuple[str, list[TopicPartition]]] = []

    # --- what the user asks for ---------------------------------------------------------------

    def watch(self, topics: list[str], tell: dict[str, Told]) -> None:
        """Subscribe; `tell` may hold `on_assign`, `on_revoke`, `on_lost`."""
        self._tell = tell
        self._manual = False
        with self._lock:
            self._consumer.subscribe(
                topics,
                on_assign=self._group_assigned,
                on_revoke=self._group_revoked,
                on_lost=self._group_lost,
            )
        self._vigil.start()

    def assign(self, partitions: list[TopicPartition], *, more: bool = False) -> None:
        """Read these partitions: instead of what the group assigned, or without any group."""
        if self._rebalancing:
            self._chosen = partitions
            return
        with self._lock:
            self._manual = True
            if not more:
                self.unassign()
            self._note_starts(partitions)
            self._assignments += 1
            new = dict.fromkeys(_names(partitions), self._assignments)
            self._assigned = {**self._assigned, **new}
            # They begin paused, as all do; the user's own list stays as it is.
            partitions = [TopicPartition(p.topic, p.partition, 0) for p in partitions]
            if more:
                self._consumer.incremental_assign(partitions)
            else:
                self._consumer.assign(partitions)
            if partitions:
                self._consumer.pause(partitions)
        self._vigil.start()

    def unassign(self, partitions: list[TopicPartition] | None = None) -> None:
        """Give partitions up that were assigned by hand; None: all of them."""
        if self._rebalancing:
            return  # it is done once the callback has returned
        with self._lock:
            self._assignments += 1
            gone = set(self._assigned if partitions is None else _names(partitions))
            self._assigned = {p: n for p, n in self._assigned.items() if p not in gone}
            self._flowing -= gone
            self.held -= gone
            if partitions is None:
                self._consumer.unassign()
            else:
                self._consumer.incremental_unassign(partitions)

    def hold(self, partitions: Iterable[Partition]) -> None:
        """Pause partitions until `release`, whatever else lets them flow."""
        self.held.update(partitions)
        self.pause(partitions)

    def release(self, partitions: Iterable[Partition]) -> None:
        """End `hold`."""
        self.held.difference_update(partitions)

    # --- the port -----------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], revoking: Revoking) -> None:  # noqa: ARG002
        """Take note of whom to tell; the user subscribes."""
        self._revoking = revoking

    def poll(self, limit: int, seconds: float) -> Sequence[Message]:
        """Give what is there, or wait for the first message; errors are the user's to see.

        So is a position that is gone where he says `auto.offset.reset=error`.

        `consume(n, t)` alone waits the full `t` unless `n` arrive.
        """
        with self._lock:
            self._take_over()
            self._catch_up()
            self._commit_again()
            with translating("read"):
                messages = self._consumer.consume(limit, 0)
                if not messages and seconds > 0:
                    messages = self._consumer.consume(1, seconds)
                    if messages and limit > 1:
                        messages += self._consumer.consume(limit - 1, 0)
            self._vigil.passed()
            self._errors, errors = [], self._errors
        if any(map(Message.error, messages)):
            told, gone = self._started(messages)
            if gone and self._first_offset != "error":
                raise PositionGoneError(gone)
            told += [message for message in messages if _place(message) in gone]
            return errors + told
        return errors + messages

    def seek(self, partition: Partition, offset: int, leader_epoch: int = -1) -> None:
        """Read this partition from here, and let it flow, unless the user holds it."""
        super().seek(partition, offset, leader_epoch)
        if partition in self.held:
            self.pause([partition])

    def group_metadata(self) -> object:
        """Give the membership; partitions assigned by hand have none."""
        return "assigned" if self._manual else super().group_metadata()

    def commit_for_user(
        self, frontiers: Mapping[Partition, Frontier], *, wait: bool
    ) -> list[TopicPartition] | None:
        """Commit, and raise and return what the client itself does."""
        with self._lock:
            self._forget_commits(frontiers)  # what was refused before is superseded
            if not frontiers and not wait:
                return None
            if not frontiers:
                self._consumer.commit(asynchronous=False)  # raises: there is nothing to commit
            if not wait:
                self._consumer.commit(offsets=offsets(frontiers), asynchronous=True)
                return None
            answer = self._consumer.commit(offsets=offsets(frontiers), asynchronous=False)
        if any(partition.error for partition in answer):
            return answer
        return self.told({(p.topic, p.partition): p.offset for p in answer})

    def told(self, ends: Mapping[Partition, int]) -> list[TopicPartition]:
        """Give offsets in the client's form."""
        return [TopicPartition(*partition, end) for partition, end in ends.items()]

    def resolve(self, partition: Partition, offset: int) -> int:
        """Give the offset that a logical one stands for."""
        if offset >= 0:
            return offset
        low, high = self._watermarks(partition)
        return low if offset == OFFSET_BEGINNING else high

    @property
    def rebalancing(self) -> bool:
        """Whether the user's callback is being called."""
        return self._rebalancing

    def start(self, partition: Partition) -> int | None:
        """Give where the user wants a partition read from that was just assigned; None: nowhere.

        It is said once.
        """
        offset = self.starts.pop(partition, OFFSET_STORED)
        return None if offset == OFFSET_STORED else self.resolve(partition, offset)

    # --- callbacks ----------------------------------------------------------------------------

    def _group_assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        chosen = partitions
        try:
            chosen = self._call("on_assign", partitions)
        finally:
            self._note_starts(chosen)
            copies = [TopicPartition(p.topic, p.partition, p.offset) for p in chosen]
            self._on_assign(consumer, copies)

    def _group_revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._call("on_revoke", partitions)
        finally:
            self.held.difference_update(_names(partitions))
            self._on_revoke(consumer, partitions)

    def _group_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._call("on_lost" if "on_lost" in self._tell else "on_revoke", partitions)
        finally:
            self.held.difference_update(_names(partitions))
            self._on_lost(consumer, partitions)

    def _call(self, name: str, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Call the user's callback; give what he assigned in it, else what the group did."""
        if self._standing_in:
            # The user's code belongs to the thread of his loop: it is told there, afterwards.
            self._untold.append((name, partitions))
            return partitions
        self._rebalancing, self._chosen = True, None
        try:
            if name in self._tell:
                self._tell[name](partitions)
            return partitions if self._chosen is None else self._chosen
        finally:
            self._rebalancing = False

    def _catch_up(self) -> None:
        """Tell the user what came about while the vigil polled."""
        while self._untold:
            name, partitions = self._untold.pop(0)
            chosen = self._call(name, partitions)
            if chosen is not partitions:
                self._note_starts(chosen)
                self._assignments += 1
                places = _names(chosen)
                new = {p: self._assignments for p in places if p in self._assigned}
                self._assigned = {**self._assigned, **new}  # to be opened anew, from there

    def _note_starts(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            if partition.offset != OFFSET_INVALID:
                self.starts[partition.topic, partition.partition] = partition.offset

    def _watermarks(self, partition: Partition) -> tuple[int, int]:
        with self._lock, translating(f"read the ends of {partition}"):
            ends: tuple[int, int] = self._consumer.get_watermark_offsets(
                TopicPartition(*partition), _TIMEOUT
            )
        return ends


def stretches(messages: Sequence[Message]) -> list[Stretch]:
    """Sort what a read gave by partition, without a Python statement for each message.

    Errors among the messages are left out.
    """
    places: Sequence[int] = range(len(messages))
    if any(map(Message.error, messages)):
        places = [place for place in places if messages[place].error() is None]
        messages = [messages[place] for place in places]
    topics: list[Any] = list(map(Message.topic, messages))
    partitions: list[Any] = list(map(Message.partition, messages))
    offsets: list[Any] = list(map(Message.offset, messages))
    one_topic = len(set(topics)) <= 1
    if one_topic and len(set(partitions)) <= 1:
        whole = (topics[0], partitions[0]) if topics else None
        return [Stretch(whole, list(places), offsets, list(messages))] if whole else []
    found: dict[Partition, Stretch] = {}
    at = 0
    # Numbers alone compare faster than pairs do.
    for _, run in groupby(partitions if one_topic else zip(topics, partitions, strict=True)):
        end = at + len(list(run))
        partition = (topics[at], partitions[at])
        stretch = found.setdefault(partition, Stretch(partition, [], [], []))
        stretch.places.extend(places[at:end])
        stretch.offsets.extend(offsets[at:end])
        stretch.messages.extend(messages[at:end])
        at = end
    return list(found.values())


def as_kafka(error: EosError) -> KafkaException:
    """Give an error in the form in which the client itself tells that a partition is lost."""
    return KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, str(error)))


def _place(message: Message) -> Partition:
    partition = message.partition()
    return message.topic() or "", -1 if partition is None else partition


def _names(partitions: Iterable[TopicPartition]) -> list[Partition]:
    return [(partition.topic, partition.partition) for partition in partitions]
