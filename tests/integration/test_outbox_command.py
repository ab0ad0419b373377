"""`eos outbox` and `eos relay` as a user sees them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from sqlalchemy import Engine, text

import eos
from eos.core.errors import ConfigError
from eos.core.events import ShardStopped
from eos.core.outbox import Progress, ShardPosition
from eos.operate.outbox import Resolution, answer
from eos.stores.sql.outbox_upkeep import SqlUpkeep
from tests.integration.cluster import Cluster
from tests.integration.outbox_door_command import PATIENCE, Told, relay_command
from tests.integration.outbox_door_kit import (
    add,
    await_empty,
    await_that,
    column,
    command,
    count,
    now,
    published,
    record,
    relaying,
    url_of,
)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("orders")


# --- eos outbox ----------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_status_says_what_waits_what_is_dead_and_how_far_each_shard_has_come(
    engine: Engine, bootstrap_servers: str, namespace: str, to: str
) -> None:
    code, told = command("outbox", "status", url_of(engine))
    assert (code, "(never yet)" in told) == (0, True)
    add(engine, to, "1", "2")
    add(engine, f"{to}-misspelt", "3")
    with relaying(bootstrap_servers, namespace, engine):
        await_empty(engine)
    add(engine, to, "4", "5")
    with engine.begin() as db:
        eos.Outbox(engine).add(db, to, "later", deliver_at=now() + 3600)
    record(engine)
    code, told = command("outbox", "status", url_of(engine))
    assert code == 0
    assert f"relayed under  {namespace}" in told
    assert re.search(r"waiting +2 rows, the oldest for \d+\.\d s", told)
    assert re.search(r"scheduled +1 rows", told)
    assert re.search(r"dead +1 rows", told)
    assert re.search(r"shard \d +\d+ batches published, batch \d+ recorded with 2 rows", told)
    assert told.count("batches published") == 4
    assert f"to {to}-misspelt: topic '{to}-misspelt' does not exist" in told


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_dead_rows_are_published_again_in_their_old_order_once_what_was_wrong_is_mended(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str
) -> None:
    to = f"missing-{namespace}"
    add(engine, to, *(str(number) for number in range(20)))
    with relaying(bootstrap_servers, namespace, engine):
        await_empty(engine)
        await_that(lambda: count(engine, "eos_outbox_dead") == 20, "rows to be put aside")
    ids, names = (column(engine, what, "eos_outbox_dead") for what in ("id", "message_id"))

    for wrong in ([], ["--all", "--id", str(ids[0])], ["--id", str(ids[0]), "--id", "999999"]):
        code, told = command("outbox", "redrive", url_of(engine), *wrong)
        assert code == 1, told
    assert "no dead row with id 999999" in told
    assert count(engine, "eos_outbox_dead") == 20

    cluster.create_named(to)
    # The last one first: the order is the rows' own.
    chosen = [f"--id={number}" for number in (ids[7], ids[3], ids[7])]
    assert "2 rows" in command("outbox", "redrive", url_of(engine), *chosen)[1]
    assert column(engine, "id", "eos_outbox") == [ids[3], ids[7]]
    with relaying(bootstrap_servers, namespace, engine):
        await_empty(engine)
        assert published(cluster, to) == ["3", "7"]
        assert "18 rows" in command("outbox", "redrive", url_of(engine), "--all")[1]
        await_empty(engine)
    rest = [str(number) for number in range(20) if number not in {3, 7}]
    assert published(cluster, to) == ["3", "7", *rest]
    sent = [dict(message.headers() or [])["message-id"] for message in cluster.read_committed(to)]
    assert set(sent) == {name.encode() for name in names}
    assert "0 rows" in command("outbox", "redrive", url_of(engine), "--all")[1]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_rows_that_two_operators_redrive_at_once_are_put_back_once(
    engine: Engine, bootstrap_servers: str, namespace: str
) -> None:
    add(engine, f"missing-{namespace}", *(str(number) for number in range(300)))
    with relaying(bootstrap_servers, namespace, engine):
        await_that(lambda: count(engine, "eos_outbox_dead") == 300, "rows to be put aside")
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def both_wait() -> bool:
        with engine.connect() as db:
            return bool(db.execute(waiting).scalar_one() == 2)

    with ThreadPoolExecutor(2) as pool:
        # Somebody holds the rows until both have come as far as they can.
        with engine.begin() as db:
            db.execute(text("SELECT id FROM eos_outbox_dead FOR UPDATE"))
            put_back = [pool.submit(SqlUpkeep(engine).redrive, None) for _ in range(2)]
            await_that(both_wait, "both to wait")
        assert sorted(each.result(PATIENCE) for each in put_back) == [0, 300]
    assert (count(engine), count(engine, "eos_outbox_dead")) == (300, 0)


def test_resolve_says_what_it_needs(engine: Engine, bootstrap_servers: str, namespace: str) -> None:
    where = (url_of(engine), "--brokers", bootstrap_servers, "--namespace", namespace)
    for said in ([], ["--published", "--go-on"]):
        code, told = command("outbox", "resolve", *where, *said)
        assert (code, "give one of --published" in told) == (1, True)
    code, told = command("outbox", "resolve", *where, "--go-on")
    assert (code, "no relay ever ran" in told) == (1, True)


def test_resolve_does_not_disturb_a_relay_whose_shards_need_nothing(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    where = (url_of(engine), "--brokers", bootstrap_servers, "--namespace", namespace)
    with relaying(bootstrap_servers, namespace, engine) as relay:
        await_that(relay.has_all, "the relay to begin")
        code, told = command("outbox", "resolve", *where, "--go-on")
        assert (code, "nothing to resolve" in told) == (0, True), told
        add(engine, to, "1", "2")
        await_empty(engine)
    assert relay.told(ShardStopped) == []
    assert published(cluster, to) == ["1", "2"]


@pytest.mark.parametrize(
    ("known", "position", "said", "expected"),
    [
        (Progress(1, 5, (7, 8)), None, Resolution.PUBLISHED, (6, True)),
        (Progress(1, 5, (7, 8)), None, Resolution.NOT_PUBLISHED, (5, False)),
        (Progress(1, 5, (7, 8)), None, Resolution.GO_ON, "--published or --not-published"),
        (Progress(1, 5, (7, 8)), 3, Resolution.PUBLISHED, (3, True)),
        (Progress(1, 5, (7, 8)), 3, Resolution.NOT_PUBLISHED, (3, False)),
        (Progress(1, 5, (7, 8)), 3, Resolution.GO_ON, "--published or --not-published"),
        (Progress(1, 5), 3, Resolution.GO_ON, (3, False)),
        (Progress(1, 5), 3, Resolution.PUBLISHED, "--go-on"),
        (Progress(1, 5), 6, Resolution.GO_ON, (6, False)),
        (Progress(1, 5, (7, 8)), 7, Resolution.GO_ON, (7, False)),
        (Progress(1, 5, (7, 8)), 7, Resolution.PUBLISHED, "--go-on"),
        (Progress(1, 5, (7, 8), batch=9), 6, Resolution.PUBLISHED, "--go-on"),
        (Progress(1, 5, (7, 8), batch=9), 6, Resolution.GO_ON, (6, False)),
        # These a relay takes as they are.
        (Progress(1, 5), None, Resolution.GO_ON, None),
        (Progress(1, 5), 5, Resolution.GO_ON, None),
        (Progress(1, 5, (7, 8)), 5, Resolution.PUBLISHED, None),
        (Progress(1, 5, (7, 8)), 6, Resolution.NOT_PUBLISHED, None),
    ],
    ids=str,
)
def test_what_is_said_must_answer_what_is_asked(
    known: Progress, position: int | None, said: Resolution, expected: object
) -> None:
    at = None if position is None else ShardPosition(position, batch=0)
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=f"{expected} is asked for"):
            answer(0, known, at, said)
    else:
        assert answer(0, known, at, said) == expected


# --- eos relay -----------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_the_relay_command_publishes_survives_its_child_and_stops_when_asked(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    with relay_command(engine, bootstrap_servers, namespace) as process:
        told = Told(process)
        child = int(told.find(r"pid=(\d+)").group(1))
        add(engine, to, *(str(number) for number in range(10)))
        await_empty(engine)
        os.kill(child, signal.SIGKILL)
        second = int(told.find(r"started.*pid=(\d+)", 1).group(1))
        assert second != child
        add(engine, to, *(str(number) for number in range(10, 20)))
        await_empty(engine)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, "".join(told.lines)
    assert published(cluster, to) == [str(number) for number in range(20)]


def test_the_client_has_its_settings_from_a_file(
    engine: Engine, bootstrap_servers: str, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "client.properties"
    file.write_text(f"# how it is called\nclient.id=of-{namespace}\n")
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    group = f"{namespace}.relay"

    def members() -> set[str]:
        found = admin.describe_consumer_groups([group])[group].result(PATIENCE)
        return {member.client_id for member in found.members}

    with relay_command(engine, bootstrap_servers, namespace, "--kafka", str(file)) as process:
        Told(process).find(r"shard")
        await_that(lambda: members() == {f"of-{namespace}"}, "the member of that name")


def test_a_file_of_client_settings_that_is_not_there_is_named(
    engine: Engine, bootstrap_servers: str, namespace: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "absent.properties")
    with relay_command(engine, bootstrap_servers, namespace, "--kafka", file) as process:
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
    assert file in said
    known = ("--brokers", bootstrap_servers, "--namespace", namespace, "--go-on")
    upkeep = SqlUpkeep(engine)
    with relaying(bootstrap_servers, namespace, engine):
        await_that(lambda: bool(upkeep.shards()), "the relay to have a shard")
    code, told = command("outbox", "resolve", url_of(engine), *known, "--kafka", file)
    assert (code, file in told) == (1, True)


def test_a_relay_without_its_settings_says_which(engine: Engine) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("EOS_")}
    wide = {**bare, "COLUMNS": "200", "NO_COLOR": "1"}

    def said(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "eos", "relay", *arguments],
            env=wide,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, told = said()
    assert code == 2
    assert "--db" in told
    where = ["--db", url_of(engine), "--namespace", "shop"]
    code, told = said(*where)
    assert (code, "--brokers" in told) == (2, True)
    for wrong, fault in (
        (["--brokers", "kafka"], "brokers="),
        (["--brokers", "a:1", "--poll", "soon"], "poll"),
        (["--brokers", "a:1", "--poll", "0s"], "poll='0s': give at least 0.01 seconds"),
        (["--brokers", "a:1", "--keep", "-1s"], "keep"),
        (["--brokers", "a:1", "--db", "mysql://host/name"], "no database that eos knows"),
    ):
        code, told = said(*where, *wrong)
        assert code == 1, told
        assert fault in told
        assert "Traceback" not in told
