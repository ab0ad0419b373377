"""What a relay does with a shard, given what the database and Kafka know of it."""

import pytest

from eos.core.errors import FatalError
from eos.core.frontier import Frontier, parse
from eos.core.outbox import SHARDS, Course, Progress, ShardPosition, course, position_of, shard_of
from eos.stores.sql.outbox_headers import dump, load

RECORDED = Progress(version=1, sent=5, recorded=(11, 12), batch=7)
NOTHING = Progress(version=1, sent=5)


@pytest.mark.parametrize(
    ("progress", "position", "expected"),
    [
        (NOTHING, None, Course.BEGIN),
        (NOTHING, ShardPosition(5, 3), Course.RECORD),
        (RECORDED, ShardPosition(5, 3), Course.PUBLISH),
        (RECORDED, ShardPosition(6, 7), Course.MARK),
    ],
)
def test_database_and_kafka_together_say_what_is_to_be_done(
    progress: Progress, position: ShardPosition | None, expected: Course
) -> None:
    assert course(0, progress, position) is expected


@pytest.mark.parametrize(
    ("progress", "position", "said"),
    [
        (RECORDED, None, "with --published or --not-published"),
        (RECORDED, ShardPosition(6, 8), "--go-on"),  # another state of it, or another database's
        (RECORDED, ShardPosition(7, 7), "--go-on"),
        (NOTHING, ShardPosition(6, 7), "--go-on"),
        (NOTHING, ShardPosition(4, 7), "--go-on"),
        (RECORDED, ShardPosition(4, 7), "with --published or --not-published"),
    ],
)
def test_what_does_not_belong_together_is_refused_and_says_what_to_do(
    progress: Progress, position: ShardPosition | None, said: str
) -> None:
    with pytest.raises(FatalError, match=f"outbox shard 3: .*eos outbox resolve.*{said}"):
        course(3, progress, position)


def test_a_position_is_read_as_it_was_committed() -> None:
    written = Frontier(6, note=str(2**62 - 1))
    assert position_of(parse(6, written.metadata)) == ShardPosition(6, 2**62 - 1)
    assert position_of(None) is None


@pytest.mark.parametrize("metadata", ["", "somebody's", "eos1;0;", "eos1;0;x", None])
def test_an_offset_that_somebody_else_has_set_is_none_of_ours(metadata: str | None) -> None:
    assert position_of(parse(6, metadata)) == ShardPosition(6, -1)


def test_a_key_has_the_same_shard_for_ever() -> None:
    assert SHARDS == 4
    keys = [b"", b"a", b"order-1", b"order-2", b"\xff\x00"]
    assert [shard_of(key) for key in keys] == PINNED


PINNED = [0, 3, 3, 1, 1]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("message-id", b"a")],
        [("twice", b"1"), ("twice", b"2")],
        [("text", "ä€🙂".encode()), ("bytes", b"\xff\xfe"), ("zero", b"a\x00b"), ("", b"")],
        [("quote", b'"]'), ("näme", b"\n")],
    ],
)
def test_headers_are_read_as_they_were_written(headers: list[tuple[str, bytes]]) -> None:
    text = dump(headers)
    assert load(text) == headers
    assert "\x00" not in text
