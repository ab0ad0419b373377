"""`eos dlq redrive` and `discard`: what is published, what the claim makes of it, what is left."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eos.core.events import DeadLettered
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.dlq_kit import Buggy, Desk, headers_of, left_behind, place_of
from tests.integration.outbox_door_kit import command
from tests.integration.processes import ROOT


@pytest.fixture
def desk(cluster: Cluster, settings: Settings, source: str, to: str) -> Desk:
    return Desk(cluster, settings, source, to)


def test_those_are_redriven_whose_ids_are_given(desk: Desk) -> None:
    left_behind(desk, Input("a", 0), Input("b", 1), Input("c", 0))
    with desk.line():
        places = [place_of(desk, "a"), place_of(desk, "c")]
        assert desk.redrive(*places, places[0]) == "2 dead letters redriven\n"
        assert desk.values() == ["a", "c"]
        done = desk.dlq("redrive", places[0])
        assert (done.exit_code, done.stdout) == (0, "0 dead letters redriven\n")
        assert done.stderr == f"{places[0]} was redriven already\n"
        assert desk.rows() == [place_of(desk, "b")]
        assert desk.redrive("--all") == "1 dead letter redriven\n"
        assert desk.redrive("--all") == "0 dead letters redriven\n"
    assert desk.values() == ["a", "b", "c"]


def test_those_are_redriven_that_a_selection_means(desk: Desk, topic: Callable[..., str]) -> None:
    left_behind(desk, *(Input(id_, n % 2) for n, id_ in enumerate("abcd")))
    other = topic("other")
    desk.put(b"elsewhere", "e", topic=other)
    with desk.line():
        assert desk.redrive("--key", "a", "--key", "b") == "2 dead letters redriven\n"
        assert desk.redrive("--reason", "conflict") == "0 dead letters redriven\n"
        assert desk.redrive("--until", "1h") == "0 dead letters redriven\n"
        assert desk.redrive("--topic", other, "--since", "1h") == "1 dead letter redriven\n"
        assert desk.values() == ["a", "b"]
        assert desk.redrive("--reason", "unsendable", "--topic", desk.source).startswith("2 dead")
    assert desk.values() == ["a", "b", "c", "d"]
    assert desk.values(other) == ["elsewhere"]


def test_what_was_handled_is_suppressed_if_it_is_redriven_again(desk: Desk) -> None:
    left_behind(desk, Input("a", 0), Input("b", 1), Input(None, 1, b"no key"))
    with desk.line():
        assert desk.redrive("--all") == "3 dead letters redriven\n"
        assert desk.redrive("--all", "--again") == "3 dead letters redriven\n"
        assert desk.redrive(place_of(desk, "a"), "--again") == "1 dead letter redriven\n"
    assert desk.values() == ["a", "b", "no key"]
    assert len(desk.values(desk.source)) == 3 + 7


def test_the_ledger_explains_what_became_of_a_letter(desk: Desk) -> None:
    left_behind(desk, Input("a", 0))
    with desk.line():
        desk.redrive("--all")
        desk.redrive("--all", "--again")
    made = desk.settings
    where = ("--brokers", made.brokers, "--ledger", made.ledger, "--group", made.group)
    code, told = command("ledger", "explain", "a", desk.source, *where)
    owner, _, letter, copy = told.splitlines()
    assert code == 0
    assert re.match(rf"owner +{desk.source}\[0\]@1  of .*, settled$", owner), told
    taken = f"published again, and {desk.source}[0]@1 has taken its key over"
    assert letter == f"redriven   {desk.source}[0]@0: {taken}"
    assert re.match(rf"duplicate +{desk.source}\[0\]@3 ", copy), told
    code, told = command("ledger", "sources", desk.source, *where)
    assert (code, told.split()) == (0, ["1", "(nobody", "says)"])


def test_a_dry_run_says_which_and_changes_nothing(desk: Desk) -> None:
    left_behind(desk, Input("a", 0), Input("b", 1))
    before = desk.ends()
    for what, told in (("redrive", "redriven"), ("discard", "discarded")):
        done = desk.dlq(what, "--key", "a", "--dry-run")
        assert (done.exit_code, done.stderr) == (0, "")
        _, row, last = done.stdout.splitlines()
        assert row.startswith(place_of(desk, "a"))
        assert last == f"1 dead letter would be {told}"
    assert desk.ends() == before
    assert len(desk.rows()) == 2


def test_what_is_discarded_is_neither_shown_nor_redriven(desk: Desk) -> None:
    left_behind(desk, Input("a", 0), Input("b", 1))
    before = desk.ends()[0]
    done = desk.dlq("discard", "--key", "a")
    assert (done.exit_code, done.output) == (0, "1 dead letter discarded\n")
    assert desk.ends()[0] == before
    a = place_of(desk, "a")
    done = desk.dlq("discard", a)
    assert (done.exit_code, done.stdout) == (0, "0 dead letters discarded\n")
    assert done.stderr == f"{a} was discarded already\n"
    with desk.line():
        assert desk.redrive("--all") == "1 dead letter redriven\n"
        assert desk.values() == ["b"]
        done = desk.dlq("redrive", a)
        assert (done.exit_code, done.stderr) == (0, f"{a} was discarded already\n")
        assert desk.redrive(a, "--again") == "1 dead letter redriven\n"
    assert desk.values() == ["a", "b"]


def test_a_redriven_record_is_what_it_was_on_its_partition(desk: Desk) -> None:
    own: Any = [
        ("raw", b"\xff\x00"),
        ("twice", b"1"),
        ("twice", b"2"),
        ("none", None),
        ("eos-reason", b"theirs"),
        ("eos-position", b"theirs/0/0"),
        ("eos-error", b"theirs"),
        ("eos-payload-omitted", b"3"),
    ]
    value = bytes(range(128, 256))
    desk.handler = handler = Buggy(value.decode("utf-8", "replace"))
    with desk.line():
        desk.send(Input("a", 1, value, b"\xffkey", own), Input("tombstone", 0))
        desk.settled()
        handler.bad.clear()
        desk.redrive("--all")
        records = [m for m in desk.cluster.read_committed(desk.source) if m.partition() == 1]
    first, again = records
    assert (again.key(), again.value()) == (b"\xffkey", value)
    assert headers_of(again) == [
        *own,
        ("message-id", b"a"),
        ("eos-attempts", b"1"),
        ("eos-idempotency-key", b"a"),
        ("eos-redriven", f"{desk.topic_id()}/1/{first.offset()}".encode()),
        ("eos-group", desk.settings.group.encode()),
    ]


def test_a_tombstone_is_redriven_as_one(desk: Desk) -> None:
    desk.cluster.create_named(desk.letters)
    desk.put(None, "gone")
    assert desk.dlq("redrive", "--all").exit_code == 0
    [record] = desk.cluster.read_committed(desk.source)
    assert (record.key(), record.value()) == (b"kafka key", None)


def test_what_fails_again_is_a_letter_again_and_can_be_redriven_again(desk: Desk) -> None:
    inputs = [Input("a", 0), Input(None, 1, b"no key")]
    left_behind(desk, *inputs)
    with desk.line():
        for tries in (2, 3, 4):
            desk.handler.bad = {"a", "no key"}
            assert desk.redrive("--all") == "2 dead letters redriven\n"
            rows = desk.dlq("list").stdout.splitlines()[1:-1]
            assert [re.split(r"  +", row)[4] for row in rows] == [str(tries)] * 2
        desk.handler.bad.clear()
        assert desk.redrive("--all") == "2 dead letters redriven\n"
        # All of them: of a letter whose redrive became a letter only the last one counts.
        assert desk.redrive("--all", "--again") == "8 dead letters redriven\n"
    assert desk.values() == ["a", "no key"]
    assert desk.rows() == []


def test_tries_are_counted_through_redrives_where_a_handler_is_tried_again(desk: Desk) -> None:
    desk.settings = replace(desk.settings, retries=2, backoff="10ms")

    def fails(_: Any) -> None:
        raise ValueError("no such account")

    with desk.line(fails):
        desk.send(Input("a", 0))
        desk.settled()
        desk.redrive("--all")
    [row] = desk.dlq("list").stdout.splitlines()[1:-1]
    assert re.split(r"  +", row)[3:5] == ["handler_failed", "6"]


def test_a_conflict_is_one_again_and_its_payload_under_another_key_is_not(desk: Desk) -> None:
    with desk.line() as line:
        desk.send(Input("a", 0, b"first"))
        desk.settled()
        desk.send(Input("a", 1, b"other"))
        desk.settled()
        assert desk.redrive("--reason", "conflict") == "1 dead letter redriven\n"
        rows = desk.dlq("list").stdout.splitlines()[1:-1]
        assert [re.split(r"  +", row)[3] for row in rows] == ["conflict"]
        payload = desk.dlq("show", place_of_last(desk), "--payload").stdout_bytes
        desk.send(Input("a, corrected", 1, payload))
        desk.settled()
        assert not line.saw(DeadLettered)
    assert desk.values() == ["first", "other"]


def place_of_last(desk: Desk) -> str:
    [found] = desk.rows()
    return found


def test_a_changed_payload_is_a_conflict_unless_it_says_what_it_replaces(desk: Desk) -> None:
    left_behind(desk, Input("a", 0, b"wrong"))
    shown = desk.dlq("show", place_of_last(desk)).stdout
    topic_id = re.search(r"^topic id +(\S+)$", shown, re.MULTILINE)
    assert topic_id
    with desk.line():
        desk.send(Input("a", 1, b"right"))
        desk.settled()
        assert len(desk.rows("--reason", "conflict")) == 1
        assert desk.values() == []
        says = (("eos-redriven", f"{topic_id[1]}/0/0".encode()),)
        desk.send(Input("a", 1, b"right", headers=says))
        desk.settled()
        assert desk.values() == ["right"]
        # The letter itself comes too late: its key is another's now, with another payload.
        assert desk.redrive("--reason", "unsendable") == "1 dead letter redriven\n"
        assert len(desk.rows("--reason", "conflict")) == 2
    assert desk.values() == ["right"]


@pytest.mark.parametrize("method", ["begin", "commit"])
def test_of_two_commands_at_once_one_is_told_of_the_other(
    desk: Desk, method: str, tmp_path: Path
) -> None:
    left_behind(desk, *(Input(f"id-{n}", n % 2) for n in range(20)))
    out = tmp_path / "first.out"
    where = ["--namespace", desk.settings.namespace, "--brokers", desk.settings.brokers]
    arguments = [method, "redrive", "--all", *where]
    with out.open("wb") as output:
        first = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.dlq_command", *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        assert wait_until(lambda: is_stopped(first.pid), seconds=SECONDS), out.read_text()
        done = desk.dlq("redrive", "--all")
        assert (done.exit_code, done.output) == (0, "20 dead letters redriven\n")
        first.send_signal(signal.SIGCONT)
        code = first.wait(2 * SECONDS)
    finally:
        first.kill()
        first.wait()
    clear = f"eos: another eos dlq works on the letters of '{desk.settings.namespace}': run this"
    answers = [(1, f"{clear} one again after it\n")]
    if method == "commit":  # if it was stopped for long it takes its transaction for expired
        answers.append((0, "0 dead letters redriven\n"))
    assert (code, out.read_text()) in answers
    assert len(desk.values(desk.source)) == 20 + 20
    with desk.line():
        desk.settled()
    assert desk.values() == sorted(f"id-{n}" for n in range(20))


def is_stopped(pid: int) -> bool:
    """Tell whether a process was stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_record_without_a_key_is_handled_once_if_somebody_redrives_it(desk: Desk) -> None:
    desk.settings = replace(desk.settings, missing_key="dead_letter")
    with desk.line():
        desk.send(Input(None, 0, b"no key"), Input("a", 1))
        desk.settled()
        assert desk.values() == ["a"]
        for _ in range(2):
            assert desk.redrive("--reason", "missing_key", "--again").startswith("1 dead")
    assert desk.values() == ["a", "no key"]
