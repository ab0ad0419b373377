"""Makes the shop's own tables. None of them has a constraint that would hide a second effect."""

from sqlalchemy import text

from eos.db import engine_of
from shop import DATABASE

with engine_of(DATABASE).begin() as db:
    db.execute(text("CREATE TABLE charges (order_id TEXT, account TEXT, cents BIGINT)"))
    db.execute(text("CREATE TABLE postings (payment_id TEXT, account TEXT, cents BIGINT)"))
    db.execute(text("CREATE TABLE balances (account TEXT PRIMARY KEY, cents BIGINT)"))
