"""Recovery while something is handled again, on the memory ledger and a log in a list."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.core.frontier import Frontier, Replay
from eos.core.keys import standard
from eos.core.ports import Assertion, Audited, Claims, Log, Mark, Refused, Suppressed, Topics
from eos.core.record import Shard
from eos.core.rules import Owner, Verdict
from eos.operate.recovery import Recover
from eos.operate.rereading import follow, owners_of
from eos.stores.memory.ledger import MemoryLedger

SHARD = Shard("ns", "g", "id")


class Event:
    """A record of the one partition, whose key is its offset."""

    def __init__(self, offset: int) -> None:
        self.at = offset

    def topic(self) -> str:
        return "in"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def headers(self) -> list[tuple[str, bytes]]:
        return [("message-id", b"%d" % self.at)]

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_000_000)

    key = value = error = lambda _: None


class Kafka:
    """Three records of one partition, and where the group stands."""

    def __init__(self) -> None:
        self.frontier = Frontier(3)

    def describe(self, _topic: str) -> tuple[str, int]:
        return "id", 1

    def exists(self, _topic: str) -> bool:
        return True

    def ends(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(partitions, 0)

    def frontiers(self, _topic: str) -> dict[int, Frontier | None]:
        return {0: self.frontier}

    def window_starts(self, _topic: str, _seconds: int) -> dict[int, int]:
        return {0: 0}

    def log_time(self, _topic: str, _frontiers: Mapping[int, int]) -> int:
        return 1000

    def read(
        self, topic: str, _partition: int, offsets: range, *, to_end: bool = False
    ) -> Iterator[Sequence[Event]]:
        del to_end
        if topic == "in" and offsets:
            yield [Event(offset) for offset in offsets]

    def close(self) -> None:
        pass


class Bench:
    def __init__(self) -> None:
        self.ledger = MemoryLedger(3600, clock=lambda: 1000.0)
        self.kafka = Kafka()
        self.digest = Digest(b"secret")
        self.recover = Recover(
            ledger=self.ledger,
            log=lambda: cast(Log, self.kafka),
            topics=cast(Topics, self.kafka),
            shard=lambda _: SHARD,
            identify=Identify(standard, self.digest, by_partition=False, group="g"),
            plain=(),
            inboxes={},
            audit="audit",
            window=3600,
            stay=lambda: None,
            emit=lambda _: None,
        )

    def owners(self) -> list[int]:
        """Give which of the three keys have an owner."""
        digests = [self.digest(b"%d" % n) for n in range(3)]
        found = self.ledger.owners(SHARD, digests)
        return [n for n, digest in enumerate(digests) if digest in found]

    def replay(self) -> None:
        """Have all three handled again."""
        epoch = self.ledger.take(SHARD, [0])[0].epoch
        assert self.ledger.rewind(SHARD, [Mark(0, epoch, 0)])
        self.kafka.frontier = Frontier(0, replay=Replay(3, 3))


def test_recovery_puts_owners_back_that_a_dump_from_before_a_replay_lacks() -> None:
    bench = Bench()
    bench.recover("in", "closed", {})
    floors = bench.ledger.look(SHARD).partitions[0].floor
    bench.ledger.advance(SHARD, {0: 1000}, 1)
    before = bench.ledger.snapshot()
    for state in before.values():  # the window has passed
        state.generations.clear()
    bench.replay()
    bench.ledger.restore(before)
    bench.recover("in", "closed", {})
    assert (floors, bench.owners()) == (3, [0, 1, 2])


def test_a_ledger_that_is_lost_before_owners_are_loaded_is_recovered_first() -> None:
    bench = Bench()
    bench.recover("in", "closed", {})
    bench.replay()
    bench.kafka.frontier = Frontier(2, replay=Replay(3, 3))
    bench.ledger.lose()
    ledger: Any = bench.ledger
    opens = ledger.open
    opened: list[bool] = []

    def lose(*given: Any) -> bool:
        opened.append(opens(*given))
        if opened == [True]:  # it was rebuilt, and owners are about to be loaded
            ledger.lose()
        return opened[-1]

    ledger.open = lose
    bench.recover.load("in", {0: range(2, 3)})
    answer = bench.ledger.claim(SHARD, [Claims(0, 2**62, 2, 2, 2)])
    assert not isinstance(answer, Refused)
    assert bench.owners() == [0, 1, 2]
    assert opened == [True, True, True]


def test_of_a_record_whose_key_was_given_away_under_another_name_its_own_key_counts() -> None:
    told = Audited(replayed=range(3))
    told.add(Suppressed(0, 1, b"own", Owner(0, 0, 7), Verdict.DUPLICATE, 0, None))
    # A record that says that it was dead-lettered there, with a key that stood nowhere near.
    told.add(Suppressed(0, 1, b"other", Owner(2, 9, 7), Verdict.FRESH, 0, None))
    read = Assertion(0, 2, [1], [b"own"], [7], [0])
    (put_back,) = owners_of(read, told)
    assert (put_back.partition, put_back.offsets, put_back.digests) == (0, [0], [b"own"])


def test_an_owner_that_was_suppressed_itself_is_not_put_back() -> None:
    entries = {
        0: Suppressed(1, 0, b"k", Owner(0, 0, 1), Verdict.DUPLICATE, 0, None),
        1: Suppressed(0, 0, b"k", Owner(2, 1, 1), Verdict.DUPLICATE, 0, None),
    }

    def read(ranges: Mapping[int, range]) -> dict[int, Audited]:
        found = {p: Audited(replayed=at) for p, at in ranges.items()}
        for told in entries.values():
            if told.offset in ranges.get(told.partition, ()):
                found[told.partition].add(told)
        return found

    found = read({1: range(3)})
    follow(found, read)
    assert found[1].owners == {(0, b"k"): (Verdict.DUPLICATE, Owner(2, 1, 1))}
