"""PostgreSQL stops, dies and freezes while workers of `into=` join, leave and are killed."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import create_engine

from eos.db import create
from eos.devstack import Server, Stack, running
from tests.integration.cluster import Cluster
from tests.integration.into_crew import Crew
from tests.integration.into_kit import Bank
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
    # The bank looks on from outside: a connection that broke meanwhile is made anew.
    url = database.postgres_url.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, pool_pre_ping=True)
    create(engine)
    yield Bank(cluster, topic("transfers", partitions=4), namespace, engine, SEED, partitions=4)
    engine.dispose()


@pytest.mark.timeout(ROUNDS * 60)
def test_money_moves_once_while_postgres_goes_away_in_the_middle_of_rebalances(
    bank: Bank,
    database: Stack,
    bootstrap_servers: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    settings = quick(bootstrap_servers, redis_url, bank.group)
    choice = random.Random(SEED)
    with Crew.of(3, settings, bank, tmp_path, pause=0.003) as crew:
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
            hurt(database.postgres)
            choice.choice([leaves_and_joins, is_killed, nobody_moves])(crew, choice)
            if choice.random() < 1 / 3:
                with redis.Redis.from_url(redis_url) as ledger:
                    ledger.flushall()
            time.sleep(choice.uniform(0, LONGEST_SECONDS))  # so long it is away
            heal(database.postgres)
            bank.assert_whole()
        crew.finish()

    bank.assert_exact()


def nobody_moves(_crew: Crew, _choice: random.Random) -> None:
    """Change nothing."""


def is_killed(crew: Crew, choice: random.Random) -> None:
    """Kill one; its successor joins."""
    crew.kill(choice)


def leaves_and_joins(crew: Crew, choice: random.Random) -> None:
    """Let one leave in order, as far as it can, and another one join."""
    teller = choice.choice(crew.tellers)
    assert teller.process
    teller.process.send_signal(signal.SIGTERM)
    crew.leaving.append(teller.process)
    teller.serve()
