import os
import signal
import subprocess
import sys
import threading

import pytest

from eos.testing.faults import Fault, faulty


class Port:
    """Any port: two methods and something that is no method."""

    name = "port"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def one(self, number: int, *, more: int = 0) -> int:
        self.calls.append("one")
        return number + more

    def two(self) -> None:
        self.calls.append("two")


def test_a_wrapped_port_answers_as_the_port_does() -> None:
    port = faulty(Port(), Fault("one", "before", 99))
    assert port.one(1, more=2) == 3
    assert port.name == "port"
    port.two()
    assert port.calls == ["one", "two"]


def test_a_fault_happens_at_its_call_and_no_other() -> None:
    seen: list[list[str]] = []
    inner = Port()
    port = faulty(inner, Fault("one", "before", 2, lambda: seen.append(list(inner.calls))))
    for _ in range(4):
        port.one(1)
        port.two()
    assert seen == [["one", "two"]]


def test_before_is_before_and_after_is_after() -> None:
    seen: list[list[str]] = []
    inner = Port()

    def look() -> None:
        seen.append(list(inner.calls))

    port = faulty(inner, Fault("one", "before", 1, look), Fault("one", "after", 1, look))
    port.one(1)
    assert seen == [[], ["one"]]


def test_a_fault_without_a_number_happens_each_time() -> None:
    seen: list[int] = []
    port = faulty(Port(), Fault("one", "after", None, lambda: seen.append(1)))
    port.one(1)
    port.one(1)
    assert seen == [1, 1]


def test_an_error_before_a_call_loses_the_request_and_one_after_it_the_answer() -> None:
    def away() -> None:
        raise TimeoutError

    inner = Port()
    port = faulty(inner, Fault("one", "before", 1, away), Fault("one", "after", 2, away))
    with pytest.raises(TimeoutError):
        port.one(1)
    assert inner.calls == []
    with pytest.raises(TimeoutError):
        port.one(1)
    assert inner.calls == ["one"]
    assert port.one(5) == 5


def test_a_fault_at_a_method_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError):
        faulty(Port(), Fault("three", "before"))


def test_ports_can_be_wrapped_twice() -> None:
    seen: list[str] = []
    port = faulty(Port(), Fault("one", "before", 1, lambda: seen.append("inner")))
    port = faulty(port, Fault("one", "before", 1, lambda: seen.append("outer")))
    port.one(1)
    assert seen == ["outer", "inner"]


def test_calls_are_counted_over_all_threads() -> None:
    seen: list[int] = []
    port = faulty(Port(), Fault("two", "before", 400, lambda: seen.append(1)))

    def calls() -> None:
        for _ in range(100):
            port.two()

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1]


def test_by_default_the_process_dies_as_by_kill_9() -> None:
    script = (
        "from eos.testing.faults import Fault, faulty\nfaulty([], Fault('clear', 'before')).clear()"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_process_can_be_stopped_and_go_on() -> None:
    script = (
        "from eos.testing.faults import Fault, faulty, stop\n"
        "faulty([], Fault('clear', 'before', action=stop)).clear()"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.wait(10) == 0
