"""The service that charges, broken in the ways in which it is usually built first."""

import json
import os
import time
from typing import Any

from confluent_kafka import Producer
from sqlalchemy import Connection, text

import eos
from tests.integration.chain_kit import OWN_CONNECTION

_SHOP, _DATABASE = os.environ["SHOP"], os.environ["SHOP_DATABASE"]
_HOW = os.environ["CHAIN_BROKEN"]
_PAUSE = 0.002  # so that a kill falls into a batch
_CHARGE = text("INSERT INTO charges (order_id, account, cents) VALUES (:id, :account, :cents)")

app = eos.App(
    group=f"{_SHOP}.payments",
    ledger=_DATABASE,
    kafka={"session.timeout.ms": 6000, "heartbeat.interval.ms": 1500},
)
outbox = eos.Outbox(_DATABASE, encode=json.dumps)
producer = Producer({"bootstrap.servers": os.environ["EOS_BROKERS"], "linger.ms": 0})


@app.step(f"{_SHOP}.orders", into=outbox.engine, decode=json.loads)
def charge(order: eos.Record, db: Connection) -> None:
    """Charge an order, and tell of it beside the transaction."""
    value: Any = order.value
    db.execute(_CHARGE, value)
    name = f"payment-{order.idempotency_key}"
    told = {"account": value["account"], "cents": value["cents"]}
    topic = f"{_SHOP}.payments"
    if _HOW == OWN_CONNECTION:
        with outbox.engine.begin() as own:
            outbox.add(own, topic, told, key=value["account"], id=name)
    else:
        producer.produce(
            topic, json.dumps(told), value["account"], headers={"message-id": name.encode()}
        )
        producer.poll(0)
    time.sleep(_PAUSE)
