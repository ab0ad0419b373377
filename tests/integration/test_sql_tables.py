"""The tables of eos are made, checked and brought up to date, on PostgreSQL and SQLite."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, MetaData, inspect, text
from typer.testing import CliRunner

from eos.cli.db import db
from eos.core.errors import ConfigError, RetriableError
from eos.db import check, create, engine_of, metadata, migrate


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = engine_of(url)
    yield engine
    engine.dispose()


def add_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE eos_frontiers ADD COLUMN note VARCHAR(10)"))


def add_table(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE eos_more (id INTEGER)"))


def fail(_: Connection) -> None:
    raise RuntimeError("the third step fails")


def test_what_was_created_passes_the_check_and_may_be_created_again(engine: Engine) -> None:
    create(engine)
    create(engine)

    check(engine)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())
    assert all(name.startswith("eos_") for name in metadata.tables)
    assert migrate(engine) == []


def test_without_tables_the_message_names_the_command(engine: Engine) -> None:
    with pytest.raises(ConfigError, match=r"no tables of eos: run `eos db create .*`"):
        check(engine)
    with pytest.raises(ConfigError, match="nothing to migrate: run `eos db create"):
        migrate(engine)


def test_a_missing_table_or_column_is_named(engine: Engine) -> None:
    create(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE eos_suppressed"))
        connection.execute(text("ALTER TABLE eos_frontiers DROP COLUMN updated_at"))

    with pytest.raises(ConfigError) as raised:
        check(engine)

    assert "table eos_suppressed" in str(raised.value)
    assert "column eos_frontiers.updated_at" in str(raised.value)


def test_tables_of_an_older_version_are_refused_until_they_are_migrated(engine: Engine) -> None:
    create(engine)
    steps = [add_column, add_table]

    with pytest.raises(ConfigError, match=r"version 1, not 3: run `eos db migrate .*`"):
        check(engine, steps)
    with pytest.raises(ConfigError, match="run `eos db migrate"):
        create(engine, steps)
    assert migrate(engine, steps) == [2, 3]

    check(engine, steps)
    assert inspect(engine).has_table("eos_more")
    assert migrate(engine, steps) == []


def test_a_migration_that_fails_leaves_nothing_half_done(engine: Engine) -> None:
    create(engine)

    with pytest.raises(RuntimeError, match="third step"):
        migrate(engine, [add_column, add_table, fail])

    check(engine)
    assert not inspect(engine).has_table("eos_more")
    assert migrate(engine, [add_column, add_table]) == [2, 3]


def test_tables_of_a_newer_version_are_refused(engine: Engine) -> None:
    create(engine, [add_column])

    for refused in (check, create, migrate):
        with pytest.raises(ConfigError, match="version 2, this eos knows 1: install a newer one"):
            refused(engine)


def test_tables_that_alembic_made_need_no_version(engine: Engine) -> None:
    theirs = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(theirs)
    theirs.create_all(engine)

    check(engine)
    create(engine)
    check(engine)


@pytest.mark.parametrize("command", [create, migrate])
def test_many_at_once_do_it_once(url: str, command: Callable[..., object]) -> None:
    steps = [add_column, add_table] if command is migrate else []
    if steps:
        create(engine_of(url))
    done: list[object] = []

    def run() -> None:
        engine = engine_of(url)
        done.append(command(engine, steps))
        engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(done) == 5
    assert not steps or sorted(map(str, done)) == ["[2, 3]", "[]", "[]", "[]", "[]"]
    check(engine_of(url), steps)


def test_the_commands_do_the_same(url: str) -> None:
    def eos_db(command: str) -> tuple[int, str]:
        answer = CliRunner().invoke(db, [command, url])
        return answer.exit_code, answer.output

    code, told = eos_db("check")
    assert code == 1
    assert "run `eos db create" in told
    code, told = eos_db("create")
    assert code == 0
    assert "eos_frontiers" in told
    assert eos_db("check") == (0, "The tables are as they should be.\n")
    assert eos_db("migrate") == (0, "There was nothing to do.\n")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:hidden@127.0.0.1:1/mine", "gives no connection: check that it runs"),
        ("mysql://me:hidden@127.0.0.1/mine", "is no database that eos knows: write postgresql://"),
        ("nonsense", "is no database that eos knows"),
        ("sqlite:////no/such/folder/db.sqlite", "cannot be opened"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line_without_the_password(url: str, told: str) -> None:
    answer = CliRunner().invoke(db, ["check", url])

    assert answer.exit_code == 1
    assert told in answer.output
    assert "hidden" not in answer.output
    assert "Traceback" not in answer.output


def test_a_missing_database_and_a_refused_login_are_told(postgres_url: str) -> None:
    server = postgres_url.rpartition("/")[0]
    told = r"user, password and name.*does not exist"
    for url in (f"{server}/nosuch", postgres_url.replace("postgres@", "nobody@")):
        with pytest.raises(RetriableError, match=told):
            check(engine_of(url))
