"""The tables of eos, as SQLAlchemy metadata: hand it to Alembic beside your own."""

from sqlalchemy import MetaData

metadata = MetaData()
"""All tables of eos; their names begin with `eos_`."""
