"""Effects in a database happen once: they and the frontier are one transaction.

The table that takes the effects has no constraint: a duplicate would be a second row.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Message
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from eos.core.errors import ConfigError, FatalError
from eos.core.events import Aborted, Retried, Settled
from eos.core.record import Record
from eos.core.settings import Settings
from eos.handle import Step
from eos.stores.sql import tables
from tests.fault.rows import rows
from tests.integration.cluster import Cluster, Input
from tests.integration.copies import with_copies
from tests.integration.lines import Running
from tests.integration.processes import Worker, fault, quick
from tests.integration.worker import insert

DISTINCT = 60
POINTS = [
    ("db", "execute", 17),  # one of lock, insert and advance: the numbers fall on each of them
    ("db", "execute", 23),
    ("db", "execute", 30),
    ("effects", "check", 3),
    ("effects", "commit", 3),
    ("ledger", "claim", 5),
    ("ledger", "confirm", 4),
]
JOINED = [
    ("effects", "lock", 6),
    ("effects", "claim", 3),
    ("db", "execute", 21),
    ("db", "exec_driver_sql", 6),
    ("effects", "advance", 5),
    ("effects", "commit", 3),
]
WHEN = ["before", "after"]
BOTH = pytest.mark.parametrize("ledger", ["beside", "joined"], indirect=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def into(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database with our tables, and one that effects are added to."""
    if request.param == "sqlite":
        return made(f"sqlite:///{tmp_path / 'effects.db'}")
    return made(request.getfixturevalue("postgres_url"))


def made(url: str) -> str:
    """Make the tables."""
    url = url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    tables.create(engine)
    with engine.begin() as db:
        db.execute(text("CREATE TABLE effects (id VARCHAR(50), position VARCHAR(100))"))
    engine.dispose()
    return url


@pytest.fixture
def engine(into: str) -> Iterator[Engine]:
    made = create_engine(into)
    yield made
    made.dispose()


@pytest.fixture
def ledger(request: pytest.FixtureRequest, redis_url: str, into: str) -> str:
    """Give the ledger's URL: beside the database, unless a test wants it to be the same."""
    return into if getattr(request, "param", "beside") == "joined" else redis_url


@pytest.fixture
def settings(bootstrap_servers: str, ledger: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, ledger, namespace))


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    return topic("orders", partitions=2)


@pytest.fixture
def worker(
    bootstrap_servers: str, ledger: str, namespace: str, source: str, into: str, tmp_path: Path
) -> Iterator[Worker]:
    settings = quick(bootstrap_servers, ledger, namespace)
    with Worker(settings, source, "", tmp_path / "first", into=into) as made:
        yield made


def effects(engine: Engine) -> Counter[str]:
    with engine.connect() as db:
        return Counter(db.execute(text("SELECT id FROM effects")).scalars())


def positions(engine: Engine) -> list[str]:
    with engine.connect() as db:
        return list(db.execute(text("SELECT position FROM effects")).scalars())


def assert_once(inputs: list[Input], engine: Engine) -> None:
    found = effects(engine)
    wanted = {str(each.id) for each in inputs}
    twice = {key: count for key, count in found.items() if count > 1}
    assert (wanted - found.keys(), twice, found.keys() - wanted) == (set(), {}, set())


def writes(source: str, into: str, handler: Callable[..., Any] = insert, **told: Any) -> Step:
    return Step(source, None, handler, told.pop("batch", False), "insert", into=into, **told)


@pytest.mark.parametrize(
    ("ledger", "point", "when"),
    rows(
        [
            *(("beside", *row) for row in zip(POINTS, cycle(WHEN), strict=False)),
            *(("joined", *row) for row in zip(JOINED, cycle(WHEN), strict=False)),
        ],
        [
            *product(["beside"], POINTS, WHEN),
            *product(["joined"], JOINED, WHEN),
        ],
    ),
    indirect=["ledger"],
)
def test_a_worker_that_dies_at_any_statement_loses_and_repeats_nothing(
    worker: Worker,
    engine: Engine,
    cluster: Cluster,
    namespace: str,
    point: tuple[str, str, int],
    when: str,
) -> None:
    inputs = with_copies(point[2], DISTINCT)
    cluster.send(worker.source, inputs)

    port, method, call = point
    worker.start(fault(port, method, when, call))
    assert worker.exit_code() == -9, worker.told()
    assert worker.notes("Settled"), "it died before anything was settled"
    worker.start()
    cluster.await_settled(namespace, worker.source)
    worker.drain()

    assert_once(inputs, engine)


@BOTH
def test_a_zombie_cannot_settle(
    worker: Worker, engine: Engine, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    inputs = with_copies(3, DISTINCT)
    cluster.send(worker.source, inputs)
    stopped = fault("effects", "commit", "before", 3, action="stop")
    worker.start(stopped)
    worker.await_note("fault")
    # Its transaction is open, and holds the row, or all of SQLite: nobody can go on, or handle.
    before = effects(engine)
    with Worker(
        worker.settings, worker.source, "", tmp_path / "other", slot=1, into=worker.into
    ) as other:
        other.start()
        other.await_note("Waiting")
        assert effects(engine) == before
        worker.go_on()
        cluster.await_settled(namespace, worker.source)
        other.drain()
        worker.drain()

    assert_once(inputs, engine)


def test_a_lost_ledger_loses_and_repeats_nothing(
    settings: Settings,
    source: str,
    into: str,
    engine: Engine,
    cluster: Cluster,
    namespace: str,
    redis_url: str,
) -> None:
    inputs = with_copies(5, 200)
    calls = 0

    def handler(record: Record, db: Any) -> None:
        nonlocal calls
        calls += 1
        if calls in {25, 90, 140}:
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
        insert(record, db)

    with Running(settings, [writes(source, into, handler)]) as line:
        cluster.send(source, inputs)
        cluster.await_settled(namespace, source)
        assert {event.cause for event in line.saw(Aborted)} >= {"ledger_resealed"}

    assert_once(inputs, engine)


@BOTH
@pytest.mark.parametrize("batch", [False, True])
def test_a_record_that_fails_is_alone_in_being_tried_again_and_given_up(
    settings: Settings,
    source: str,
    into: str,
    engine: Engine,
    cluster: Cluster,
    namespace: str,
    read_committed: Callable[[str], list[Message]],
    batch: bool,
) -> None:
    inputs = [Input(f"id-{n}", n % 2) for n in range(20)]
    cluster.send(source, inputs)
    tried: Counter[str] = Counter()

    def handler(given: Any, db: Any) -> None:
        for record in given if batch else [given]:
            insert(record, db)
            if record.value == b"id-7":
                tried["id-7"] += 1
                db.execute(text("SELECT nothing FROM nowhere"))

    steps = [writes(source, into, handler, batch=batch)]
    with Running(settings, steps) as line:
        cluster.await_settled(namespace, source)
        retries = line.saw(Retried)
        letters = [letter for event in line.saw(Settled) for letter in event.letters]

    assert len(retries) == settings.retries
    assert [letter.reason for letter in letters] == ["handler_failed"]
    (letter,) = (m for m in read_committed(settings.dead_letters) if m.value() == b"id-7")
    assert dict(letter.headers() or [])["eos-attempts"] == str(settings.retries + 1).encode()
    assert_once([each for each in inputs if each.id != "id-7"], engine)


@pytest.mark.parametrize("then", ["returns", "raises"])
def test_a_handler_that_commits_by_itself_stops_the_worker(
    settings: Settings, source: str, into: str, engine: Engine, cluster: Cluster, then: str
) -> None:
    cluster.send(source, [Input("a", 0), Input("b", 0)])

    def handler(record: Record, db: Any) -> None:
        insert(record, db)
        if record.value == b"a":
            db.commit()
            if then == "raises":
                raise ValueError("and that after a commit")

    with Running(settings, [writes(source, into, handler)]) as line:
        error = line.failed()
    assert isinstance(error, FatalError)
    assert "the handler committed" in str(error)
    with engine.connect() as db:
        assert set(db.execute(text("SELECT next_offset FROM eos_frontiers")).scalars()) == {0}
    assert effects(engine) == {"a": 1}


@BOTH
def test_each_suppressed_record_is_written_down_with_its_owner(
    settings: Settings, source: str, into: str, engine: Engine, cluster: Cluster, namespace: str
) -> None:
    inputs = with_copies(9, DISTINCT)
    cluster.send(source, inputs)
    with Running(settings, [writes(source, into)]):
        cluster.await_settled(namespace, source)

    offsets = [0, 0]
    places: dict[str, list[tuple[int, int]]] = {}
    for each in inputs:
        places.setdefault(str(each.id), []).append((each.partition, offsets[each.partition]))
        offsets[each.partition] += 1
    handled = {tuple(map(int, at.split("/")[1:])) for at in positions(engine)}
    wanted = {
        (*copy, *next(at for at in found if at in handled))
        for found in places.values()
        for copy in found
        if copy not in handled
    }
    noted = text(
        'SELECT "partition", record_offset, owner_partition, owner_offset, verdict'
        " FROM eos_suppressed"
    )
    with engine.connect() as db:
        rows = db.execute(noted).all()
    assert {row[4] for row in rows} == {"duplicate"}
    assert Counter(tuple(row[:4]) for row in rows) == Counter(wanted)
    assert_once(inputs, engine)


@pytest.mark.parametrize("into", ["postgresql"], indirect=True)
def test_a_handler_that_goes_on_after_a_failed_statement_is_told_so(
    settings: Settings, source: str, into: str, engine: Engine, cluster: Cluster, namespace: str
) -> None:
    cluster.send(source, [Input(key, 0) for key in "abc"])

    def handler(record: Record, db: Any) -> None:
        insert(record, db)
        if record.value == b"b":
            with suppress(SQLAlchemyError):
                db.execute(text("SELECT nothing FROM nowhere"))

    quickly = replace(settings, retries=0)
    with Running(quickly, [writes(source, into, handler)]) as line:
        cluster.await_settled(namespace, source)
        letters = [letter for event in line.saw(Settled) for letter in event.letters]
    assert effects(engine) == {"a": 1, "c": 1}
    assert [letter.reason for letter in letters] == ["handler_failed"]


@pytest.mark.parametrize("into", ["postgresql"], indirect=True)
def test_a_serialization_failure_is_done_again_and_no_try_is_counted(
    settings: Settings, source: str, into: str, engine: Engine, cluster: Cluster, namespace: str
) -> None:
    cluster.send(source, [Input("a", 0), Input("b", 0)])
    left = 3

    def handler(record: Record, db: Any) -> None:
        nonlocal left
        insert(record, db)
        left -= 1
        if left >= 0:
            db.execute(text("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$"))

    with Running(settings, [writes(source, into, handler)]) as line:
        cluster.await_settled(namespace, source)
        assert not line.saw(Retried)
        assert {event.cause for event in line.saw(Aborted)} == {"database"}
    assert effects(engine) == {"a": 1, "b": 1}


def test_an_older_backup_is_refused_until_the_group_is_set_back(
    settings: Settings, source: str, into: str, engine: Engine, cluster: Cluster, namespace: str
) -> None:
    cluster.send(source, [Input(f"id-{n}", 0) for n in range(10)])
    with Running(settings, [writes(source, into)]):
        cluster.await_settled(namespace, source)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_frontiers SET next_offset = 4 WHERE next_offset = 10"))

    with Running(settings, [writes(source, into)]) as line:
        error = line.failed()
    assert isinstance(error, FatalError)
    assert "older backup restored?" in str(error)


def test_missing_tables_are_told_with_the_command_that_makes_them(
    settings: Settings, source: str, tmp_path: Path
) -> None:
    with Running(settings, [writes(source, f"sqlite:///{tmp_path / 'new.db'}")]) as line:
        error = line.failed()
    assert isinstance(error, ConfigError)
    assert "eos db create" in str(error)
