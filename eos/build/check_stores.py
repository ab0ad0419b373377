"""The checks of ledgers and databases."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from eos.core.errors import ConfigError
from eos.core.record import Shard
from eos.operate.checks import Check, Finding, Section, Subject, fault, of_error, ok
from eos.operate.checks import databases as database_rules
from eos.operate.checks import redis as redis_rules
from eos.stores.redis.preflight import LAYOUT, RedisPreflight
from eos.stores.sql.preflight import SqlPreflight

LEDGER = "ledger"


def ledger(subject: Subject, topic_ids: dict[str, str]) -> Section:
    """Give the checks of the ledger.

    Args:
        subject: What is to be checked.
        topic_ids: The ids of the topics that are read, known by the time that these checks run.
    """
    url = subject.settings.ledger
    if url.startswith(("sqlite:", "postgresql")):
        return database(LEDGER, url, subject, topic_ids)
    it = _Redis(subject, topic_ids)
    checks = [
        Check("version and policy", it.refusals),
        Check("memory, persistence, clock", it.server),
        Check("rights", it.rights),
        Check("keys", it.layouts),
    ]
    return Section(LEDGER, checks, Check("server", it.reach))


def database(name: str, found: Any, subject: Subject, topic_ids: dict[str, str]) -> Section:
    """Give the checks of a database.

    Args:
        name: What it is called.
        found: Its URL, or an engine.
        subject: What is to be checked.
        topic_ids: As for `ledger`.
    """
    it = _Database(name, found, subject, topic_ids)
    checks = [Check("tables", it.tables), Check("version, rights, clock", it.server)]
    if name != LEDGER:
        checks.append(Check("frontiers", it.frontiers))
    return Section(name, checks, Check("server", it.reach))


class _Redis:
    def __init__(self, subject: Subject, topic_ids: dict[str, str]) -> None:
        self._subject = subject
        self._topic_ids = topic_ids

    @cached_property
    def _asked(self) -> RedisPreflight:
        return RedisPreflight(self._subject.settings.ledger)

    def reach(self) -> list[Finding]:
        return [ok("server", f"Redis {self._asked.version()}")]

    def refusals(self) -> Iterator[Finding]:
        try:
            self._asked.refusals()
        except ConfigError as error:
            for text in error.faults:
                told, _, advice = text.removeprefix(f"{LEDGER}: ").partition("; ")
                yield fault("version and policy", told, advice)
        else:
            yield ok("version and policy", "will do")

    def server(self) -> Iterator[Finding]:
        return redis_rules.redis(self._asked.server())

    def rights(self) -> list[Finding]:
        self._asked.rights()
        return [ok("rights", "our user may run scripts")]

    def layouts(self) -> list[Finding]:
        settings = self._subject.settings
        shards = {
            topic: Shard(settings.namespace, settings.group, self._topic_ids[topic])
            for topic in self._subject.sources
            if topic in self._topic_ids
        }
        return redis_rules.layouts(self._asked.layouts(shards), LAYOUT)


class _Database:
    def __init__(self, name: str, found: Any, subject: Subject, topic_ids: dict[str, str]) -> None:
        self._name = name
        self._given = found
        self._subject = subject
        self._topic_ids = topic_ids

    @cached_property
    def _asked(self) -> SqlPreflight:
        return SqlPreflight(self._given)

    def reach(self) -> list[Finding]:
        it = self._asked
        if not it.is_new_file:
            it.reach()
            return [ok("server", it.shown)]
        if self._name != LEDGER:
            raise ConfigError([f"there is no such file: run `eos db create {it.shown}`"])
        return [ok("server", f"{it.shown}: the first worker makes the file")]

    def tables(self) -> list[Finding]:
        it = self._asked
        makes_them = self._name == LEDGER and it.shown.startswith("sqlite")
        if makes_them and (it.is_new_file or not it.has_tables()):
            return [ok("tables", "the first worker makes its tables")]
        try:
            it.tables()
        except ConfigError as error:
            return of_error("tables", error)
        return [ok("tables", "they are those of this version")]

    def server(self) -> Iterator[Finding]:
        it = self._asked
        if not it.is_new_file:
            ledger = self._name == LEDGER
            yield from database_rules.database(it.server(), ledger=ledger)

    def frontiers(self) -> list[Finding]:
        settings = self._subject.settings
        if not self._asked.has_tables():
            return []  # `tables` says so
        found = self._asked.frontiers(settings.namespace, settings.group)
        return database_rules.frontiers(found, self._topic_ids)
