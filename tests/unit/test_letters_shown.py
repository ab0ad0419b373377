"""Dead letters on a terminal: one line each, and whatever they hold moves no cursor."""

import base64

import pytest

from eos.cli.dlq_shown import in_full, line, table
from eos.core.letters import Done, Letter, Note, Place
from eos.core.record import Position
from eos.operate.letters import Payload

HOSTILE = "a\x1b[2J\r\nb\t\x00\u202e\u2028\x9b\udcff"
LETTER = Letter(
    place=Place(0, 5),
    time=1_700_000_001_000,
    reason="handler_failed",
    attempts=4,
    topic="orders",
    position=Position("T0", 1, 17),
    timestamp=1_700_000_000_000,
    key=b"order-17",
    error="ValueError: no",
    traceback="a7f4cdd83e2ee7cf",
    omitted=None,
    headers=[],
    group="payments",
)
NOTE = Note(Done.REDRIVEN, "run", [5])


def shown(letter: Letter, payload: Payload | None, note: Note | None = None) -> list[str]:
    return list(in_full(letter, note, payload))


def test_a_table_has_a_line_for_each_in_aligned_columns() -> None:
    other = LETTER._replace(place=Place(12, 10**6), key=b"k", error="", reason="conflict")
    first = LETTER._replace(reason="in_doubt", error="no")
    rows = list(table([first, other], {LETTER.place: NOTE}))
    assert rows == [
        "ID          TIME                     TOPIC   REASON               TRIES  KEY       ERROR",
        "0:5         2023-11-14 22:13:21 UTC  orders  in_doubt (redriven)  4      order-17  no",
        "12:1000000  2023-11-14 22:13:21 UTC  orders  conflict             4      k",
    ]
    assert list(table([], {})) == []


def test_what_is_long_is_cut_in_the_table_and_whole_in_full() -> None:
    long = LETTER._replace(key=b"k" * 512, error="e" * 200)
    row = list(table([long], {}))[1]
    assert f"  {'k' * 39}…  {'e' * 59}…" in row
    full = "\n".join(shown(long, None))
    assert "k" * 512 in full
    assert "e" * 200 in full


def test_control_characters_are_written_out_wherever_they_stand() -> None:
    raw = HOSTILE.encode("utf-8", "surrogateescape")
    letter = LETTER._replace(
        reason=HOSTILE, topic=HOSTILE, error=HOSTILE, traceback=HOSTILE, group=HOSTILE, key=raw
    )._replace(position=Position(HOSTILE, 1, 17))
    payload = Payload(raw, raw.replace(b"\n", b""), [(HOSTILE, raw)])
    note = Note(Done.DISCARDED, HOSTILE, [5])
    for rows in (list(table([letter], {letter.place: note})), shown(letter, payload, note)):
        assert all(row.isprintable() for row in rows), rows
    assert len(list(table([letter], {}))) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain grün 東京", "plain grün 東京"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb", "a\\nb"),
        ("\u202e", "\\u202e"),
        ("\udcff", "\\udcff"),
        ("", ""),
    ],
)
def test_what_cannot_be_printed_is_written_out(text: str, told: str) -> None:
    assert line(text) == told


def test_in_full_all_is_said() -> None:
    rows = shown(LETTER, Payload(b"\xff", b'{"a": 1}', [("h", b"1"), ("h", None)]), NOTE)  # type: ignore[list-item]
    assert rows == [
        "id         0:5",
        "state      redriven (by run)",
        "time       2023-11-14 22:13:21 UTC",
        "reason     handler_failed",
        "attempts   4",
        "error      ValueError: no",
        "traceback  a7f4cdd83e2ee7cf",
        "key        order-17",
        "came from  orders[1]@17",
        "topic id   T0",
        "group      payments",
        "sent       2023-11-14 22:13:20 UTC",
        "kafka key  \\xff",
        "header h   1",
        "header h   -",
        "",
        "payload of 8 bytes:",
        '{"a": 1}',
    ]


def test_each_line_of_a_payload_is_a_line() -> None:
    assert shown(LETTER, Payload(None, b"a\n\tb\n", []))[-4:] == [
        "payload of 5 bytes:",
        "a",
        "\\tb",
        "",
    ]


def test_a_payload_that_is_no_text_is_shown_in_base64() -> None:
    payload = bytes(range(256))
    told = shown(LETTER, Payload(None, payload, []))
    assert told[-2] == "payload of 256 bytes, in base64:"
    assert base64.b64decode(told[-1]) == payload


def test_without_a_payload_it_says_why() -> None:
    assert shown(LETTER, Payload(b"k", None, []))[-1] == "no payload: a tombstone"
    omitted = LETTER._replace(omitted=2_000_000)
    gone = "payload of 2000000 bytes: left out, and not in the log any more"
    assert shown(omitted, None)[-1] == gone
    assert shown(LETTER, None)[-1] == "payload: not in the log any more"
    again = shown(omitted, Payload(None, b"v", []))
    assert again[-2] == "payload of 1 bytes, read again where it came from:"
    assert shown(LETTER, Payload(None, b"", []))[-2:] == ["payload of 0 bytes:", ""]
