"""Workers that recover a shard together, one step of one of them between two of another's.

Nothing here shows that it holds on real servers; see `tests/integration/test_recovery_shared.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from eos.build.parts import identify_of
from eos.core.errors import RetriableError
from eos.core.events import Event, Recovered, Recovering
from eos.core.frontier import PLAIN, Frontier
from eos.core.ports import Claimed, Claims
from eos.core.record import Message, Shard
from eos.core.rules import Verdict
from eos.core.settings import Settings
from eos.operate.recovery import Recover
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.faults import Fault, faulty
from eos.testing.memory import MemoryKafka, MemoryLog, MemoryTopics, topic_id_of

SHARD = Shard("g", "g", topic_id_of("in"))
EACH = 6
Hook = Callable[[int, int], None]


def nothing(_partition: int, _number: int) -> None:
    pass


@dataclass
class Bench:
    """A topic all of which is settled, a ledger that has lost it, and those who recover it.

    Attributes:
        read: How often which record was read again.
        now: The ledger's clock.
    """

    partitions: int = 3
    plain: bool = False
    read: Counter[tuple[int, int]] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)
    now: float = 1_700_000_000.0

    def __post_init__(self) -> None:
        self.kafka = MemoryKafka({"in": self.partitions, "audit": 1}, clock=lambda: self.now)
        self.ledger = MemoryLedger(3600, clock=lambda: self.now)
        for partition in range(self.partitions):
            for n in range(EACH):
                self.send(f"{partition}-{n}", partition)
            tier = PLAIN if self.plain else ""
            self.kafka.committed["in", partition] = Frontier(EACH, tier=tier)

    def send(self, key: str, partition: int) -> None:
        headers = [("message-id", key.encode())]
        self.kafka.send("in", key.encode(), headers=headers, partition=partition)

    def worker(self, hook: Hook = nothing, *faults: Fault) -> Recover:
        """Give one more worker; the hook is called before each batch that it reads."""
        settings = Settings(group="g", brokers="a:1", ledger="memory:")
        return Recover(
            ledger=faulty(self.ledger, *faults) if faults else self.ledger,
            log=lambda: _Log(self, hook),
            topics=MemoryTopics(self.kafka),
            shard=lambda _: SHARD,
            identify=identify_of(settings),
            plain={"in"} if self.plain else (),
            inboxes={},
            audit="audit",
            window=3600,
            stay=lambda: None,
            emit=self.events.append,
        )

    def recovered(self) -> list[int]:
        return [event.records for event in self.events if isinstance(event, Recovered)]

    def is_open(self) -> bool:
        return self.ledger.look(SHARD).sealed

    def assert_each_was_read_once(self) -> None:
        assert self.read == Counter(
            (partition, n) for partition in range(self.partitions) for n in range(EACH)
        )
        assert sum(self.recovered()) == self.partitions * EACH

    def claim(self, partition: int, offset: int, key: str) -> Claimed:
        """Claim a record of this key, as if it stood there."""
        settings = Settings(group="g", brokers="a:1", ledger="memory:")
        self.send(key, partition)
        (message,) = self.kafka.log(("in", partition))[-1:]
        claims = Claims(partition, 10**18, 0, 0, offset + 1)
        identify_of(settings).headers([offset], [message], claims, SHARD.topic_id)
        answer = self.ledger.claim(SHARD, [claims])
        assert isinstance(answer, Claimed)
        return answer


class _Log(MemoryLog):
    """A log that gives two records at a time, and lets something happen before."""

    def __init__(self, bench: Bench, hook: Hook) -> None:
        super().__init__(bench.kafka)
        self._bench = bench
        self._hook = hook

    def read(
        self, topic: str, partition: int, offsets: range, *, to_end: bool = False
    ) -> Iterator[Sequence[Message]]:
        for found in super().read(topic, partition, offsets, to_end=to_end):
            for start in range(0, len(found), 2):
                if topic == "in":
                    self._hook(partition, start // 2)
                    self._bench.read.update((partition, m.offset()) for m in found[start:][:2])
                yield found[start : start + 2]


def recover(worker: Recover) -> bool:
    """Recover; tell whether the worker finds the shard open afterwards."""
    try:
        worker("in", "closed", {})
    except RetriableError as error:
        return error.on != "recovery"
    return True


def test_a_worker_that_comes_while_another_is_at_it_takes_what_that_one_does_not_hold() -> None:
    bench = Bench()
    other = bench.worker()

    def hook(partition: int, number: int) -> None:
        if (partition, number) == (0, 1):
            assert not recover(other), "it waits for the first one's partition"
            assert not bench.is_open()

    assert recover(bench.worker(hook))
    assert bench.is_open()
    bench.assert_each_was_read_once()
    assert bench.recovered() == [2 * EACH, EACH]
    assert recover(other), "who comes back finds it open"
    assert bench.recovered() == [2 * EACH, EACH]


def test_a_worker_that_finds_nothing_to_take_reads_nothing() -> None:
    bench = Bench(partitions=1)
    other = bench.worker(lambda *_: pytest.fail("it reads"))
    assert recover(bench.worker(lambda *_: assert_busy(other)))
    bench.assert_each_was_read_once()


def assert_busy(worker: Recover) -> None:
    assert not recover(worker)


class Dies(Exception):  # noqa: N818 - nothing goes wrong: it is killed
    pass


def test_what_a_dead_worker_has_put_back_is_not_read_again() -> None:
    bench = Bench()

    def die(partition: int, number: int) -> None:
        if (partition, number) == (1, 2):
            raise Dies

    with pytest.raises(Dies):
        bench.worker(die)("in", "closed", {})
    other = bench.worker()
    assert not recover(other), "the dead one's lease has not run out"
    assert bench.ledger.look(SHARD).done == {0, 2}
    bench.now += 6
    assert recover(other)
    assert bench.read == Counter((p, n) for p in range(3) for n in range(EACH))
    assert bench.recovered() == [EACH, 2]


@pytest.mark.parametrize("plain", [False, True], ids=["transaction", "plain"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("method", "call"),
    [*(("lock", n) for n in range(1, 14)), *(("reassert", n) for n in range(1, 13)), ("open", 1)],
)
def test_wherever_a_worker_dies_another_one_comes_to_the_end(
    method: str, call: int, when: Any, *, plain: bool
) -> None:
    bench = Bench(plain=plain)

    def die() -> None:
        raise Dies

    with pytest.raises(Dies):
        bench.worker(nothing, Fault(method, when, call, die))("in", "closed", {})
    bench.now += 6
    if not (bench.is_open() and method == "open"):
        assert recover(bench.worker())
    assert bench.is_open()
    assert set(bench.read.values()) <= {1, 2}
    assert sum(count == 2 for count in bench.read.values()) <= 2, "the batch that it had in hand"
    assert len(bench.read) == 3 * EACH
    for partition in range(3):
        copies = [f"{partition}-{n}" for n in range(EACH)]
        offset = EACH + partition * EACH
        verdicts = [bench.claim(0, offset + n, key).verdicts[0] for n, key in enumerate(copies)]
        assert verdicts == [Verdict.DUPLICATE] * EACH


def test_a_worker_that_was_held_up_gives_its_partition_up_and_puts_nothing_back() -> None:
    bench = Bench()
    other = bench.worker()

    def hook(partition: int, number: int) -> None:
        if (partition, number) == (0, 1):
            bench.now += 6
            assert recover(other), "it takes all partitions, that of the other one, too"
            assert bench.is_open()

    assert recover(bench.worker(hook))
    assert bench.recovered() == [3 * EACH - 2, 2]


def test_who_has_read_frontiers_for_an_earlier_recovery_puts_nothing_back() -> None:
    bench = Bench()
    other = bench.worker()

    def hook(partition: int, number: int) -> None:
        if (partition, number) == (0, 0):
            bench.ledger.lose()
            bench.kafka.committed["in", 2] = Frontier(EACH - 1)
            bench.ledger.lock(SHARD, "somebody", 60, [2])
            assert not recover(other)

    with pytest.raises(RetriableError, match="overtaken"):
        bench.worker(hook)("in", "closed", {})
    assert not bench.is_open()
    assert bench.ledger.look(SHARD).partitions[0].floor == EACH, "put back by the other one"


def test_how_much_is_left_counts_what_others_have_put_back() -> None:
    bench = Bench()
    other = bench.worker()

    def hook(partition: int, number: int) -> None:
        if (partition, number) == (0, 0):
            assert not recover(other)

    assert recover(bench.worker(hook))
    left = [event.left for event in bench.events if isinstance(event, Recovering)]
    assert left == [3 * EACH, 0, EACH, 0]


def test_partitions_without_a_frontier_are_done_at_once() -> None:
    bench = Bench()
    del bench.kafka.committed["in", 1]
    assert recover(bench.worker())
    assert {partition for partition, _ in bench.read} == {0, 2}


# --- plain tier: whoever opens says how far records may have been handled ------------------


def test_a_worker_that_opens_heeds_the_later_end_that_another_one_read() -> None:
    # 1. A reads where the log ends, and is held up before it reads records.
    # 2. X, on partition 0, and a copy of it on partition 1 were sent; X was never handled.
    # 3. B reads the later end, puts X back as an owner, and partition 0 is done.
    # 4. A opens. X may go for a copy of what was handled: it must be in doubt.
    bench = Bench(partitions=2, plain=True)
    first, calls = True, []

    def hook(partition: int, number: int) -> None:
        nonlocal first
        if first:
            first = False
            calls.append((partition, number))
            bench.send("late", 1 - partition)  # 2
            assert not recover(bench.worker())  # 3

    assert recover(bench.worker(hook))  # 4
    assert calls == [(0, 0)]
    begun = {p: known.begun for p, known in bench.ledger.look(SHARD).partitions.items()}
    assert begun == {0: EACH, 1: EACH + 1}
    answer = bench.claim(0, EACH, "late")
    assert answer.verdicts == [Verdict.DUPLICATE]
    assert answer.hearsay == {0}
