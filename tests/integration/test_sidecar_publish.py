"""Publishing over HTTP: once, however often it is asked for."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import eos
from eos.core.settings import Settings
from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Config, Listen, Outbox, Publish
from eos.doors.sidecar.sidecar import Sidecar
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.sidecar_kit import App, Door, Reply, ask, await_ready, deliver, post

EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "ordered"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


@pytest.fixture
def door(settings: Settings) -> Door:
    return Door(settings)


@pytest.fixture
def out(topic: Callable[..., str]) -> str:
    return topic("out")


def config(door: Door, *topics: str, timeout: float = 10.0, **settings: Any) -> Config:
    (port,) = free_ports(1)
    return Config(
        settings=replace(door.settings, **settings),
        listen=Listen(address=f"127.0.0.1:{port}"),
        publish=Publish(topics=topics, timeout=timeout),
    )


def key(text: str) -> dict[str, str]:
    return {"idempotency-key": json.dumps(text)}


def finally_(at: str, body: bytes, headers: dict[str, str]) -> Any:
    """Make a call, and again, until it is answered for good."""
    for _ in range(1000):
        answer = post(at, body, headers)
        if answer[0] not in {409, 503}:
            return answer
    raise AssertionError(f"no answer for good, at last {answer}")


def values(cluster: Cluster, topic: str) -> list[bytes]:
    return [message.value() or b"" for message in cluster.read_committed(topic)]


def test_a_call_that_is_made_again_gets_the_same_answer_and_publishes_nothing(
    door: Door, cluster: Cluster, out: str
) -> None:
    with door.running(config(door, out)) as url:
        await_ready(url)
        first = post(f"{url}/v1/topics/{out}", b"seven", key("order-7"))
        again = post(f"{url}/v1/topics/{out}", b"seven", {"idempotency-key": "order-7"})
        other = post(f"{url}/v1/topics/{out}", b"eight", key("order-7"))
        told = ask(f"{url}/v1/status")[1]["publish"]
        metrics = ask(f"{url}/metrics")[1]
    assert first[0] == again[0] == 200
    assert first[1] == again[1]
    assert again[2]["idempotent-replayed"] == "true"
    assert (other[0], other[2]["content-type"]) == (422, "application/problem+json")
    (message,) = cluster.read_committed(out)
    headers: dict[str, Any] = dict(message.headers() or [])
    assert message.value() == b"seven"
    assert first[1] == {"topic": out, "ids": [headers["message-id"].decode()]}
    assert told["answered"] == {"200": 2, "422": 1}
    assert told["settled"] == {"fresh": 1, "duplicate": 1, "conflict": 1}
    labels = f'group="{door.settings.namespace}.publish",status="422",topic="{out}"'
    assert f"eos_publish_calls_total{{{labels}}} 1.0" in metrics


def test_another_sidecar_gives_the_same_answer(door: Door, cluster: Cluster, out: str) -> None:
    with (
        door.running(config(door, out)) as one,
        door.running(config(door, out, instance="other")) as other,
    ):
        await_ready(one)
        await_ready(other)

        def call(url: str, n: int) -> Any:
            return finally_(f"{url}/v1/topics/{out}", b"%d" % n, key(f"k-{n}"))[:2]

        with ThreadPoolExecutor(16) as pool:
            found = [
                list(pool.map(call, urls, range(50)))
                for urls in ([one] * 50, [other] * 50, [one, other] * 25)
            ]
    assert found[0] == found[1] == found[2]
    assert {status for status, _ in found[0]} == {200}
    assert sorted(values(cluster, out)) == sorted(b"%d" % n for n in range(50))


def test_events_are_published_as_events(door: Door, cluster: Cluster, out: str) -> None:
    binary = {f"ce-{name}": value for name, value in EVENT.items()}
    whole = {"content-type": "application/cloudevents+json"}
    batch = [{**EVENT, "id": str(n), "partitionkey": "c", "data": n} for n in range(3)]
    with door.running(config(door, out)) as url:
        await_ready(url)
        at = f"{url}/v1/topics/{out}"
        assert post(at, b"x", binary)[0] == 200
        again = post(at, json.dumps({**EVENT, "data_base64": "eA=="}).encode(), whole)
        # The same event, with another content type: its key is its source and id.
        assert again[0] == 422
        status, told, _ = post(at, json.dumps(batch).encode(), {**BATCH, **key("b")})
        assert (status, len(told["ids"])) == (200, 3)
    found = cluster.read_committed(out)
    headers: Sequence[dict[str, Any]] = [dict(message.headers() or []) for message in found]
    assert [each["ce_id"] for each in headers] == [b"7", b"0", b"1", b"2"]
    assert [message.key() for message in found] == [None, b"c", b"c", b"c"]


def test_what_nobody_can_do_gets_a_problem_and_publishes_nothing(
    door: Door, cluster: Cluster, out: str
) -> None:
    small = config(door, out)
    small = replace(small, listen=replace(small.listen, max_body=10_000))
    with door.running(small) as url:
        await_ready(url)
        at, binary = (
            f"{url}/v1/topics/{out}",
            {f"ce-{name}": value for name, value in EVENT.items()},
        )
        wrong = [
            (post(at, b"x"), 400),
            (post(at, b"x", {"idempotency-key": '"open'}), 400),
            (post(at, b"x", key("k" * 300)), 400),
            (post(at, b"{", {"content-type": "application/cloudevents+json"}), 400),
            (post(at, b"x", {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "s"}), 400),
            (post(at, b"x", {**binary, "ce-id": "a%0d%0aevil: 1"}), 400),
            (post(at, b"[]", {**BATCH, **key("k")}), 400),
            (post(at, b"[" + b"{}," * 4000 + b"{}]", {**BATCH, **key("k")}), 413),
            (post(at, b"x" * 10_001, key("k")), 413),
            (post(f"{url}/v1/topics/other", b"x", key("k")), 404),
            (post(f"{url}/v1/topics/%2e%2e%2fhealthz", b"x", key("k")), 404),
            (ask(at), 405),
        ]
        for (status, told, headers), wanted in wrong:
            assert (status, told["status"]) == (wanted, wanted)
            assert headers["content-type"] == "application/problem+json"
        assert post(at, b"last", key("last"))[0] == 200
    assert values(cluster, out) == [b"last"]


def test_keys_are_those_of_the_caller(
    door: Door, cluster: Cluster, out: str, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("shop s3cret-1\nbilling s3cret-2\n", encoding="utf-8")
    secured = config(door, out)
    secured = replace(secured, listen=replace(secured.listen, token_file=str(tokens)))
    with door.running(secured) as url:
        await_ready(url)
        found = [
            post(
                f"{url}/v1/topics/{out}", body, {**key("k"), "authorization": f"Bearer s3cret-{n}"}
            )[0]
            for n, body in ((1, b"shop"), (2, b"billing"), (1, b"other"), (3, b"nobody"))
        ]
    assert found == [200, 200, 422, 401]
    assert sorted(values(cluster, out)) == [b"billing", b"shop"]


def test_a_body_that_does_not_come_is_not_waited_for(door: Door, out: str) -> None:
    with door.running(config(door, out, timeout=0.5)) as url:
        await_ready(url)
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /v1/topics/{out} HTTP/1.1\r\nhost: x\r\nidempotency-key: k\r\n"
        with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
            raw.sendall(f"{head}content-length: 10\r\n\r\nhalf".encode())
            assert raw.recv(1000).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
            raw.sendall(f"{head}content-length: 10\r\n\r\nhalf".encode())
        assert finally_(f"{url}/v1/topics/{out}", b"whole", key("k"))[0] == 200


def test_a_message_that_the_brokers_do_not_take_is_refused_at_once(
    door: Door, cluster: Cluster, out: str
) -> None:
    with door.running(config(door, out, kafka={"message.max.bytes": 5000})) as url:
        await_ready(url)
        status, told, _ = post(f"{url}/v1/topics/{out}", b"x" * 4900, key("a"))
        assert (status, "5000" in told["detail"]) == (413, True)
        assert post(f"{url}/v1/topics/{out}", b"x" * 4000, key("a"))[0] == 200
    assert values(cluster, out) == [b"x" * 4000]


def test_a_topic_that_does_not_exist_is_told_at_the_start(door: Door, out: str) -> None:
    deadline = time.monotonic() + SECONDS
    with pytest.raises(eos.FatalError, match="'nowhere' does not exist"):
        Sidecar(config(door, out, "nowhere")).work(
            slot=0, stopping=lambda: time.monotonic() > deadline, emit=door.events.append
        )


def test_a_ledger_that_was_lost_is_put_back_from_the_calls(
    door: Door, cluster: Cluster, out: str, redis_url: str
) -> None:
    import redis  # noqa: PLC0415

    with door.running(config(door, out)) as url:
        await_ready(url)
        at = f"{url}/v1/topics/{out}"
        assert [post(at, b"%d" % n, key(f"{n}"))[0] for n in range(20)] == [200] * 20
        redis.Redis.from_url(redis_url).flushall()
        again = [post(at, b"%d" % n, key(f"{n}")) for n in range(20)]
    assert [(status, got.get("idempotent-replayed")) for status, _, got in again] == [
        (200, "true")
    ] * 20
    assert len(values(cluster, out)) == 20


def test_brokers_that_are_away_do_not_hold_a_caller_for_ever(door: Door, out: str) -> None:
    away = config(door, out, timeout=0.5, brokers="127.0.0.1:1")
    with door.running(away) as url:
        at = f"{url}/v1/topics/{out}"
        for _ in range(3):
            status, told, headers = _reached(at)
            assert (status, headers["retry-after"]) == (503, "1")
            assert "is safe" in told["detail"]

        def waits() -> bool:
            return "publish kafka" in ask(f"{url}/readyz")[1]["waiting"]

        assert wait_until(waits, seconds=SECONDS)


def _reached(at: str) -> Any:
    for _ in range(100):
        try:
            return post(at, b"x", key("k"))
        except OSError:
            continue
    raise AssertionError("it does not listen")


def test_one_process_delivers_publishes_and_relays(
    door: Door, cluster: Cluster, topic: Callable[..., str], engine: Engine
) -> None:
    source, receipts = topic("orders"), topic("receipts")
    with App(lambda _: Reply()) as app:
        whole = replace(
            config(door, source),
            app=door.config(app).app,
            deliver=(deliver(source),),
            outbox=Outbox(database=engine.url.render_as_string(hide_password=False), poll=0.1),
        )
        with door.running(whole) as url:
            await_ready(url)
            with engine.begin() as db:
                eos.Outbox(engine).add(db, receipts, b"paid")
            assert post(f"{url}/v1/topics/{source}", b"order", key("o-1"))[0] == 200
            assert post(f"{url}/v1/topics/{source}", b"order", key("o-1"))[0] == 200

            def done() -> bool:
                told = ask(f"{url}/v1/status")[1]
                return (told["pushed"], told["outbox"]["published"]) == ({"handled": 1}, 1)

            assert wait_until(done, seconds=SECONDS)
    assert [push.body for push in app.pushes] == [b"order"]
    assert values(cluster, receipts) == [b"paid"]
