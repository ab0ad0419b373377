"""PostgreSQL stops, dies and freezes while workers of `into=` join, leave and are killed."""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from eos.devstack import Server, Stack, running
from tests.integration.cluster import Cluster
from tests.integration.into_broken import TWO_TRANSACTIONS
from tests.integration.into_crew import Crew
from tests.integration.into_kit import Bank, fresh
from tests.integration.processes import quick

ROUNDS = int(os.environ.get("EOS_STORM_ROUNDS", "40"))
SEED = int(os.environ.get("EOS_SEED", "61"))
LONGEST_SECONDS = 2.5
HARMS: dict[str, tuple[Callable[[Server], None], Callable[[Server], None]]] = {
    "stop": (Server.stop, Server.start),
    "kill": (Server.kill, Server.start),
    "pause": (Server.pause, Server.resume),
}


@pytest.fixture(scope="module")
def database() -> Iterator[Stack]:
    """A PostgreSQL that nobody else needs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_POSTGRES_URL", raising=False)
        with running(brokers=0, redis=False, postgres=True) as opened:
            yield opened


@pytest.fixture
def bank(
    database: Stack, cluster: Cluster, topic: Callable[..., str], namespace: str
) -> Iterator[Bank]:
    with fresh(database.postgres_url, namespace) as engine:
        yield Bank(cluster, topic("transfers", partitions=4), namespace, engine, SEED, partitions=4)


@pytest.fixture
def broken() -> str:
    """How the workers are broken."""
    return ""


@pytest.fixture
def crew(
    bank: Bank, bootstrap_servers: str, redis_url: str, tmp_path: Path, broken: str
) -> Iterator[Crew]:
    settings = quick(bootstrap_servers, redis_url, bank.group)
    with Crew.of(3, settings, bank, tmp_path, pause=0.003, broken=broken) as made:
        yield made


@pytest.mark.timeout(ROUNDS * 60)
def test_money_moves_once_while_postgres_goes_away_in_the_middle_of_rebalances(
    crew: Crew, database: Stack, redis_url: str
) -> None:
    storm(crew, database.postgres, redis_url)
    crew.finish()
    crew.bank.assert_exact()


@pytest.mark.timeout(ROUNDS * 60)
@pytest.mark.parametrize("broken", [TWO_TRANSACTIONS])
def test_workers_that_are_broken_are_found_out(crew: Crew, database: Stack, redis_url: str) -> None:
    with pytest.raises(AssertionError, match=r"(ahead=\[\(|twice=\{)'id-"):
        storm(crew, database.postgres, redis_url)


def storm(crew: Crew, postgres: Server, redis_url: str) -> None:
    """Let all of it come together."""
    choice = random.Random(SEED)
    bank = crew.bank
    for teller in crew.tellers:
        teller.batch = choice.random() < 1 / 2  # from their next process on
    for _ in range(ROUNDS):
        crew.advance(choice.randrange(30))
        harm = choice.choice(list(HARMS))
        hurt, heal = HARMS[harm]
        moved = choice.choice([leaves_and_joins, is_killed, nobody_moves])
        print(harm, moved.__name__)  # noqa: T201
        bank.send(20)
        moved(crew, choice)
        time.sleep(choice.uniform(0, LONGEST_SECONDS))  # any moment of the rebalance
        hurt(postgres)
        choice.choice([leaves_and_joins, is_killed, nobody_moves])(crew, choice)
        if choice.random() < 1 / 3:
            with redis.Redis.from_url(redis_url) as ledger:
                ledger.flushall()
        time.sleep(choice.uniform(0, LONGEST_SECONDS))  # so long it is away
        heal(postgres)
        bank.assert_whole()


def nobody_moves(_crew: Crew, _choice: random.Random) -> None:
    """Change nothing."""


def is_killed(crew: Crew, choice: random.Random) -> None:
    """Kill one; its successor joins."""
    crew.kill(choice)


def leaves_and_joins(crew: Crew, choice: random.Random) -> None:
    """Let one leave in order, as far as it can, and another one join."""
    crew.replace(choice)
