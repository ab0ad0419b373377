"""Tests with many rows of one kind: `make test` tries a few, `make fault` all of them.

The files that ask here are the ones that `make fault` runs with `EOS_ROWS=all`.
"""

import os
from collections.abc import Iterable
from typing import TypeVar

LONG = os.environ.get("EOS_ROWS") == "all"
"""Whether this is the long run."""

Row = TypeVar("Row")


def rows(few: Iterable[Row], every: Iterable[Row]) -> list[Row]:
    """Give the rows that a test shall try: one of each kind, and in the long run every one."""
    return list(every if LONG else few)
