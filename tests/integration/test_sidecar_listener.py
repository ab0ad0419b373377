"""What a sidecar answers itself, and to whom."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from eos.core.errors import ConfigError
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Config, Listen
from eos.doors.sidecar.sidecar import Sidecar
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.sidecar_kit import App, Door, Reply, ask, await_ready, deliver

TOKEN = "not-to-be-guessed"  # noqa: S105 a test's own


@pytest.fixture
def door(settings: Settings) -> Door:
    return Door(settings)


@pytest.fixture
def app() -> Iterator[App]:
    with App(lambda _: Reply()) as made:
        yield made


def with_token(config: Config, folder: Path) -> Config:
    file = folder / "token"
    file.write_text(f"{TOKEN}\n", encoding="ascii")
    listen = config.listen
    return replace(
        config,
        listen=Listen(address=listen.address, token_file=str(file), max_body=listen.max_body),
    )


def test_it_tells_how_it_fares(door: Door, cluster: Cluster, source: str, app: App) -> None:
    with door.running(door.config(app, deliver(source))) as url:
        await_ready(url)
        cluster.send(source, [Input("a", 0), Input("a", 1), Input("b", 1)])
        cluster.await_settled(door.settings.group, source)
        assert ask(f"{url}/healthz")[:2] == (200, {"status": "ok"})
        ready = {"ready": True, "draining": False, "waiting": {}}
        assert ask(f"{url}/readyz")[:2] == (200, ready)
        settled = {"fresh": 2, "duplicate": 1}
        assert wait_until(lambda: ask(f"{url}/v1/status")[1]["settled"] == settled, seconds=SECONDS)
        _, told, _ = ask(f"{url}/v1/status")
        _, metrics, headers = ask(f"{url}/metrics")
    assert told["pushed"] == {"handled": 2}
    assert sorted(told["partitions"]) == [f"{source}[0]", f"{source}[1]"]
    assert headers["content-type"].startswith("text/plain")
    labels = f'group="{door.settings.group}",topic="{source}"'
    assert f'eos_pushes_total{{fate="handled",{labels}}} 2.0' in metrics.replace(
        f'{labels},fate="handled"', f'fate="handled",{labels}'
    )


def test_one_that_has_no_partition_is_ready_too(
    door: Door, topic: Callable[..., str], app: App
) -> None:
    source = topic("one", partitions=1)
    first, second = (door.config(app, deliver(source)) for _ in range(2))
    spare = replace(second, settings=replace(second.settings, instance="spare"))
    with door.running(first) as url, door.running(spare) as other:
        await_ready(url)
        await_ready(other)

        def shared() -> bool:  # while the group shares them out, nobody has any
            found = [ask(f"{each}/v1/status")[1]["partitions"] for each in (url, other)]
            return sorted(found) == [[], [f"{source}[0]"]]

        assert wait_until(shared, seconds=SECONDS)
        assert [ask(f"{each}/readyz")[0] for each in (url, other)] == [200, 200]


def test_it_is_not_ready_before_it_reads(door: Door, source: str, app: App) -> None:
    door = door.with_settings(brokers="127.0.0.1:1")
    stop, config = threading.Event(), door.config(app, deliver(source))
    worker = threading.Thread(
        target=lambda: Sidecar(config).work(slot=0, stopping=stop.is_set), daemon=True
    )
    worker.start()
    url = f"http://{config.listen.address}"

    def waits() -> bool:
        try:
            status, told, _ = ask(f"{url}/readyz")
        except OSError:
            return False
        return status == 503 and "kafka" in told["waiting"]

    assert wait_until(waits, seconds=2 * SECONDS)
    stop.set()
    worker.join(2 * SECONDS)


def test_who_has_no_token_learns_nothing_but_its_health(
    door: Door, source: str, app: App, tmp_path: Path
) -> None:
    with door.running(with_token(door.config(app, deliver(source)), tmp_path)) as url:
        await_ready(url)
        for path in ("/metrics", "/v1/status", "/nothing"):
            for token in ("", "wrong", TOKEN + "x"):
                status, told, headers = ask(f"{url}{path}", token)
                assert (status, told["status"]) == (401, 401)
                assert headers["content-type"] == "application/problem+json"
                assert headers["www-authenticate"] == "Bearer"
        assert ask(f"{url}/healthz")[0] == 200
        assert ask(f"{url}/v1/status", TOKEN)[0] == 200


def test_wrong_requests_get_a_problem(door: Door, source: str, app: App) -> None:
    with door.running(door.config(app, deliver(source))) as url:
        await_ready(url)
        status, told, headers = ask(f"{url}/nothing")
        assert (status, told["detail"]) == (404, "there is no '/nothing'")
        assert headers["content-type"] == "application/problem+json"
        host, port = url.removeprefix("http://").split(":")
        with closing(HTTPConnection(host, int(port), timeout=SECONDS)) as line:
            line.request("DELETE", "/healthz")
            answer = line.getresponse()
            assert (answer.status, json.loads(answer.read())["status"]) == (405, 405)
        with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
            raw.sendall(b"\x00\xff nonsense\r\n\r\n")
            assert b"400" in raw.recv(1000)
        assert ask(f"{url}/healthz")[0] == 200


def test_it_listens_on_a_unix_socket_and_after_one_that_was_killed(
    door: Door, source: str, app: App, tmp_path: Path
) -> None:
    path = tmp_path / "eos.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    config = door.config(app, deliver(source))
    listen = Listen(address=f"unix:{path}", token_file=None, max_body=1 << 20)

    def healthy() -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as raw:
                raw.settimeout(SECONDS)
                raw.connect(str(path))
                raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                return b"200 OK" in raw.recv(1000)
        except OSError:
            return False

    with door.running(replace(config, listen=listen)):
        assert wait_until(healthy, seconds=SECONDS)


def test_an_address_that_is_taken_is_told(door: Door, source: str, app: App) -> None:
    config = door.config(app, deliver(source))
    host, port = config.listen.address.split(":")
    with (
        socket.create_server((host, int(port))),
        pytest.raises(ConfigError, match=r"\[listen\] address=.*in use"),
        door.running(config),
    ):
        pass
