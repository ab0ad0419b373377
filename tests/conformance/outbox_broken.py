"""Broken stores of an outbox, that the suite must reject."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, text

from eos.core.outbox import Progress, Row
from eos.stores.sql import outbox
from eos.stores.sql.outbox import SqlRows


class NoCompare(SqlRows):
    """Changes a shard whatever has become of it meanwhile."""

    @contextmanager
    def _changing(self, known: Progress) -> Iterator[Connection]:
        with super()._changing(replace(known, version=self.progress().version)) as db:
            yield db


class DeletesBelow(SqlRows):
    """Marks by the highest id, as who keeps no list of ids."""

    def _delete(self, db: Connection, ids: Sequence[int]) -> None:
        told = {"shard": self._shard, "highest": max(ids) + 1000}
        delete = "DELETE FROM eos_outbox WHERE shard = :shard AND id <= :highest"
        db.execute(text(delete), told)


class Early(SqlRows):
    """Publishes what is scheduled as soon as it is there."""

    def _let_go(self, db: Connection) -> None:
        told = {"shard": self._shard}
        db.execute(
            text("UPDATE eos_outbox_scheduled SET deliver_ms = 0 WHERE shard = :shard"), told
        )
        self._due_ms = 0
        super()._let_go(db)


class Unordered(SqlRows):
    """Takes the newest rows first."""

    def record(
        self, known: Progress, limit: int, *, published: bool
    ) -> tuple[Progress, Sequence[Row]]:
        asked = outbox._NEXT  # noqa: SLF001
        outbox._NEXT = text(asked.text.replace("ORDER BY shard, id", "ORDER BY shard, id DESC"))  # noqa: SLF001
        try:
            return super().record(known, limit, published=published)
        finally:
            outbox._NEXT = asked  # noqa: SLF001


class OnlyNewer(SqlRows):
    """Takes what has a higher id than it has seen."""

    _highest = 0

    def record(
        self, known: Progress, limit: int, *, published: bool
    ) -> tuple[Progress, Sequence[Row]]:
        known, rows = super().record(known, limit, published=published)
        newer = [row for row in rows if row.id > self._highest]
        self._highest = max([self._highest, *(row.id for row in rows)])
        return known, newer
