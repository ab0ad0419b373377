"""A Redis ledger beside the frontiers in SQL may be lost at any moment: money still moves once."""

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from sqlalchemy import Engine

from eos.devstack.waiting import wait_until
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.into_broken import NO_CONFIRM
from tests.integration.into_crew import Crew
from tests.integration.into_kit import Bank, Teller, url
from tests.integration.processes import quick

# One that is stopped stays a member for so long.
SESSION = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}
ROUNDS = rows(range(5), range(60))


@pytest.fixture
def bank(cluster: Cluster, topic: Callable[..., str], namespace: str, engine: Engine) -> Bank:
    return Bank(cluster, topic("transfers", partitions=2), namespace, engine, seed=21)


@pytest.fixture
def ledger(redis_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


class Pair(NamedTuple):
    """Two processes with a partition each: one that will stop, and one that goes on."""

    stops: Teller
    stops_at: int
    goes_on: Teller
    goes_on_at: int


@pytest.fixture
def broken() -> str:
    """How the one is broken that will stop; the other one never is."""
    return ""


@pytest.fixture
def pair(
    bank: Bank, bootstrap_servers: str, redis_url: str, tmp_path: Path, broken: str
) -> Iterator[Pair]:
    settings = quick(bootstrap_servers, redis_url, bank.group, kafka=SESSION)
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                Teller(
                    settings, bank.source, "", tmp_path / f"t{slot}", slot, into=url(bank.engine)
                )
            )
            for slot in (0, 1)
        )
        first.broken = broken
        bank.send(6)
        first.serve(where="after ledger.claim", action="stop")
        bank.await_settled()
        second.serve()
        assert wait_until(lambda: bool(second.partitions()), seconds=SECONDS)
        (number,) = second.partitions()
        bank.send(6)
        bank.await_settled()
        yield Pair(first, 1 - number, second, number)


def claims_and_stops(bank: Bank, pair: Pair) -> str:
    """Let one claim a new transfer, and stop with it in its hand."""
    pair.stops.gate.touch()
    order = bank.order(0, 1, pair.stops_at)
    bank.put([order])
    pair.stops.await_note("fault")
    assert bank.rows()[pair.stops_at] == len(bank.records[pair.stops_at]) - 1
    return str(order.id)


def settles_a_copy(bank: Bank, pair: Pair, name: str) -> None:
    """Let the other one settle a copy of it."""
    bank.put([bank.copy(name, pair.goes_on_at)])
    end = len(bank.records[pair.goes_on_at])
    assert wait_until(lambda: bank.rows()[pair.goes_on_at] == end, seconds=SECONDS)


def finish(bank: Bank, pair: Pair) -> None:
    bank.await_settled()
    for each in (pair.stops, pair.goes_on):
        each.drain()


@pytest.mark.parametrize(
    ("database_kind", "then"),
    rows(
        [("postgresql", "wakes up")],
        product(["postgresql", "sqlite"], ["wakes up", "dies"]),
    ),
)
def test_a_copy_that_was_suppressed_for_one_in_flight_does_not_become_the_owner(
    bank: Bank, pair: Pair, ledger: "redis.Redis", then: str
) -> None:
    name = claims_and_stops(bank, pair)
    settles_a_copy(bank, pair, name)
    assert bank.done() == len(bank.sent) - 1, "the copy was handled"
    ledger.flushall()
    if then == "dies":
        assert pair.stops.process
        pair.stops.process.kill()
        assert pair.stops.exit_code() == -signal.SIGKILL
        pair.stops.serve()
    else:
        pair.stops.go_on()
    finish(bank, pair)

    bank.assert_exact()


@pytest.mark.parametrize("database_kind", rows(["sqlite"], ["postgresql", "sqlite"]))
def test_a_copy_that_was_handled_after_a_loss_is_not_handled_again_by_who_held_it_before(
    bank: Bank, pair: Pair, ledger: "redis.Redis"
) -> None:
    name = claims_and_stops(bank, pair)
    ledger.flushall()
    settles_a_copy(bank, pair, name)
    assert bank.done() == len(bank.sent), "the copy was not handled"
    pair.stops.go_on()
    finish(bank, pair)

    bank.assert_exact()
    assert "ledger_resealed" in {note["cause"] for note in pair.stops.notes("Aborted")}


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("broken", [NO_CONFIRM])
def test_without_the_confirm_before_the_commit_a_lost_ledger_is_found_out(
    bank: Bank, pair: Pair, ledger: "redis.Redis"
) -> None:
    name = claims_and_stops(bank, pair)
    ledger.flushall()
    settles_a_copy(bank, pair, name)
    pair.stops.go_on()
    finish(bank, pair)

    with pytest.raises(AssertionError, match=r"twice=\{'id-"):
        bank.assert_exact()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("database_kind", rows(["postgresql"], ["postgresql", "sqlite"]))
def test_money_moves_once_while_the_ledger_is_lost_again_and_again_and_processes_are_killed(
    bank: Bank,
    ledger: "redis.Redis",
    bootstrap_servers: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    settings = quick(bootstrap_servers, redis_url, bank.group)
    choice = random.Random(bank.seed)
    with Crew.of(3, settings, bank, tmp_path, pause=0.005) as crew:
        for _ in ROUNDS:
            crew.advance(choice.randrange(1, 30))
            for harm in choice.choice(["flush", "kill", "kill flush", "flush kill"]).split():
                if harm == "flush":
                    ledger.flushall()
                else:
                    crew.kill(choice)
            bank.assert_whole()
        crew.finish()

    bank.assert_exact()
