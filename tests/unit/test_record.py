from typing import Any

import pytest

from eos.core.errors import HandlerError
from eos.core.record import Position, Record, Send, Shard, as_bytes


def record(**changes: Any) -> Record:
    given: dict[str, Any] = {
        "topic": "orders",
        "topic_id": "id-of-orders",
        "partition": 1,
        "offset": 7,
        "key": b"k",
        "value": b"secret",
        "headers": [("a", b"1"), ("a", b"2"), ("nothing", None)],
        "timestamp": 1000,
    }
    return Record(**given | changes)


def test_a_position_names_the_topic_by_its_id() -> None:
    assert record().position == Position("id-of-orders", 1, 7)
    assert str(record().position) == "id-of-orders/1/7"


def test_the_first_of_several_headers_counts() -> None:
    assert record().header("a") == b"1"
    assert record().header("nothing") is None
    assert record().header("missing") is None


def test_neither_a_record_nor_a_send_shows_its_payload() -> None:
    assert "secret" not in repr(record())
    assert "secret" not in repr(Send("secret"))


def test_a_new_record_is_at_its_first_attempt_and_not_in_doubt() -> None:
    assert (record().attempt, record().in_doubt) == (1, False)


def test_text_is_sent_as_utf_8() -> None:
    send = Send("v", key="ß", headers={"h": "ö"})
    assert send.key == "ß".encode()
    assert send.headers == [("h", "ö".encode())]
    assert as_bytes("grün", "value") == "grün".encode()


def test_bytes_and_tombstones_are_sent_as_they_are() -> None:
    for value in (b"\xff\x00", b"", None):
        assert Send(value).value == value
        assert as_bytes(value, "value") == value


@pytest.mark.parametrize("value", [5, {"a": 1}, ["a"], bytearray(b"v"), "\ud800"], ids=repr)
def test_a_value_is_whatever_the_step_can_encode_and_else_no_payload(value: Any) -> None:
    assert Send(value).value is value
    with pytest.raises(HandlerError, match="value of a Send"):
        as_bytes(value, "value")


def test_headers_keep_their_order_and_may_repeat() -> None:
    assert Send("v", headers=[("a", "1"), ("b", b"2"), ("a", "3")]).headers == [
        ("a", b"1"),
        ("b", b"2"),
        ("a", b"3"),
    ]


WRONG: list[dict[str, Any]] = [
    {"value": "v", "key": 5},
    {"value": "v", "key": "\ud800"},
    {"value": "v", "key": ("k",)},
    {"value": "v", "headers": {"n": 5}},
    {"value": "v", "headers": {"\ud800": "v"}},
    {"value": "v", "topic": 5},
    {"value": "v", "topic": ""},
    {"value": "v", "topic": "with blanks"},
    {"value": "v", "topic": "x" * 250},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_kafka_cannot_take_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(HandlerError):
        Send(**wrong)


def test_a_shard_s_name_has_all_that_tells_it_apart() -> None:
    assert str(Shard("ns", "group", "id")) == "ns/group/id"
