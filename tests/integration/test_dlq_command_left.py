"""What cannot be redriven is left and named, and the others are done."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eos.core.record import Position
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.handle.letters import Output
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.dlq_kit import Desk, headers_of, left_behind, place_of


@pytest.fixture
def desk(cluster: Cluster, settings: Settings, source: str, to: str) -> Desk:
    return Desk(cluster, settings, source, to)


def test_letters_of_a_topic_that_is_gone_are_left_and_the_others_are_done(desk: Desk) -> None:
    left_behind(desk, Input("a", 0), Input("b", 1))
    desk.put(b"lost", "lost", topic="gone-since")
    with desk.line():
        done = desk.dlq("redrive", "--all")
        assert (done.exit_code, done.stdout) == (1, "2 dead letters redriven\n")
        lost = place_of(desk, "lost")
        assert done.stderr == f"{lost} is left: topic 'gone-since' does not exist\n"
        assert desk.rows() == [lost]
        done = desk.dlq("discard", lost)
        assert (done.exit_code, done.output) == (0, "1 dead letter discarded\n")
        desk.settled()
    assert desk.values() == ["a", "b"]


def test_a_letter_of_a_topic_that_was_made_anew_is_an_ordinary_record_of_the_new_one(
    desk: Desk,
) -> None:
    left_behind(desk, Input("a", 1))
    before = desk.topic_id()
    desk.cluster.delete(desk.source)

    def made() -> bool:
        try:
            desk.cluster.create_named(desk.source)  # with one partition, where there were two
        except Exception:  # noqa: BLE001 the old one is still being deleted
            return False
        return desk.topic_id() != before

    assert wait_until(made, seconds=2 * SECONDS, every=0.5)
    desk.settings = replace(desk.settings, group=f"{desk.settings.group}-anew")
    with desk.line():
        for _ in range(2):
            assert desk.redrive("--all", "--again") == "1 dead letter redriven\n"
    assert desk.values() == ["a"]


def test_a_letter_that_the_brokers_refuse_is_left_and_the_others_are_done(
    desk: Desk, topic: Callable[..., str]
) -> None:
    narrow = topic("narrow", max_message_bytes="1000")
    desk.cluster.create_named(desk.letters)
    for number in range(7):
        value = b"x" * 2000 if number in {2, 5} else b"small"
        desk.put(value, f"id-{number}", topic=narrow)
    done = desk.dlq("redrive", "--all")
    assert (done.exit_code, done.stdout) == (1, "5 dead letters redriven\n"), done.output
    rows = done.stderr.splitlines()
    assert [row.split()[0] for row in rows] == ["0:2", "0:5"]
    assert all("is left: " in row and "arge" in row for row in rows), rows
    assert desk.rows() == ["0:2", "0:5"]
    assert desk.values(narrow) == ["small"] * 5


def test_a_letter_that_leaves_no_room_for_our_headers_is_redriven_with_the_least_of_them(
    desk: Desk, tmp_path: Path
) -> None:
    limits = tmp_path / "limits"
    limits.write_text("message.max.bytes=1500\n")
    kafka = {**desk.settings.kafka, "message.max.bytes": 1500}
    desk.settings = replace(desk.settings, kafka=kafka)
    value = "x" * 1200
    left_behind(desk, Input("a", 0, value.encode()))
    with desk.line():
        for redrives in range(2):
            desk.handler.bad = set() if redrives else {value}
            assert desk.redrive("--all", "--kafka", str(limits)) == "1 dead letter redriven\n"
        desk.redrive("--all", "--again", "--kafka", str(limits))
    assert desk.values() == [value]
    last = desk.cluster.read_committed(desk.source)[-1]
    assert [name for name, _ in headers_of(last)] == ["message-id", "eos-redriven", "eos-group"]


def test_a_payload_that_was_left_out_and_is_gone_is_left(desk: Desk) -> None:
    desk.cluster.create_named(desk.letters)
    desk.put(b"x" * 2000, "gone", at=Position(desk.topic_id(), 1, 99), max_bytes=1000)
    desk.put(b"here", "here")
    done = desk.dlq("redrive", "--all")
    assert (done.exit_code, done.stdout) == (1, "1 dead letter redriven\n")
    where = f"{desk.topic_id()}/1/99"
    why = f"its payload was left out, and {where} is not in the log any more"
    assert done.stderr == f"0:0 is left: {why}\n"


def test_what_somebody_made_up_moves_no_cursor_and_holds_up_nothing(desk: Desk) -> None:
    left_behind(desk, Input("a", 0))
    hostile = [
        ("eos-reason", b"\x1b[2J"),
        ("eos-topic", b"\x1b[31m\n"),
        ("eos-position", b"\x1b/0/0"),
        ("eos-idempotency-key", b"\xff\x00"),
    ]
    desk.publish(Output(desk.letters, b"x", None, hostile))
    with desk.line():
        done = desk.dlq("redrive", "--all")
        assert (done.exit_code, done.stdout) == (1, "1 dead letter redriven\n")
        [row] = done.stderr.splitlines()
        assert row.endswith("is left: topic '\\x1b[31m\\n' does not exist")
        assert row.isprintable()
        desk.settled()
    assert desk.values() == ["a"]
