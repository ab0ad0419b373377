"""What stands in the topic of the dead letters, and which of them an operator means.

The topic says by itself what is done with: a note of that stands in it, behind the letters and on
their partition (`eos.core.letters`).
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from eos.core.errors import ConfigError
from eos.core.letters import Letter, Note, Place, read, read_note
from eos.core.ports import Log, Topics
from eos.core.record import Headers, Message

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class Selection(NamedTuple):
    """Which letters are meant; what is not said does not matter.

    Attributes:
        places: These.
        reasons: Those of these reasons.
        topics: Those that came from these topics.
        keys: Those with these idempotency keys.
        since: Those that were dead-lettered at this time or later, milliseconds since the epoch.
        until: Those that were dead-lettered before this time.
    """

    places: Collection[Place] = ()
    reasons: Collection[str] = ()
    topics: Collection[str] = ()
    keys: Collection[bytes] = ()
    since: int | None = None
    until: int | None = None

    def means(self, letter: Letter) -> bool:
        """Tell whether a letter is meant."""
        return (
            (not self.places or letter.place in self.places)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.topic in self.topics)
            and (not self.keys or letter.key in self.keys)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
        )


class Found(NamedTuple):
    """What stands in the topic of the letters.

    Attributes:
        letters: All letters, in the order of the log, partition by partition.
        notes: Of those that are done with, the last note.
        strangers: How many records there are neither.
    """

    letters: Mapping[Place, Letter]
    notes: Mapping[Place, Note]
    strangers: int

    def chosen(self, selection: Selection, *, done: bool) -> list[Letter]:
        """Give the letters that are meant.

        Args:
            selection: Which.
            done: Also those that are done with.
        """
        return [
            letter
            for place, letter in self.letters.items()
            if selection.means(letter) and (done or place not in self.notes)
        ]


class Payload(NamedTuple):
    """The record that a letter was: its Kafka key, its payload, the headers that it came with."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class Letters:
    """The dead letters of a namespace.

    Args:
        log: Reads their topic.
        originals: Reads the topics where they came from; made when first needed.
        topics: Describes topics.
        topic: The topic of the letters.
    """

    def __init__(
        self, *, log: Log, originals: Callable[[], Log], topics: Topics, topic: str
    ) -> None:
        self.topic = topic
        self._log = log
        self._make_originals = originals
        self._originals: Log | None = None
        self._topics = topics
        self._told: dict[str, tuple[str, int] | None] = {}

    def find(self, *, to_end: bool = False) -> Found:
        """Read the topic of the letters.

        Args:
            to_end: Wait for transactions that are open in it. Otherwise letters behind them are
                left for another time.

        Raises:
            ConfigError: There is none.
            RetriableError: The brokers are away.
        """
        if not self._topics.exists(self.topic):
            raise ConfigError(
                [f"topic {self.topic!r} does not exist: no worker ran under that namespace"]
            )
        _, count = self._topics.describe(self.topic)
        ends = self._topics.ends([(self.topic, number) for number in range(count)])
        letters: dict[Place, Letter] = {}
        notes: dict[Place, Note] = {}
        strangers = 0
        for (_, number), end in sorted(ends.items()):
            for message in self._read(number, range(end), to_end=to_end):
                strangers += _sort(message, letters, notes)
        return Found(letters, notes, strangers)

    def payloads(
        self, partition: int, letters: Mapping[int, Letter]
    ) -> Iterator[tuple[Letter, Payload | None]]:
        """Read the records that letters of one partition were.

        Args:
            partition: The partition of the letters.
            letters: The letters, by their offset.

        Returns:
            Each with None if its payload was left out of it and is not in the log any more.
        """
        for message in self._read(partition, range(min(letters), max(letters) + 1)):
            letter = letters.get(message.offset())
            if letter is None:
                continue
            if letter.omitted is None:
                yield letter, Payload(message.key(), message.value(), letter.headers)
            else:
                yield letter, self._original(letter)

    def describe(self, topic: str) -> tuple[str, int] | None:
        """Give a topic's id and number of partitions; None if there is no such topic."""
        if topic not in self._told:
            # A letter may name anything, and the client's library ends the process for some names.
            there = bool(_TOPIC.fullmatch(topic)) and self._topics.exists(topic)
            self._told[topic] = self._topics.describe(topic) if there else None
        return self._told[topic]

    def close(self) -> None:
        """Give the connections back."""
        self._log.close()
        if self._originals is not None:
            self._originals.close()

    def _original(self, letter: Letter) -> Payload | None:
        """Read the record at the position where it was dead-lettered."""
        topic_id, partition, offset = letter.position
        told = self.describe(letter.topic)
        if told is None or told[0] != topic_id or partition >= told[1]:
            return None
        where = (letter.topic, partition)
        if offset >= self._topics.ends([where])[where]:  # nobody can read from there
            return None
        if self._originals is None:
            self._originals = self._make_originals()
        for messages in self._originals.read(letter.topic, partition, range(offset, offset + 1)):
            for message in messages:
                if message.offset() == offset:
                    return Payload(message.key(), message.value(), message.headers() or [])
        return None

    def _read(self, partition: int, offsets: range, *, to_end: bool = False) -> Iterator[Message]:
        for messages in self._log.read(self.topic, partition, offsets, to_end=to_end):
            yield from messages


def _sort(message: Message, letters: dict[Place, Letter], notes: dict[Place, Note]) -> int:
    """File a record of the letters' topic; give 1 if it is neither letter nor note."""
    place, headers = Place(message.partition(), message.offset()), message.headers() or []
    letter = read(place, message.timestamp()[1], headers)
    if letter is not None:
        letters[place] = letter
        return 0
    note = read_note(headers, message.value())
    if note is None:
        return 1
    for offset in note.offsets:
        done = Place(place.partition, offset)
        if done in letters:  # one that somebody made up may name what is not there
            notes[done] = note
    return 0
