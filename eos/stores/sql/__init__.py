"""The one door to SQL databases: ledger, frontiers, and their tables, through SQLAlchemy Core."""

# Here, so that nobody sees `tables.metadata` without all of its tables.
from eos.stores.sql import ledger_tables, outbox_tables, tables

__all__ = ["ledger_tables", "outbox_tables", "tables"]
