"""What waits beside the line."""

import threading
from typing import Any

import pytest

from eos import build
from eos.core.errors import HungError
from eos.core.events import Committed, Event, Waiting
from eos.core.ports import Ports
from eos.core.record import Send
from eos.core.settings import Settings
from eos.handle import Step
from eos.settle import Settle
from eos.settle.beside import Beside
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.faults import Fault, faulty
from eos.testing.memory import MemoryKafka


def test_calls_run_one_after_the_other_and_give_what_they_gave() -> None:
    beside, order = Beside(), list[int]()
    futures = [beside.submit(order.append, number) for number in range(5)]
    assert [future.result(5) for future in futures] == [None] * 5
    assert order == [0, 1, 2, 3, 4]
    beside.shutdown()


def test_an_error_is_raised_where_the_outcome_is_asked_for() -> None:
    beside = Beside()
    with pytest.raises(ZeroDivisionError):
        beside.submit(divmod, 1, 0).result(5)
    assert beside.submit(len, "abc").result(5) == len("abc")
    beside.shutdown()


class Kit:
    """A line over memory ports whose producer hangs in one of its calls, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.kafka = MemoryKafka({"in": 1, "out": 1})
        self.free, self.told = threading.Event(), list[Event]()
        settings = Settings(group="g", brokers="a:1", ledger="memory:", commit_interval=0)
        ports: Ports = self.kafka.ports(MemoryLedger(60), "0")
        hangs = Fault(method, "before", 1, self._hang)
        ports.transactions = faulty(ports.transactions, hangs)
        impatient: Any = Settle.__init__

        def init(settle: Settle, **given: Any) -> None:
            impatient(settle, **given, patience=0.4, overdue=0.2)

        monkeypatch.setattr(Settle, "__init__", init)
        steps = [Step("in", "out", lambda record: Send(record.value), False, "f")]
        self.line = build.line(settings, steps, ports, self.told.append)
        self.kafka.send("in", b"a", headers=[("message-id", b"a")], partition=0)

    def _hang(self) -> None:
        self.free.wait(60)

    def sent(self) -> list[Any]:
        """Give what was committed to the output."""
        return [message.value() for message in self.kafka.messages("out")]


def test_a_transaction_that_hangs_before_its_commit_is_given_up_and_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kit = Kit(monkeypatch, "send_offsets")
    kit.line.run(lambda: any(isinstance(event, Committed) for event in kit.told))
    assert "kafka" in [event.on for event in kit.told if isinstance(event, Waiting)]
    assert kit.sent() == [b"a"]

    kit.free.set()  # the old call comes back: it may not touch what others do by now
    old = [thread for thread in threading.enumerate() if thread.name == "settle"]
    for thread in old:
        thread.join(5)
    assert kit.sent() == [b"a"]


def test_a_line_whose_commit_never_comes_back_ends_instead_of_standing_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kit = Kit(monkeypatch, "commit")
    with pytest.raises(HungError):
        kit.line.run(lambda: False)
    kit.free.set()
