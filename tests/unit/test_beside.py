"""What waits beside the line."""

import threading
from typing import Any

import pytest

from eos import build
from eos.core.errors import HungError
from eos.core.ports import Ports
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


def test_a_line_whose_client_never_comes_back_ends_instead_of_standing_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka, never = MemoryKafka({"in": 1, "out": 1}), threading.Event()
    kafka.send("in", b"a", headers=[("message-id", b"a")], partition=0)
    settings = Settings(group="g", brokers="a:1", ledger="memory:", commit_interval=0)
    ports: Ports = kafka.ports(MemoryLedger(60), "0")

    def hang() -> None:
        never.wait(60)

    hangs = Fault("send_offsets", "before", 1, hang)
    ports.transactions = faulty(ports.transactions, hangs)
    impatient: Any = Settle.__init__

    def init(self: Settle, **given: Any) -> None:
        impatient(self, **given, patience=0.2)

    monkeypatch.setattr(Settle, "__init__", init)
    line = build.line(
        settings, [Step("in", "out", lambda _: None, False, "f")], ports, lambda _: None
    )
    with pytest.raises(HungError):
        line.run(lambda: False)
    never.set()
