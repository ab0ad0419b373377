from typing import Any

import pytest

from eos.claim.away import UNKNOWN
from eos.consume import Consume, Slice
from eos.consume import step as consume_step
from eos.consume.opening import Opening
from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Assigned, Event, Waiting
from eos.core.frontier import PLAIN, TRANSACTION, Frontier
from eos.core.ports import Partition, Taken
from eos.core.record import Shard
from eos.devstack.waiting import wait_until
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.faults import Fault, faulty
from eos.testing.memory import MemoryKafka, MemoryMessage, MemoryReader, MemoryTopics

P0, P1 = ("in", 0), ("in", 1)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume_step, "_OPEN_POLL", 0.01)


class Bench:
    def __init__(self, *faults: Fault, batch_records: int = 100, plain: bool = False) -> None:
        self.kafka = MemoryKafka({"in": 2})
        self.ledger = MemoryLedger(60)
        self.events: list[Event] = []
        self.reader = MemoryReader(self.kafka)
        self.extra: list[MemoryMessage] = []
        port: Any = Stale(self.reader, self.extra)
        reader = faulty(port, *faults)
        self.opening = Opening(
            reader=reader,
            topics=MemoryTopics(self.kafka),
            ledger=self.ledger,
            shard=lambda topic_id: Shard("ns", "g", topic_id),
            plain=["in"] if plain else [],
        )
        self.consume = Consume(
            reader=reader,
            topics=MemoryTopics(self.kafka),
            opening=self.opening,
            sources=["in"],
            targets=[],
            prepare=lambda: MemoryTopics(self.kafka).ensure(["letters"]),
            batch_records=batch_records,
            batch_wait=0.001,
            emit=self.events.append,
        )

    def send(self, count: int, partition: int = 0) -> None:
        for _ in range(count):
            self.kafka.send("in", b"v", partition=partition)

    def started(self) -> "Bench":
        """Join, and open what is assigned."""
        for _ in range(10):
            try:
                self.consume()
            except AbortableError:
                self.consume.rewind(reopen=False)
                return self
        raise AssertionError

    def read(self) -> dict[Partition, list[int]]:
        return {s.lane.partition: [r.offset for r in s.records] for s in self.consume()}


class Stale:
    """A reader whose polls return more than they should."""

    def __init__(self, reader: MemoryReader, extra: list[MemoryMessage]) -> None:
        self._reader = reader
        self._extra = extra

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def poll(self, limit: int, seconds: float) -> list[Any]:
        extra, self._extra[:] = list(self._extra), []
        return [*extra, *self._reader.poll(limit, seconds)]


def message(partition: int, offset: int) -> MemoryMessage:
    return MemoryMessage(("in", partition, offset), (None, b"stale", []), 0)


def test_topics_of_its_own_are_made_before_anything_is_read() -> None:
    bench = Bench().started()
    assert bench.kafka.count("letters") == 1


def test_partitions_are_opened_at_their_committed_offset_or_the_beginning() -> None:
    bench = Bench()
    bench.send(3)
    bench.send(2, partition=1)
    bench.kafka.committed[P0] = Frontier(2)
    assert bench.started().read() == {P0: [2], P1: [0, 1]}
    assert [event.partitions for event in bench.events if isinstance(event, Assigned)] == [(P0, P1)]


def test_a_partition_s_epoch_grows_with_each_take_over_and_is_the_fencing_token() -> None:
    bench = Bench()
    bench.send(1)
    (first,) = bench.started().consume()
    bench.consume.rewind(reopen=True)
    (second,) = bench.consume()
    assert second.lane.epoch > first.lane.epoch
    assert second.records[0].fencing_token == second.lane.epoch


def test_slices_join_without_gaps_whatever_the_offsets_are() -> None:
    bench = Bench(batch_records=2).started()
    bench.send(3)
    slices: list[Slice] = [*bench.consume(), *bench.consume()]
    assert [(s.start, s.end, s.read) for s in slices] == [(0, 2, 2), (2, 3, 1)]
    bench.extra.append(message(0, 9))  # the offsets between are markers, or compacted
    (late,) = bench.consume()
    assert (late.start, late.end, late.read) == (3, 10, 1)


def test_what_was_read_already_is_dropped() -> None:
    bench = Bench().started()
    bench.send(2)
    bench.consume()
    bench.extra.append(message(0, 1))
    assert bench.read() == {}


def test_a_client_that_jumps_back_in_the_middle_of_a_batch_does_not_take_the_line_with_it() -> None:
    # librdkafka was seen to do so when connections broke: 518 … 523, and then 0.
    bench = Bench().started()
    bench.send(5)
    bench.extra += [message(0, offset) for offset in (0, 1, 2, 0, 1)]
    try:
        slices = bench.consume()
    except AbortableError:
        bench.consume.rewind(reopen=False)
        slices = bench.consume()
    offsets = [record.offset for slice_ in slices for record in slice_.records]
    assert offsets == sorted(set(offsets))
    assert slices[-1].end == offsets[-1] + 1


def test_records_of_a_partition_that_is_not_open_are_dropped() -> None:
    bench = Bench(
        Fault("frontiers", "before", None, raising(RetriableError("a transaction is open")))
    )
    bench.send(1)
    bench.started()
    bench.extra.append(message(0, 0))
    assert bench.read() == {}
    assert any(isinstance(event, Waiting) for event in bench.events)


def raising(error: Exception) -> Any:
    def action() -> None:
        raise error

    return action


def test_a_partition_opens_when_the_transaction_of_its_last_owner_is_over() -> None:
    away = raising(RetriableError("a transaction is open"))
    bench = Bench(*(Fault("frontiers", "before", n, away) for n in (1, 2)))
    bench.send(1)
    bench.started()
    assert [bench.read() for _ in range(3)] == [{}, {}, {P0: [0]}]


def test_a_partition_that_the_client_has_not_started_yet_is_opened_later() -> None:
    bench = Bench(Fault("seek", "before", 1, raising(RetriableError("not started yet"))))
    bench.send(1)
    bench.send(1, partition=1)
    bench.started()
    found = [bench.read() for _ in range(3)]
    assert {p: offsets for each in found for p, offsets in each.items()} == {P0: [0], P1: [0]}


def test_a_rewind_goes_back_to_what_is_settled() -> None:
    bench = Bench(batch_records=2).started()
    bench.send(6)
    (first,) = bench.consume()
    bench.consume()
    bench.consume.settled(first)
    bench.consume.rewind(reopen=False)
    assert bench.read() == {P0: [2, 3]}


def test_a_rewind_that_reopens_believes_kafka_and_not_its_memory() -> None:
    bench = Bench().started()
    bench.send(6)
    bench.consume()
    bench.kafka.committed[P0] = Frontier(4)
    bench.consume.rewind(reopen=True)
    assert bench.read() == {P0: [4, 5]}


def test_a_rebalance_while_it_holds_back_does_not_make_it_trust_its_memory_again() -> None:
    bench = Bench().started()
    bench.send(6)
    bench.consume()
    bench.kafka.committed[P0] = Frontier(4)
    bench.consume.rewind(reopen=True, hold=0.01)
    bench.kafka.rebalance()
    with pytest.raises(AbortableError):
        bench.consume()
    bench.consume.rewind(reopen=False)
    assert wait_until(lambda: bench.read() == {P0: [4, 5]}, seconds=5)


def test_a_partition_that_was_lost_and_came_back_is_opened_anew() -> None:
    bench = Bench().started()
    bench.send(4, partition=1)
    assert bench.read() == {P1: [0, 1, 2, 3]}
    other = MemoryReader(bench.kafka)
    other.subscribe(["in"], lambda _: None)
    with pytest.raises(AbortableError):
        bench.consume()
    bench.consume.rewind(reopen=False)
    bench.consume()
    bench.kafka.committed[P1] = Frontier(3)  # the other one has settled something
    other.close()
    with pytest.raises(AbortableError):
        bench.consume()
    bench.consume.rewind(reopen=False)
    assert bench.read() == {P1: [3]}


def test_the_membership_is_pinned_when_a_transaction_s_first_batch_is_read() -> None:
    bench = Bench(batch_records=1).started()
    bench.send(3)
    bench.consume()
    pinned = bench.consume.membership
    bench.reader._generation += 5  # noqa: SLF001 it moved on behind the line's back
    bench.kafka.generation += 5
    bench.consume()
    assert bench.consume.membership == pinned
    bench.consume.unpin()
    bench.consume()
    assert bench.consume.membership != pinned


# --- a record that could not be handled ------------------------------------------------------


def held(bench: Bench, seconds: float) -> None:
    """Read two records a partition, and fail to handle the second of partition 0."""
    bench.send(3)
    bench.send(2, partition=1)
    lanes = {s.lane.partition: s.lane for s in bench.consume()}
    bench.consume.hold(lanes[P0], 1, 1, seconds)


def test_a_lane_that_is_held_back_is_read_again_from_its_record_when_it_is_time() -> None:
    bench = Bench().started()
    held(bench, 0.0)
    (slice_,) = bench.consume()
    assert (slice_.start, [r.offset for r in slice_.records]) == (1, [1, 2])
    assert [r.attempt for r in slice_.records] == [2, 1]


def test_a_lane_that_is_held_back_does_not_hold_up_the_others() -> None:
    bench = Bench().started()
    held(bench, 60.0)
    bench.extra.append(message(0, 3))  # the client had fetched it already
    bench.send(1, partition=1)
    assert bench.read() == {P1: [2]}


def test_a_rewind_does_not_shorten_the_wait_of_a_lane_that_is_held_back() -> None:
    bench = Bench().started()
    held(bench, 60.0)
    bench.consume.rewind(reopen=False)
    assert bench.read() == {P1: [0, 1]}


def test_tries_go_on_being_counted_where_the_group_left_off() -> None:
    bench = Bench()
    bench.send(3)
    bench.kafka.committed[P0] = Frontier(1, attempts=2)
    (slice_,) = bench.started().consume()
    assert [(r.offset, r.attempt) for r in slice_.records] == [(1, 3), (2, 1)]


# --- plain tier ------------------------------------------------------------------------------


def test_a_plain_partition_begins_where_the_ledger_or_kafka_says_whichever_is_further() -> None:
    bench = Bench(plain=True)
    bench.send(4)
    bench.send(4, partition=1)
    bench.kafka.committed |= {P0: Frontier(1), P1: Frontier(3)}
    shard = Shard("ns", "g", "id-of-in")
    recovery = bench.ledger.lock(shard, "test", 10)
    assert recovery is not None
    assert bench.ledger.open(shard, recovery, {0: 2, 1: 2}, {})
    assert bench.started().read() == {P0: [2, 3], P1: [3]}


@pytest.mark.parametrize("plain", [True, False])
def test_where_a_partition_begins_stands_in_the_log_before_its_records_are_claimed(
    *, plain: bool
) -> None:
    bench = Bench(plain=plain)
    bench.send(1)
    (slice_,) = bench.started().consume()
    assert bench.kafka.committed == {}
    bench.opening.begin([slice_.lane])
    tier = PLAIN if plain else TRANSACTION
    assert bench.kafka.committed == {P0: Frontier(0, tier=tier, topic_id="id-of-in")}
    bench.kafka.committed.clear()
    bench.opening.begin([slice_.lane])  # once is enough
    assert bench.kafka.committed == {}


def test_a_partition_that_another_consumer_committed_is_taken_over_with_its_note() -> None:
    # What that one handled above its offset nobody knows; from now on the group is ours.
    bench = Bench(plain=True)
    bench.send(2)
    bench.kafka.committed[P0] = Frontier(1, ours=False, note="theirs")
    (slice_,) = bench.started().consume()
    assert [record.offset for record in slice_.records] == [1]
    bench.opening.begin([slice_.lane])
    assert bench.kafka.committed[P0] == Frontier(1, note="theirs", tier=PLAIN, topic_id="id-of-in")


def test_a_plain_partition_of_which_the_ledger_cannot_tell_anything_waits() -> None:
    bench = Bench(plain=True)
    unknown = {n: Taken(5, UNKNOWN, 0) for n in (0, 1)}
    bench.ledger.take = lambda _shard, _partitions: unknown  # type: ignore[method-assign,assignment]
    bench.started()
    with pytest.raises(RetriableError) as caught:
        bench.consume()
    assert caught.value.on == "ledger"


def test_a_lane_that_is_opened_again_keeps_waiting_and_counting() -> None:
    bench = Bench().started()
    held(bench, 60.0)
    bench.consume.rewind(reopen=True)
    assert bench.read() == {P1: [0, 1]}
    assert bench.consume.lanes[P0].failed == (1, 1)


def test_a_lane_is_held_only_under_the_assignment_that_it_was_opened_under() -> None:
    bench = Bench(plain=True).started()
    bench.read()
    lane = bench.consume.lanes[P0]
    assert bench.consume.holds(lane)
    lane.assignment -= 1  # lost, and given back
    assert not bench.consume.holds(lane)


def test_partitions_that_are_given_back_are_told_while_they_are_still_ours() -> None:
    bench = Bench().started()
    bench.consume()
    told: list[tuple[set[Partition], set[Partition]]] = []
    bench.consume.revoking = lambda given: told.append((set(given), set(bench.reader.assigned())))
    other = MemoryReader(bench.kafka)
    other.subscribe(["in"], lambda _: None)
    with pytest.raises(AbortableError):
        bench.consume()
    assert told == [({P1}, {P0, P1})]


def test_a_partition_that_was_read_to_its_end_has_come_to_now() -> None:
    bench = Bench().started()
    bench.kafka.send("in", b"old", timestamp=1000)
    bench.kafka.send("in", b"old", timestamp=2000)
    (slice_,) = bench.consume()
    head = slice_.split(1)
    bench.consume.settled(head)
    times = bench.consume.log_times()["in"]
    assert times[0] == 1000
    assert times[1] > 2000
    bench.consume.settled(slice_)
    assert bench.consume.log_times()["in"][0] > 2000
