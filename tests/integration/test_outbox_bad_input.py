"""Positions, tables and settings that are not as they should be: nothing lost, nothing repeated.

What a relay cannot know it refuses, with a message that says what to do; and that helps.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from sqlalchemy import Engine, text

from eos.core.errors import ConfigError, FatalError
from eos.core.events import Waiting
from eos.core.outbox import shard_of
from eos.db import create, engine_of
from eos.stores.sql.outbox import SqlOutbox
from tests.integration.cluster import Cluster
from tests.integration.outbox_door_kit import (
    Offsets,
    Running,
    add,
    await_empty,
    await_that,
    backup,
    column,
    command,
    progress,
    published,
    record,
    refused,
    relay_app,
    relaying,
    restore,
    url_of,
)

SHARD = shard_of(b"k")
FIRST = [f"first {number}" for number in range(5)]
SECOND = [f"second {number}" for number in range(5)]


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("orders")


@pytest.fixture
def offsets(bootstrap_servers: str, namespace: str) -> Offsets:
    return Offsets(bootstrap_servers, namespace)


def relay_all(brokers: str, namespace: str, engine: Engine) -> None:
    """Relay until nothing is left."""
    with relaying(brokers, namespace, engine) as relay:
        await_that(lambda: relay.failure is not None or relay.has_all(), "the relay to begin")
        assert relay.failure is None, relay.failure
        await_empty(engine)


def stands(engine: Engine) -> object:
    """Give what must not change when something is refused."""
    return progress(engine), column(engine, "id", "eos_outbox")


def resolve(engine: Engine, brokers: str, namespace: str, said: str) -> tuple[int, str]:
    """Run the command that the message names."""
    where = ("--brokers", brokers, "--namespace", namespace)
    return command("outbox", "resolve", url_of(engine), *where, said)


# --- positions that are gone ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["forget", "delete_topic"])
@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_positions_that_are_gone_begin_again_at_what_the_database_knows(
    engine: Engine,
    cluster: Cluster,
    bootstrap_servers: str,
    namespace: str,
    to: str,
    offsets: Offsets,
    how: str,
) -> None:
    add(engine, to, *FIRST)
    relay_all(bootstrap_servers, namespace, engine)
    sent, _ = progress(engine)[SHARD]
    assert sent > 0
    getattr(offsets, how)()
    with relaying(bootstrap_servers, namespace, engine):
        floor = {shard: known for shard, (known, _) in progress(engine).items()}

        def is_back() -> bool:
            try:
                return cluster.committed(offsets.group, offsets.topic) == floor
            except (KeyError, KafkaException):  # the topic is not made yet
                return False

        await_that(is_back, "the positions to be what the database knows")
        add(engine, to, *SECOND)
        await_empty(engine)
    assert published(cluster, to) == FIRST + SECOND
    assert progress(engine)[SHARD][0] > sent


@pytest.mark.parametrize("how", ["forget", "delete_topic"])
@pytest.mark.parametrize("said", ["--published", "--not-published"])
def test_a_batch_of_which_kafka_no_longer_says_whether_it_was_published_waits_for_an_answer(
    engine: Engine,
    cluster: Cluster,
    bootstrap_servers: str,
    namespace: str,
    to: str,
    offsets: Offsets,
    how: str,
    said: str,
) -> None:
    relay_all(bootstrap_servers, namespace, engine)
    add(engine, to, *FIRST)
    record(engine)
    before, as_it_was = backup(engine), stands(engine)
    if said == "--published":
        relay_all(bootstrap_servers, namespace, engine)
        restore(engine, before)  # as if the relay had died before it noted that
    getattr(offsets, how)()
    failure = refused(bootstrap_servers, namespace, engine)
    assert isinstance(failure, FatalError)
    assert "eos outbox resolve" in str(failure)
    assert "--not-published" in str(failure)

    code, told = resolve(engine, bootstrap_servers, namespace, "--go-on")
    assert code == 1
    assert "--published or --not-published is asked for" in told
    assert stands(engine) == as_it_was
    code, told = resolve(engine, bootstrap_servers, namespace, said)
    assert (code, f"shard {SHARD} goes on" in told) == (0, True), told
    add(engine, to, *SECOND)
    relay_all(bootstrap_servers, namespace, engine)
    assert published(cluster, to) == FIRST + SECOND
    assert "nothing to resolve" in resolve(engine, bootstrap_servers, namespace, said)[1]


def test_a_topic_of_positions_that_is_deleted_under_a_relay_loses_and_repeats_nothing(
    engine: Engine,
    cluster: Cluster,
    bootstrap_servers: str,
    namespace: str,
    to: str,
    offsets: Offsets,
) -> None:
    relay = Running(relay_app(bootstrap_servers, namespace, engine))
    await_that(relay.has_all, "the relay to begin")
    add(engine, to, *FIRST)
    await_empty(engine)
    offsets.delete_topic()
    add(engine, to, *SECOND)
    failure = relay.fails()
    assert isinstance(failure, FatalError)
    assert f"'{offsets.topic}'" in str(failure)
    assert "Start the relay again" in str(failure)
    # It had recorded a batch by then, and could not commit it.
    assert "--not-published" in str(refused(bootstrap_servers, namespace, engine))
    assert resolve(engine, bootstrap_servers, namespace, "--not-published")[0] == 0
    relay_all(bootstrap_servers, namespace, engine)
    assert published(cluster, to) == FIRST + SECOND


# --- positions that do not fit -------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_a_database_that_was_restored_is_refused_and_goes_on_when_told(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    relay_all(bootstrap_servers, namespace, engine)
    add(engine, to, *FIRST)
    before, as_it_was = backup(engine), stands(engine)
    relay_all(bootstrap_servers, namespace, engine)
    for value in SECOND:
        add(engine, to, value)
        relay_all(bootstrap_servers, namespace, engine)
    restore(engine, before)
    failure = refused(bootstrap_servers, namespace, engine)
    assert isinstance(failure, FatalError)
    assert "restored from a backup" in str(failure)
    assert "eos outbox resolve --go-on" in str(failure)
    assert published(cluster, to) == FIRST + SECOND

    for wrong in ("--published", "--not-published"):
        assert resolve(engine, bootstrap_servers, namespace, wrong)[0] == 1
    assert stands(engine) == as_it_was
    code, told = resolve(engine, bootstrap_servers, namespace, "--go-on")
    assert (code, "5 rows are published next" in told) == (0, True), told
    assert progress(engine)[SHARD] == (6, "")
    add(engine, to, "new")
    relay_all(bootstrap_servers, namespace, engine)
    # What stood in the copy is published again, under its old ids.
    assert published(cluster, to) == [*FIRST, *SECOND, *FIRST, "new"]
    sent = [dict(message.headers() or [])["message-id"] for message in cluster.read_committed(to)]
    assert sent[:5] == sent[10:15]
    assert len(set(sent)) == 11


def test_a_batch_is_not_taken_for_published_because_another_state_of_it_was(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    """A copy of the database publishes its own batch of that number: a part of what we recorded."""
    relay_all(bootstrap_servers, namespace, engine)
    add(engine, to, *FIRST)
    record(engine)
    ours = backup(engine)
    rows = SqlOutbox(engine).shard(SHARD)
    known = rows.progress()
    rows.narrow(known, known.recorded[:2])
    with engine.begin() as db:
        db.execute(text("DELETE FROM eos_outbox WHERE id > :last"), {"last": known.recorded[1]})
    relay_all(bootstrap_servers, namespace, engine)
    restore(engine, ours)

    failure = refused(bootstrap_servers, namespace, engine)
    assert isinstance(failure, FatalError)
    assert "a copy of it relayed, too" in str(failure)
    assert resolve(engine, bootstrap_servers, namespace, "--go-on")[0] == 0
    relay_all(bootstrap_servers, namespace, engine)
    assert published(cluster, to) == FIRST[:2] + FIRST


def test_positions_that_were_set_back_are_refused_and_the_relay_goes_on_when_told(
    engine: Engine,
    cluster: Cluster,
    bootstrap_servers: str,
    namespace: str,
    to: str,
    offsets: Offsets,
) -> None:
    for value in FIRST:
        add(engine, to, value)
        relay_all(bootstrap_servers, namespace, engine)
    offsets.reset(**{f"s{SHARD}": 2})
    add(engine, to, *SECOND)
    failure = refused(bootstrap_servers, namespace, engine)
    assert isinstance(failure, FatalError)
    assert "were offsets reset" in str(failure)
    assert "eos outbox resolve --go-on" in str(failure)
    assert resolve(engine, bootstrap_servers, namespace, "--published")[0] == 1
    assert resolve(engine, bootstrap_servers, namespace, "--go-on")[0] == 0
    relay_all(bootstrap_servers, namespace, engine)
    assert published(cluster, to) == FIRST + SECOND


@pytest.mark.parametrize("said", ["--published", "--not-published"])
def test_positions_that_were_set_back_say_nothing_of_a_batch_that_is_recorded(
    engine: Engine,
    cluster: Cluster,
    bootstrap_servers: str,
    namespace: str,
    to: str,
    offsets: Offsets,
    said: str,
) -> None:
    for value in FIRST:
        add(engine, to, value)
        relay_all(bootstrap_servers, namespace, engine)
    add(engine, to, *SECOND)
    record(engine)
    before, as_it_was = backup(engine), stands(engine)
    if said == "--published":
        relay_all(bootstrap_servers, namespace, engine)
        restore(engine, before)
    offsets.reset(**{f"s{SHARD}": 2})
    failure = refused(bootstrap_servers, namespace, engine)
    assert "--published or --not-published" in str(failure)
    assert resolve(engine, bootstrap_servers, namespace, "--go-on")[0] == 1
    assert stands(engine) == as_it_was
    assert resolve(engine, bootstrap_servers, namespace, said)[0] == 0
    relay_all(bootstrap_servers, namespace, engine)
    assert published(cluster, to) == FIRST + SECOND


# --- what is not there, or is another's ----------------------------------------------------


def test_an_outbox_is_relayed_under_one_namespace_alone(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    add(engine, to, *FIRST)
    relay_all(bootstrap_servers, namespace, engine)
    failure = refused(bootstrap_servers, f"{namespace}-other", engine)
    assert isinstance(failure, ConfigError)
    assert f"relayed under '{namespace}'" in str(failure)
    code, told = resolve(engine, bootstrap_servers, f"{namespace}-other", "--go-on")
    assert (code, f"relayed under '{namespace}'" in told) == (1, True)
    assert published(cluster, to) == FIRST


def test_tables_that_are_missing_or_old_are_named_with_the_command_that_helps(
    tmp_path: Path, bootstrap_servers: str, namespace: str
) -> None:
    url = f"sqlite:///{tmp_path / 'db.sqlite'}"
    engine = engine_of(url)
    for failure in (str(refused(bootstrap_servers, namespace, url)), status_of(url)):
        assert f"eos db create {url}" in failure
    create(engine)
    with engine.begin() as db:
        db.execute(text("DROP TABLE eos_outbox_dead"))
    assert "lacks table eos_outbox_dead" in str(refused(bootstrap_servers, namespace, url))
    with engine.begin() as db:
        db.execute(text("UPDATE eos_schema SET version = 0"))
    for failure in (str(refused(bootstrap_servers, namespace, url)), status_of(url)):
        assert f"eos db migrate {url}" in failure
    engine.dispose()


def status_of(url: str) -> str:
    code, told = command("outbox", "status", url)
    assert code == 1
    return told


def test_a_topic_of_positions_with_too_few_partitions_is_refused(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str
) -> None:
    cluster.create_named(f"{namespace}.positions", 3)
    failure = refused(bootstrap_servers, namespace, engine)
    assert isinstance(failure, ConfigError)
    assert f"'{namespace}.positions' has 3 partitions: give it 4" in str(failure)


def test_a_database_that_is_away_at_the_start_is_waited_for(
    tmp_path: Path, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    folder = tmp_path / "not there yet"
    url = f"sqlite:///{folder / 'db.sqlite'}"
    with relaying(bootstrap_servers, namespace, url) as relay:
        await_that(lambda: bool(relay.told(Waiting)), "the relay to wait")
        made = tmp_path / "made"
        made.mkdir()
        engine = engine_of(f"sqlite:///{made / 'db.sqlite'}")
        create(engine)
        engine.dispose()
        made.rename(folder)
        engine = engine_of(url)
        add(engine, to, *FIRST)
        await_that(lambda: bool(progress(engine)), "the relay to come")
        await_empty(engine)
    assert published(cluster, to) == FIRST
    assert {event.on for event in relay.told(Waiting)} == {"database"}
    engine.dispose()


def test_brokers_that_are_away_at_the_start_are_waited_for_until_the_relay_is_stopped(
    engine: Engine, namespace: str
) -> None:
    with relaying("127.0.0.1:1", namespace, engine) as relay:
        await_that(lambda: bool(relay.told(Waiting, on="kafka")), "the relay to wait")
