"""What is read of a dead letter's headers, whatever they hold; and which letters are meant."""

import json
from typing import Any

import pytest

from eos.core import letters
from eos.core.letters import Done, Letter, Note, Place
from eos.core.record import Headers, Position, Record
from eos.handle.letters import DeadLetters
from eos.operate.letters import Selection

POSITION = Position("T0", 1, 17)
PLACE = Place(0, 5)


def record(*headers: tuple[str, Any], value: bytes | None = b"v") -> Record:
    made = Record("orders", "T0", 1, 17, b"kafka key", value, list(headers), 1_700_000_000_000)
    made.idempotency_key = "order-17"
    made.attempt = 3
    return made


def written(
    *headers: tuple[str, Any], error: Exception | None = None, size: int = 10**6
) -> Headers:
    return DeadLetters("letters", size, "g")(record(*headers), "handler_failed", error).headers


def letter(*headers: tuple[str, Any], **changed: Any) -> Letter:
    found = letters.read(PLACE, 1_700_000_001_000, written(*headers))
    assert found
    return found._replace(**changed)


def test_a_letter_is_read_as_it_was_written() -> None:
    own: Headers = [("message-id", b"order-17"), ("raw", b"\xff\x00"), ("raw", b"")]
    made = written(*own, error=ValueError("no"))
    digest = dict(made)["eos-traceback-digest"].decode()
    assert letters.read(PLACE, 5, made) == Letter(
        place=PLACE,
        time=5,
        reason="handler_failed",
        attempts=3,
        topic="orders",
        position=POSITION,
        timestamp=1_700_000_000_000,
        key=b"order-17",
        error="ValueError: no",
        traceback=digest,
        omitted=None,
        headers=own,
        group="g",
    )


def test_a_letter_whose_payload_was_left_out_says_how_large_it_was() -> None:
    found = letters.read(PLACE, 5, written(("own", b"x" * 2000), size=1000))
    assert found is not None
    assert (found.omitted, found.headers, found.position) == (1, [], POSITION)


def test_headers_of_our_names_in_the_record_are_its_own() -> None:
    own: Headers = [
        ("eos-reason", b"theirs"),
        ("eos-position", b"T9/9/9"),
        ("eos-error", b"theirs"),
        ("eos-payload-omitted", b"12"),
        ("eos-group", b"theirs"),
        ("eos-done", b"redriven"),
    ]
    found = letter(*own)
    assert found.headers == own
    assert (found.reason, found.position, found.error) == ("handler_failed", POSITION, "")
    assert (found.omitted, found.group) == (None, "g")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eos-position", None),
        ("eos-position", b""),
        ("eos-position", b"T0/1"),
        ("eos-position", b"/1/17"),
        ("eos-position", b"T0/-1/17"),
        ("eos-position", b"T0/1/1_7"),
        ("eos-position", b"T0/01/17"),
        ("eos-position", b"T0/1/17\n"),
        ("eos-position", b"T0/1/17/2"),
        ("eos-position", "T0/1/\u0661\u0667".encode()),
        ("eos-position", b"T0/1/" + b"9" * 5000),
        ("eos-position", b"\xff/1/\xff"),
    ],
)
def test_without_a_position_it_is_no_letter(name: str, value: bytes | None) -> None:
    made = [(n, value if n == name else v) for n, v in written()]
    assert letters.read(PLACE, 5, made) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "missing", ["eos-reason", "eos-position", "eos-topic", "eos-idempotency-key"]
)
def test_what_lacks_a_header_of_ours_is_no_letter(missing: str) -> None:
    assert letters.read(PLACE, 5, [h for h in written() if h[0] != missing]) is None
    assert letters.read(PLACE, 5, []) is None


@pytest.mark.parametrize(
    "value", [None, b"", b"-1", b"1.5", b" 3", b"1e9", b"\xff", b"03", b"9" * 400, "³".encode()]
)
def test_a_number_that_is_none_counts_as_0(value: bytes | None) -> None:
    names = {"eos-attempts", "eos-timestamp", "eos-payload-omitted"}
    made: Any = [(n, value if n in names else v) for n, v in written()]
    made.append(("eos-payload-omitted", value))
    found = letters.read(PLACE, 5, made)
    assert found is not None
    assert (found.attempts, found.timestamp, found.omitted) == (0, 0, 0)


def test_text_that_is_none_is_read_all_the_same() -> None:
    names = {"eos-reason", "eos-topic"}
    made = [(n, b"\xff" if n in names else v) for n, v in written()]
    found = letters.read(PLACE, 5, [*made, ("eos-error", b"\xc3(")])
    assert found is not None
    assert (found.reason, found.topic, found.error) == ("�", "�", "�(")


def test_a_redriven_record_keeps_its_own_headers_and_says_where_it_was_dead_lettered() -> None:
    own: Any = [("message-id", b"a"), ("raw", b"\xff\x00"), ("none", None), ("raw", b"2")]
    assert letters.redriven_headers(letter(), own) == [
        *own,
        ("eos-attempts", b"3"),
        ("eos-idempotency-key", b"order-17"),
        ("eos-redriven", b"T0/1/17"),
        ("eos-group", b"g"),
    ]


@pytest.mark.parametrize("headers", [letters.redriven_headers, letters.least_headers])
def test_of_two_redrives_the_later_one_says_where(headers: Any) -> None:
    first = headers(letter(), [("message-id", b"a")])
    later = letter(position=Position("T0", 0, 40), attempts=6, group="other")
    again = headers(later, first)
    assert letters.redriven(again, "T0", "other") == later.position
    assert [name for name, _ in again].count("eos-redriven") == 1
    assert again[0] == ("message-id", b"a")


def test_the_least_headers_leave_out_what_the_claim_does_not_need() -> None:
    found = letters.least_headers(letter(), [("own", b"x")])
    assert found == [("own", b"x"), ("eos-redriven", b"T0/1/17"), ("eos-group", b"g")]


def test_another_group_and_another_topic_do_not_take_a_key_over() -> None:
    headers = letters.redriven_headers(letter(), [])
    assert letters.redriven(headers, "T0", "g") == POSITION
    assert letters.redriven(headers, "T0", "other") is None
    assert letters.redriven(headers, "T1", "g") is None
    assert letters.redriven([], "T0", "g") is None


def test_a_letter_that_names_no_group_is_for_whoever_reads_it() -> None:
    headers = letters.redriven_headers(letter(group=""), [("eos-group", b"of an earlier one")])
    assert letters.redriven(headers, "T0", "any") == POSITION


def test_the_tries_before_a_redrive_count() -> None:
    redriven = letters.redriven_headers(letter(), [])
    found = letters.read(PLACE, 5, written(*redriven))
    assert found is not None
    assert found.attempts == 6
    elsewhere = [(n, b"T1/1/17" if n == "eos-redriven" else v) for n, v in redriven]
    assert letter(*elsewhere).attempts == 3, "what somebody else says of another topic"


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", ":", "0:", ":1", "0:1:2", "0:-1", " 0:1", "0:1 ", "00:1", "0:01", "a:b"),
        *("0:1.0", "0,1", f"0:{'9' * 19}", f"{'9' * 10}:0", "0:1\n", "\ud800:1", "0:\u0661"),
    ],
)
def test_what_is_no_id_of_a_letter(text: str) -> None:
    assert letters.place_of(text) is None


def test_an_id_is_read_as_it_is_written() -> None:
    for place in (Place(0, 0), Place(12, 10**17)):
        assert letters.place_of(str(place)) == place


def test_a_note_is_read_as_it_was_written() -> None:
    note = Note(Done.DISCARDED, "run", [1, 5, 10**12])
    value, headers = letters.write_note(note)
    assert letters.read_note(headers, value) == note
    assert letters.read(PLACE, 5, headers) is None
    assert letters.read_note([], value) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b"[" * 100_000,
        b'{"done":"eaten","run":"r","offsets":[1]}',
        b'{"done":["redriven"],"run":"r","offsets":[1]}',
        b'{"done":"redriven","run":"r","offsets":7}',
        b'{"done":"redriven","run":"r","offsets":[null]}',
        b'{"done":"redriven","run":"r","offsets":[1e999]}',
        b'{"done":"redriven","run":"r","offsets":[' + b"9" * 5000 + b"]}",
        b'{"done":"redriven","offsets":[1]}',
    ],
)
def test_what_somebody_made_up_is_no_note(value: bytes | None) -> None:
    assert letters.read_note([(letters.DONE, None)], value) is None


def test_a_note_holds_a_whole_transaction_in_a_small_message() -> None:
    value, _ = letters.write_note(Note(Done.REDRIVEN, "r" * 32, range(10**12, 10**12 + 500)))
    assert len(value) < 10_000
    assert len(json.loads(value)["offsets"]) == 500


@pytest.mark.parametrize(
    ("selection", "means"),
    [
        (Selection(), True),
        (Selection(places={PLACE}), True),
        (Selection(places={Place(5, 0)}), False),
        (Selection(reasons={"handler_failed", "conflict"}), True),
        (Selection(reasons={"conflict"}), False),
        (Selection(topics={"orders"}), True),
        (Selection(topics={"order"}), False),
        (Selection(keys={b"order-17"}), True),
        (Selection(keys={b"order-1"}), False),
        (Selection(since=1_700_000_001_000), True),
        (Selection(since=1_700_000_001_001), False),
        (Selection(until=1_700_000_001_001), True),
        (Selection(until=1_700_000_001_000), False),
        (Selection(reasons={"handler_failed"}, topics={"elsewhere"}), False),
        (Selection(since=0, until=2**60, topics={"orders"}, keys={b"order-17"}), True),
    ],
)
def test_a_letter_is_meant_if_all_that_is_said_holds(selection: Selection, means: bool) -> None:
    assert selection.means(letter()) is means
