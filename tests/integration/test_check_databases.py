"""`eos check` on real databases: each fault is brought about, and named."""

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from eos.db import create, engine_of
from eos.devstack import Server, Stack
from tests.integration.check_kit import Checked, check, only


def ledger(folder: Path, url: str) -> Checked:
    return check(folder, "--json", "--ledger", url)


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
