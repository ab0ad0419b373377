"""The tables of eos in a SQL database: for Alembic, and for set-ups that run no command.

from eos.db import metadata as eos_metadata
target_metadata = [mine, eos_metadata]
"""

from eos.stores.sql.connections import engine_of
from eos.stores.sql.tables import check, create, metadata, migrate

__all__ = ["check", "create", "engine_of", "metadata", "migrate"]
