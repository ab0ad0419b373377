"""A Redis ledger loses whatever it can, again and again, while workers are killed.

Each misfortune `EOS_LEDGER_ROUNDS` times, at random moments, in random order; copies of keys stand
on other partitions, too.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from eos.devstack import Stack
from tests.fault.chaos.checks import check
from tests.fault.chaos.run import Plan
from tests.fault.chaos.worker import Point
from tests.fault.ledger_storm import ALL, SEED
from tests.fault.ledger_storm_servers import Pair, pair
from tests.fault.ledger_storm_workers import storm_over_tellers, storm_over_transactions
from tests.integration.cluster import Cluster
from tests.integration.into_broken import NO_AUDIT, NO_CONFIRM
from tests.integration.into_crew import Crew
from tests.integration.into_kit import Bank, fresh
from tests.integration.processes import quick

ROUNDS = int(os.environ.get("EOS_LEDGER_ROUNDS", "10"))
TRIES = 4
LOST, TWICE = r"lost=\['id-", r"twice=\{'id-"
# One that is stopped stays a member for so long.
PATIENT = 6.0
LONG_STOPS = (3.0, 5.0)
# So long after a worker was stopped the ledger is lost: before copies of what it holds come, or
# after they were suppressed.
AT_ONCE, LATER = (0.0, 0.0), (1.0, 2.0)
MANY = 0.6
LOSING = ("FLUSHALL", "restart without persistence")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path) as made:
        yield made


@pytest.mark.timeout(ROUNDS * 120 + 600)
def test_nothing_is_lost_or_repeated_in_topics_whatever_befalls_the_ledger(
    stack: Stack, ledger: Pair, tmp_path: Path
) -> None:
    storm, evidence = storm_over_transactions(stack, ledger, tmp_path, ROUNDS)
    print(  # noqa: T201
        f"{storm}; {len(evidence.inputs)} records, {len(evidence.suppressed)} suppressed, "
        f"{evidence.counts.recoveries} recoveries, {evidence.killed} processes died"
    )
    check(evidence)
    assert dict(storm.done) == dict.fromkeys(ALL, ROUNDS)
    assert evidence.suppressed
    # Of each of four kinds, though a second one may come before the first is recovered from.
    assert evidence.counts.recoveries >= 2 * ROUNDS


@pytest.mark.timeout(TRIES * 600)
@pytest.mark.parametrize(
    ("broken", "point", "held", "found"),
    [
        (NO_CONFIRM, Point("before", "transactions", "send_offsets"), AT_ONCE, TWICE),
        (NO_AUDIT, Point("after", "ledger", "claim"), LATER, LOST),
    ],
    ids=[NO_CONFIRM, NO_AUDIT],
)
def test_workers_that_are_broken_are_found_out_by_what_topics_hold(
    stack: Stack,
    ledger: Pair,
    tmp_path: Path,
    broken: str,
    point: Point,
    held: tuple[float, float],
    found: str,
) -> None:
    plan = Plan(seconds=600.0, broken=broken, harms=(), session=PATIENT, patience=60.0)
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        _, evidence = storm_over_transactions(
            stack,
            ledger,
            folder,
            rounds=4,
            points=(point,),
            plan=replace(plan, seed=SEED + attempt),
            kinds=LOSING,
            behind=1.0,
            stops=LONG_STOPS,
            held=held,
            kills=0.0,
        )
        if found_out(lambda: check(evidence), found):  # noqa: B023 called at once
            return
    pytest.fail(f"{broken}: no {found} in {TRIES} runs")


@pytest.fixture
def bank(
    database: Stack, cluster: Cluster, topic: Callable[..., str], namespace: str
) -> Iterator[Bank]:
    with fresh(database.postgres_url, namespace) as engine:
        yield Bank(cluster, topic("transfers", partitions=4), namespace, engine, SEED, partitions=4)


@pytest.mark.timeout(ROUNDS * 120 + 600)
def test_money_moves_once_whatever_befalls_the_ledger(
    bank: Bank, ledger: Pair, bootstrap_servers: str, tmp_path: Path
) -> None:
    settings = quick(bootstrap_servers, ledger.url, bank.group)
    with Crew.of(3, settings, bank, tmp_path, pause=0.003) as crew:
        storm = storm_over_tellers(crew, ledger, ROUNDS)
        recoveries = sum(len(teller.notes("Recovered")) for teller in crew.tellers)
    records = sum(map(len, bank.records.values()))
    print(  # noqa: T201
        f"{storm}; {records} records, {suppressed(bank)} suppressed, {recoveries} recoveries, "
        f"{crew.kills} processes died"
    )
    assert dict(storm.done) == dict.fromkeys(ALL, ROUNDS)
    assert suppressed(bank) == records - len(bank.sent) > 0
    assert recoveries >= 2 * ROUNDS


@pytest.mark.timeout(TRIES * 600)
@pytest.mark.parametrize(
    ("broken", "held", "found"),
    [(NO_CONFIRM, AT_ONCE, TWICE), (NO_AUDIT, LATER, LOST)],
    ids=[NO_CONFIRM, NO_AUDIT],
)
def test_tellers_that_are_broken_are_found_out(
    bank: Bank,
    ledger: Pair,
    bootstrap_servers: str,
    tmp_path: Path,
    broken: str,
    held: tuple[float, float],
    found: str,
) -> None:
    calm = {"session.timeout.ms": 1000 * int(PATIENT), "heartbeat.interval.ms": 300}
    settings = quick(bootstrap_servers, ledger.url, bank.group, kafka=calm)

    def storm() -> None:
        with Crew.of(3, settings, bank, tmp_path, pause=0.003, broken=broken) as crew:
            storm_over_tellers(
                crew,
                ledger,
                rounds=10,
                where=("after ledger.claim",),
                kinds=LOSING,
                behind=1.0,
                stops=LONG_STOPS,
                held=held,
                kills=0.0,
            )

    bank.copies = MANY
    assert found_out(storm, found)


def found_out(look: Callable[[], object], found: str) -> bool:
    """Tell whether what is found wrong is what was to be found."""
    try:
        look()
    except AssertionError as error:
        print(f"found out: {str(error)[:500]}")  # noqa: T201
        return bool(re.search(found, str(error)))
    return False


def suppressed(bank: Bank) -> int:
    """Count what the audit has."""
    with bank.engine.connect() as db:
        return int(db.execute(text("SELECT count(*) FROM eos_suppressed")).scalar() or 0)
