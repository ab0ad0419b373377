"""The reader behind a network that is slow: it reads where it was sent, and nowhere else."""

import time
from collections.abc import Callable, Iterator

import pytest

from eos.core.errors import RetriableError
from eos.core.settings import Settings
from eos.devstack import Stack
from eos.kafka import config
from eos.kafka.reader import KafkaReader
from eos.testing.proxy import ApiKey, KafkaProxy
from tests.integration.cluster import SECONDS, Cluster, Input

LIST_OFFSETS: ApiKey = 2  # type: ignore[assignment]
"""An API key that `ApiKey` does not name."""


@pytest.fixture
def proxy(stack: Stack) -> Iterator[KafkaProxy]:
    with KafkaProxy(stack.proxy_ports[0], stack.broker_proxied_ports[0]) as opened:
        yield opened


FAULTS: dict[str, Callable[[KafkaProxy], None]] = {
    "in time": lambda _: None,
    "late": lambda proxy: proxy.delay_requests(LIST_OFFSETS, 1.0, 1),
    "lost": lambda proxy: proxy.drop_responses(LIST_OFFSETS, 1, close=False),
    "broken": lambda proxy: proxy.drop_responses(LIST_OFFSETS, 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reader_stays_where_it_was_sent_whenever_the_answer_about_the_beginning_comes(
    stack: Stack,
    proxy: KafkaProxy,
    settings: Settings,
    topic: Callable[..., str],
    cluster: Cluster,
    fault: str,
) -> None:
    # A client that is told to begin at the beginning asks where that is, and goes there when the
    # answer comes, even if it was sent elsewhere in the meantime.
    source = topic("orders")
    cluster.send(source, [Input(f"id-{n}", 0) for n in range(100)])
    quick = {"session.timeout.ms": 30_000, "socket.timeout.ms": 3000}
    behind = Settings(**{**vars(settings), "brokers": stack.proxied_servers, "kafka": quick})
    reader = KafkaReader(config.consumer(behind), "earliest")
    FAULTS[fault](proxy)
    reader.subscribe([source])
    read: list[int] = []
    deadline = time.monotonic() + SECONDS
    while not reader.assigned():
        assert time.monotonic() < deadline
        assert not reader.poll(10, 0.1)
    sent = False
    while not sent:
        try:
            reader.seek((source, 0), 50)
            sent = True
        except RetriableError:
            assert time.monotonic() < deadline
            reader.poll(10, 0.1)
    quiet = time.monotonic() + 5.0  # longer than it can take until a late answer comes
    while time.monotonic() < quiet:
        read += [message.offset() for message in reader.poll(10, 0.1)]
    reader.close()

    assert read == list(range(50, 100))
