"""What a replay does with the dead letters of the records that it has handled again."""

from collections.abc import Callable, Collection, Mapping, Sequence

from eos.core import letters
from eos.core.errors import ConfigError
from eos.core.frontier import PLAIN
from eos.core.ports import Audited, Topics
from eos.core.record import Shard
from eos.core.rules import Owner
from eos.operate.letters import Selection
from eos.operate.redrive import Redrive
from eos.operate.replay_plan import Span


class ReplayLetters:
    """Dead letters beside a replay.

    Args:
        topics: Knows whether there are any.
        owners: Tells who owns keys, by digest.
        digests: Gives the digests that a key may have, for so many partitions.
        redrive: Does with dead letters.
        audited: Reads what the audit says of records.
    """

    def __init__(
        self,
        topics: Topics,
        owners: Callable[[Shard, Sequence[bytes]], Mapping[bytes, Owner]],
        digests: Callable[[str, int], Sequence[bytes]],
        redrive: Redrive,
        audited: Callable[[str, Shard, Mapping[int, range]], Mapping[int, Audited]],
    ) -> None:
        self._topics = topics
        self._owners = owners
        self._digests = digests
        self._redrive = redrive
        self._audited = audited

    def find(
        self,
        topic: str,
        shard: Shard,
        count: int,
        spans: Mapping[int, Span],
        peaks: Mapping[int, int],
    ) -> frozenset[letters.Place]:
        """Find the dead letters of records that are handled again.

        Raises:
            ConfigError: One was redriven, and what became of it is still to be handled: its record
                would be handled by the replay, and then as a redriven one.
        """
        if not self._topics.exists(self._redrive.letters.topic):
            return frozenset()
        # To the end: a letter that is not seen now would be redriven after it was replayed.
        found = self._redrive.letters.find(to_end=True)
        waiting, redriven = set(), {}
        for place, letter in found.letters.items():
            topic_id, number, offset = letter.position
            span = spans.get(number)
            if span is None or topic_id != shard.topic_id or letter.group not in {"", shard.group}:
                continue
            digests = self._digests(letter.key.decode("utf-8", "surrogateescape"), count)
            digest = digests[number if len(digests) > 1 else 0]
            again = span.start <= offset and span.replay.handles(offset, digest)
            if not again or offset >= span.replay.peak:
                continue
            if (note := found.notes.get(place)) is None:
                waiting.add(place)
            elif note.done is letters.Done.REDRIVEN:
                owner = self._owners(shard, [digest]).get(digest)
                if owner is not None and owner[:2] == (number, offset):
                    raise _unhandled(place)
                if span.was.tier != PLAIN:
                    settled = owner is not None and owner.offset < peaks.get(owner.partition, 0)
                    redriven[place] = (digest, (number, offset), owner if settled else None)
        self._check_handled(topic, shard, redriven)
        return frozenset(waiting)

    def _check_handled(
        self,
        topic: str,
        shard: Shard,
        redriven: Mapping[letters.Place, tuple[bytes, tuple[int, int], Owner | None]],
    ) -> None:
        """See that redriven letters were handled: of that the audit is sure, and not the ledger.

        It may have been lost; it may know a claim that was never settled; and it knows of a record
        without a key only once that was claimed as a redriven one. Either the letter has given its
        key away, or somebody else was handled who had the key before.
        """
        ranges: dict[int, range] = {}
        for _, letter, owner in redriven.values():
            for number, offset, *_ in (letter, owner) if owner else (letter,):
                at = ranges.get(number, range(offset, offset))
                ranges[number] = range(min(at.start, offset), max(at.stop, offset + 1))
        found = self._audited(topic, shard, ranges) if ranges else {}

        def owns(digest: bytes, number: int, offset: int) -> bool:
            return not found.get(number, Audited()).own_none([offset], [digest])

        for place, (digest, letter, owner) in redriven.items():
            if owns(digest, *letter) and not (owner and owns(digest, *owner[:2])):
                raise _unhandled(place)

    def settle(self, places: Collection[letters.Place]) -> None:
        """Note that letters are done with: who redrives them later would have them handled twice.

        Raises:
            ConfigError: One was redriven meanwhile.
        """
        done = self._redrive.discard(Selection(frozenset(places)), letters.Done.REPLAYED)
        if done.done < len(places):
            raise ConfigError(["dead letters were redriven meanwhile: run this again"])


def _unhandled(place: letters.Place) -> ConfigError:
    told = f"dead letter {place} was redriven and is not handled yet"
    return ConfigError([f"{told}: let the workers handle it first"])
