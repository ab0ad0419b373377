"""The one door to SQL databases: ledger, frontiers, and their tables, through SQLAlchemy Core."""
