"""What a line does while its ledger is away, other than to wait: `ledger_down`."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Message

from eos.core.errors import FatalError
from eos.core.events import Claimed, Recovered
from eos.core.record import Record
from eos.core.settings import Settings
from eos.devstack import Server, Stack
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.lines import Running, step
from tests.integration.processes import quick

Read = Callable[[str], list[Message]]
Outage = Callable[[], AbstractContextManager[None]]
EARLY = [Input(f"early-{n}", n % 2) for n in range(20)]
LATE = [Input(f"late-{n}", n % 2) for n in range(20)]


@pytest.fixture
def settings(bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    # The silence of a server that is paused is noticed after this time, and not after five seconds.
    impatient = f"{redis_url}?socket_timeout=1"
    return Settings(**quick(bootstrap_servers, impatient, namespace))


@pytest.fixture(params=["kill", "pause"])
def outage(request: pytest.FixtureRequest, stack: Stack) -> Outage:
    """Makes the time for which the ledger is away: dead, or there and silent."""

    @contextmanager
    def away() -> Iterator[None]:
        getattr(stack.redis, request.param)()
        try:
            yield
        finally:
            back = Server.resume if request.param == "pause" else Server.start
            back(stack.redis)

    return away


def until_checked_again(line: Running, cluster: Cluster, source: str) -> list[Input]:
    """Send records until the ledger is asked, and was brought up to date; give what was sent."""
    recovered, sent = len(line.saw(Recovered)), [Input("probe-0", 0)]
    numbers = itertools.count(1)

    def checked() -> bool:
        if len(line.saw(Recovered)) > recovered and line.saw(Claimed)[-1].unchecked == 0:
            return True
        sent.append(Input(f"probe-{next(numbers)}", 0))
        cluster.send(source, sent[-1:])
        return line.error is not None

    cluster.send(source, sent)
    assert wait_until(checked, seconds=2 * SECONDS, every=0.5), line.told()
    cluster.await_settled(line.settings.group, source)
    return sent


def test_records_pass_unchecked_and_re_sends_are_recognised_again_when_the_ledger_is_back(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Read,
    outage: Outage,
) -> None:
    given = replace(settings, ledger_down="pass_through")
    resent = EARLY[:5]
    with Running(given, [step(source, to)]) as line:
        cluster.send(source, EARLY)
        cluster.await_settled(settings.group, source)
        assert sum(claimed.unchecked for claimed in line.saw(Claimed)) == 0
        with outage():
            cluster.send(source, [*LATE, *resent])
            cluster.await_settled(settings.group, source)
            assert sum(claimed.unchecked for claimed in line.saw(Claimed)) >= 25
        probes = until_checked_again(line, cluster, source)
        # What was sent before the outage, and during it, is known.
        cluster.send(source, [*EARLY, *LATE])
        cluster.await_settled(settings.group, source)

    found = Counter(ids(read_committed(to)))
    wanted = Counter({str(each.id): 1 for each in [*EARLY, *LATE, *probes]})
    assert found == wanted + Counter(str(each.id) for each in resent)


def effects_of(
    settings: Settings, source: str, cluster: Cluster, outage: Outage, effects: Path
) -> tuple[list[tuple[str, bool]], list[Input]]:
    """Run a plain line through an outage; give its effects, and the probes after it."""

    def handler(record: Record) -> None:
        with effects.open("a") as file:
            file.write(f"{(record.value or b'').decode()} {record.in_doubt}\n")

    with Running(settings, [step(source, None, handler)]) as line:
        cluster.send(source, EARLY)
        cluster.await_settled(settings.group, source)
        with outage():
            cluster.send(source, LATE)
            cluster.await_settled(settings.group, source)
        probes = until_checked_again(line, cluster, source)
        cluster.send(source, [*EARLY, *LATE])
        cluster.await_settled(settings.group, source)
    lines = [line.split() for line in effects.read_text().splitlines()]
    return [(id_, in_doubt == "True") for id_, in_doubt in lines], probes


def test_effects_outside_of_kafka_go_on_without_the_ledger_and_each_comes_once(
    settings: Settings, source: str, cluster: Cluster, outage: Outage, tmp_path: Path
) -> None:
    given = replace(settings, ledger_down="pass_through")
    found, probes = effects_of(given, source, cluster, outage, tmp_path / "effects")
    assert sorted(id_ for id_, _ in found) == sorted(str(e.id) for e in [*EARLY, *LATE, *probes])
    # A server that came back as another one may have lost anything: then what waited is flagged.
    flagged = {id_ for id_, in_doubt in found if in_doubt}
    assert flagged <= {str(each.id) for each in probes}


@pytest.mark.parametrize("outage", ["pause"], indirect=True)
def test_a_ledger_that_was_silent_and_lost_nothing_puts_nothing_in_doubt(
    settings: Settings, source: str, cluster: Cluster, outage: Outage, tmp_path: Path
) -> None:
    given = replace(settings, ledger_down="pass_through", in_doubt="skip")
    found, probes = effects_of(given, source, cluster, outage, tmp_path / "effects")
    wanted = {str(each.id) for each in [*EARLY, *LATE, *probes]}
    assert sorted(found) == sorted((id_, False) for id_ in wanted)


def test_a_line_that_shall_fail_without_its_ledger_says_so_and_stops(
    stack: Stack, settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    given = replace(settings, ledger_down="fail")
    with Running(given, [step(source, to)]) as line:
        cluster.send(source, EARLY)
        cluster.await_settled(settings.group, source)
        stack.redis.kill()
        try:
            cluster.send(source, LATE)
            error = line.failed()
        finally:
            stack.redis.start()
    assert isinstance(error, FatalError)
    assert "ledger_down='fail'" in str(error)
    with Running(given, [step(source, to)]):
        cluster.await_settled(settings.group, source)
    assert sorted(ids(read_committed(to))) == sorted(str(each.id) for each in [*EARLY, *LATE])
