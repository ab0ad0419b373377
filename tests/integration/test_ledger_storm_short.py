"""The storms of `tests/fault` over a Redis ledger in their short form: each misfortune once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.devstack import Stack
from tests.fault.chaos.checks import check
from tests.fault.ledger_storm import ALL, SEED
from tests.fault.ledger_storm_servers import Pair, pair
from tests.fault.ledger_storm_workers import storm_over_tellers, storm_over_transactions
from tests.integration.cluster import Cluster
from tests.integration.into_crew import Crew
from tests.integration.into_kit import Bank
from tests.integration.processes import quick

# Whoever recovers the ledger when it is killed leaves a lock behind, that others wait for.
FEW = 0.25


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path) as made:
        yield made


def test_nothing_is_lost_or_repeated_in_topics_whatever_befalls_the_ledger(
    stack: Stack, ledger: Pair, tmp_path: Path
) -> None:
    storm, evidence = storm_over_transactions(
        stack, ledger, tmp_path, rounds=1, kills=FEW, pause=1.0
    )
    check(evidence)
    assert dict(storm.done) == dict.fromkeys(ALL, 1)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_money_moves_once_whatever_befalls_the_ledger(
    cluster: Cluster,
    topic: Callable[..., str],
    engine: Engine,
    ledger: Pair,
    bootstrap_servers: str,
    namespace: str,
    tmp_path: Path,
) -> None:
    bank = Bank(cluster, topic("transfers", partitions=4), namespace, engine, SEED, partitions=4)
    settings = quick(bootstrap_servers, ledger.url, bank.group)
    with Crew.of(3, settings, bank, tmp_path, pause=0.003) as crew:
        storm = storm_over_tellers(crew, ledger, rounds=1, kills=FEW, pause=1.0)
    assert dict(storm.done) == dict.fromkeys(ALL, 1)
