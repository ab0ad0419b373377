"""The vigil polls when the line does not, and only then."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from eos.core.errors import AbortableError, FatalError
from eos.core.frontier import Frontier
from eos.devstack.waiting import wait_until
from eos.kafka.reader import KafkaReader
from eos.kafka.vigil import EVERY_SECONDS, Vigil

MEMBER = b"CGMDv2:" + (5).to_bytes(4, "little") + b"group\x00member\x00"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """A vigil with a patience of ten seconds, and how often it stood in."""

    def __init__(self) -> None:
        self.clock, self.lock, self.stood_in = Clock(), threading.RLock(), 0
        self.vigil = Vigil(10.0, self.lock, self._stand_in, self.clock)

    def _stand_in(self) -> None:
        self.stood_in += 1


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_as_long_as_the_line_polls_the_vigil_does_not(rig: Rig) -> None:
    for _ in range(5):
        rig.clock.now += 9.0
        rig.vigil.passed()
        assert rig.vigil.look() == 10.0
    assert rig.stood_in == 0


def test_it_looks_again_when_its_patience_would_end(rig: Rig) -> None:
    rig.clock.now += 4.0
    assert rig.vigil.look() == 6.0


def test_once_its_patience_ends_it_polls_again_and_again_until_the_line_does(rig: Rig) -> None:
    rig.clock.now += 10.0
    assert rig.vigil.look() == EVERY_SECONDS
    rig.clock.now += EVERY_SECONDS
    assert rig.vigil.look() == EVERY_SECONDS
    assert rig.stood_in == 2
    rig.vigil.passed()
    assert rig.vigil.look() == 10.0
    assert rig.stood_in == 2


def test_when_it_is_over_it_polls_no_more(rig: Rig) -> None:
    rig.clock.now += 10.0
    rig.vigil.stop()
    rig.vigil.look()
    assert rig.stood_in == 0


def test_its_thread_ends_when_it_is_over() -> None:
    before = set(threading.enumerate())
    vigil = Vigil(0.001, threading.RLock(), lambda: None)
    vigil.start()
    vigil.start()
    (thread,) = (t for t in set(threading.enumerate()) - before if t.name == "vigil")
    vigil.stop()
    assert wait_until(lambda: not thread.is_alive(), seconds=10)


class Got:
    """A message, or an error in its place."""

    def __init__(self, error: KafkaError | None = None) -> None:
        self._error = error

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0


class Client:
    """A client that gives what a test has planned, and notes what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.gives: list[Any] = []
        self.during: Callable[[], None] = lambda: None

    def consume(self, _limit: int, _seconds: float) -> list[Any]:
        self.calls.append("consume")
        during, self.during = self.during, lambda: None
        during()
        given, self.gives = self.gives, []
        for each in given:
            if isinstance(each, Exception):
                raise each
        return given

    def consumer_group_metadata(self) -> bytes:
        return MEMBER

    def _note(self, what: str, partitions: list[TopicPartition]) -> None:
        self.calls.append((what, sorted((p.topic, p.partition) for p in partitions)))

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._note("pause", partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._note("resume", partitions)

    def seek(self, partition: TopicPartition) -> None:
        self._note("seek", [partition])

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self._note("assign", partitions)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self._note("unassign", partitions)

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert asynchronous
        self._note("commit", offsets)

    def close(self) -> None:
        self.calls.append("close")


class Member(KafkaReader):
    """A reader of which a test calls what the client and the vigil would call."""

    def __init__(self) -> None:
        self.client = Client()
        self.given_back: list[Any] = []
        conf = {"partition.assignment.strategy": "cooperative-sticky"}
        super().__init__(conf, "earliest", cast("Consumer", self.client))
        self._revoking = self.given_back.append

    def assign(self, *numbers: int) -> None:
        self._on_assign(cast("Consumer", self.client), _partitions(numbers))

    def revoke(self, *numbers: int) -> None:
        self._on_revoke(cast("Consumer", self.client), _partitions(numbers))

    def stand_in(self) -> None:
        self._stand_in()

    def refuse(self, number: int, offset: int) -> None:
        error = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
        self._on_commit(error, [TopicPartition("orders", number, offset)])


def _partitions(numbers: tuple[int, ...]) -> list[TopicPartition]:
    return [TopicPartition("orders", number) for number in numbers]


@pytest.fixture
def member() -> Iterator[Member]:
    made = Member()
    made.assign(0, 1, 2)
    made.seek(("orders", 0), 5)
    made.seek(("orders", 1), 5)
    made.pause([("orders", 1)])
    made.client.calls.clear()
    yield made
    made.close()


def test_what_flows_is_paused_meanwhile_and_flows_on_with_the_line_s_next_poll(
    member: Member,
) -> None:
    member.stand_in()
    member.stand_in()
    flowing = [("orders", 0)]
    assert member.client.calls == [("pause", flowing), "consume"] * 2
    member.poll(10, 0)
    member.poll(10, 0)
    assert member.client.calls[4:] == [("resume", flowing), "consume", "consume"]


def test_what_the_line_pauses_after_its_handler_stays_paused(member: Member) -> None:
    member.stand_in()
    member.pause([("orders", 0)])
    member.poll(10, 0)
    assert ("resume", [("orders", 0)]) not in member.client.calls


def test_a_rebalance_in_the_line_s_place_only_keeps_the_books(member: Member) -> None:
    before = member.assignments
    member.client.during = lambda: member.revoke(0)
    member.stand_in()
    assert member.given_back == []
    assert ("unassign", [("orders", 0)]) in member.client.calls
    assert set(member.assigned()) == {("orders", 1), ("orders", 2)}
    assert member.assignments != before
    member.poll(10, 0)
    assert ("resume", []) in member.client.calls


def test_a_rebalance_in_the_line_s_own_poll_tells_what_is_given_back(member: Member) -> None:
    member.client.during = lambda: member.revoke(0)
    member.poll(10, 0)
    assert member.given_back == [[("orders", 0)]]


def test_a_membership_newer_than_what_the_line_knows_is_not_given_out(member: Member) -> None:
    assert member.group_metadata() == MEMBER
    member.client.during = lambda: member.revoke(0)
    member.stand_in()
    with pytest.raises(AbortableError):
        member.group_metadata()
    member.poll(10, 0)
    assert member.group_metadata() == MEMBER


def test_who_goes_through_the_assignment_does_not_see_it_change(member: Member) -> None:
    seen = member.assigned()
    for _ in seen:
        member.client.during = lambda: member.revoke(len(member.assigned()) - 1)
        member.stand_in()
    assert len(seen) == 3
    assert member.assigned() == {}


def test_a_record_that_comes_all_the_same_makes_the_line_go_back(member: Member) -> None:
    before, member.client.gives = member.assignments, [Got()]
    member.stand_in()
    assert member.assignments != before
    assert len(member.assigned()) == 3
    assert member.poll(10, 0) == []


def test_an_error_that_comes_meanwhile_is_told_to_the_line(member: Member) -> None:
    member.client.gives = [Got(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))]
    member.stand_in()
    with pytest.raises(FatalError):
        member.poll(10, 0)
    assert member.poll(10, 0) == []


def test_a_poll_in_the_line_s_place_that_fails_fails_nobody(member: Member) -> None:
    member.client.gives = [KafkaException(KafkaError(KafkaError._FATAL))]  # noqa: SLF001
    member.stand_in()
    assert member.poll(10, 0) == []


def test_a_partition_is_given_back_even_if_what_was_handled_cannot_be_settled(
    member: Member,
) -> None:
    def fail(_: object) -> None:
        raise FatalError("twin")

    member._revoking = fail  # noqa: SLF001
    member.client.during = lambda: member.revoke(0)
    with pytest.raises(FatalError):
        member.poll(10, 0)
    assert ("unassign", [("orders", 0)]) in member.client.calls


COMMIT = ("commit", [("orders", 0)])


def test_a_commit_that_nobody_waits_for_is_repeated_until_it_is_taken(member: Member) -> None:
    member.commit({("orders", 0): Frontier(7)}, wait=False)
    for _ in range(2):
        member.client.during = lambda: member.refuse(0, 7)
        member.poll(10, 0)
    member.poll(10, 0)
    assert member.client.calls.count(COMMIT) == 3
    member._on_commit(None, [TopicPartition("orders", 0, 7)])  # noqa: SLF001
    member.poll(10, 0)
    assert member.client.calls.count(COMMIT) == 3


def test_a_refused_commit_is_not_repeated_behind_a_later_one(member: Member) -> None:
    member.commit({("orders", 0): Frontier(7)}, wait=False)
    member.commit({("orders", 0): Frontier(8)}, wait=False)
    member.refuse(0, 7)
    member.poll(10, 0)
    assert member.client.calls.count(COMMIT) == 2


def test_a_refused_commit_is_not_repeated_for_a_partition_that_is_gone(member: Member) -> None:
    member.commit({("orders", 0): Frontier(7)}, wait=False)
    member.refuse(0, 7)
    member.revoke(0)
    member.poll(10, 0)
    assert member.client.calls.count(COMMIT) == 1
