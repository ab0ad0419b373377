import os
from collections.abc import Iterator

import pytest

from tests.conformance.rigs import OwnServer
from tests.conformance.servers import redis_server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    named = os.environ.get("EOS_REDIS_URL")
    if named:
        yield named
        return
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with redis_server(tmp_path_factory.mktemp("own")) as server:
        yield OwnServer(server)
