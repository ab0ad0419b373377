"""Where partitions begin: at their rows, if those can be trusted."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from eos.core.errors import ConfigError, FatalError
from eos.core.ports import Partition
from eos.kafka import placing
from eos.kafka.topics import KafkaTopics
from eos.stores.sql import tables
from eos.stores.sql.frontiers import Frontiers, Lane

BY_NAME = "name:"
"""What stands before a topic's name where its id is not known; no id holds a colon."""

_logger = logging.getLogger("eos.inbox")


class Rows:
    """The rows of what one consumer reads.

    Args:
        engine: The database.
        frontiers: The group's rows.
        start: `earliest` or `latest`: where what nobody has read begins.
        kafka: How to reach the brokers; None: rows are by the topics' names.

    Attributes:
        ids: What each topic's rows are under.
    """

    def __init__(
        self, engine: Any, frontiers: Frontiers, *, start: str, kafka: Mapping[str, Any] | None
    ) -> None:
        self._engine = engine
        self._frontiers = frontiers
        self._start = start
        self._topics = KafkaTopics(dict(kafka)) if kafka else None
        self._checked = False
        self._seen: dict[Lane, int] = {}
        self.ids: dict[str, str] = {}

    def wanted(self, consumer: Any, partitions: Sequence[Any] | None) -> list[Partition]:
        """Tell what is to begin: what is being assigned, or all that is assigned."""
        if partitions is None:
            return placing.assigned(consumer)
        return [(each.topic, each.partition) for each in partitions]

    def begin(
        self,
        consumer: Any,
        wanted: Sequence[Partition],
        *,
        being_assigned: bool,
        accept_rewind: bool,
    ) -> dict[Partition, int]:
        """Have partitions read on from their rows, and give those.

        Raises:
            FatalError: A row cannot be trusted.
        """
        if not self._checked:
            tables.check(self._engine)
            self._checked = True
        offsets = placing.committed(consumer, wanted) if wanted else {}
        topics = sorted({topic for topic, _ in wanted})
        rows = {topic: self._read(topic) for topic in topics}
        bounds = {each: placing.bounds(consumer, each) for each in wanted}
        faults = [
            fault
            for each in wanted
            if (row := rows[each[0]].get(self._lane(each))) is not None
            and (fault := self._fault(each, row, bounds[each][1], offsets.get(each), accept_rewind))
        ]
        if faults:
            raise FatalError("\n".join(faults))
        for topic in topics:
            mine = [each for each in wanted if each[0] == topic]
            first = {each: bounds[each][0 if self._start == "earliest" else 1] for each in mine}
            missing = {
                self._lane(each): max(offsets.get(each, first[each]), bounds[each][0])
                for each in mine
                if self._lane(each) not in rows[topic]
            }
            rows[topic] = self._frontiers.open(self._engine, topic, missing)
        found = {each: rows[each[0]][self._lane(each)] for each in wanted}
        for each, row in found.items():
            self._seen[self._lane(each)] = row
            _tell_of_lost(each, row, bounds[each][0])
        now = int(time.time())
        ended = {self._lane(each): now for each, row in found.items() if row >= bounds[each][1]}
        if ended:  # or keys would be kept for as long as a partition is idle
            self._frontiers.catch_up(self._engine, ended)
        starts = {each: max(row, bounds[each][0]) for each, row in found.items()}
        placing.place(consumer, starts, being_assigned=being_assigned)
        return found

    def _lane(self, partition: Partition) -> Lane:
        return Lane(self.ids[partition[0]], partition[1])

    def _read(self, topic: str) -> dict[Lane, int]:
        """Read a topic's rows, under its id if we know it."""
        name = BY_NAME + topic
        self.ids[topic] = id_ = self._topics.describe(topic)[0] if self._topics else name
        rows = self._frontiers.read(self._engine, topic)
        others = {lane.topic_id for lane in rows} - {id_}
        if id_ == name and others:
            raise ConfigError(
                [f"the rows of {topic} stand under its topic id: give Inbox(…, kafka=…) again"]
            )
        if name in others:
            if any(lane.topic_id == id_ for lane in rows):
                raise ConfigError(
                    [f"{topic} has rows by id and by name: give all processes kafka=… alike"]
                )
            self._frontiers.rename(self._engine, name, id_)
            rows = self._frontiers.read(self._engine, topic)
        return rows

    def _fault(
        self,
        partition: Partition,
        row: int,
        high: int,
        committed: int | None,
        accept_rewind: bool,
    ) -> str:
        """Say what is wrong with a row; nothing is the normal case."""
        where = f"{partition[0]}[{partition[1]}]"
        if row > high:
            return (
                f"{where} ends at {high}, and its row says {row}: was the topic made anew, or has "
                "it lost records? For a topic made anew give Inbox(…, kafka=…), or delete its row "
                "in eos_frontiers"
            )
        before = max(self._seen.get(self._lane(partition), 0), committed or 0)
        if row >= before:
            return ""
        if accept_rewind:
            _logger.warning("%s goes back from %d to its row, %d, as told", where, before, row)
            return ""
        return (
            f"{where} had come to {before}, and its row says {row}: was the database restored from "
            "an older backup? Then inbox.seek(consumer, accept_rewind=True) handles again what it "
            "has lost. If the consumer commits offsets before the database does "
            "(enable.auto.commit), switch that off first"
        )


def _tell_of_lost(partition: Partition, row: int, low: int) -> None:
    if row < low:
        _logger.error(
            "%s[%d]: what stood from %d to %d was deleted before it was settled: the topic's "
            "retention is too short",
            *partition,
            row,
            low - 1,
        )
