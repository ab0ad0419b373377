"""The inbox tier on the test bench, with a real SQLite."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

import eos
from eos.stores.sql import tables
from eos.testing import run


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'effects.db'}")
    tables.create(made)
    with made.begin() as db:
        db.execute(text("CREATE TABLE effects (id VARCHAR(50))"))
    yield made
    made.dispose()


def app_of(engine: Engine, **settings: Any) -> eos.App:
    app = eos.App(group="g", **settings)

    @app.step("in", into=engine)
    def handler(record: eos.Record, db: Any) -> None:
        db.execute(text("INSERT INTO effects VALUES (:id)"), {"id": (record.value or b"").decode()})
        if record.value == b"bad":
            raise ValueError("bad")

    return app


def effects(engine: Engine) -> list[str]:
    with engine.connect() as db:
        return sorted(db.execute(text("SELECT id FROM effects")).scalars())


CALLS = [
    "inbox.frontiers",
    "inbox.begin",
    "effects.lock",
    "handler",
    "effects.check",
    "effects.advance",
    "ledger.confirm",
    "effects.commit",
]


@pytest.mark.parametrize(
    ("when", "call"),
    # In one process nobody would give the connection back that `begin` has just opened.
    [pair for pair in product(["before", "after"], CALLS) if pair != ("after", "inbox.begin")],
)
def test_an_effect_happens_once_whatever_call_the_worker_dies_at(
    engine: Engine, when: str, call: str
) -> None:
    with run(app_of(engine)) as t:
        t.send("in", "a", copies=3)
        t.send("in", "b")
        t.crash(before=call if when == "before" else None, after=call if when == "after" else None)
        assert t.settled
        t.send("in", "c")
        assert t.settled
    assert effects(engine) == ["a", "b", "c"]


def test_redelivery_is_invisible(engine: Engine) -> None:
    with run(app_of(engine)) as t:
        t.send("in", "a")
        t.redeliver()
        assert t.settled
    assert effects(engine) == ["a"]


def test_what_cannot_be_handled_is_a_dead_letter_and_leaves_no_effect(engine: Engine) -> None:
    with run(app_of(engine, retries=0)) as t:
        for value in ("a", "bad", "b"):
            t.send("in", value)
        assert t.settled
        assert [letter.reason for letter in t.dead_letters] == ["handler_failed"]
    assert effects(engine) == ["a", "b"]


def test_a_lost_answer_to_the_commit_is_looked_up_in_the_rows(engine: Engine) -> None:
    with run(app_of(engine)) as t:
        t.send("in", "a")
        t.disconnect(after="effects.commit")
        assert t.settled
    assert effects(engine) == ["a"]


def test_what_a_handler_returns_is_refused(engine: Engine) -> None:
    app = eos.App(group="g")
    app.step("in", into=engine)(lambda _record, _db: eos.Send("lost"))
    with run(app) as t:
        t.send("in", "a")
        with pytest.raises(eos.FatalError, match="returns nothing"):
            t.run()


def test_a_step_that_writes_to_a_database_sends_nothing(engine: Engine) -> None:
    with pytest.raises(eos.ConfigError, match="leave to= and encode= out"):
        eos.App(group="g").step("in", into=engine, to="out")


def test_what_is_no_database_is_refused() -> None:
    app = eos.App(group="g")
    app.step("in", into=object())(lambda _record, _db: None)
    with run(app) as t, pytest.raises(eos.ConfigError, match="give an engine of SQLAlchemy"):
        t.run()
