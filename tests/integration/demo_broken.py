"""Eos workers that break the promise: the effect and its frontier are two transactions."""

import sqlite3
from dataclasses import astuple

import eos
from eos.demo.charges import charge
from eos.demo.mock import OnMock
from eos.demo.names import MEMBERSHIP_OF_MOCK, Names

_names = Names.of_environment()
_app = eos.App(**_names.settings(MEMBERSHIP_OF_MOCK))
_database = sqlite3.connect(_names.database, timeout=10, isolation_level=None)


@_app.step(_names.orders)
def charge_order(order: eos.Record) -> None:
    effect = charge(order.value, order.partition, order.offset)
    _database.execute("INSERT INTO charges VALUES (?, ?, ?, ?)", astuple(effect))


app = OnMock(_app, _names)
