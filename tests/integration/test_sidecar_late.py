"""An answer that comes too late, from whomever: it is refused, and its effect with it."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.sidecar_crew import Process, sidecar_command
from tests.integration.sidecar_kit import App, Push, Reply, ask, await_ready, event

CONFIG = """
    [kafka]
    group = "{group}"
    instance = "{name}"
    brokers = "{brokers}"
    settings = {{ "session.timeout.ms" = 1500, "heartbeat.interval.ms" = 300 }}
    [ledger]
    url = "{ledger}"
    [app]
    url = "{app}"
    timeout = "{timeout}"
    retries = 5
    [listen]
    address = "127.0.0.1:{port}"
    [[deliver]]
    topic = "{source}"
    to = "{to}"
"""


class Slow:
    """Answers the first push late, and all others at once."""

    def __init__(self) -> None:
        self.late = threading.Event()
        self._lock = threading.Lock()
        self._first = True

    def __call__(self, push: Push) -> Reply:
        with self._lock:
            first, self._first = self._first, False
        if first:
            assert self.late.wait(4 * SECONDS)
        return event(push.key, b"late" if first else b"in time")


def sidecar(folder: Path, name: str, **given: str) -> tuple[Process, str]:
    (port,) = free_ports(1)
    file = folder / f"{name}.toml"
    file.write_text(CONFIG.format(name=name, port=port, **given), encoding="utf-8")
    process = Process(sidecar_command(file), {}, folder / f"{name}.out")
    process.start()
    return process, f"http://127.0.0.1:{port}"


def values(cluster: Cluster, topic: str) -> list[bytes | None]:
    return [message.value() for message in cluster.read_committed(topic)]


def test_the_answer_to_a_sidecar_that_was_replaced_is_refused(
    cluster: Cluster, redis_url: str, namespace: str, topic: Callable[..., str], tmp_path: Path
) -> None:
    source, to, answer = topic("orders"), topic("receipts"), Slow()
    servers = {"brokers": cluster.bootstrap_servers, "ledger": redis_url, "group": namespace}
    with App(answer) as app:
        given = {**servers, "app": app.url, "timeout": "60s", "source": source, "to": to}
        old, at_old = sidecar(tmp_path, "old", **given)
        try:
            await_ready(at_old)
            cluster.send(source, [Input("o-1", 0)])
            assert wait_until(lambda: len(app.pushes) == 1, seconds=SECONDS)
            old.signal(signal.SIGSTOP)
            new, _ = sidecar(tmp_path, "new", **given)
            try:
                assert wait_until(lambda: values(cluster, to) == [b"in time"], seconds=2 * SECONDS)
                answer.late.set()
                old.signal(signal.SIGCONT)
                cluster.send(source, [Input("o-2", 0)])
                wanted = [b"in time", b"in time"]
                assert wait_until(lambda: values(cluster, to) == wanted, seconds=2 * SECONDS)

                def noticed() -> (
                    bool
                ):  # whoever reads now: the old one has seen that it was replaced
                    return "rebalance" in old.output.read_text(encoding="utf-8") or (
                        ask(f"{at_old}/v1/status")[1]["partitions"] == []
                    )

                assert wait_until(noticed, seconds=SECONDS)
                assert new.end() == 0
            finally:
                new.kill()
            assert old.end() == 0
        finally:
            old.kill()
    assert values(cluster, to) == [b"in time", b"in time"]
    tokens = [int(push.headers["eos-fencing-token"]) for push in app.pushes]
    assert tokens[0] < tokens[1]


def test_the_answer_to_a_call_that_was_given_up_is_not_read(
    cluster: Cluster, redis_url: str, namespace: str, topic: Callable[..., str], tmp_path: Path
) -> None:
    source, to, answer = topic("orders"), topic("receipts"), Slow()
    servers = {"brokers": cluster.bootstrap_servers, "ledger": redis_url, "group": namespace}
    with App(answer) as app:
        given = {**servers, "app": app.url, "timeout": "500ms", "source": source, "to": to}
        it, url = sidecar(tmp_path, "one", **given)
        try:
            await_ready(url)
            cluster.send(source, [Input("o-1", 0)])
            assert wait_until(lambda: len(app.pushes) >= 2, seconds=SECONDS)
            answer.late.set()
            cluster.send(source, [Input("o-2", 0)])
            wanted = [b"in time", b"in time"]
            assert wait_until(lambda: values(cluster, to) == wanted, seconds=2 * SECONDS)
            assert it.end() == 0
        finally:
            it.kill()
    assert [push.attempt for push in app.pushes] == [1, 2, 1]
