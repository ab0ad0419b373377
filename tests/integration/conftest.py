"""What tests of the line share: an input, an output, and settings that notice a death soon."""

from collections.abc import Callable

import pytest

from eos.core.settings import Settings
from tests.integration.processes import quick


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    return topic("orders", partitions=2)


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("receipts")


@pytest.fixture
def settings(bootstrap_servers: str, redis_url: str, namespace: str) -> Settings:
    return Settings(**quick(bootstrap_servers, redis_url, namespace))
