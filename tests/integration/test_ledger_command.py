"""`eos ledger` as an operator sees it."""

import re
from collections.abc import Callable

import pytest

from eos.core.settings import Settings
from eos.db import create, engine_of
from tests.integration.cluster import Cluster, Input
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
    assert re.match(rf"duplicate  {source}\[1\]@0 .*, from /shop: {favour}", lines[1]), told
    assert re.match(rf"conflict   {source}\[1\]@1 .*: {favour}", lines[2]), told
    assert len(lines) == 3

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
