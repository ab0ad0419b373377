"""The eos workers of the embedded demo: effects, frontiers and keys in one SQLite file."""

from dataclasses import asdict

from sqlalchemy import Connection, text

import eos
from eos.demo.charges import charge
from eos.demo.mock import OnMock
from eos.demo.names import MEMBERSHIP_OF_MOCK, Names

_names = Names.of_environment()

_app = eos.App(**_names.settings(MEMBERSHIP_OF_MOCK))

_CHARGE = text("INSERT INTO charges VALUES (:order, :cents, :partition, :offset)")


@_app.step(_names.orders, into=_names.ledger)
def charge_order(order: eos.Record, db: Connection) -> None:
    """Charge an order, once."""
    db.execute(_CHARGE, asdict(charge(order.value, order.partition, order.offset)))


app = OnMock(_app, _names)
