"""The storm of `tests/fault` in its short form: some rounds, and brokers and PostgreSQL stay."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.fault.outbox_storm import storm
from tests.integration.cluster import Cluster
from tests.integration.outbox_kit import Shop, slots

ROUNDS = 4


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_rows_become_messages_once_while_relays_die_leave_and_sleep(
    cluster: Cluster,
    topic: Callable[..., str],
    engine: Engine,
    bootstrap_servers: str,
    namespace: str,
    tmp_path: Path,
) -> None:
    shop = Shop(cluster, topic("events", partitions=3), engine, seed=71)
    with slots(shop, bootstrap_servers, namespace, tmp_path, 2) as relays:
        storm(shop, relays, ROUNDS)
