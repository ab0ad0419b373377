"""Charges accounts: an order's charge, and the message that tells of it, are one transaction.

Run it with: eos run payments:app --workers 2
"""

import json

from sqlalchemy import Connection, text

import eos
from shop import DATABASE, ORDERS, PAYMENTS, QUICK, SHOP

CHARGE = text("INSERT INTO charges (order_id, account, cents) VALUES (:id, :account, :cents)")

outbox = eos.Outbox(DATABASE, encode=json.dumps)

# The keys of orders are claimed in the same transaction, too: this service needs no Redis.
app = eos.App(group=f"{SHOP}.payments", ledger=DATABASE, kafka=QUICK)


@app.step(ORDERS, into=outbox.engine, decode=json.loads)
def charge(order: eos.Record, db: Connection) -> None:
    """Charge an order, and say so, once."""
    db.execute(CHARGE, order.value)
    outbox.add(
        db,
        PAYMENTS,
        {"account": order.value["account"], "cents": order.value["cents"]},
        key=order.value["account"],  # the payments of an account stay in order
        id=f"payment-{order.idempotency_key}",  # the same whenever this order is charged
    )
