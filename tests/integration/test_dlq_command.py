"""`eos dlq list` and `show` as an operator sees them."""

import re
import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from eos.core.record import Position
from eos.core.settings import Settings
from eos.handle.letters import Output
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.dlq_kit import Desk, headers_of

HOUR = 3600.0


@pytest.fixture
def desk(cluster: Cluster, settings: Settings, source: str, to: str) -> Desk:
    return Desk(cluster, settings, source, to)


@pytest.fixture
def filled(desk: Desk) -> Desk:
    """Five letters, of which each differs from the others."""
    desk.cluster.create_named(desk.letters, partitions=2)
    now = time.time()
    desk.put(b"0", "a", reason="conflict", seconds=now - 5 * HOUR)
    desk.put(b"1", "b", error=ValueError("no such account"), seconds=now - 3 * HOUR)
    desk.put(b"2", "b", topic="gone-since", seconds=now - HOUR)
    desk.put(b"3", "grün", reason="undecodable", partition=1, seconds=now - HOUR)
    desk.put(b"4", "c", partition=1)
    return desk


def test_what_a_worker_gave_up_on_is_listed_with_the_reason(desk: Desk) -> None:
    desk.handler.bad.add("bad")
    with desk.line():
        desk.send(Input("good", 0), Input("bad", 1), Input(None, 0, b"bad"))
        desk.settled()
        done = desk.dlq("list")
    assert (done.exit_code, done.stderr) == (0, "")
    head, *rows, last = done.stdout.splitlines()
    assert head.split() == ["ID", "TIME", "TOPIC", "REASON", "TRIES", "KEY", "ERROR"]
    keyed = next(row for row in rows if re.search(r"  bad  ", row))
    time_ = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    error = "HandlerError: cannot handle bad"
    assert re.fullmatch(rf"\d+:\d+  {time_}  {desk.source}  unsendable  1 +bad +{error}", keyed), (
        keyed
    )
    keyless = next(row for row in rows if row != keyed)
    assert f"  {desk.topic_id()}/0/1  " in keyless, "its position stands for the key"
    assert last == "2 dead letters"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ["0:0", "0:1", "0:2", "1:0", "1:1"]),
        (["--reason", "conflict"], ["0:0"]),
        (["--reason", "conflict", "--reason", "undecodable"], ["0:0", "1:0"]),
        (["--reason", "none of ours"], []),
        (["--key", "b"], ["0:1", "0:2"]),
        (["--key", "grün"], ["1:0"]),
        (["--key", "b", "--key", "c"], ["0:1", "0:2", "1:1"]),
        (["--topic", "gone-since"], ["0:2"]),
        (["--topic", "gone-since", "--key", "a"], []),
        (["--since", "4h"], ["0:1", "0:2", "1:0", "1:1"]),
        (["--until", "4h"], ["0:0"]),
        (["--since", "4h", "--until", "2h"], ["0:1"]),
        (["--since", "30m"], ["1:1"]),
        (["--since", "2020-01-01", "--until", "2021-01-01T00:00+01:00"], []),
    ],
)
def test_they_are_listed_by_reason_time_key_and_topic(
    filled: Desk, arguments: list[str], found: list[str]
) -> None:
    assert filled.rows(*arguments) == found


def test_keys_are_given_as_they_are_shown(desk: Desk) -> None:
    with desk.line():
        desk.handler.bad.add("bad")
        event = [("ce_source", b"/shop"), ("ce_id", b"17")]
        long = Input("k" * 600, 0, b"bad")
        desk.send(Input(None, 0, b"bad", headers=event), long)
        desk.settled()
    [shown] = [row for row in desk.dlq("list").stdout.splitlines() if "shop" in row]
    assert "  /shop\\x0017  " in shown
    assert desk.rows("--key", "/shop\\x0017") == [shown.split()[0]]
    [other] = desk.rows("--key", "k" * 600)
    assert other != shown.split()[0]
    assert "blake2b:" in desk.dlq("show", other).stdout


def test_times_are_those_at_which_they_were_dead_lettered(filled: Desk) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 4 * HOUR))
    assert filled.rows("--until", moment) == ["0:0"]


def test_what_is_done_with_is_shown_only_if_it_is_asked_for(filled: Desk) -> None:
    done = filled.dlq("discard", "0:0", "1:1")
    assert (done.exit_code, done.output) == (0, "2 dead letters discarded\n")
    assert filled.rows() == ["0:1", "0:2", "1:0"]
    assert filled.dlq("list").stdout.splitlines()[-1] == "3 dead letters, 2 more are done with"
    assert filled.rows("--done") == ["0:0", "0:1", "0:2", "1:0", "1:1"]
    told = filled.dlq("list", "--done", "--key", "a").stdout
    assert "  conflict (discarded)  " in told
    assert told.splitlines()[-1] == "1 dead letter"
    assert filled.dlq("list", "--key", "a").stdout == "0 dead letters, 1 more is done with\n"
    told = filled.dlq("show", "0:0").stdout
    assert re.search(r"^state +discarded \(by [0-9a-f]+\)$", told, re.MULTILINE)


def test_records_of_the_topic_that_are_no_letters_are_told_and_left_alone(filled: Desk) -> None:
    strangers = [
        Output(filled.letters, b"hello", None, []),
        Output(filled.letters, None, b"k", [("eos-reason", b"handler_failed")]),
        Output(filled.letters, b"not json", None, [("eos-done", b"redriven")]),
        Output(filled.letters, b"[" * 100_000, None, [("eos-done", b"redriven")]),
    ]
    for stranger in strangers:
        filled.publish(stranger)
    made_up = b'{"done":"discarded","run":"x","offsets":[3,99,-1]}'
    filled.publish(Output(filled.letters, made_up, None, [("eos-done", b"discarded")]))
    done = filled.dlq("list")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "5 dead letters"
    assert done.stderr == "4 records of the topic are no dead letters of eos\n"
    done = filled.dlq("show", "0:3")
    assert (done.exit_code, done.stderr) == (2, "eos: 0:3 is no dead letter\n")
    before = filled.ends()
    assert filled.dlq("discard", "--all").stdout == "5 dead letters discarded\n"
    assert filled.rows() == []
    assert filled.ends()[0] == before[0]


def test_all_that_is_known_of_one_is_shown(desk: Desk) -> None:
    desk.cluster.create_named(desk.letters)
    headers = [("message-id", b"a"), ("raw", b"\xff\x1b[2J"), ("none", None), ("eos-error", b"own")]
    where = Position("T0", 1, 17)
    desk.put(b'{"cents": 7}\n', "a", at=where, headers=headers, error=ValueError("no\x1b[31m"))
    done = desk.dlq("show", "0:0")
    assert (done.exit_code, done.stderr) == (0, "")
    told, payload = done.stdout.split("\n\n", 1)
    rows = [re.split(r"  +", row, maxsplit=1) for row in told.splitlines()]
    shown = dict(rows)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", shown.pop("time"))
    assert re.fullmatch(r"[0-9a-f]{16}", shown.pop("traceback"))
    assert shown == {
        "id": "0:0",
        "state": "waits",
        "reason": "handler_failed",
        "attempts": "1",
        "error": "ValueError: no\\x1b[31m",
        "key": "a",
        "came from": f"{desk.source}[1]@17",
        "topic id": "T0",
        "group": desk.settings.group,
        "sent": "2023-11-14 22:13:20 UTC",
        "kafka key": "kafka key",
        "header message-id": "a",
        "header raw": "\\xff\\x1b[2J",
        "header none": "-",
        "header eos-error": "own",
    }
    assert payload == 'payload of 13 bytes:\n{"cents": 7}\n\n'
    assert desk.dlq("show", "0:0", "--payload").stdout_bytes == b'{"cents": 7}\n'


def test_a_payload_is_written_out_byte_by_byte(desk: Desk) -> None:
    desk.cluster.create_named(desk.letters)
    payload = bytes(range(256)) + b"\r\n"
    desk.put(payload)
    done = desk.dlq("show", "0:0", "--payload")
    assert (done.exit_code, done.stdout_bytes, done.stderr) == (0, payload, "")
    assert "payload of 258 bytes, in base64:\nAAECAw" in desk.dlq("show", "0:0").stdout


def test_a_tombstone_has_no_payload_and_an_empty_one_has(desk: Desk) -> None:
    desk.cluster.create_named(desk.letters)
    desk.put(None)
    desk.put(b"")
    assert desk.dlq("show", "0:0").stdout.splitlines()[-1] == "no payload: a tombstone"
    done = desk.dlq("show", "0:0", "--payload")
    assert (done.exit_code, done.output) == (2, "eos: 0:0 has no payload\n")
    done = desk.dlq("show", "0:1", "--payload")
    assert (done.exit_code, done.stdout_bytes, done.stderr) == (0, b"", "")


def test_a_payload_that_was_left_out_is_read_again_where_it_came_from(desk: Desk) -> None:
    desk.cluster.create_named(desk.letters)
    desk.send(Input(None, 1, b"before"), Input("large", 1, b"x" * 2000, b"k", [("own", b"h")]))
    large = Position(desk.topic_id(), 1, 1)
    desk.put(b"x" * 2000, "large", at=large, max_bytes=1000)
    done = desk.dlq("show", "0:0")
    assert f"payload of 2000 bytes, read again where it came from:\n{'x' * 2000}\n" in done.stdout
    assert re.search(r"^kafka key +k$", done.stdout, re.MULTILINE)
    assert re.search(r"^header own +h$", done.stdout, re.MULTILINE)
    assert desk.dlq("show", "0:0", "--payload").stdout_bytes == b"x" * 2000

    delete_below(desk, 1, 2)
    assert not_there(desk, "0:0")


def delete_below(desk: Desk, partition: int, offset: int) -> None:
    """Let retention take what stands below an offset."""
    admin = AdminClient({"bootstrap.servers": desk.settings.brokers, "log_level": 3})
    below = TopicPartition(desk.source, partition, offset)
    for answer in admin.delete_records([below]).values():
        answer.result(SECONDS)


def not_there(desk: Desk, place: str) -> bool:
    """Tell whether it is said that the payload is not in the log any more."""
    gone = "payload of 2000 bytes: left out, and not in the log any more"
    done = desk.dlq("show", place, "--payload")
    assert (done.exit_code, done.output) == (2, f"eos: {place} has no payload any more\n")
    return desk.dlq("show", place).stdout.splitlines()[-1] == gone


@pytest.mark.parametrize(
    "where",
    [
        ("", 1, 99),
        ("", 7, 0),
        ("another topic of that name", 0, 0),
    ],
)
def test_a_position_that_is_not_in_the_log_is_no_payload(
    desk: Desk, where: tuple[str, int, int]
) -> None:
    desk.cluster.create_named(desk.letters)
    desk.send(Input("a", 0), Input("b", 1))
    topic_id, partition, offset = where
    at = Position(topic_id or desk.topic_id(), partition, offset)
    desk.put(b"x" * 2000, at=at, max_bytes=1000)
    assert not_there(desk, "0:0")


@pytest.mark.parametrize("name", ["", "no topic", "\x00", "x" * 300, "not-there-any-more"])
def test_a_letter_may_name_any_topic(desk: Desk, name: str) -> None:
    desk.cluster.create_named(desk.letters)
    desk.put(b"x" * 2000, topic="?", max_bytes=1000)
    [letter] = desk.cluster.read_committed(desk.letters)
    headers = [(n, name.encode() if n == "eos-topic" else v) for n, v in headers_of(letter)]
    desk.publish(Output(desk.letters, None, None, headers))
    assert not_there(desk, "0:1")
    assert desk.rows() == ["0:0", "0:1"]
