"""Orders, payments, balances: the example of the docs, while its processes are killed.

One check over all of it: each order is charged once, published once and booked once.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eos.db import engine_of
from tests.integration import chain_kit as kit
from tests.integration.chain_kit import Chain, Shop
from tests.integration.cluster import Cluster

SEED = 7
ORDERS = 400


@pytest.fixture
def database(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Engine]:
    """A database with nothing in it."""
    if database_kind == "sqlite":
        engine = engine_of(f"sqlite:///{tmp_path / 'shop.sqlite'}")
    else:
        engine = engine_of(request.getfixturevalue("postgres_url"))
    yield engine
    engine.dispose()


@pytest.fixture
def shop(cluster: Cluster, database: Engine, namespace: str, redis_url: str) -> Shop:
    made = Shop(cluster, database, namespace, redis_url)
    made.open()
    return made


def kill_each(chain: Chain, seed: int) -> int:
    """Kill a worker of each command, and two commands as a whole, with orders under way."""
    choice = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201 pytest shows it for a test that failed
    payments, first, second, balances = chain.services
    kills = [
        payments.kill_a_worker,
        first.kill_a_worker,
        balances.kill_a_worker,
        second.kill,
        choice.choice([payments, balances]).kill,
    ]
    choice.shuffle(kills)
    for kill in kills:
        chain.shop.send(ORDERS)
        chain.await_count("charges", chain.shop.sent - choice.randrange(1, ORDERS))
        print(f"{kill()} killed with {chain.shop.sent} orders sent")  # noqa: T201
    return len(kills)


@pytest.mark.timeout(600)
def test_each_order_is_charged_published_and_booked_once_though_every_process_is_killed(
    shop: Shop, tmp_path: Path
) -> None:
    with kit.running(shop, tmp_path) as chain:
        assert kill_each(chain, SEED) == 5
        chain.come_to_rest()
        for service in chain.services:
            service.drain()
    shop.assert_conserved()
    assert "the same everywhere" in shop.run("python", "check.py")


def test_the_readme_names_the_commands_that_were_run() -> None:
    page = (kit.EXAMPLE / "README.md").read_text()
    for command in (kit.PAYMENTS, kit.RELAY, kit.BALANCES, "python tables.py", "python orders.py"):
        assert f"$ {command}" in page


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("how", [kit.OWN_CONNECTION, kit.FROM_THE_HANDLER])
def test_a_service_that_tells_of_charges_beside_their_transaction_is_found_out(
    shop: Shop, tmp_path: Path, how: str
) -> None:
    with kit.running(shop, tmp_path, payments=kit.BROKEN, CHAIN_BROKEN=how) as chain:
        payments, found = chain.services[0], ""
        while not found and shop.sent < 12 * ORDERS:  # a kill may fall between two batches
            shop.send(ORDERS)
            chain.await_count("charges", shop.sent - ORDERS // 2)
            payments.kill()
            chain.await_count("charges", shop.sent)
            chain.await_count("postings", shop.sent)
            found = found_out(shop)
        assert "twice=['order-" in found


def found_out(shop: Shop) -> str:
    """Say what is not conserved; empty if all is."""
    try:
        shop.assert_conserved()
    except AssertionError as error:
        return str(error)
    return ""
