"""`eos check` on real ledgers and databases: each fault is brought about, and named."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import text

from eos.core.record import Shard
from eos.core.settings import Settings
from eos.db import create, engine_of
from eos.devstack import Server, Stack, running
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


# --- Redis ----------------------------------------------------------------------------------


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
    (port,) = free_ports(1)
    options = ["--port", str(port), "--dir", str(tmp_path), "--cluster-enabled", "yes"]
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


# --- PostgreSQL -------------------------------------------------------------------------------


def database(folder: Path, url: str) -> Checked:
    return check(folder, "--json", "--db", url)


def test_tables_that_are_missing_or_old_are_faults_with_the_command_that_helps(
    tmp_path: Path, postgres_url: str
) -> None:
    missing = database(tmp_path, postgres_url)
    engine = engine_of(postgres_url)
    create(engine)
    fine = database(tmp_path, postgres_url)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_schema SET version = version + 1"))
    newer = database(tmp_path, postgres_url)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_schema SET version = version - 2"))
    older = database(tmp_path, postgres_url)
    engine.dispose()

    assert (missing.code, fine.code, newer.code, older.code) == (1, 0, 1, 1)
    only(missing.faults, "tables", "eos db create")
    assert fine.faults == []
    only(newer.faults, "tables", "install a newer one")
    only(older.faults, "tables", "eos db migrate")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_an_encoding_that_cannot_hold_all_text_is_a_fault(
    tmp_path: Path, postgres_url: str, encoding: str
) -> None:
    server, _, name = postgres_url.rpartition("/")
    other = f"{name}_{encoding.lower()}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {other} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
        found = database(tmp_path, f"{server}/{other}")
        admin.execute(f"DROP DATABASE {other} WITH (FORCE)")

    assert found.code == 1
    only(found.faults, f"encoding is {encoding}", "ENCODING 'UTF8'")


def test_rights_that_are_lacking_and_commits_that_may_be_forgotten_are_named(
    tmp_path: Path, postgres_url: str
) -> None:
    create(engine := engine_of(postgres_url))
    engine.dispose()
    user = f"u{tmp_path.name.replace('-', '_')}"[:60].lower()
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE USER {user}")
        admin.execute(f"ALTER USER {user} SET synchronous_commit = off")
        admin.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}"
        )
        admin.execute(f"REVOKE INSERT ON eos_outbox FROM {user}")
        found = database(tmp_path, postgres_url.replace("postgres@", f"{user}@"))
        admin.execute(f"DROP OWNED BY {user}")
        admin.execute(f"DROP USER {user}")

    assert found.code == 1
    assert len(found.faults) == 1
    only(found.faults, "INSERT on eos_outbox is not allowed", "grant")
    only(found.warnings, "synchronous_commit=off", "committed must mean kept")


def test_frontiers_of_another_cluster_are_a_warning(
    tmp_path: Path, postgres_url: str, bootstrap_servers: str, namespace: str, source: str
) -> None:
    create(engine := engine_of(postgres_url))
    with engine.begin() as db:
        db.execute(
            text(
                "INSERT INTO eos_frontiers (namespace, consumer_group, topic_id, partition, topic,"
                " next_offset) VALUES (:n, :n, 'another', 0, :t, 5)"
            ),
            {"n": namespace, "t": source},
        )
    engine.dispose()
    servers = ["--brokers", bootstrap_servers, "--db", postgres_url]

    found = check(tmp_path, "--json", *servers, "--group", namespace, "--topic", source)

    only(found.warnings, "frontiers", f"a former topic {source}", "correct the addresses")


def test_a_database_that_is_away_or_unknown_is_told_without_its_password(
    postgres: Server, own_database: Stack, tmp_path: Path
) -> None:
    url = own_database.postgres_url.replace("postgres@", "postgres:s3cret@")
    unknown = database(tmp_path, url.rpartition("/")[0] + "/nowhere")
    postgres.kill()
    away = database(tmp_path, url)

    assert (unknown.code, away.code) == (1, 1)
    only(unknown.faults, "nowhere")
    only(away.faults, "server", "check that it runs")
    assert "s3cret" not in unknown.out + away.out


def test_a_database_that_hangs_is_given_up_in_time(
    postgres: Server, own_database: Stack, tmp_path: Path
) -> None:
    postgres.pause()
    found = database(tmp_path, own_database.postgres_url)

    assert found.code == 1
    only(found.faults, "server")


# --- SQLite -----------------------------------------------------------------------------------


def test_a_ledger_in_a_file_is_made_by_the_first_worker_and_not_by_the_check(
    tmp_path: Path,
) -> None:
    found = ledger(tmp_path, f"sqlite:///{tmp_path / 'ledger.db'}")
    nowhere = ledger(tmp_path, f"sqlite:///{tmp_path / 'no' / 'ledger.db'}")

    assert (found.code, found.faults) == (0, [])
    only(found.fine, "the first worker makes the file")
    assert not (tmp_path / "ledger.db").exists()
    assert nowhere.code == 1
    only(nowhere.faults, "there is no folder", "create it")


def test_a_file_without_a_write_ahead_log_is_a_warning(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'effects.db'}"
    create(engine := engine_of(url))
    before = database(tmp_path, url)
    with engine.connect() as db:
        db.exec_driver_sql("PRAGMA journal_mode = WAL")
    engine.dispose()
    after = database(tmp_path, url)

    assert (before.code, after.code) == (0, 0)
    only(before.warnings, "journal mode delete", "PRAGMA journal_mode = WAL")
    only(after.fine, "SQLite", "wal")
    assert not any("journal" in line for line in after.warnings)
