"""`eos ledger` as an operator sees it."""

import re
from collections.abc import Callable

import pytest

from eos.build import servers
from eos.core.events import Recovered
from eos.core.ports import Assertion
from eos.core.record import Shard
from eos.core.settings import Settings
from eos.db import create, engine_of
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.lines import Running, step
from tests.integration.outbox_door_kit import command
from tests.integration.test_ledger_loss import flush


@pytest.fixture
def ledger(settings: Settings) -> Callable[..., tuple[int, str]]:
    """Runs the command on the group's ledger."""

    def run(*arguments: str) -> tuple[int, str]:
        where = ("--brokers", settings.brokers, "--ledger", settings.ledger)
        return command("ledger", *arguments, *where, "--group", settings.group)

    return run


@pytest.fixture(params=["redis", "postgresql", "sqlite"])
def settings(request: pytest.FixtureRequest, bootstrap_servers: str, namespace: str) -> Settings:
    """A ledger of each kind that others can look at."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    elif request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path') / 'ledger.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
        create(engine_of(url))
    return Settings(
        group=namespace, brokers=bootstrap_servers, ledger=url, commit_interval=0, batch_records=10
    )


def test_an_id_is_explained_by_its_owner_and_by_what_was_suppressed(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    ledger: Callable[..., tuple[int, str]],
) -> None:
    from_shop = (("ce_source", b"/shop"),)
    with Running(settings, [step(source, to)]):
        cluster.send(source, [Input("paid", 0), Input("other", 0)])
        cluster.await_settled(settings.group, source)
        cluster.send(source, [Input("paid", 1, headers=from_shop), Input("paid", 1, b"other")])
        cluster.await_settled(settings.group, source)

    code, told = ledger("explain", "paid", source)
    assert code == 0, told
    lines = told.splitlines()
    assert re.match(rf"owner +{source}\[0\]@0  of 20.* UTC, settled$", lines[0]), told
    favour = rf"suppressed in favour of {source}\[0\]@0$"
    assert re.match(r"kept +until all partitions have come to 20.* UTC$", lines[1]), told
    assert re.match(rf"duplicate  {source}\[1\]@0 .*, from /shop: {favour}", lines[2]), told
    assert re.match(rf"conflict   {source}\[1\]@1 .*: {favour}", lines[3]), told
    assert len(lines) == 4

    assert "No copy of it was suppressed" in ledger("explain", "other", source)[1]
    assert "'nobody' has no owner" in ledger("explain", "nobody", source)[1]
    code, told = ledger("sources", source)
    assert (code, told.split()) == (0, ["1", "(nobody", "says)", "1", "/shop"])


def test_status_says_how_far_each_partition_is_and_whether_the_ledger_is_open(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    ledger: Callable[..., tuple[int, str]],
) -> None:
    code, told = ledger("status", source)
    assert (code, "closed: the next worker" in told) == (0, True)
    with Running(settings, [step(source, to)]):
        cluster.send(source, [Input(f"id-{n}", 0) for n in range(12)])
        cluster.await_settled(settings.group, source)
    code, told = ledger("status", source)
    assert f"{source}  open" in told
    assert re.search(r"keys +12 that end with 20", told), told
    frontier = cluster.committed(settings.group, source)[0]
    assert re.search(rf"^ +0 +{frontier} +{frontier} +\d+ +\d+  \d+$", told, re.MULTILINE), told
    assert re.search(r"^ +1 +[-0] +0 +0 +0  \d+$", told, re.MULTILINE), told
    if settings.ledger.startswith("redis"):
        flush(settings.ledger)()
        assert "closed: the next worker" in ledger("status", source)[1]


def test_status_says_how_much_of_a_recovery_under_way_is_done(
    settings: Settings,
    source: str,
    ledger: Callable[..., tuple[int, str]],
) -> None:
    topic_id = re.search(r"topic id +(\S+)", ledger("status", source)[1])
    assert topic_id
    shard = Shard(settings.namespace, settings.group, topic_id[1])
    workers = servers.ledger(settings)
    for number, want in enumerate(("being recovered", "being recovered: 1 of 2 done")):
        held = workers.lock(shard, f"worker {number}", 60, [number])
        assert held
        assert f"{source}  {want}\n" in ledger("status", source)[1]
        assert workers.reassert(shard, held, Assertion(number, 0, done=True))
    assert "closed: the next worker" in ledger("status", source)[1], "nobody is at it"
    workers.close()


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
def test_bad_input_is_one_line_and_exit_2(
    settings: Settings, source: str, ledger: Callable[..., tuple[int, str]]
) -> None:
    code, told = ledger("status", f"{source}-misspelt")
    assert (code, len(told.strip().splitlines())) == (2, 1), told
    assert f"topic '{source}-misspelt' does not exist" in told
    where = ("--brokers", settings.brokers, "--group", "g")
    code, told = command("ledger", "status", source, *where, "--ledger", "mongodb://x")
    assert (code, len(told.strip().splitlines())) == (2, 1), told
    code, told = command("ledger", "status", source, *where, "--ledger", "redis://127.0.0.1:1/0")
    assert (code, len(told.strip().splitlines())) == (1, 1), told


@pytest.mark.parametrize("how", ["recover", "purge"])
def test_what_an_operator_breaks_is_recovered_from_the_log(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    ledger: Callable[..., tuple[int, str]],
    how: str,
) -> None:
    names = [f"id-{n}" for n in range(20)]
    with Running(settings, [step(source, to)]) as line:
        cluster.send(source, [Input(name, n % 2) for n, name in enumerate(names)])
        cluster.await_settled(settings.group, source)
        before = len(line.saw(Recovered))
        code, told = ledger(how, source, *(["--yes"] if how == "purge" else []))
        assert code == 0, told
        if how == "purge":
            assert "has no owner" in ledger("explain", "id-3", source)[1]
        assert "closed: the next worker" in ledger("status", source)[1]
        cluster.send(source, [Input(name, 1 - n % 2) for n, name in enumerate(names)])
        cluster.await_settled(settings.group, source)
        assert len(line.saw(Recovered)) == before + 1
    assert sorted(ids(cluster.read_committed(to))) == sorted(names)


def test_a_purge_is_asked_for_clearly(
    settings: Settings,  # noqa: ARG001
    source: str,
    ledger: Callable[..., tuple[int, str]],
) -> None:
    for arguments, want in (
        ((source,), "add --yes"),
        ((), "say which: a topic, or --topic-id"),
        ((source, "--topic-id", "5x1tVbBmRxKpYzqkzWc5Wg", "--yes"), "say which"),
        (("--topic-id", "no id", "--yes"), "is none: it has 22 letters"),
        (("nothing-of-that-name", "--yes"), "does not exist"),
    ):
        code, told = ledger("purge", *arguments)
        assert (code, want in told, told.count("\n")) == (2, True, 1), told
    assert ledger("purge", "--topic-id", "5x1tVbBmRxKpYzqkzWc5Wg", "--yes")[0] == 0
