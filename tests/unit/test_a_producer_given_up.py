"""A client that is not needed any more ends: while it lives, it goes on with what it was told."""

import weakref
from typing import Any

import pytest
from confluent_kafka import Producer

from eos.core.errors import RetriableError
from eos.kafka import transactions
from eos.kafka.transactions import KafkaTransactions


class Client(Producer):
    """The client itself, so that its end can be seen."""


def test_a_client_whose_start_timed_out_does_not_outlive_the_producer_because_of_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transactions, "_INIT_TIMEOUT", 0.2)
    clients: list[weakref.ref[Any]] = []

    def make(conf: dict[str, Any], **more: Any) -> Client:
        client = Client(conf, **more)
        clients.append(weakref.ref(client))
        return client

    conf = {
        "bootstrap.servers": "127.0.0.1:1",  # nobody is there
        "transactional.id": "ns.host.0",
        "transaction.timeout.ms": 10_000,
        "socket.timeout.ms": 10_000,
    }
    made = KafkaTransactions(conf, lambda _: None, make=make)
    with pytest.raises(RetriableError) as kept:
        made.prepare()
    made.close()

    assert kept.value.__cause__ is not None  # it is kept, and with it the frames that it came by
    assert [client() for client in clients] == [None]
