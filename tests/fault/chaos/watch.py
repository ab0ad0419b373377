"""Looks at a chaos from outside, while it lasts and afterwards."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from eos.devstack.waiting import wait_until

SAMPLE_SECONDS = 0.25
PATIENCE_SECONDS = 90.0
_CALL_SECONDS = 3.0

Place = tuple[str, int]
"""A topic and the number of one of its partitions."""


class Sample(NamedTuple):
    """What stood in the log at a moment.

    Attributes:
        at: When it was looked at, monotonic seconds.
        committed: The group's committed offsets, by partition of the input.
        ends: How far the outputs went, looked at afterwards.
    """

    at: float
    committed: dict[int, int]
    ends: dict[Place, int]


class Watcher:
    """Asks a cluster about a group and the topics that it reads and writes.

    Args:
        servers: Where the cluster is.
        group: The consumer group.
        source: Its input: topic and number of partitions.
        outputs: The partitions that it writes.
    """

    def __init__(
        self, servers: str, group: str, source: tuple[str, int], outputs: Sequence[Place]
    ) -> None:
        self.servers = servers
        self.source = [(source[0], number) for number in range(source[1])]
        self.outputs = list(outputs)
        # What is committed is committed: a stable read (KIP-447) would wait as long as there is
        # any open transaction of the group, which is most of the time.
        self._reader = reader(servers, "read_uncommitted", **{"group.id": group})
        self._stable = reader(servers, "read_committed")

    def committed(self) -> dict[int, int]:
        """Give the group's committed offsets, 0 where there is none."""
        answer = self._reader.committed([TopicPartition(*p) for p in self.source], _CALL_SECONDS)
        for each in answer:
            if each.error is not None:
                raise KafkaException(each.error)
        return {each.partition: max(each.offset, 0) for each in answer}

    def ends(self, places: Sequence[Place], *, stable: bool = False) -> dict[Place, int]:
        """Give high watermarks, or last stable offsets."""
        asked = self._stable if stable else self._reader
        return {
            place: asked.get_watermark_offsets(TopicPartition(*place), _CALL_SECONDS)[1]
            for place in places
        }

    def look_around(self) -> None:
        """Learn anew where the leaders are: by itself a client may not, for minutes."""
        for each in (self._reader, self._stable):
            with suppress(KafkaException):
                each.list_topics(timeout=_CALL_SECONDS)

    def sample(self) -> Sample:
        """Look at it all."""
        committed = self.committed()
        return Sample(time.monotonic(), committed, self.ends(self.outputs))

    def left(self) -> dict[Place, int]:
        """Give how many offsets the group has not settled, and how far each LSO lags behind."""
        ends, committed = self.ends(self.source), self.committed()
        left = {place: end - committed[place[1]] for place, end in ends.items()}
        stable = self.ends(self.outputs, stable=True)
        left |= {p: end - stable[p] for p, end in self.ends(self.outputs).items()}
        return {place: number for place, number in left.items() if number}

    def await_nothing_left(self, seconds: float, hopeless: Callable[[], bool]) -> dict[Place, int]:
        """Wait until unseen messages and LSO lag are back to 0, or it is hopeless.

        Returns:
            What is left after all.
        """
        left: dict[Place, int] = dict.fromkeys(self.source, -1)  # nobody knows

        def done() -> bool:
            nonlocal left
            try:
                left = self.left()
            except KafkaException:
                self.look_around()
            return not left or hopeless()

        wait_until(done, seconds=seconds, every=0.5)
        return left

    def close(self) -> None:
        """Give the connections back."""
        self._reader.close()
        self._stable.close()


class Sampler(threading.Thread):
    """Takes samples all the time.

    Attributes:
        samples: Those taken.
        missed: How often the cluster gave no answer, and why.
    """

    def __init__(self, watcher: Watcher, done: threading.Event) -> None:
        super().__init__(name="sampler", daemon=True)
        self._watcher = watcher
        self._done = done
        self.samples: list[Sample] = []
        self.missed: Counter[str] = Counter()

    def run(self) -> None:
        """Take samples."""
        while not self._done.wait(SAMPLE_SECONDS):
            try:
                self.samples.append(self._watcher.sample())
            except KafkaException as error:
                self.missed[error.args[0].str()] += 1
                self._watcher.look_around()


class Follower(threading.Thread):
    """Reads the outputs while they are written, as somebody downstream does.

    Attributes:
        seen: Topic, partition and offset of what was read.
    """

    def __init__(self, servers: str, places: Sequence[Place], done: threading.Event) -> None:
        super().__init__(name="follower", daemon=True)
        self._servers = servers
        self._places = places
        self._done = done
        self.seen: list[tuple[str, int, int]] = []

    def run(self) -> None:
        """Read."""
        with closing(reader(self._servers, "read_committed")) as consumer:
            consumer.assign([TopicPartition(*place, 0) for place in self._places])
            while not self._done.is_set():
                messages = consumer.consume(500, 0.5)
                self.seen += [place_of(message) for message in messages if not message.error()]


def longest_stall(samples: Sequence[Sample]) -> tuple[int, float]:
    """Give the longest row of samples without progress, and the longest time between two advances.

    Nothing is said of what comes after the last advance.
    """
    row = number = 0
    seconds, last = 0.0, samples[0]
    for at, sample in enumerate(samples):
        if sum(sample.committed.values()) > sum(last.committed.values()):
            row, seconds = max(row, at - number - 1), max(seconds, sample.at - last.at)
            number, last = at, sample
    return row, seconds


def read_to_the_end(servers: str, places: Sequence[Place], isolation: str) -> list[Message]:
    """Read partitions from beginning to end, each in its order."""
    found: dict[Place, list[Message]] = defaultdict(list)
    left = set(places)
    with closing(reader(servers, isolation, **{"enable.partition.eof": True})) as consumer:
        consumer.assign([TopicPartition(*place, 0) for place in places])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left:
            assert time.monotonic() < deadline, f"cannot be read to its end: {left}"
            for message, error in _with_errors(consumer.consume(1000, 0.2)):
                if error is None:
                    found[place_of(message)[:2]].append(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    left.discard(place_of(message)[:2])
    return [message for place in places for message in found[place]]


def reader(servers: str, isolation: str, **conf: Any) -> Consumer:
    """Make a consumer that belongs to no group."""
    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "watcher",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "log_level": 3,
            **conf,
        }
    )


def place_of(message: Message) -> tuple[str, int, int]:
    """Give topic, partition and offset."""
    return str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)


def _with_errors(messages: Sequence[Message]) -> Iterator[tuple[Message, KafkaError | None]]:
    return ((message, message.error()) for message in messages)
