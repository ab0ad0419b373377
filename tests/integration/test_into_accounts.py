"""Money moves once inside `into=`, however often three processes are killed, or wake up again."""

import random
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from eos.devstack.waiting import wait_until
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.into_broken import NO_COMPARE
from tests.integration.into_crew import Crew
from tests.integration.into_kit import Bank, Teller, url
from tests.integration.processes import quick

KILLS = len(rows(range(8), range(100)))
BATCH = [False, True]
POINTS = ["after ledger.claim", "before SELECT eos_frontiers.next_offset,"]
# PostgreSQL gives up the transaction of a process that was stopped.
GIVES_UP = "?options=-c%20idle_in_transaction_session_timeout%3D1000"


@pytest.fixture
def bank(cluster: Cluster, topic: Callable[..., str], namespace: str, engine: Engine) -> Bank:
    return Bank(cluster, topic("transfers", partitions=3), namespace, engine, seed=31, partitions=3)


@pytest.fixture
def ledger_kind() -> str:
    return "redis"


@pytest.fixture
def settings(
    bootstrap_servers: str, redis_url: str, bank: Bank, ledger_kind: str
) -> dict[str, Any]:
    ledger = redis_url if ledger_kind == "redis" else url(bank.engine)
    return quick(bootstrap_servers, ledger, bank.group)


@pytest.fixture
def zombie(bank: Bank, settings: dict[str, Any], tmp_path: Path) -> Iterator[Teller]:
    with Teller(settings, bank.source, "", tmp_path / "zombie", into=url(bank.engine)) as made:
        yield made


@pytest.fixture
def heir(bank: Bank, settings: dict[str, Any], tmp_path: Path) -> Iterator[Teller]:
    into = url(bank.engine)
    with Teller(settings, bank.source, "", tmp_path / "heir", slot=1, into=into) as made:
        yield made


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("database_kind", "ledger_kind"),
    rows(
        [("postgresql", "redis"), ("sqlite", "itself")],
        product(["postgresql", "sqlite"], ["redis", "itself"]),
    ),
)
def test_money_is_conserved_over_kills_of_three_processes(
    bank: Bank, settings: dict[str, Any], tmp_path: Path
) -> None:
    choice = random.Random(bank.seed)
    with Crew.of(3, settings, bank, tmp_path, pause=0.005) as crew:
        for teller in crew.tellers[1:]:
            teller.batch = True  # from their next process on
        while crew.kills < KILLS:
            crew.advance(choice.randrange(30))
            for _ in range(choice.choice([1, 1, 1, 2, 3])):
                crew.kill(choice)
            bank.assert_whole()
        crew.finish()

    bank.assert_exact()


def falls_behind(bank: Bank, zombie: Teller, heir: Teller, *, where: str) -> None:
    """Let a process stop with work in hand, another one do it, and the first one go on."""
    bank.send(12)
    zombie.serve(where=where, action="stop")
    bank.await_settled()
    zombie.gate.touch()
    bank.send(30)
    zombie.await_note("fault")
    assert not bank.is_settled(), "it stopped with nothing in its hand"
    heir.serve()
    bank.await_settled()
    zombie.go_on()


@pytest.mark.parametrize(("where", "batch"), rows([(POINTS[1], True)], product(POINTS, BATCH)))
@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_zombie_that_holds_no_row_yet_does_nothing_when_it_wakes_up(
    bank: Bank, zombie: Teller, heir: Teller, where: str, batch: bool
) -> None:
    zombie.batch = batch
    falls_behind(bank, zombie, heir, where=where)
    goes_on_in_peace(bank, zombie, heir)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_zombie_that_has_not_begun_to_write_to_sqlite_does_nothing_when_it_wakes_up(
    bank: Bank, zombie: Teller, heir: Teller
) -> None:
    falls_behind(bank, zombie, heir, where="after ledger.claim")
    goes_on_in_peace(bank, zombie, heir)


@pytest.mark.parametrize(
    "where",
    rows(
        ["before do_commit"],
        ["before do_commit", "after UPDATE accounts", "after SAVEPOINT eos_whole"],
    ),
)
@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_zombie_whose_transaction_the_server_gave_up_cannot_commit_it(
    bank: Bank, zombie: Teller, heir: Teller, where: str
) -> None:
    # Until then its row is locked, and its heir waits.
    zombie.into += GIVES_UP
    falls_behind(bank, zombie, heir, where=where)
    goes_on_in_peace(bank, zombie, heir)


def goes_on_in_peace(bank: Bank, zombie: Teller, heir: Teller) -> None:
    """See that the zombie gives up what it held, and becomes a useful member again."""
    zombie.await_note("Aborted")
    bank.assert_exact()
    bank.send(12)
    bank.await_settled()
    for each in (zombie, heir):
        each.drain()
    bank.assert_exact()


@pytest.mark.parametrize("database_kind", rows(["postgresql"], ["postgresql", "sqlite"]))
def test_a_zombie_whose_frontier_is_not_compared_is_found_out(
    bank: Bank, zombie: Teller, heir: Teller
) -> None:
    zombie.broken = NO_COMPARE
    falls_behind(bank, zombie, heir, where="after ledger.claim")
    # What it has done once more is in the journal, and not in the number of transfers.
    assert wait_until(lambda: bank.done() > len(bank.sent), seconds=SECONDS), zombie.told()
    with pytest.raises(AssertionError, match=r"twice=\{'id-"):
        bank.assert_exact()
