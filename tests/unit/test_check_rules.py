"""The rules of `eos check` on settings and stores: facts in, findings out."""

from dataclasses import replace
from typing import Any

import pytest

from eos.core.ports.preflight import (
    Database,
    RedisServer,
)
from eos.operate.checks import Level, Role, Subject, preferences
from eos.operate.checks import databases as database_rules
from eos.operate.checks import redis as redis_rules
from eos.operate.checks.clocks import clock
from eos.operate.checks.finding import bytes_shown, seconds_shown
from tests.unit.check_facts import DAY, bad, levels, subject, the

# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("payments-1", "ok"),
        ("web-server.example.com", "ok"),
        ("c0ffee123456", "warning"),
        ("payments-7d4b9c6f8d-x2lpq", "warning"),
        ("payments-0", "ok"),
    ],
)
def test_a_host_s_name_that_is_new_with_each_start_is_a_warning(name: str, level: str) -> None:
    it = subject(instance=name, instance_is_host=True)

    assert levels(preferences.instance(it)) == [level]


def test_a_name_that_was_given_is_nobody_s_business() -> None:
    assert preferences.instance(subject(instance="c0ffee123456")) == []


def test_a_session_without_room_for_three_heartbeats_is_a_warning() -> None:
    tight = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 3000}

    assert the(preferences.time_outs(subject(kafka=tight))).level is Level.WARNING
    assert not bad(preferences.time_outs(subject(kafka={**tight, "group.protocol": "consumer"})))
    assert not bad(preferences.time_outs(subject()))


def test_a_poll_interval_that_a_call_may_outlast_is_a_warning() -> None:
    found = the(
        preferences.time_outs(
            subject(kafka={"max.poll.interval.ms": 20_000, "session.timeout.ms": 10_000})
        )
    )

    assert "15 s" in found.found
    assert not bad(preferences.time_outs(subject(kafka={"max.poll.interval.ms": 30_000})))
    roomy = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 2000}
    assert not bad(preferences.time_outs(subject(kafka=roomy)))


# --- stores ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "level"),
    [
        (RedisServer(version="7.0"), []),
        (RedisServer(version="7.0", mode="cluster"), ["fault"]),
        (RedisServer(version="7.0", mode="sentinel"), ["fault"]),
        (RedisServer(version="7.0", role="slave"), ["fault"]),
        (RedisServer(version="7.0", policy=None), ["warning"]),
        (RedisServer(version="7.0", limit=100, used=79), []),
        (RedisServer(version="7.0", limit=100, used=80), ["warning"]),
        (RedisServer(version="7.0", limit=100, used=100), ["fault"]),
        (RedisServer(version="7.0", listpack_entries=127), ["warning"]),
        (RedisServer(version="7.0", listpack_entries=128), []),
        (RedisServer(version="7.0", ahead=-1.5), ["warning"]),
    ],
)
def test_each_property_of_a_redis_has_its_bound(server: RedisServer, level: list[str]) -> None:
    assert levels(bad(redis_rules.redis(server))) == level


def test_keys_of_one_other_layout_are_a_fault_and_topics_without_keys_are_none() -> None:
    found = redis_rules.layouts({"a": "2", "b": None, "c": "1"}, "2")

    assert "topic c in layout 1; this eos has layout 2" in the(found).found
    (fine,) = redis_rules.layouts({"a": "2", "b": None}, "2")
    assert fine.found == "of 1 of 2 topics, in layout 2"
    assert redis_rules.layouts({}, "2") == []


def test_what_is_told_of_a_restart_is_what_the_server_keeps() -> None:
    def told(**facts: Any) -> str:
        rows = redis_rules.redis(RedisServer(version="7.0", **facts))
        return next(row.found for row in rows if row.what == "persistence")

    assert "append-only" in told(append_only=True, saves=True)
    assert "snapshots, 1 replica:" in told(saves=True, replicas=1)
    assert told(saves=False).startswith("keeps nothing")
    assert told(saves=None).startswith("does not tell")


def test_clocks_may_differ_by_a_second_and_by_what_cannot_be_known() -> None:
    assert clock("c", 0.9, 0.0).level is Level.OK
    assert clock("c", 1.4, 0.5).level is Level.OK
    assert "1.6 s ahead of" in clock("c", 1.6, 0.5).found
    assert "1.6 s behind" in clock("c", -1.6, 0.5).found


POSTGRES = Database(kind="postgresql", version=(15, 1))


@pytest.mark.parametrize(
    ("database", "level"),
    [
        (POSTGRES, []),
        (replace(POSTGRES, version=(11, 9)), ["fault"]),
        (replace(POSTGRES, version=(12, 0)), []),
        (replace(POSTGRES, encoding="LATIN1"), ["fault"]),
        (replace(POSTGRES, replica=True), ["fault"]),
        (replace(POSTGRES, forbidden=("INSERT on a", "INSERT on b")), ["fault", "fault"]),
        (replace(POSTGRES, forgetful=("fsync=off",)), ["warning"]),
        (replace(POSTGRES, ahead=2.0), ["warning"]),
        (Database(kind="sqlite", version=(3, 40), encoding="UTF-8", journal="wal"), []),
        (Database(kind="sqlite", version=(3, 40), journal="delete"), ["warning"]),
        (Database(kind="sqlite", version=(3, 34), journal="wal"), ["fault"]),
    ],
)
def test_each_property_of_a_database_has_its_bound(database: Database, level: list[str]) -> None:
    assert levels(bad(database_rules.database(database, ledger=False))) == level


def test_a_ledger_s_file_gets_its_journal_from_us() -> None:
    file = Database(kind="sqlite", version=(3, 40), journal="delete")

    assert not bad(database_rules.database(file, ledger=True))


def test_frontiers_of_other_topics_only_are_a_warning() -> None:
    now = {"t": "new"}

    assert not bad(database_rules.frontiers({("t", "new"): 2, ("t", "old"): 2}, now))
    assert not bad(database_rules.frontiers({}, now))
    assert not bad(database_rules.frontiers({("t", "old"): 2}, {}))
    assert bad(database_rules.frontiers({("t", "old"): 2}, now))


# --- what is checked, and how it is shown ------------------------------------------------------


def test_topics_of_ours_depend_on_what_the_application_does() -> None:
    def names(it: Subject) -> dict[str, Role]:
        return {own.name: own.role for own in it.own_topics()}

    both = subject(relays=True, namespace="ns")
    assert names(both) == {
        "ns.dead-letters": Role.LETTERS,
        "ns.suppressed": Role.AUDIT,
        "ns.positions": Role.POSITIONS,
    }
    assert names(replace(both, sources=(), grouped=False)) == {"ns.positions": Role.POSITIONS}
    assert names(replace(both, relays=False, audits=False)) == {"ns.dead-letters": Role.LETTERS}
    assert both.groups() == ["shop", "ns.relay"]


def test_a_topic_that_is_read_and_published_to_counts_as_read() -> None:
    it = replace(subject(), targets=("orders", "receipts"))

    assert it.topics()["orders"] is Role.SOURCE
    assert it.topics()["receipts"] is Role.TARGET


def test_durations_and_sizes_are_written_as_people_say_them() -> None:
    shown = [seconds_shown(n) for n in (1, 90, 120, 3600, 7200, DAY, 7 * DAY)]
    assert shown == ["1 s", "90 s", "2 min", "60 min", "2 h", "24 h", "7 days"]
    assert [bytes_shown(n) for n in (5, 20_480, 2**30)] == ["5 bytes", "20 KiB", "1024 MiB"]
