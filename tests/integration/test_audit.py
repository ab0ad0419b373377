"""The audit topic: what was suppressed, and in whose favour; without it recovery would lose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Message, Producer

from eos.core.audit import Entry, read
from eos.core.errors import AbortableError
from eos.core.events import Aborted, Recovered, Recovering, Waiting
from eos.core.ports import Audited, Ports
from eos.core.rules import Verdict
from eos.core.settings import Settings
from eos.operate import rereading
from eos.testing.faults import Fault, faulty
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.lines import Running, step
from tests.integration.test_ledger_loss import Story, flush

Read = Callable[[str], list[Message]]


def entries(cluster: Cluster, settings: Settings) -> list[Entry]:
    found = [read(message.value()) for message in cluster.read_committed(settings.audit)]
    return [entry for entry in found if entry is not None]


def test_each_suppressed_record_is_written_down_once_with_its_owner(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    inputs = with_copies(31, 100)
    cluster.send(source, inputs)
    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)
    assert_exactly_once(inputs, read_committed(to))

    found = entries(cluster, settings)
    records = {(m.partition(), m.offset()): m for m in cluster.read_committed(source)}
    assert len(found) == len(inputs) - 100
    assert len({entry.suppressed[:2] for entry in found}) == len(found)
    for entry in found:
        assert (entry.group, entry.topic) == (settings.group, source)
        assert entry.suppressed.verdict is Verdict.DUPLICATE
        one, other = (
            records[place] for place in (entry.suppressed[:2], entry.suppressed.owner[:2])
        )
        assert ids([one]) == ids([other])


def test_a_conflict_is_written_down_as_one(
    settings: Settings, source: str, to: str, cluster: Cluster
) -> None:
    cluster.send(source, [Input("a", 0, b"1"), Input("a", 1, b"2")])
    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)
    [entry] = entries(cluster, settings)
    assert entry.suppressed.verdict is Verdict.CONFLICT


def test_what_an_aborted_transaction_suppressed_is_not_written_down(
    settings: Settings, source: str, to: str, cluster: Cluster
) -> None:
    def fail() -> None:
        raise AbortableError("made up", "transaction")

    def wrap(ports: Ports) -> None:
        faults = [Fault("send_offsets", "after", call, fail) for call in (1, 2)]
        ports.transactions = faulty(ports.transactions, *faults)

    cluster.send(source, [Input("a", 0), Input("a", 0), Input("a", 1)])
    with Running(settings, [step(source, to)], wrap) as line:
        cluster.await_settled(settings.group, source)
    assert len([event for event in line.saw(Aborted) if event.cause == "transaction"]) == 2
    assert len(entries(cluster, settings)) == 2


# --- recovery ------------------------------------------------------------------------------
#
# Two workers, a partition each. One key, a copy on each partition.
#
# 1. A claims its copy: it owns the key. A is held up.
# 2. B's copy is suppressed in favour of it, and settled.
# 3. The ledger loses everything. B recovers it from the log, where A's record is not settled.
# 4. A goes on: its record must be handled.


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "without audit"])
def test_a_copy_that_was_suppressed_for_one_in_flight_does_not_become_the_owner(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Read,
    monkeypatch: pytest.MonkeyPatch,
    *,
    broken: bool,
) -> None:
    if broken:
        nothing = lambda *given: {p: Audited() for p in given[4]}  # noqa: E731
        monkeypatch.setattr(rereading, "audited", nothing)

    class Suppressed(Story):
        def play(self, of_b: int) -> None:
            self.cluster.send(self.source, [Input("key", 1 - of_b)])  # 1
            assert self.held.wait(SECONDS)
            self.send_to_b("key", of_b)  # 2
            flush(self.settings.ledger)()  # 3
            self.send_to_b("other", of_b)

    Suppressed(settings, source, to, cluster, hold_at="handler").tell()
    assert ids(read_committed(to)).count("key") == (0 if broken else 1)


@contextmanager
def open_transaction(servers: str, topic: str) -> Iterator[None]:
    """Have somebody else's transaction open in a topic."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": f"hangs-{topic}"})
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"somebody else's")
    assert producer.flush(SECONDS) == 0
    yield
    producer.abort_transaction(SECONDS)


def test_a_recovery_tells_how_much_it_has_still_to_read(
    settings: Settings, source: str, to: str, cluster: Cluster
) -> None:
    cluster.send(source, with_copies(33, 100))
    with Running(settings, [step(source, to)]) as line:
        cluster.await_settled(settings.group, source)
        before = len(line.saw(Recovering))
        flush(settings.ledger)()
        cluster.send(source, [Input("late", 0)])
        cluster.await_settled(settings.group, source)
    told = [event.left for event in line.saw(Recovering)[before:]]
    assert told[-1] == 0
    assert max(told) >= 100
    assert told == sorted(told, reverse=True)


def test_recovery_waits_for_whoever_has_a_transaction_open_in_the_audit_and_says_so(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Read,
    bootstrap_servers: str,
) -> None:
    inputs = with_copies(32, 50)
    with Running(settings, [step(source, to)]) as line:
        cluster.send(source, inputs)
        cluster.await_settled(settings.group, source)
        with open_transaction(bootstrap_servers, settings.audit):
            flush(settings.ledger)()
            late = [Input("late", 0), Input("late", 1)]
            cluster.send(source, late)
            line.until(
                lambda line: any(settings.audit in e.detail for e in line.saw(Waiting)),
                "word of the open transaction",
            )
            assert len(line.saw(Recovered)) == 1
        cluster.await_settled(settings.group, source)
    assert_exactly_once([*inputs, *late], read_committed(to))
    [said] = {e.detail for e in line.saw(Waiting) if settings.audit in e.detail}
    assert "kafka-transactions.sh" in said
