"""What was claimed, in the order in which it is handed out, and how far each partition is."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from eos.consume import Lane, Slice
from eos.core.ports import Partition
from eos.core.record import Message


class Tape:
    """One batch that is being handed out, and what was handed out and is not settled yet.

    Attributes:
        messages: The batch, in the order of the log client.
        at: How many of them were handed out.
        left: How many there are, handed out or not.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.at = 0
        self.left = 0
        self._places: dict[Partition, list[int]] = {}
        self._slices: dict[Partition, list[Slice]] = {}

    def load(self, messages: Sequence[Message], batch: Sequence[tuple[Slice, list[int]]]) -> None:
        """Take the next batch; the one before was handed out as a whole.

        Args:
            messages: What was read, in order. Errors among it are handed out, too.
            batch: The slices, and where in `messages` those stand that are to be handed out.
        """
        for slices in self._slices.values():
            slices[-1].forget()
        whole = sum(len(places) for _, places in batch) == len(messages)
        if not whole:
            messages, batch = _closed_up(messages, batch)
        self.messages, self.at, self.left = list(messages), 0, len(messages)
        self._places = {}
        for slice_, places in batch:
            self._slices.setdefault(slice_.lane.partition, []).append(slice_)
            self._places[slice_.lane.partition] = places

    def ends(self, at: int | None = None) -> dict[Partition, int]:
        """Give, by partition, the offset below which everything was handed out.

        Args:
            at: Count as if only so many messages of this batch had been.
        """
        at = self.at if at is None else at
        return {partition: self._end(partition, at) for partition in self._slices}

    def take(self, ends: Mapping[Partition, int]) -> list[Slice]:
        """Take out what stands below these offsets: it is being settled."""
        taken = []
        for partition, end in ends.items():
            slices = self._slices.get(partition, [])
            while slices and slices[0].end <= end:
                taken.append(slices.pop(0))
            if slices and slices[0].start < end:
                taken.append(slices[0].split(end))
            if not slices:
                self._slices.pop(partition, None)
                self._places.pop(partition, None)
        return taken

    def unsettled(self) -> dict[Partition, list[Slice]]:
        """Give what is handed out, in whole or in part, and not settled."""
        return self._slices

    def drop(self, partitions: Collection[Partition]) -> None:
        """Drop what was not handed out of these partitions: it is read again, or is lost."""
        for partition in partitions:
            slices = self._slices.get(partition)
            if not slices:
                continue
            end = self._end(partition, self.at)
            if slices[-1].end > end:
                last = slices.pop()
                if last.start < end:
                    slices.append(last.split(end))
            if not slices:
                del self._slices[partition]
        gone = {place for p in partitions for place in self._places.pop(p, []) if place >= self.at}
        if gone:
            self._close_up(gone)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Forget these partitions altogether: they are somebody else's, or start over."""
        self.drop(partitions)
        for partition in partitions:
            self._slices.pop(partition, None)

    def cut(self, partition: Partition, offset: int) -> None:
        """Forget what stands at or above an offset: it is handed out again."""
        slices = [s for s in self._slices.get(partition, []) if s.start < offset]
        if slices and slices[-1].end > offset:
            slices[-1] = slices[-1].split(offset)
        if slices:
            self._slices[partition] = slices
        else:
            self._slices.pop(partition, None)

    def next_ends(self, step: int) -> list[tuple[Slice, int]]:
        """Give where partitions will stand once so many more messages are handed out."""
        found: dict[Partition, tuple[Slice, int]] = {}
        for partition, places in self._places.items():
            first, last = bisect_left(places, self.at), bisect_left(places, self.at + step)
            if first < last:
                offset: Any = self.messages[places[last - 1]].offset()
                found[partition] = (self._slices[partition][-1], int(offset) + 1)
        return list(found.values())

    def count(self) -> int:
        """Give how many records are claimed and not settled."""
        return sum(slice_.read for slices in self._slices.values() for slice_ in slices)

    def touched(self, partition: Partition) -> bool:
        """Tell whether something of a partition was handed out and is not settled."""
        slices = self._slices.get(partition, [])
        return any(self._end(partition, self.at) > s.offsets[0] for s in slices[:1])

    def adopt(self, lanes: Mapping[Partition, Lane]) -> None:
        """Hang what is not settled on the lanes that were opened anew."""
        for partition, slices in self._slices.items():
            if lane := lanes.get(partition):
                for slice_ in slices:
                    slice_.lane = lane

    def _end(self, partition: Partition, at: int) -> int:
        places = self._places.get(partition, [])
        next_one = bisect_left(places, at)
        if next_one < len(places):
            offset: Any = self.messages[places[next_one]].offset()
            return int(offset)
        return self._slices[partition][-1].end

    def _close_up(self, gone: set[int]) -> None:
        left = [place for place in range(len(self.messages)) if place not in gone]
        moved = {place: n for n, place in enumerate(left)}
        self.messages = [self.messages[place] for place in left]
        self.left = len(self.messages)
        self._places = {p: [moved[place] for place in at] for p, at in self._places.items()}


def _closed_up(
    messages: Sequence[Message], batch: Sequence[tuple[Slice, list[int]]]
) -> tuple[list[Message], list[tuple[Slice, list[int]]]]:
    """Leave out what is not handed out: suppressed, or of partitions that are not open."""
    kept = {place for _, places in batch for place in places}
    errors = {place for place, message in enumerate(messages) if message.error() is not None}
    left = sorted(kept | errors)
    moved = {place: n for n, place in enumerate(left)}
    again = [(slice_, [moved[place] for place in places]) for slice_, places in batch]
    return [messages[place] for place in left], again
