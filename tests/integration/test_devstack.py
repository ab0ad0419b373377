"""Real servers: they start, are hurt and heal, keep their data, and leave nothing behind."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from typer.testing import CliRunner

from eos.cli.dev import dev
from eos.devstack import DevStackError, Stack, running
from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until

SECONDS = 30

OPENER = """
import sys, time
from pathlib import Path
from eos.devstack import running
with running(Path(sys.argv[1])) as stack:
    print(*(server.pid for server in stack.servers), flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True, scope="module")
def own_servers() -> Iterator[None]:
    """These tests start servers even where the environment names running ones."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)
        environment.delenv("EOS_REDIS_URL", raising=False)
        yield


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running() as opened:
        yield opened


def new_topic(bootstrap_servers: str, *, copies: int = 1) -> str:
    topic = f"t-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    made = admin.create_topics([NewTopic(topic, 1, copies)])
    made[topic].result(SECONDS)
    return topic


def produce(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(SECONDS) == 0


def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes | None]:
    """Read the topic from its beginning until `count` records are there."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": uuid4().hex,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    values: list[bytes | None] = []
    deadline = time.monotonic() + SECONDS
    while len(values) < count and time.monotonic() < deadline:
        values += [each.value() for each in consumer.consume(count, 0.1) if not each.error()]
    consumer.close()
    return values


def gone(pid: int) -> bool:
    """Whether nothing runs under the pid; a dead process that nobody has reaped is gone too."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return not state or state.startswith("Z")


def test_what_is_produced_is_consumed(stack: Stack) -> None:
    topic = new_topic(stack.bootstrap_servers)

    produce(stack.bootstrap_servers, topic, b"hello")

    assert consume(stack.bootstrap_servers, topic, 1) == [b"hello"]


@pytest.mark.parametrize("down", ["stop", "kill"])
def test_a_broker_that_went_down_comes_back_with_its_data(stack: Stack, down: str) -> None:
    broker = stack.brokers[0]
    topic = new_topic(stack.bootstrap_servers)
    produce(stack.bootstrap_servers, topic, b"before")
    first_pid = broker.pid

    getattr(broker, down)()
    assert not broker.alive
    assert gone(first_pid)
    broker.start()
    produce(stack.bootstrap_servers, topic, b"after")

    assert broker.pid != first_pid
    assert consume(stack.bootstrap_servers, topic, 2) == [b"before", b"after"]


@pytest.mark.parametrize("down", ["stop", "kill"])
def test_redis_comes_back_with_its_data_and_settings(stack: Stack, down: str) -> None:
    client = redis.Redis.from_url(stack.redis_url, decode_responses=True)
    client.set("key", down)

    getattr(stack.redis, down)()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    stack.redis.start()

    assert client.get("key") == down
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    client.close()


def test_a_paused_server_answers_only_when_it_is_resumed(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.redis_url, socket_timeout=0.2)

    stack.redis.pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    stack.redis.resume()

    assert client.ping()
    client.close()


def test_a_paused_server_can_be_stopped(stack: Stack) -> None:
    stack.redis.pause()
    stack.redis.stop()

    assert not stack.redis.alive
    stack.redis.start()


def test_servers_named_by_the_environment_are_used_and_not_started(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EOS_BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("EOS_REDIS_URL", stack.redis_url)
    monkeypatch.setenv("PATH", str(tmp_path))  # no Java, no Redis: nothing could be started

    with running() as opened:
        assert opened.bootstrap_servers == stack.bootstrap_servers
        assert opened.redis_url == stack.redis_url
        assert opened.servers == ()
        with pytest.raises(DevStackError, match="did not start a Redis"):
            _ = opened.redis


def test_a_named_server_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eos.devstack.stack.GIVEN_SECONDS", 0.1)
    monkeypatch.setenv("EOS_REDIS_URL", "redis://127.0.0.1:1/0")

    with pytest.raises(DevStackError, match=r"EOS_REDIS_URL=redis://127.0.0.1:1/0 does not answer"):
        running().__enter__()


def test_a_lost_port_is_replaced(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EOS_BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    taken = int(stack.redis_url.removesuffix("/0").rpartition(":")[2])
    choices = iter([[taken], free_ports(1)])
    monkeypatch.setattr("eos.devstack.redis_server.free_ports", lambda _count: next(choices))

    with running() as opened:
        assert opened.redis_url != stack.redis_url
        assert redis.Redis.from_url(opened.redis_url).ping()


def test_a_killed_opener_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OPENER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as opener:
        assert opener.stdout
        servers = [int(pid) for pid in opener.stdout.readline().split()]
        guardian = os.getpgid(servers[0])
        assert len(servers) == 2

        opener.kill()

        assert wait_until(lambda: all(map(gone, [*servers, guardian])), seconds=SECONDS)


def test_up_status_and_down(tmp_path: Path) -> None:
    def eos_dev(command: str) -> tuple[int, str]:
        answer = CliRunner().invoke(dev, [command, "--folder", str(tmp_path / "dev")])
        return answer.exit_code, answer.output

    assert eos_dev("status")[0] == 1
    code, first = eos_dev("up")
    assert code == 0
    _, addresses = first.split("...\n")
    assert "export EOS_BOOTSTRAP_SERVERS=127.0.0.1:" in addresses
    try:
        assert eos_dev("up") == (0, f"It runs already.\n{addresses}")
        assert eos_dev("status") == (0, addresses)
        topic = new_topic(addresses.split()[1])
    finally:
        assert eos_dev("down") == (0, "Stopped.\n")
    assert eos_dev("down")[0] == 0
    assert eos_dev("status")[0] == 1

    # What was there is there again, at other ports.
    with running(tmp_path / "dev") as again:
        admin = AdminClient({"bootstrap.servers": again.bootstrap_servers})
        assert topic in admin.list_topics(timeout=SECONDS).topics


def test_what_is_missing_is_said_by_the_command_in_clear_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)

    for command in (["up"], []):
        answer = CliRunner().invoke(dev, [*command, "--folder", str(tmp_path / "dev")])

        assert answer.exit_code == 1
        assert "Java 17 or later is missing: install it" in answer.stderr
        assert "redis-server is missing: install it" in answer.stderr
        assert "Traceback" not in answer.output


def test_a_folder_of_another_cluster_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    note = tmp_path / "kafka" / "cluster.json"
    note.write_text('{"version": "3.9.0", "brokers": 1, "id": "x"}')

    with pytest.raises(DevStackError, match=r"holds data of Kafka 3\.9\.0"):
        running(tmp_path).__enter__()


def test_three_brokers_hold_three_copies_and_survive_the_loss_of_one(tmp_path: Path) -> None:
    with running(tmp_path, brokers=3, redis=False) as stack:
        assert stack.redis_url == ""
        assert len(set(stack.proxied_servers.split(","))) == 3
        topic = new_topic(stack.bootstrap_servers, copies=3)
        produce(stack.bootstrap_servers, topic, b"all")

        stack.brokers[0].kill()
        produce(stack.bootstrap_servers, topic, b"two")
        stack.brokers[0].start()
        produce(stack.bootstrap_servers, topic, b"again")

        assert consume(stack.bootstrap_servers, topic, 3) == [b"all", b"two", b"again"]
