"""`kill -9` before and after each statement and each call inside `into=`: all stays of one piece.

A process dies at its n-th step, the next one, which finds what it left, at its n+1-th, and so on.
"""

import signal
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.devstack.waiting import wait_until
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.into_broken import TWO_TRANSACTIONS
from tests.integration.into_kit import Bank, Teller, url
from tests.integration.processes import quick

FEW = [(87, ""), (3, "before do_commit"), (3, "after do_commit"), (2, "after UPDATE eos_frontiers")]
ALL = [(step, "") for step in range(1, 181)]
HANDLERS = ["record", "batch", "stumbling record", "stumbling batch"]
# The ledger is a Redis, or the database itself.
WAYS = rows(
    [("postgresql", "redis", "stumbling record"), ("sqlite", "itself", "batch")],
    product(["postgresql", "sqlite"], ["redis", "itself"], HANDLERS),
)
# A process that comes back under its name has its partitions at once.
STATIC = {
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 300,
    "group.instance.id": "till",
}


@pytest.fixture
def bank(cluster: Cluster, topic: Callable[..., str], namespace: str, engine: Engine) -> Bank:
    return Bank(cluster, topic("transfers", partitions=2), namespace, engine, seed=11)


@pytest.fixture
def ledger_kind() -> str:
    return "redis"


@pytest.fixture
def teller(
    bank: Bank, bootstrap_servers: str, redis_url: str, tmp_path: Path, ledger_kind: str
) -> Teller:
    ledger = redis_url if ledger_kind == "redis" else url(bank.engine)
    settings = quick(bootstrap_servers, ledger, bank.group, kafka=STATIC, backoff="20ms")
    return Teller(settings, bank.source, "", tmp_path / "teller", into=url(bank.engine))


def dies(bank: Bank, teller: Teller, step: int, where: str) -> None:
    """Let a process work until it dies at its n-th step, and give it work until then."""
    bank.send(6)
    teller.serve(step, where)
    while teller.alive:
        if not wait_until(lambda: not teller.alive or bank.is_settled(), seconds=SECONDS):
            raise AssertionError(teller.told())
        if teller.alive:
            bank.send(2)
    assert teller.exit_code() == -signal.SIGKILL, teller.told()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("database_kind", "ledger_kind", "handler"), WAYS)
def test_nothing_is_lost_or_done_twice_whatever_statement_or_call_a_process_dies_at(
    bank: Bank, teller: Teller, handler: str
) -> None:
    teller.batch, teller.stumbles = "batch" in handler, "stumbling" in handler
    with teller:
        for step, where in rows(FEW, ALL):
            dies(bank, teller, step, where)
            bank.assert_whole()
        teller.serve()
        bank.await_settled()
        teller.drain()
        bank.assert_exact()
        steps = Counter(note["where"] for note in teller.notes("fault"))
        print(dict(sorted(steps.items())))  # noqa: T201
        ends = {"before do_commit", "after do_commit", "after UPDATE eos_frontiers"}
        assert ends <= set(steps), steps


@pytest.mark.parametrize("database_kind", rows(["sqlite"], ["postgresql", "sqlite"]))
def test_effects_and_frontiers_in_two_transactions_are_found_out(
    bank: Bank, teller: Teller
) -> None:
    teller.broken = TWO_TRANSACTIONS
    with teller:
        bank.send(6)
        teller.serve(2, where="before UPDATE eos_frontiers")
        assert teller.exit_code() == -signal.SIGKILL, teller.told()
        with pytest.raises(AssertionError, match=r"ahead=\[\('id-"):
            bank.assert_whole()
        teller.broken = ""
        teller.serve()
        bank.await_settled()
        teller.drain()
        with pytest.raises(AssertionError, match=r"twice=\{'id-"):
            bank.assert_exact()
