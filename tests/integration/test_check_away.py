"""`eos check` while brokers hang, or are away: they hide nothing of what is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eos.devstack import Server, Stack, running
from eos.devstack.waiting import wait_until
from tests.integration.check_kit import check, only, write_app
from tests.integration.cluster import Cluster


@pytest.fixture(scope="module")
def trio() -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)
        with running(brokers=3, redis=False) as opened:
            yield opened


@pytest.fixture
def three(trio: Stack) -> Iterator[Stack]:
    """Three brokers; all of them are there again afterwards."""
    yield trio
    for broker in trio.brokers:
        broker.resume()
        broker.start()


def test_topics_are_made_with_the_cluster_s_default_replication(
    three: Stack, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    names = {"group": namespace, "source": f"{namespace}.in", "to": f"{namespace}.out"}
    target = write_app(tmp_path, **names, brokers=three.bootstrap_servers, ledger=redis_url)

    made = check(tmp_path, target, "--json", "--create")
    after = check(tmp_path, target, "--json")

    assert (made.code, made.faults) == (0, [])
    assert (after.code, after.faults) == (0, [])
    assert after.warnings == []  # three brokers, three copies, a secret: nothing to say
    assert len([line for line in after.fine if "1 partition, 3 copies" in line]) == 4


def test_brokers_that_are_away_are_seen_in_what_they_leave_behind(
    three: Stack, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    cluster = Cluster(three.bootstrap_servers)
    cluster.create_named(f"{namespace}.in", partitions=3)
    cluster.create_named(f"{namespace}.out", partitions=3, min_insync_replicas="3")
    target = write_app(
        tmp_path,
        group=namespace,
        source=f"{namespace}.in",
        to=f"{namespace}.out",
        brokers=three.bootstrap_servers,
        ledger=redis_url,
    )

    whole = check(tmp_path, target, "--json")
    three.brokers[2].kill()

    def noticed() -> bool:
        return bool(check(tmp_path, target, "--json").faults)

    assert wait_until(noticed, seconds=60)
    short = check(tmp_path, target, "--json")

    assert (whole.code, whole.faults) == (0, [])
    only(whole.fine, "3 brokers")
    assert not any("one broker" in line for line in whole.warnings)
    assert short.code == 1
    only(short.faults, f"topic {namespace}.out", "nothing can be published")
    only(short.fine, f"topic {namespace}.in", "3 copies")


def test_one_of_three_brokers_that_hangs_keeps_nothing_else_from_being_checked(
    three: Stack, tmp_path: Path, redis_url: str, namespace: str
) -> None:
    cluster = Cluster(three.bootstrap_servers)
    cluster.create_named(f"{namespace}.in", partitions=3)
    servers = ["--brokers", three.bootstrap_servers, "--ledger", redis_url]

    three.brokers[0].pause()
    found = check(tmp_path, "--json", *servers, "--group", namespace, "--topic", f"{namespace}.in")

    assert found.code in (0, 1)  # whether the others have missed it by now
    # The client may have asked the one that hangs; then that is what is told.
    told = [*found.fine, *found.warnings, *found.faults]
    assert any("broker" in line for line in told), told
    only(found.fine, "persistence")


# --- away -------------------------------------------------------------------------------------


def test_brokers_that_are_away_hide_nothing_of_the_ledger(
    broker: Server, own_stack: Stack, tmp_path: Path, redis_url: str
) -> None:
    broker.kill()

    found = check(
        tmp_path, "--json", "--brokers", own_stack.bootstrap_servers, "--ledger", redis_url
    )

    assert found.code == 1
    assert "check their address" in only(found.faults, "cannot be reached", "Connection refused")
    only(found.warnings, "not checked", "topics", "rights")
    only(found.fine, "persistence")


def test_a_broker_that_hangs_is_given_up_in_time(
    broker: Server, own_stack: Stack, tmp_path: Path, redis_url: str
) -> None:
    broker.pause()

    found = check(
        tmp_path, "--json", "--brokers", own_stack.bootstrap_servers, "--ledger", redis_url
    )

    assert found.code == 1
    only(found.faults, "cannot be reached")
    only(found.fine, "persistence")


def test_an_address_that_nobody_knows_is_named(tmp_path: Path) -> None:
    found = check(tmp_path, "--json", "--brokers", "no-such-host.invalid:9092")

    assert found.code == 1
    only(found.faults, "no-such-host.invalid")
