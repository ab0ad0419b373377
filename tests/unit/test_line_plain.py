"""The line on ports in memory where effects lie outside of Kafka, and what a failed try leaves.

Nothing here shows that a guarantee holds on a real broker; see `tests/integration`.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from eos import build
from eos.build import lines
from eos.consume import step as consume
from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Claimed, Committed, Event, Settled, Waiting
from eos.core.frontier import PLAIN, Frontier
from eos.core.ports import Ports
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.handle import Step
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.faults import Fault, faulty
from eos.testing.memory import MemoryKafka

SECONDS = 10.0
P0, P1 = ("in", 0), ("in", 1)


class CrashError(BaseException):
    """Ends a line as a kill does: nothing that it would have done happens."""


class Bench:
    """Kafka and a ledger in memory, and the effects of lines that run on them."""

    def __init__(self, partitions: int = 1, **settings: Any) -> None:
        self.kafka = MemoryKafka({"in": partitions, "out": 1})
        self.ledger = MemoryLedger(60)
        self.events: list[Event] = []
        self.effects: list[tuple[bytes, bool]] = []
        given: dict[str, Any] = {"batch_wait": "5ms", "commit_interval": 0, **settings}
        self.settings = Settings(group="g", brokers="a:1", ledger="memory:", **given)

    def send(self, *keys: str, partition: int = 0) -> None:
        for key in keys:
            value = key.rstrip("'").encode()
            self.kafka.send("in", value, headers=[("message-id", value)], partition=partition)

    def effect(self, record: Record) -> None:
        self.effects.append((record.value or b"", record.in_doubt))

    def line(
        self,
        handler: Callable[[Record], Any] | None = None,
        wrap: Callable[[Ports], None] = lambda _: None,
        slot: str = "0",
    ) -> Any:
        ports = self.kafka.ports(self.ledger, slot)
        wrap(ports)
        step = Step("in", None, handler or self.effect, batch=False, name="step")
        return build.line(self.settings, [step], ports, self.events.append)

    def run(
        self,
        handler: Callable[[Record], Any] | None = None,
        wrap: Callable[[Ports], None] = lambda _: None,
        slot: str = "0",
    ) -> list[tuple[bytes, bool]]:
        """Run a line until all is settled; give the effects so far."""
        deadline = threading.Event()
        timer = threading.Timer(SECONDS, deadline.set)
        timer.start()
        try:
            line = self.line(handler, wrap, slot)
            line.run(lambda: self.kafka.settled() or deadline.is_set())
        finally:
            timer.cancel()
        assert not deadline.is_set(), "\n".join(map(str, self.events[-20:]))
        return self.effects

    def crash(
        self,
        handler: Callable[[Record], Any] | None = None,
        wrap: Callable[[Ports], None] = lambda _: None,
    ) -> None:
        """Run a line into its death."""
        with pytest.raises(CrashError):
            self.run(handler, wrap, slot="dead")

    def saw(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def letters(self) -> list[bytes]:
        return [m.value() for m in self.kafka.messages(self.settings.dead_letters)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are there, and grow, but nobody waits for long."""
    monkeypatch.setattr(lines, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(consume, "_OPEN_POLL", 0.01)


def crash() -> None:
    raise CrashError


def dying_at(bench: Bench, value: bytes, when: str) -> Callable[[Record], None]:
    def handler(record: Record) -> None:
        if record.value == value and when == "before":
            raise CrashError
        bench.effect(record)
        if record.value == value:
            raise CrashError

    return handler


def test_effects_settle_without_any_transaction_and_kafka_s_offset_follows() -> None:
    bench, transactions = Bench(), []

    def wrap(ports: Ports) -> None:
        begin = Fault("begin", "before", None, lambda: transactions.append(1))
        ports.transactions = faulty(ports.transactions, begin)

    bench.send("a", "b", "a'")
    assert bench.run(wrap=wrap) == [(b"a", False), (b"b", False)]
    assert transactions == []
    assert bench.kafka.committed == {P0: Frontier(3, tier=PLAIN, topic_id="id-of-in")}
    assert bench.saw(Settled)
    assert not bench.saw(Committed)


def test_nothing_is_in_doubt_at_the_first_start_of_a_group() -> None:
    bench = Bench(in_doubt="skip")
    bench.send("a", "b", "c")
    assert bench.run() == [(b"a", False), (b"b", False), (b"c", False)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("policy", "expected", "letters"),
    [
        # c did not begin when its worker died. With retry the mark covers the whole batch.
        ("retry", [(b"a", True), (b"b", True), (b"c", True)], []),
        ("skip", [(b"c", False)], []),
        ("dead_letter", [(b"c", False)], [b"a", b"b"]),
    ],
)
def test_after_a_crash_the_policy_says_what_becomes_of_what_had_begun(
    policy: str, expected: list[tuple[bytes, bool]], letters: list[bytes], when: str
) -> None:
    bench = Bench(in_doubt=policy)
    bench.send("a", "b", "c")
    bench.crash(dying_at(bench, b"b", when))
    before = list(bench.effects)
    assert bench.run() == before + expected
    assert bench.letters() == letters


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_crash_a_function_can_tell_what_took_place(when: str) -> None:
    bench: Bench = Bench(
        in_doubt="reconcile", reconcile=lambda r: r.value in {value for value, _ in bench.effects}
    )
    bench.send("a", "b", "c")
    bench.crash(dying_at(bench, b"b", when))
    assert [value for value, _ in bench.run()] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("port", "method"),
    [("ledger", "claim"), ("ledger", "settle"), ("reader", "commit"), ("ledger", "take")],
)
def test_a_worker_that_dies_at_any_call_repeats_only_what_it_flags(
    port: str, method: str, when: Any
) -> None:
    bench = Bench(batch_records=2)
    bench.send("a", "b", "c", "a'", "d")
    call = 1 if method == "take" else 2

    def wrap(ports: Ports) -> None:
        setattr(ports, port, faulty(getattr(ports, port), Fault(method, when, call, crash)))

    bench.crash(wrap=wrap)
    effects = bench.run()
    assert {value for value, _ in effects} == {b"a", b"b", b"c", b"d"}
    first = [value for value, in_doubt in effects if not in_doubt]
    assert len(first) == len(set(first)), effects


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "error", [AbortableError("for the test", "transaction"), RetriableError("away", "ledger")]
)
@pytest.mark.parametrize("method", ["claim", "begin", "settle", "take"])
def test_a_call_that_fails_once_repeats_nothing_unflagged(
    method: str, error: Exception, when: Any
) -> None:
    bench: Bench = Bench(in_doubt="reconcile", reconcile=lambda r: r.value in dict(bench.effects))
    bench.send("a", "b", "c", "a'")

    def fail() -> None:
        raise error

    def wrap(ports: Ports) -> None:
        ports.ledger = faulty(ports.ledger, Fault(method, when, 1, fail))

    assert [value for value, _ in bench.run(wrap=wrap)] == [b"a", b"b", b"c"]


def test_what_was_marked_ahead_and_not_begun_is_not_in_doubt_for_the_same_worker() -> None:
    bench = Bench(backoff="1ms")
    bench.send("a", "b")
    failed: list[bool] = []

    def handler(record: Record) -> None:
        if not failed:
            failed.append(True)
            raise ValueError("no")
        bench.effect(record)

    assert bench.run(handler) == [(b"a", True), (b"b", False)]


def test_a_failed_try_comes_again_in_doubt_and_its_count_stands_beside_the_offset() -> None:
    bench = Bench(backoff="1ms", retries=3)
    bench.send("a", "flaky", "b")
    seen: list[tuple[int, bool, Frontier]] = []

    def handler(record: Record) -> None:
        bench.effect(record)
        if record.value == b"flaky" and record.attempt < 3:
            raise ValueError("no")
        seen.append((record.attempt, record.in_doubt, bench.kafka.committed[P0]))

    bench.run(handler)
    assert [value for value, _ in bench.effects] == [b"a", b"flaky", b"flaky", b"flaky", b"b"]
    assert seen[1] == (3, True, Frontier(1, attempts=2, tier=PLAIN, topic_id="id-of-in"))


@pytest.mark.parametrize("plain", [False, True])
def test_a_successor_goes_on_counting_tries(*, plain: bool) -> None:
    bench = Bench(retries=2, backoff=0)
    bench.send("poison")
    tries: list[int] = []

    def handler(record: Record) -> None:
        tries.append(record.attempt)
        raise ValueError("no")

    for _ in range(3):
        step = Step("in", None if plain else "out", handler, batch=False, name="step")
        ports = bench.kafka.ports(bench.ledger, "0")
        line = build.line(bench.settings, [step], ports, bench.events.append)
        before = len(tries)
        line.run(lambda before=before: len(tries) > before)  # type: ignore[misc]
    assert tries == [1, 2, 3]
    assert bench.letters() == [b"poison"]


def test_a_dead_letter_of_a_plain_record_and_its_offset_are_one_transaction() -> None:
    bench = Bench(retries=0)
    bench.send("a", "poison", "b")

    def handler(record: Record) -> None:
        if record.value == b"poison":
            raise ValueError("no")
        bench.effect(record)

    bench.run(handler)
    assert (bench.letters(), [v for v, _ in bench.effects]) == ([b"poison"], [b"a", b"b"])
    assert [event.outputs for event in bench.saw(Committed)] == [1]


def test_a_pause_is_a_short_one_again_once_something_was_settled() -> None:
    # A ledger that goes away now and then, in the life of a worker, is away for the first time
    # each time.
    bench = Bench(batch_records=1)
    bench.send(*map(str, range(12)))

    def away() -> None:
        raise RetriableError("no connection", "ledger")

    def wrap(ports: Ports) -> None:
        faults = [Fault("claim", "before", n, away) for n in range(4, 20, 2)]
        ports.ledger = faulty(ports.ledger, *faults)

    bench.run(wrap=wrap)
    pauses = [event.seconds for event in bench.saw(Waiting)]
    assert len(pauses) == 8
    assert max(pauses) < 0.01  # the first one is of 0.002


def turned(bench: Bench, line: Any, event: type) -> None:
    """Take turns until the line has told of something."""
    for _ in range(100):
        line.attempt(line.turn)
        if bench.saw(event):
            return
    raise AssertionError(bench.events)


def test_what_is_handled_is_settled_before_its_partition_is_given_back() -> None:
    bench = Bench(partitions=2, commit_interval="1h")
    bench.send("a", "b", partition=1)
    line = bench.line()
    turned(bench, line, Settled)
    assert bench.kafka.committed[P1] == Frontier(0, tier=PLAIN, topic_id="id-of-in")
    line.settle.give_back([P1])
    assert bench.kafka.committed[P1] == Frontier(2, tier=PLAIN, topic_id="id-of-in")


def test_what_waits_for_a_transaction_is_settled_before_its_partition_is_given_back() -> None:
    bench = Bench(partitions=2, commit_interval="1h")
    bench.send("a", "b", partition=1)
    step = Step("in", "out", lambda r: Send(r.value), batch=False, name="step")
    line = build.line(bench.settings, [step], bench.kafka.ports(bench.ledger), bench.events.append)
    turned(bench, line, Claimed)
    assert bench.kafka.committed[P1] == Frontier(0, topic_id="id-of-in")
    line.settle.give_back([P0])  # nothing of it waits
    assert bench.kafka.committed[P1] == Frontier(0, topic_id="id-of-in")
    line.settle.give_back([P1])
    assert bench.kafka.committed[P1] == Frontier(2, topic_id="id-of-in")
    assert [m.value() for m in bench.kafka.messages("out")] == [b"a", b"b"]
