"""The ports in memory keep what the guarantees rest on."""

import pytest

from eos.core.errors import AbortableError, FatalError, FencedError, RetriableError
from eos.core.frontier import Frontier
from eos.core.ports import Log, Reader, Topics, Transactions
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.memory import (
    MemoryKafka,
    MemoryLog,
    MemoryReader,
    MemoryTopics,
    MemoryTransactions,
)

P0, P1 = ("in", 0), ("in", 1)


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka({"in": 2, "out": 1})


def member(kafka: MemoryKafka) -> MemoryReader:
    reader = MemoryReader(kafka)
    reader.subscribe(["in"], lambda _: None)
    reader.poll(1, 0)
    return reader


def begun(kafka: MemoryKafka, name: str = "id") -> MemoryTransactions:
    transactions = MemoryTransactions(kafka, name)
    transactions.begin()
    return transactions


def test_they_are_the_ports_of_a_line(kafka: MemoryKafka) -> None:
    ports = kafka.ports(MemoryLedger(60))
    reader: Reader = ports.reader
    topics: Topics = ports.topics
    log: Log = ports.log()
    transactions: Transactions = ports.transactions
    assert all((reader, topics, log, transactions))


def test_a_transaction_is_seen_as_a_whole_or_not_at_all(kafka: MemoryKafka) -> None:
    reader, transactions = member(kafka), begun(kafka)
    transactions.produce("out", b"v", None, [])
    transactions.send_offsets({P0: Frontier(1)}, reader.group_metadata())
    assert kafka.messages("out") == []
    with pytest.raises(RetriableError):
        reader.frontiers([P0])
    assert reader.frontiers([P1]) == {P1: None}
    assert transactions.commit()
    assert [m.value() for m in kafka.messages("out")] == [b"v"]
    assert reader.frontiers([P0]) == {P0: Frontier(1)}


def test_what_is_aborted_was_never_there(kafka: MemoryKafka) -> None:
    reader, transactions = member(kafka), begun(kafka)
    transactions.produce("out", b"v", None, [])
    transactions.send_offsets({P0: Frontier(1)}, reader.group_metadata())
    transactions.abort()
    transactions.begin()
    assert transactions.commit()
    assert kafka.messages("out") == []
    assert reader.frontiers([P0]) == {P0: None}


def test_a_second_producer_under_one_id_ends_and_fences_the_first(kafka: MemoryKafka) -> None:
    reader, first = member(kafka), begun(kafka)
    first.send_offsets({P0: Frontier(1)}, reader.group_metadata())
    begun(kafka)
    assert reader.frontiers([P0]) == {P0: None}
    with pytest.raises(FencedError):
        first.commit()
    first.close()


def test_a_commit_whose_outcome_is_unknown_is_final_after_the_next_start(
    kafka: MemoryKafka,
) -> None:
    reader, transactions = member(kafka), begun(kafka)
    transactions.send_offsets({P0: Frontier(1)}, reader.group_metadata())
    transactions.settle_unknown()
    assert reader.frontiers([P0]) == {P0: None}


def test_offsets_of_an_older_generation_are_refused(kafka: MemoryKafka) -> None:
    zombie, transactions = member(kafka), begun(kafka)
    membership = zombie.group_metadata()
    member(kafka)
    with pytest.raises(AbortableError):
        transactions.send_offsets({P0: Frontier(1)}, membership)


def test_members_share_the_partitions_and_learn_of_it_when_they_poll(kafka: MemoryKafka) -> None:
    first = member(kafka)
    assert set(first.assigned()) == {P0, P1}
    before = first.assignments
    second = member(kafka)
    assert set(first.assigned()) == {P0, P1}
    first.poll(1, 0)
    assert set(first.assigned()) | set(second.assigned()) == {P0, P1}
    assert not set(first.assigned()) & set(second.assigned())
    assert first.assignments == before + 1
    second.close()
    first.poll(1, 0)
    assert set(first.assigned()) == {P0, P1}


def test_a_partition_that_stays_keeps_the_number_of_its_assignment(kafka: MemoryKafka) -> None:
    first = member(kafka)
    before = first.assigned()
    second = member(kafka)
    first.poll(1, 0)
    (kept,) = first.assigned()
    assert first.assigned()[kept] == before[kept]
    second.close()
    first.poll(1, 0)
    (gone,) = first.assigned().keys() - {kept}
    assert first.assigned()[gone] != before[gone]


def test_nothing_flows_from_a_partition_before_it_is_sought_nor_while_it_is_paused(
    kafka: MemoryKafka,
) -> None:
    kafka.send("in", b"a")
    kafka.send("in", b"b")
    reader = member(kafka)
    assert reader.poll(10, 0) == []
    reader.seek(P0, 0)
    assert [m.value() for m in reader.poll(1, 0)] == [b"a"]
    reader.pause([P0])
    assert reader.poll(10, 0) == []
    reader.resume([P0])
    assert [m.value() for m in reader.poll(10, 0)] == [b"b"]
    reader.seek(P0, 0)
    assert [m.value() for m in reader.poll(10, 0)] == [b"a", b"b"]


def test_the_log_is_read_by_stretches_and_times(kafka: MemoryKafka) -> None:
    for second in range(5):
        kafka.send("in", b"%d" % second, timestamp=second)
    log = MemoryLog(kafka)
    read = [m.value() for batch in log.read("in", 0, range(1, 4)) for m in batch]
    assert read == [b"1", b"2", b"3"]
    assert list(log.read("in", 0, range(5, 5))) == []
    assert log.window_starts("in", 3) == {0: 3, 1: 0}
    assert log.log_time("in", {0: 2}) == 2
    log.close()


def test_topics_have_ids_partitions_and_ends(kafka: MemoryKafka) -> None:
    topics = MemoryTopics(kafka)
    kafka.send("in", b"v")
    assert topics.describe("in") == ("id-of-in", 2)
    assert topics.ends([P0, P1]) == {P0: 1, P1: 0}
    topics.ensure(["new", "in"])
    assert topics.describe("new")[1] == 1
    assert topics.describe("in")[1] == 2
    with pytest.raises(FatalError, match="'missing' does not exist"):
        topics.describe("missing")


def test_a_group_without_members_has_settled_nothing(kafka: MemoryKafka) -> None:
    assert not kafka.settled()
    reader = member(kafka)
    assert kafka.settled()
    kafka.send("in", b"v")
    assert not kafka.settled()
    reader.close()


def test_a_topic_that_is_not_named_is_there_if_others_are_allowed() -> None:
    kafka = MemoryKafka({"in": 1}, others=2)
    kafka.send("new", b"v", partition=1)
    assert [m.partition() for m in kafka.messages("new")] == [1]
    assert kafka.topics == ["in", "new"]


def test_records_of_one_key_stand_on_one_partition_unless_one_is_named() -> None:
    kafka = MemoryKafka({"in": 8})
    for key in (b"a", b"b", b"c", None):
        for _ in range(3):
            kafka.send("in", b"v", key=key)
    places = {(m.key(), m.partition()) for m in kafka.messages("in")}
    assert len(places) == 4
    assert len({partition for _, partition in places}) > 1
    assert (None, 0) in places


def test_time_stamps_are_those_of_its_clock() -> None:
    kafka = MemoryKafka({"in": 1}, clock=lambda: 7.5)
    kafka.send("in", b"v")
    assert [m.timestamp() for m in kafka.messages("in")] == [(1, 7500)]
    assert MemoryLog(kafka).log_time("in", {0: 1}) == 7


def test_a_transaction_that_was_open_for_too_long_is_over_and_the_next_one_is_not(
    kafka: MemoryKafka,
) -> None:
    reader, transactions = member(kafka), begun(kafka)
    transactions.send_offsets({P0: Frontier(1)}, reader.group_metadata())
    kafka.expire("id")
    assert reader.frontiers([P0]) == {P0: None}
    with pytest.raises(AbortableError, match="open for too long"):
        transactions.commit()
    transactions.abort()
    transactions.begin()
    transactions.produce("out", b"v", None, [])
    kafka.expire("nobody's")
    assert transactions.commit()
    assert [m.value() for m in kafka.messages("out")] == [b"v"]


def test_what_is_no_partition_is_refused(kafka: MemoryKafka) -> None:
    with pytest.raises(FatalError, match="no partition"):
        kafka.send("in", b"v", partition=2)


def test_partitions_that_are_given_back_are_told_before_they_are_gone(kafka: MemoryKafka) -> None:
    told: list[set[tuple[str, int]]] = []
    reader = MemoryReader(kafka)
    reader.subscribe(["in"], lambda given: told.append(set(given) & reader.assigned().keys()))
    reader.poll(1, 0)
    member(kafka)
    reader.poll(1, 0)
    assert len(told) == 1
    assert len(told[0]) == 1


def test_offsets_are_committed_by_members_of_the_group_alone(kafka: MemoryKafka) -> None:
    zombie = member(kafka)
    zombie.commit({P0: Frontier(1)}, wait=True)
    member(kafka)
    with pytest.raises(AbortableError):
        zombie.commit({P0: Frontier(2)}, wait=True)
    assert kafka.committed == {P0: Frontier(1)}
