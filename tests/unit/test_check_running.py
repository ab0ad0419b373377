"""Checks run: none hides another, and each has its time."""

import threading
from collections.abc import Iterator

from eos.core.errors import ConfigError, RetriableError
from eos.operate.checks import Check, Finding, Level, Section, fault, ok, run

PATIENCE = 10.0


def found(section: Section, seconds: float = PATIENCE) -> list[Finding]:
    ((name, findings),) = run([section], seconds)
    assert name == section.name
    return findings


def raising(error: Exception) -> Check:
    def look() -> Iterator[Finding]:
        yield ok("first", "seen")
        raise error

    return Check("raising", look)


def fine(name: str) -> Check:
    return Check(name, lambda: [ok(name, "fine")])


def test_findings_come_in_the_order_of_the_checks() -> None:
    rows = found(Section("s", [fine("a"), fine("b"), fine("c")]))

    assert [row.what for row in rows] == ["a", "b", "c"]


def test_what_a_check_raises_is_a_finding_beside_what_it_had_found_and_the_others_run() -> None:
    rows = found(Section("s", [raising(RetriableError("it is away")), fine("b")]))

    assert rows == [ok("first", "seen"), Finding("raising", Level.FAULT, "it is away"), rows[2]]
    assert rows[2] == ok("b", "fine")


def test_each_fault_of_the_settings_is_a_row_of_its_own() -> None:
    rows = found(Section("s", [raising(ConfigError(["one", "two"]))]))

    assert [row.found for row in rows if row.level is Level.FAULT] == ["one", "two"]


def test_a_check_that_is_broken_is_told_as_a_bug_and_hides_nobody() -> None:
    rows = found(Section("s", [raising(KeyError("x")), fine("b")]))

    assert "KeyError" in rows[1].found
    assert "report it" in rows[1].advice
    assert rows[2].level is Level.OK


def test_a_check_that_does_not_come_back_is_given_up_and_the_others_are_shown() -> None:
    for_ever = threading.Event()
    stuck = Check("stuck", lambda: [ok("stuck", str(for_ever.wait()))])

    rows = found(Section("s", [stuck, fine("b")]), seconds=0.2)
    for_ever.set()

    assert rows[0] == fault("stuck", "no answer within 0.2 s", rows[0].advice)
    assert rows[1] == ok("b", "fine")


def test_where_a_server_is_not_reached_what_was_not_checked_is_named_and_the_next_one_is() -> None:
    away = Section("one", [fine("a"), fine("b")], raising(RetriableError("it is away")))

    sections = dict(run([away, Section("two", [fine("c")])], PATIENCE))

    assert [row.level for row in sections["one"]] == [Level.OK, Level.FAULT, Level.WARNING]
    assert sections["one"][-1].found == "not checked: a, b"
    assert sections["two"] == [ok("c", "fine")]
