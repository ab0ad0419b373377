"""The line on ports in memory: the order of its calls, and what it does when one of them fails.

Nothing here shows that a guarantee holds on a real broker; see `tests/integration`.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eos import build
from eos.build import lines
from eos.consume import step as consume
from eos.core.errors import AbortableError, FatalError, FencedError, RetriableError
from eos.core.events import Aborted, Assigned, Committed, Event, Recovered, Waiting
from eos.core.frontier import Frontier
from eos.core.ports import Ports
from eos.core.record import Message, Record, Send
from eos.core.rules import Verdict
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.handle import Step
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.faults import Fault, faulty
from eos.testing.memory import MemoryKafka

SECONDS = 10.0
ORDER = ["claim", "handle", "begin", "produce", "send_offsets", "confirm", "commit"]


class Bench:
    """Kafka and a ledger in memory, and lines that run on them until all is settled."""

    def __init__(self, partitions: int = 1, **settings: Any) -> None:
        self.kafka = MemoryKafka({"in": partitions, "out": 1})
        self.ledger = MemoryLedger(60)
        self.events: list[Event] = []
        given: dict[str, Any] = {"batch_wait": "5ms", "commit_interval": 0, **settings}
        self.settings = Settings(group="g", brokers="a:1", ledger="memory:", **given)

    def send(self, *keys: str, partition: int = 0) -> None:
        for key in keys:
            value = key.rstrip("'").encode()
            self.kafka.send("in", value, headers=[("message-id", value)], partition=partition)

    def run(
        self,
        handler: Callable[[Record], Any] = lambda r: Send(r.value),
        wrap: Callable[[Ports], None] = lambda _: None,
        slot: str = "0",
    ) -> list[bytes]:
        """Run a line until all is settled; give what it has sent."""
        deadline = threading.Event()
        timer = threading.Timer(SECONDS, deadline.set)
        timer.start()
        try:
            self.line(handler, wrap, slot).run(lambda: self.kafka.settled() or deadline.is_set())
        finally:
            timer.cancel()
        assert not deadline.is_set(), "\n".join(map(str, self.events[-20:]))
        return self.sent()

    def line(
        self,
        handler: Callable[[Record], Any] = lambda r: Send(r.value),
        wrap: Callable[[Ports], None] = lambda _: None,
        slot: str = "0",
    ) -> Any:
        ports = self.kafka.ports(self.ledger, slot)
        wrap(ports)
        step = Step("in", "out", handler, batch=False, name="step")
        return build.line(self.settings, [step], ports, self.events.append)

    def sent(self, topic: str = "out") -> list[bytes]:
        return [message.value() for message in self.kafka.messages(topic)]

    def saw(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def causes(self) -> list[str]:
        return [event.cause for event in self.saw(Aborted)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are there, and grow, but nobody waits for long."""
    monkeypatch.setattr(lines, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(consume, "_OPEN_POLL", 0.01)


def raising(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def test_a_batch_goes_through_the_steps_in_the_order_that_the_promise_rests_on() -> None:
    bench, calls = Bench(), []

    def note(method: str) -> Fault:
        return Fault(method, "before", None, lambda: calls.append(method))

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, note("claim"), note("confirm"))
        ports.transactions = faulty(
            ports.transactions, *map(note, ("begin", "produce", "send_offsets", "commit", "abort"))
        )

    def handler(record: Record) -> Send:
        calls.append("handle")
        return Send(record.value)

    bench.send("a")
    bench.run(handler, wrap)
    # The first claim is of nothing: it finds no seal, and the ledger is recovered. It is no harm
    # to abort where nothing was begun.
    assert [call for call in calls if call != "abort"] == ["claim", *ORDER]


def test_copies_are_suppressed_on_the_same_and_on_another_partition() -> None:
    bench = Bench(partitions=2)
    bench.send("a", "b", "a'")
    bench.send("b'", "c", partition=1)
    assert sorted(bench.run()) == [b"a", b"b", b"c"]
    tallies = [tally for event in bench.saw(Committed) for tally in event.tallies]
    assert sum(tally.verdicts.get(Verdict.DUPLICATE, 0) for tally in tallies) == 2
    assert sum(tally.same_partition for tally in tallies) == 1


def test_a_second_run_begins_where_the_first_has_settled() -> None:
    bench = Bench()
    bench.send("a", "b")
    bench.run()
    bench.send("c", "a'")
    assert bench.run() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "error",
    [AbortableError("for the test", "transaction"), RetriableError("away", "ledger")],
    ids=["abortable", "retriable"],
)
@pytest.mark.parametrize(
    ("port", "method"),
    [
        ("ledger", "take"),
        ("ledger", "claim"),
        ("ledger", "confirm"),
        ("ledger", "lock"),
        ("ledger", "open"),
        ("transactions", "prepare"),
        ("transactions", "begin"),
        ("transactions", "produce"),
        ("transactions", "send_offsets"),
        ("reader", "frontiers"),
        ("reader", "beginnings"),
        ("reader", "poll"),
        ("topics", "describe"),
    ],
)
def test_a_call_that_fails_once_is_made_good(
    port: str, method: str, when: Any, error: Exception
) -> None:
    bench = Bench(partitions=2)
    bench.send("a", "b", "a'")
    bench.send("c", partition=1)

    def wrap(ports: Ports) -> None:
        fault = Fault(method, when, 1, raising(error))
        setattr(ports, port, faulty(getattr(ports, port), fault))

    assert sorted(bench.run(wrap=wrap)) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("method", ["lose", "restart"])
@pytest.mark.parametrize(
    ("call", "when"), [("claim", "before"), ("claim", "after"), ("confirm", "before")]
)
def test_a_ledger_that_loses_its_memory_is_rebuilt_from_the_log(
    method: str, call: str, when: Any
) -> None:
    bench = Bench(batch_records=2)
    bench.send("a", "b", "c", "a'", "b'", "d", "c'", "d'")

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, Fault(call, when, 3, getattr(bench.ledger, method)))

    assert bench.run(wrap=wrap) == [b"a", b"b", b"c", b"d"]
    assert [event.cause for event in bench.saw(Recovered)] == ["closed", "closed"]


def test_a_ledger_that_falls_back_to_an_earlier_state_is_rebuilt_from_the_log() -> None:
    bench = Bench(batch_records=2)
    bench.send("a", "b")
    bench.run()
    early = bench.ledger.snapshot()
    bench.send("c", "d", "a'")
    bench.run()
    bench.ledger.restore(early)
    bench.send("c'", "d'", "e")
    assert bench.run() == [b"a", b"b", b"c", b"d", b"e"]


def test_claims_that_are_lost_under_a_good_seal_are_noticed_as_a_gap() -> None:
    bench = Bench(batch_records=2)
    bench.send("a", "b")
    bench.run()
    bench.send("c", "c'", "d")

    def forget() -> None:
        (state,) = bench.ledger._shards.values()  # noqa: SLF001
        state.claimed.clear()

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, Fault("claim", "before", 1, forget))

    assert bench.run(wrap=wrap) == [b"a", b"b", b"c", b"d"]
    assert bench.saw(Recovered)[-1].cause == "gap"


class Lossy:
    """Transactions whose third commit nobody answers."""

    def __init__(self, transactions: Any, *, arrives: bool) -> None:
        self._transactions = transactions
        self._arrives = arrives
        self._commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transactions, name)

    def commit(self) -> bool:
        self._commits += 1
        if self._commits != 3:
            return bool(self._transactions.commit())
        if self._arrives:
            self._transactions.commit()
        return False


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_that_nobody_answers_is_looked_up(*, arrives: bool) -> None:
    bench = Bench(batch_records=1)
    bench.send("a", "b", "c", "d")

    def wrap(ports: Ports) -> None:
        lossy: Any = Lossy(ports.transactions, arrives=arrives)
        ports.transactions = lossy

    assert bench.run(wrap=wrap) == [b"a", b"b", b"c", b"d"]
    assert any(event.resolved for event in bench.saw(Committed)) is arrives
    assert ("unknown_outcome" in bench.causes()) is not arrives


def test_a_rebalance_during_a_pause_does_not_bring_back_a_frontier_nobody_is_sure_of() -> None:
    # 1. A commit takes place; the answer is lost, and looking it up fails too: the worker pauses.
    # 2. During the pause the group rebalances, and the worker keeps its partition.
    # 3. The frontier in its memory lies below what is committed.
    bench = Bench(batch_records=1)
    bench.send("a", "b", "c", "d")
    away = raising(RetriableError("away"))

    def wrap(ports: Ports) -> None:
        lossy: Any = Lossy(ports.transactions, arrives=True)
        ports.transactions = faulty(lossy, Fault("settle_unknown", "before", 1, rebalance))

    def rebalance() -> None:
        with bench.kafka.changed:
            bench.kafka.rebalance()
        away()

    assert bench.run(wrap=wrap) == [b"a", b"b", b"c", b"d"]


def test_two_workers_share_the_work_and_do_it_once() -> None:
    bench = Bench(partitions=4, batch_records=3)
    for n in range(40):
        bench.send(f"id-{n}", f"id-{n}'", partition=n % 4)
    threads = [
        threading.Thread(target=bench.run, kwargs={"slot": str(n)}, daemon=True) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bench.sent()) == sorted(f"id-{n}".encode() for n in range(40))


def test_a_zombie_cannot_settle() -> None:
    # A handles a record and is held up; the group gives its partition to B, who settles it.
    bench = Bench()
    bench.send("a")
    held, release = threading.Event(), threading.Event()

    def slow(record: Record) -> Send:
        held.set()
        assert release.wait(SECONDS)
        return Send(record.value)

    stop = threading.Event()
    zombie_ports = bench.kafka.ports(bench.ledger, "zombie")
    step = Step("in", "out", slow, batch=False, name="step")
    events: list[Event] = []
    zombie = build.line(bench.settings, [step], zombie_ports, events.append)
    thread = threading.Thread(target=zombie.run, args=(stop.is_set,), daemon=True)
    thread.start()
    assert held.wait(SECONDS)
    reader: Any = zombie_ports.reader
    bench.kafka.leave(reader)
    assert bench.run(slot="other") == [b"a"]
    release.set()
    assert wait_until(
        lambda: any(isinstance(e, Aborted) and e.cause == "transaction" for e in events),
        seconds=SECONDS,
    )
    stop.set()
    thread.join()
    assert bench.sent() == [b"a"]


def test_a_worker_that_is_fenced_stops() -> None:
    bench = Bench()
    bench.send("a")

    def wrap(ports: Ports) -> None:
        twin = bench.kafka.ports(bench.ledger, "same").transactions
        ports.transactions = faulty(ports.transactions, Fault("begin", "before", 1, twin.prepare))

    with pytest.raises(FencedError):
        bench.run(wrap=wrap, slot="same")
    assert bench.sent() == []


@pytest.mark.parametrize("error", [FatalError("for the test"), ZeroDivisionError()])
def test_what_stops_the_line_settles_nothing_and_leaves_the_group(error: Exception) -> None:
    bench = Bench()
    bench.send("a")

    def wrap(ports: Ports) -> None:
        ports.transactions = faulty(
            ports.transactions, Fault("commit", "before", 1, raising(error))
        )

    with pytest.raises(type(error)):
        bench.run(wrap=wrap)
    assert bench.sent() == []
    assert bench.kafka.committed == {("in", 0): Frontier(0, topic_id="id-of-in")}
    # A later worker has the partition, and nothing is left open that it would wait for.
    assert bench.run(slot="later") == [b"a"]


def test_stopping_settles_what_is_handled() -> None:
    bench = Bench(commit_interval="1h")
    bench.send("a", "b")
    handled: list[bytes] = []

    def handler(record: Record) -> Send:
        handled.append(record.value or b"")
        return Send(record.value)

    bench.line(handler).run(lambda: len(handled) == 2)
    assert bench.sent() == [b"a", b"b"]
    assert bench.kafka.committed == {("in", 0): Frontier(2, topic_id="id-of-in")}


def test_batches_gather_in_one_transaction_until_the_interval_is_over() -> None:
    bench = Bench(batch_records=1, commit_interval="1h")
    bench.send("a", "b", "c")
    handled: list[bytes] = []

    def handler(record: Record) -> Send:
        handled.append(record.value or b"")
        return Send(record.value)

    bench.line(handler).run(lambda: len(handled) == 3)
    (committed,) = bench.saw(Committed)
    assert sum(tally.verdicts[Verdict.FRESH] for tally in committed.tallies) == 3


def test_a_ledger_that_is_away_pauses_the_line_and_loses_nothing() -> None:
    bench = Bench()
    bench.send("a")
    away = [
        Fault("claim", "before", n, raising(RetriableError("no connection", "ledger")))
        for n in (1, 2, 3)
    ]

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, *away)

    assert bench.run(wrap=wrap) == [b"a"]
    pauses = [event.seconds for event in bench.saw(Waiting) if event.on == "ledger"]
    assert len(pauses) == 3
    assert pauses[0] < pauses[2]


def test_a_dead_letter_is_settled_with_its_record() -> None:
    bench = Bench(retries=0)
    bench.send("a", "poison", "b")

    def handler(record: Record) -> Send:
        if record.value == b"poison":
            raise ValueError("no")
        return Send(record.value)

    assert bench.run(handler) == [b"a", b"b"]
    assert bench.sent(bench.settings.dead_letters) == [b"poison"]


def test_a_retry_of_the_handler_stays_in_the_group_and_keeps_the_order() -> None:
    bench = Bench(backoff="10ms")
    bench.send("a", "flaky", "b")

    def handler(record: Record) -> Send:
        if record.value == b"flaky" and record.attempt < 3:
            raise ValueError("no")
        return Send(record.value)

    assert bench.run(handler) == [b"a", b"flaky", b"b"]


@pytest.mark.parametrize("scope", ["topic", "partition"])
def test_the_scope_says_whether_copies_on_another_partition_are_copies(scope: str) -> None:
    bench = Bench(partitions=2, scope=scope)
    bench.send("a", "a'")
    bench.send("a'", partition=1)
    assert bench.run() == [b"a"] * (1 if scope == "topic" else 2)


def test_records_of_a_lost_partition_are_dropped_and_read_by_its_new_owner() -> None:
    # A poll returns records, and in the same poll the partition goes to somebody else.
    bench = Bench(partitions=2, batch_records=5)
    bench.send(*(f"a{n}" for n in range(10)))
    bench.send(*(f"b{n}" for n in range(10)), partition=1)
    other = bench.line(slot="other")
    thread = threading.Thread(target=other.run, args=(bench.kafka.settled,), daemon=True)
    joined = threading.Event()

    def handler(record: Record) -> Send:
        if not joined.is_set():
            joined.set()
            thread.start()
            assert wait_until(lambda: bench.kafka.generation == 2, seconds=SECONDS)
        return Send(record.value)

    bench.run(handler)
    thread.join()
    wanted = [f"{name}{n}".encode() for name in "ab" for n in range(10)]
    assert sorted(bench.sent()) == sorted(wanted)


def test_a_line_that_does_not_confirm_repeats_what_a_lost_claim_allowed() -> None:
    # The same story twice: A claims, the ledger loses it, B claims the copy; A goes on. It shows
    # that these ports can tell a broken line from a right one.
    assert [forced(confirms=True), forced(confirms=False)] == [1, 2]


def forced(*, confirms: bool) -> int:
    bench = Bench(partitions=2)
    held, release = threading.Event(), threading.Event()

    def slow(record: Record) -> Send:
        if record.partition == 0 and not held.is_set():
            held.set()
            assert release.wait(SECONDS)
        return Send(record.value)

    def wrap(ports: Ports) -> None:
        if not confirms:
            ledger: Any = ports.ledger
            unsure: Any = Unsure(ledger)
            ports.ledger = unsure

    stop, readers = threading.Event(), []

    def wrapped(ports: Ports) -> None:
        wrap(ports)
        readers.append(ports.reader)

    lines = [bench.line(slow, wrapped, slot=str(n)) for n in range(2)]
    threads = [
        threading.Thread(target=line.run, args=(stop.is_set,), daemon=True) for line in lines
    ]
    for n, thread in enumerate(threads):  # the first has partition 0
        thread.start()
        assert wait_until(lambda n=n: len(bench.saw(Assigned)) == n + 1, seconds=SECONDS)  # type: ignore[misc]
    both = [{("in", 0)}, {("in", 1)}]
    assert wait_until(lambda: [set(r.assigned()) for r in readers] == both, seconds=SECONDS)
    bench.send("key", partition=0)
    assert held.wait(SECONDS)
    bench.ledger.lose()
    bench.send("key'", partition=1)
    assert wait_until(lambda: bool(bench.saw(Committed)), seconds=SECONDS)
    release.set()
    assert wait_until(bench.kafka.settled, seconds=SECONDS)
    stop.set()
    for thread in threads:
        thread.join()
    return bench.sent().count(b"key")


class Unsure:
    """A ledger that confirms whatever it is asked."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def confirm(self, _shard: object, _seal: str) -> bool:
        return True


def test_the_message_protocol_is_what_confluent_gives() -> None:
    kafka = MemoryKafka({"t": 1})
    kafka.send("t", b"v", key=b"k", headers=[("h", b"1")], timestamp=5)
    (message,) = kafka.messages("t")
    as_protocol: Message = message
    assert (as_protocol.topic(), as_protocol.partition(), as_protocol.offset()) == ("t", 0, 0)
    assert (as_protocol.key(), as_protocol.value()) == (b"k", b"v")
    assert as_protocol.headers() == [("h", b"1")]
    assert as_protocol.timestamp() == (1, 5000)


def test_settings_of_a_line_are_not_changed_by_it() -> None:
    bench = Bench()
    before = replace(bench.settings)
    bench.send("a")
    bench.run()
    assert bench.settings == before
