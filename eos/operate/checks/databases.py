"""Rules on SQL databases; whether the tables are those of this version, `eos.db.check` says."""

from collections.abc import Iterator, Mapping

from eos.core.ports.preflight import Database
from eos.operate.checks.clocks import clock
from eos.operate.checks.finding import Finding, fault, ok, warning

_OLDEST = {"postgresql": (12, 0), "sqlite": (3, 35)}
_NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}


def database(found: Database, *, ledger: bool) -> Iterator[Finding]:
    """Judge a database.

    Args:
        found: What it tells.
        ledger: Whether it is the ledger, whose connections are of our own making.
    """
    name, version = _NAMES[found.kind], ".".join(map(str, found.version))
    oldest = _OLDEST[found.kind]
    if found.version < oldest:
        told = f"{name} {version} is too old"
        yield fault("server", told, f"use {name} {'.'.join(map(str, oldest))} or newer")
    else:
        yield ok("server", f"{name} {version}, {found.journal or found.encoding}")
    if found.encoding.upper().replace("-", "") not in ("UTF8", "UTF16LE", "UTF16BE"):
        told = f"its encoding is {found.encoding}: names and reasons in other letters are refused"
        yield fault("server", told, "create the database anew with ENCODING 'UTF8'")
    if found.replica:
        yield fault("server", "is a replica: it takes no writes", "point at the primary")
    for forbidden in found.forbidden:
        advice = "grant SELECT, INSERT, UPDATE and DELETE on tables eos_* to our user"
        yield fault("rights", f"{forbidden} is not allowed", advice)
    if found.forgetful:
        told = f"{', '.join(found.forgetful)}: a crash of its machine forgets what was committed"
        advice = "switch it on, at least for our user: committed must mean kept"
        yield warning("durability", told, advice)
    if found.kind == "sqlite" and not ledger and found.journal != "wal":
        told = f"journal mode {found.journal}: readers and writers wait for each other"
        yield warning("server", told, "PRAGMA journal_mode = WAL, once for the file")
    if found.kind == "postgresql":
        yield clock("clock", found.ahead, found.off_by)


def frontiers(found: Mapping[tuple[str, str], int], topic_ids: Mapping[str, str]) -> list[Finding]:
    """Compare frontiers with the topics that there are.

    Args:
        found: How many frontiers there are of each topic and topic id.
        topic_ids: The id of each topic of today.
    """
    if not topic_ids:
        return [ok("frontiers", "frontiers were not compared: the topics' ids are not known")]
    old = [topic for (topic, id_) in found if topic in topic_ids and id_ != topic_ids[topic]]
    current = sum(count for (topic, id_), count in found.items() if topic_ids.get(topic) == id_)
    rows = [ok("frontiers", f"{current} frontiers" if current else "no frontiers yet: it begins")]
    if old and not current:
        told = f"its frontiers are of a former topic {', '.join(sorted(set(old)))}"
        advice = (
            "if the topic was made anew, all is well: it is read from its beginning. If the "
            "database belongs to another cluster, correct the addresses"
        )
        return [*rows, warning("frontiers", told, advice)]
    return rows
