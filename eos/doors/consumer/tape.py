"""What was claimed, in the order in which it is handed out, and how far each partition is."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from eos.consume import Lane, Slice
from eos.core.ports import Partition
from eos.core.record import Message


class Tape:
    """What is to be handed out, and what was handed out and is not settled yet.

    Attributes:
        messages: What is handed out, in the order in which it was read.
        at: How many of them were handed out.
        left: How many there are, handed out or not.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.at = 0
        self.left = 0
        # By partition: where its messages stand, and the slices that they are from. The first
        # slices may have been handed out long ago.
        self._places: dict[Partition, list[int]] = {}
        self._slices: dict[Partition, list[Slice]] = {}

    def load(self, messages: Sequence[Message], batch: Sequence[tuple[Slice, list[int]]]) -> None:
        """Add a batch behind what is not handed out yet.

        Args:
            messages: What was read, in order. Errors among it are handed out, too.
            batch: The slices, and where in `messages` those stand that are to be handed out.
        """
        self._wind_on()
        if sum(len(places) for _, places in batch) < len(messages):
            messages, batch = _closed_up(messages, batch)
        behind = self.left
        for slice_, places in batch:
            partition = slice_.lane.partition
            self._slices.setdefault(partition, []).append(slice_)
            known = self._places.setdefault(partition, [])
            known += [behind + place for place in places] if behind else places
        self.messages += messages
        self.left = len(self.messages)

    def ends(self, at: int | None = None) -> dict[Partition, int]:
        """Give, by partition, the offset below which everything was handed out.

        Args:
            at: Count as if only so many messages had been.
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
        return taken

    def put_back(self, slices: Sequence[Slice]) -> None:
        """Put back what could not be settled."""
        for slice_ in slices:
            kept = self._slices.setdefault(slice_.lane.partition, [])
            kept.append(slice_)
            kept.sort(key=lambda each: each.start)

    def unsettled(self) -> dict[Partition, list[Slice]]:
        """Give what is claimed and not settled."""
        return self._slices

    def drop(self, partitions: Collection[Partition]) -> None:
        """Drop what was not handed out of these partitions: it is read again, or is lost."""
        for partition in partitions:
            slices = self._slices.get(partition, [])
            end = self._end(partition, self.at) if slices else 0
            while slices and slices[-1].start >= end:
                slices.pop()
            if slices and slices[-1].end > end:
                slices[-1] = slices[-1].split(end)
            if not slices:
                self._slices.pop(partition, None)
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
        found = []
        for partition in self._slices.keys() & self._places.keys():
            places = self._places[partition]
            first, last = bisect_left(places, self.at), bisect_left(places, self.at + step)
            if first < last:
                offset = self._offset(places[last - 1])
                found.append((self._holder(partition, offset), offset + 1))
        return found

    def count(self) -> int:
        """Give how many records are claimed and not settled."""
        return sum(slice_.read for slices in self._slices.values() for slice_ in slices)

    def touched(self, partition: Partition) -> bool:
        """Tell whether something of a partition was handed out, or passed, and is not settled."""
        slices = self._slices.get(partition)
        return slices is not None and self._end(partition, self.at) > slices[0].start

    def adopt(self, lanes: Mapping[Partition, Lane]) -> None:
        """Hang what is not settled on the lanes that were opened anew."""
        for partition, slices in self._slices.items():
            if lane := lanes.get(partition):
                for slice_ in slices:
                    slice_.lane = lane

    def _end(self, partition: Partition, at: int) -> int:
        places = self._places.get(partition, [])
        next_one = bisect_left(places, at)
        if next_one == len(places):
            return self._slices[partition][-1].end
        offset = self._offset(places[next_one])
        # Where nothing of a slice was handed out, it was not even begun: what lies before its
        # first message may be a gap that the user made.
        begun = offset if next_one else self._holder(partition, offset).start
        return max(begun, self._slices[partition][0].start)

    def _holder(self, partition: Partition, offset: int) -> Slice:
        slices = self._slices[partition]
        return slices[max(0, bisect_right([slice_.start for slice_ in slices], offset) - 1)]

    def _offset(self, place: int) -> int:
        offset: Any = self.messages[place].offset()
        return int(offset)

    def _wind_on(self) -> None:
        """Let go of the messages that were handed out; of their slices the numbers are kept."""
        if not self.at:
            return
        for partition in self._slices.keys() & self._places.keys():
            places = self._places[partition]
            end, done = self._end(partition, self.at), bisect_left(places, self.at)
            slices = self._slices[partition]
            if 0 < done < len(places):
                holder = self._holder(partition, end)
                if holder.start < end:
                    slices.insert(slices.index(holder), holder.split(end))
            for slice_ in slices:
                if slice_.end <= end:
                    slice_.forget()
        self._places = {
            partition: [place - self.at for place in places if place >= self.at]
            for partition, places in self._places.items()
            if places[-1:] >= [self.at]
        }
        self.messages = self.messages[self.at :]
        self.at, self.left = 0, len(self.messages)

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
