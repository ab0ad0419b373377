"""What only a ledger in a database can suffer, and do."""

import multiprocessing
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, select, text, update

from eos.core.errors import ConfigError, RetriableError
from eos.core.ports import Claimed, Claims
from eos.core.record import Shard
from eos.core.rules import Verdict
from eos.stores.sql import ledger_book
from eos.stores.sql.ledger import SqlLedger
from eos.stores.sql.ledger_tables import generations, owners, shards
from eos.testing.ledger_suite.desk import BASE, GENERATION, WINDOW, Desk, Rec
from tests.conformance.rigs import SqliteRig, SqlRig

FRESH, AGAIN, DUPLICATE = Verdict.FRESH, Verdict.AGAIN, Verdict.DUPLICATE
WORKERS, BATCHES, SIZE = 4, 12, 25


@pytest.fixture(params=["sqlite", "postgresql"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> SqlRig:
    if request.param == "sqlite":
        return SqliteRig(tmp_path / "ledger.db")
    return SqlRig(request.getfixturevalue("ledger_url"))


@pytest.fixture
def engine(rig: SqlRig) -> Iterator[Engine]:
    yield rig.engine
    rig.engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def records(n: int, name: str = "key", time: int = BASE) -> list[Rec]:
    return [Rec(f"{name}-{i}", time=time) for i in range(n)]


# --- many at once ---------------------------------------------------------------------------


def claim_all(url: str, shard: Shard, partition: int, epoch: int) -> list[list[str]]:
    """Claim the same keys as everybody else, at positions of this partition."""
    ledger = SqlLedger(url, window=WINDOW, generation=GENERATION)
    told = []
    for start in range(0, BATCHES * SIZE, SIZE):
        claims = Claims(partition, epoch, 0, start, start + SIZE)
        claims.offsets = list(range(start, start + SIZE))
        claims.digests = [f"{n:012}".encode() for n in claims.offsets]
        claims.fingerprints, claims.times = [1] * SIZE, [BASE] * SIZE
        answer = ledger.claim(shard, [claims])
        assert isinstance(answer, Claimed), answer
        told.append([str(verdict) for verdict in answer.verdicts])
    ledger.close()
    return told


def each_key_has_one_owner(told: list[list[list[str]]]) -> None:
    verdicts = Counter(verdict for worker in told for batch in worker for verdict in batch)
    keys = BATCHES * SIZE
    assert verdicts == {"fresh": keys, "duplicate": (WORKERS - 1) * keys}
    for at in range(BATCHES):
        for n in range(SIZE):
            assert sum(worker[at][n] == "fresh" for worker in told) == 1


def test_threads_that_claim_the_same_keys_at_once_agree_on_one_owner(rig: SqlRig) -> None:
    desk = Desk.opened(rig, partitions=WORKERS)
    told: list[list[list[str]]] = []

    def work(partition: int) -> None:
        epoch = desk.epochs[partition]
        told.append(claim_all(rig.url, desk.shard, partition, epoch))

    threads = [threading.Thread(target=work, args=(p,)) for p in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    each_key_has_one_owner(told)


def test_processes_that_claim_the_same_keys_at_once_agree_on_one_owner(rig: SqlRig) -> None:
    desk = Desk.opened(rig, partitions=WORKERS)
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        asked = [(rig.url, desk.shard, p, desk.epochs[p]) for p in range(WORKERS)]
        each_key_has_one_owner(pool.starmap(claim_all, asked))


def test_one_ledger_may_be_used_by_several_threads(rig: SqlRig) -> None:
    desk = Desk.opened(rig, partitions=WORKERS)
    failed: list[BaseException] = []

    def work(partition: int) -> None:
        try:
            for start in range(0, 100, 10):
                assert desk.verdicts(partition, start, *records(10, f"{partition}-{start}")) == (
                    [FRESH] * 10
                )
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(p,)) for p in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {p: t.claimed for p, t in desk.take(0, 1, 2, 3).items()} == dict.fromkeys(range(4), 100)


# --- what a database may suffer ---------------------------------------------------------------


def test_a_restart_that_lost_nothing_closes_nothing(rig: SqlRig) -> None:
    desk = Desk.opened(rig)
    seal = desk.ask(desk.claims(0, 0, *records(10))).seal
    desk.ledger.close()
    desk.ledger = rig.ledger(window=WINDOW, generation=GENERATION)
    assert desk.ledger.confirm(desk.shard, seal)
    assert desk.verdicts(1, 0, *records(10)) == [DUPLICATE] * 10


def test_a_shard_whose_seal_an_operator_takes_away_is_closed_and_keeps_its_owners(
    rig: SqlRig, engine: Engine
) -> None:
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, *records(10))
    with engine.begin() as connection:
        connection.execute(update(shards).values(seal=None))
    desk.closed(desk.claims(0, 10, Rec("b")))
    desk.open({0: 10, 1: 0})
    assert desk.verdicts(1, 0, *records(10)) == [DUPLICATE] * 10


def test_an_older_copy_put_back_into_the_file_is_noticed_by_who_lives_through_it(
    file: Path, tmp_path: Path
) -> None:
    desk = Desk.opened(SqliteRig(file))
    desk.verdicts(0, 0, *records(10))
    older = tmp_path / "older.db"
    copy_into(file, older)
    desk.verdicts(0, 10, *records(10, "lost"))
    seen = file.stat().st_ino
    copy_into(older, file)
    assert file.stat().st_ino == seen, "the file is the same one"
    # Partition 1 did not go on since: neither gap nor frontier says that owners are lost.
    desk.closed(desk.claims(1, 0, *records(10, "lost")))
    desk.closed(desk.claims(1, 0, *records(10, "lost")))
    desk.open({0: 10, 1: 0})
    assert desk.verdicts(0, 0, Rec("key-0"), frontier=0) == [Verdict.SETTLED]


def test_an_older_copy_put_back_while_nobody_looks_shows_as_a_gap(
    file: Path, tmp_path: Path
) -> None:
    desk = Desk.opened(SqliteRig(file))
    desk.verdicts(0, 0, *records(10))
    older = tmp_path / "older.db"
    copy_into(file, older)
    desk.verdicts(0, 10, *records(10, "lost"))
    desk.ledger.close()
    copy_into(older, file)
    desk.ledger = SqlLedger(f"sqlite:///{file}", window=WINDOW, generation=GENERATION)
    assert desk.take(0)[0].claimed == 10, "below the frontier of the log: recovered"


def copy_into(source: Path, target: Path) -> None:
    """Copy a database page by page, as `.backup` and `.restore` of the shell do."""
    with sqlite3.connect(source) as given, sqlite3.connect(target) as taken:
        given.backup(taken)


def test_a_file_that_is_removed_is_closed_and_made_anew(file: Path) -> None:
    desk = Desk.opened(SqliteRig(file))
    desk.verdicts(0, 0, Rec("a"))
    desk.ledger.close()
    for each in file.parent.glob("ledger.db*"):
        each.unlink()
    desk.closed(desk.claims(0, 1, Rec("b")))


def test_another_file_in_its_place_is_another_database(file: Path, tmp_path: Path) -> None:
    desk = Desk.opened(SqliteRig(file))
    desk.verdicts(0, 0, Rec("a"))
    desk.ledger.close()
    shutil.copy(file, tmp_path / "copy")
    (tmp_path / "copy").replace(file)
    desk.closed(desk.claims(0, 1, Rec("b")))


# --- tables -----------------------------------------------------------------------------------


def test_a_fresh_sqlite_file_gets_its_tables(file: Path) -> None:
    assert not file.exists()
    desk = Desk.opened(SqliteRig(file))
    assert desk.verdicts(0, 0, Rec("a")) == [FRESH]


def test_postgresql_without_tables_names_the_command_that_makes_them(postgres_url: str) -> None:
    ledger = SqlLedger(postgres_url, window=WINDOW)
    with pytest.raises(ConfigError, match="eos db create"):
        ledger.take(Shard("ns", "group", "topic"), [0])


def test_tables_that_are_dropped_under_a_running_ledger_are_named(postgres_url: str) -> None:
    engine = SqlRig(postgres_url).engine
    with pytest.raises(ConfigError):
        Desk.opened(SqlRig(postgres_url))
    shards.metadata.create_all(engine)
    desk = Desk.opened(SqlRig(postgres_url))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE eos_ledger_owners"))
    with pytest.raises(ConfigError, match="eos db create"):
        desk.verdicts(0, 0, Rec("a"))
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_a_sqlite_ledger_needs_a_file(url: str) -> None:
    with pytest.raises(ConfigError, match=r"ledger\.db"):
        SqlLedger(url, window=WINDOW)


def test_a_server_that_is_away_may_come_back() -> None:
    ledger = SqlLedger("postgresql://nobody:secret@127.0.0.1:1/none", window=WINDOW)
    with pytest.raises(RetriableError) as caught:
        ledger.take(Shard("ns", "group", "topic"), [0])
    assert caught.value.on == "ledger"
    assert "secret" not in str(caught.value)


def test_a_file_that_is_locked_for_long_is_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eos.stores.sql.ledger_server.BUSY_SECONDS", 0)
    desk = Desk.opened(SqliteRig(file))
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetriableError) as caught:
            desk.verdicts(0, 0, Rec("a"))
        other.execute("ROLLBACK")
    assert caught.value.on == "ledger"
    assert desk.verdicts(0, 0, Rec("a")) == [FRESH]


def test_a_full_disk_claims_nothing_and_nothing_half(file: Path) -> None:
    desk = Desk.opened(SqliteRig(file))
    ledger = desk.ledger
    assert isinstance(ledger, SqlLedger)
    with Pages(ledger, 1), pytest.raises(RetriableError, match="room"):
        desk.verdicts(0, 0, *records(2000))
    assert desk.take(0)[0].claimed == 0
    assert desk.verdicts(1, 0, *records(2000)) == [FRESH] * 2000


class Pages:
    """Lets the database grow no further."""

    def __init__(self, ledger: SqlLedger, pages: int) -> None:
        self._engine = ledger._server.engine  # noqa: SLF001 - the limit is one of a connection
        self._pages = pages

    def _set(self, pages: int) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    def __enter__(self) -> None:
        self._set(self._pages)

    def __exit__(self, *_: object) -> None:
        self._set(2**30)


# --- what goes --------------------------------------------------------------------------------


def test_a_generation_that_goes_is_deleted_a_part_with_each_call(
    rig: SqlRig, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_book, "DELETED_AT_ONCE", 400)
    with engine.begin() as connection:
        if rig.url.startswith("postgresql"):
            connection.execute(delete(owners))
    desk = Desk.opened(rig)
    desk.verdicts(0, 0, *records(1000))
    passed, left = BASE + GENERATION + WINDOW, []
    for _ in range(4):
        assert desk.advance({0: passed, 1: passed}) == 0
        with engine.connect() as connection:
            left.append(connection.execute(select(func.count()).select_from(owners)).scalar())
    assert left == [600, 200, 0, 0]
    with engine.connect() as connection:
        going = select(func.count()).select_from(generations).where(generations.c.ends.is_(None))
        assert connection.execute(going).scalar() == 0
