"""Lines whose ledger is a database: a worker that is killed loses nothing and repeats nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Message

from eos.stores.sql import tables
from eos.stores.sql.connections import engine_of
from tests.integration.cluster import Cluster
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.plain import PlainWorker, lost, unflagged
from tests.integration.processes import Worker, fault, quick

DISTINCT = 90


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url = str(request.getfixturevalue("postgres_url"))
    engine = engine_of(url)
    tables.create(engine)
    engine.dispose()
    return url


@pytest.mark.parametrize("point", [("claim", "after", 6), ("confirm", "before", 3)])
def test_a_worker_that_is_killed_loses_and_repeats_nothing(
    ledger: str,
    bootstrap_servers: str,
    namespace: str,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    tmp_path: Path,
    point: tuple[str, str, int],
) -> None:
    settings = quick(bootstrap_servers, ledger, namespace)
    inputs = with_copies(3, DISTINCT)
    cluster.send(source, inputs)
    with (
        Worker(settings, source, to, tmp_path / "first") as first,
        Worker(settings, source, to, tmp_path / "other", slot=1) as other,
    ):
        first.start(fault("ledger", *point))
        assert first.exit_code() == -9, first.told()
        assert first.notes("Committed"), "it died before anything was settled"
        other.start()
        first.start()
        cluster.await_settled(namespace, source)
        other.drain()
        first.drain()
        assert not [note for each in (first, other) for note in each.notes("Recovered")][1:], (
            "nothing is recovered but the new shard: the database is durable"
        )
    assert_exactly_once(inputs, read_committed(to))


def test_an_app_that_is_killed_after_an_effect_says_which_it_doubts(
    ledger: str,
    bootstrap_servers: str,
    namespace: str,
    source: str,
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    settings = quick(bootstrap_servers, ledger, namespace)
    inputs = with_copies(4, DISTINCT)
    cluster.send(source, inputs)
    with PlainWorker(
        settings, source, "", tmp_path / "diary", effects=tmp_path / "effects"
    ) as worker:
        worker.start(die={"when": "after", "call": 33})
        assert worker.exit_code() == -9, worker.told()
        worker.start()
        cluster.await_settled(namespace, source)
        worker.drain()
        effects = worker.took_place()
    assert lost(inputs, effects) == set()
    assert unflagged(effects) == {}
    assert sum(effect.in_doubt for effect in effects) <= settings["batch_records"]
