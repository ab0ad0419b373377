"""Keeps the balances of accounts: reads what the relay has published.

Run it with: eos run balances:app --workers 2
"""

import json

from sqlalchemy import Connection, text

import eos
from shop import DATABASE, PAYMENTS, QUICK, SHOP

POST = text("INSERT INTO postings (payment_id, account, cents) VALUES (:id, :account, :cents)")
BOOK = text(
    "INSERT INTO balances (account, cents) VALUES (:account, :cents)"
    " ON CONFLICT (account) DO UPDATE SET cents = balances.cents + excluded.cents"
)

# The ledger is the Redis of EOS_LEDGER: whoever publishes a payment once more is not believed.
app = eos.App(group=f"{SHOP}.balances", kafka=QUICK)


@app.step(PAYMENTS, into=DATABASE, decode=json.loads)
def book(payment: eos.Record, db: Connection) -> None:
    """Book a payment, once."""
    db.execute(POST, {"id": payment.idempotency_key, **payment.value})
    db.execute(BOOK, payment.value)
