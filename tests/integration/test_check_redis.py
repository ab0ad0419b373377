"""`eos check` on a real Redis: each fault is brought about, and named."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from eos.core.record import Shard
from eos.core.settings import Settings
from eos.devstack import Stack, running
from eos.devstack.ports import free_ports
from eos.devstack.redis_server import answers
from eos.devstack.waiting import wait_until
from eos.kafka import config
from eos.kafka.topics import KafkaTopics
from eos.stores.redis import wire
from tests.integration.check_kit import Checked, check, only, write_app


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Stack]:
    """A Redis that nobody else needs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_REDIS_URL", raising=False)
        with running(brokers=0) as opened:
            yield opened


@pytest.fixture
def server(own_redis: Stack) -> Iterator[Any]:
    """A client of it; its settings are as before afterwards."""
    own_redis.redis.resume()
    own_redis.redis.start()
    with closing(redis.Redis.from_url(own_redis.redis_url)) as client:
        yield client


def ledger(folder: Path, url: str) -> Checked:
    return check(folder, "--json", "--ledger", url)


@contextmanager
def changed(client: Any, **settings: object) -> Iterator[None]:
    """Change settings of a Redis, for a while."""
    named = {name.replace("_", "-"): value for name, value in settings.items()}
    before = {name: client.config_get(name)[name] for name in named}
    try:
        for name, value in named.items():
            client.config_set(name, value)
        yield
    finally:
        for name, value in before.items():
            client.config_set(name, value)


def test_a_redis_that_may_evict_keys_is_a_fault(
    server: Any, own_redis: Stack, tmp_path: Path
) -> None:
    with changed(server, maxmemory_policy="allkeys-lru"):
        found = ledger(tmp_path, own_redis.redis_url)
    after = ledger(tmp_path, own_redis.redis_url)

    assert found.code == 1
    assert "set it to noeviction" in only(found.faults, "maxmemory-policy allkeys-lru")
    assert (after.code, after.faults) == (0, [])


def test_a_redis_without_room_is_a_fault_and_one_that_is_nearly_full_a_warning(
    server: Any, own_redis: Stack, tmp_path: Path
) -> None:
    used = server.info("memory")["used_memory"]
    with changed(server, maxmemory=used // 2):
        full = ledger(tmp_path, own_redis.redis_url)
    with changed(server, maxmemory=used * 11 // 10):
        nearly = ledger(tmp_path, own_redis.redis_url)

    assert full.code == 1
    only(full.faults, "memory", "takes no more keys", "raise maxmemory")
    assert nearly.code == 0
    only(nearly.warnings, "memory", "raise maxmemory")


def test_what_a_restart_costs_is_told(server: Any, own_redis: Stack, tmp_path: Path) -> None:
    only(ledger(tmp_path, own_redis.redis_url).fine, "persistence", "append-only file")
    with changed(server, appendonly="no"):
        only(ledger(tmp_path, own_redis.redis_url).fine, "persistence", "keeps nothing")
        with changed(server, save="3600 1"):
            only(ledger(tmp_path, own_redis.redis_url).fine, "persistence", "snapshots")


def test_hashes_that_outgrow_their_packing_are_a_warning(
    server: Any, own_redis: Stack, tmp_path: Path
) -> None:
    with changed(server, hash_max_listpack_entries=16):
        found = ledger(tmp_path, own_redis.redis_url)

    only(found.warnings, "hash-max-listpack-entries is 16", "set it to 128")


def test_a_user_with_too_few_rights_and_one_whose_login_is_refused_are_told_apart(
    server: Any, own_redis: Stack, tmp_path: Path
) -> None:
    place = own_redis.redis_url.removeprefix("redis://")
    reader = ("ACL", "SETUSER", "reader", "on", ">s3cret", "~eos*", "+info", "+time", "+ping")
    server.execute_command(*reader, "+client", "+hget")

    denied = ledger(tmp_path, f"redis://reader:s3cret@{place}")
    refused = ledger(tmp_path, f"redis://reader:other-s3cret@{place}")

    assert (denied.code, refused.code) == (1, 1)
    only(denied.faults, "rights", "too few rights", "evalsha")
    only(denied.fine, "memory")
    only(refused.faults, "refuses the login", "check user and password")
    assert "s3cret" not in denied.out + refused.out


def test_a_redis_that_does_not_tell_its_policy_is_a_warning_only_if_nobody_tells(
    server: Any, own_redis: Stack, tmp_path: Path
) -> None:
    """Hosted servers forbid CONFIG: INFO tells the policy all the same."""
    place = own_redis.redis_url.removeprefix("redis://")
    server.execute_command("ACL", "SETUSER", "hosted", "on", ">s", "~*", "+@all", "-config")

    found = ledger(tmp_path, f"redis://hosted:s@{place}")

    assert (found.code, found.faults) == (0, [])
    only(found.fine, "version and policy", "will do")


def test_a_replica_is_a_fault(server: Any, own_redis: Stack, tmp_path: Path) -> None:
    server.replicaof("127.0.0.1", 1)
    try:
        found = ledger(tmp_path, own_redis.redis_url)
    finally:
        server.replicaof("NO", "ONE")

    assert found.code == 1
    only(found.faults, "is a replica", "point EOS_LEDGER at the primary")


def test_a_node_of_a_cluster_is_a_fault(tmp_path: Path) -> None:
    port, bus = free_ports(2)  # else the bus takes the port plus 10,000, which may be none
    options = ["--port", str(port), "--cluster-port", str(bus), "--dir", str(tmp_path)]
    options += ["--cluster-enabled", "yes"]
    with subprocess.Popen(
        ["redis-server", *options, "--save", ""], stdout=subprocess.DEVNULL
    ) as it:
        try:
            url = f"redis://127.0.0.1:{port}/0"
            assert wait_until(lambda: answers(url), seconds=20)
            found = ledger(tmp_path, url)
        finally:
            it.kill()

    assert found.code == 1
    only(found.faults, "is a node of Redis Cluster", "only one server is supported")


def test_keys_of_another_layout_are_a_fault(
    tmp_path: Path, bootstrap_servers: str, redis_url: str, namespace: str, source: str, to: str
) -> None:
    conf = config.client(Settings(group=namespace, brokers=bootstrap_servers))
    topic_id, _ = KafkaTopics(conf).describe(source)
    with closing(redis.Redis.from_url(redis_url)) as client:
        client.hset(wire.meta_key(Shard(namespace, namespace, topic_id)), "layout", "1")
    servers = {"brokers": bootstrap_servers, "ledger": redis_url}

    found = check(
        tmp_path, write_app(tmp_path, group=namespace, source=source, to=to, **servers), "--json"
    )

    assert found.code == 1
    only(found.faults, f"holds keys of topic {source} in layout 1", "purge")


@pytest.mark.usefixtures("server")
def test_a_redis_that_is_away_hides_nothing_of_the_brokers(
    own_redis: Stack, tmp_path: Path, bootstrap_servers: str
) -> None:
    own_redis.redis.kill()

    found = check(
        tmp_path, "--json", "--brokers", bootstrap_servers, "--ledger", own_redis.redis_url
    )

    assert found.code == 1
    only(found.faults, "cannot be reached", "check that it runs")
    only(found.warnings, "not checked", "memory")
    only(found.fine, "1 broker, cluster")


@pytest.mark.usefixtures("server")
def test_a_redis_that_hangs_is_given_up_in_time(own_redis: Stack, tmp_path: Path) -> None:
    own_redis.redis.pause()
    found = ledger(tmp_path, own_redis.redis_url)

    assert found.code == 1
    only(found.faults, "did not answer in time")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://user:pass/word@host:1/0", "its URL cannot be read"),
        ("redis://127.0.0.1:1", "reach"),
    ],
)
def test_a_ledger_s_address_that_is_wrong_is_told_without_the_password(
    tmp_path: Path, url: str, told: str
) -> None:
    found = ledger(tmp_path, url)

    assert found.code == 1
    only(found.faults, told)
    assert "pass/word" not in found.out
