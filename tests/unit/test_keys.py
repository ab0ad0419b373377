import json
from collections.abc import Callable
from typing import Any

import pytest

from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.core.keys import MessageIds, header, standard
from eos.core.record import Record


def record(*headers: tuple[str, bytes | None], partition: int = 0, value: bytes = b"v") -> Record:
    found: Any = list(headers)
    return Record("orders", "id", partition, 7, None, value, found, 1_700_000_000_999)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([("message-id", b"m")], b"m"),
        ([("idempotency-key", b"i")], b"i"),
        ([("other", b"o")], None),
        ([("ce_id", b"1")], None),
        ([("ce_source", b"shop"), ("ce_id", b"1")], b"shop\x001"),
        ([("ce_id", b"1"), ("ce_source", b"shop"), ("message-id", b"m")], b"shop\x001"),
        ([("ce_id", b"1"), ("message-id", b"m")], b"m"),
        ([("idempotency-key", b"i"), ("message-id", b"m")], b"m"),
        ([("message-id", b"first"), ("message-id", b"second")], b"first"),
        ([("message-id", b""), ("idempotency-key", b"i")], b"i"),
        ([("message-id", None)], None),
        ([("ce_id", None), ("ce_source", b"shop")], None),
        ([("ce_id", b"1"), ("ce_source", None), ("message-id", b"m")], b"m"),
    ],
)
def test_the_key_is_read_where_standards_and_habit_put_it(
    headers: list[tuple[str, bytes | None]], expected: bytes | None
) -> None:
    assert standard(record(*headers)) == expected


def test_a_header_of_one_s_own_is_the_key() -> None:
    assert header("order-id")(record(("order-id", b"1"), ("order-id", b"2"))) == b"1"
    assert header("order-id")(record()) is None


def test_an_id_is_the_same_after_each_replay_and_of_32_hex_digits() -> None:
    first, again = MessageIds("ns", "step"), MessageIds("ns", "step")
    assert first("key", 0) == again("key", 0)
    assert len(first("key", 0)) == 32
    int(first("key", 0), 16)


def test_ids_differ_by_namespace_step_key_and_ordinal() -> None:
    found = {
        MessageIds(namespace, step)(key, ordinal)
        for namespace in ("ns", "ns2")
        for step in ("step", "step2")
        for key in ("key", "key2", "\udcff", "\\xff", "\ud800")
        for ordinal in (0, 1)
    }
    assert len(found) == 40


def test_names_cannot_be_cut_so_that_ids_are_equal() -> None:
    assert MessageIds("a", "b")("c", 0) != MessageIds("a", "bc")("", 0)
    assert MessageIds("ab", "c")("k", 0) != MessageIds("a", "bc")("k", 0)
    assert MessageIds("a", "b")("c", 11) != MessageIds("a", "b")("c\x001", 1)


# --- what the ledger is told ---------------------------------------------------------------


def identified(
    key: Callable[[Record], Any], *records: Record, by_partition: bool = False
) -> tuple[list[bytes], list[int], list[int]]:
    digests: list[bytes] = []
    fingerprints: list[int] = []
    times: list[int] = []
    identify = Identify(key, Digest(b"secret"), by_partition=by_partition)
    identify(list(records), digests, fingerprints, times)
    return digests, fingerprints, times


def test_equal_keys_have_equal_digests_and_times_are_in_seconds() -> None:
    digests, fingerprints, times = identified(
        standard,
        record(("message-id", b"a")),
        record(("message-id", b"a"), value=b"other"),
        record(("message-id", b"b")),
    )
    assert digests[0] == digests[1] != digests[2]
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
    assert times == [1_700_000_000] * 3


def test_text_and_its_bytes_are_one_key() -> None:
    (text,), _, _ = identified(lambda _: "grün", record())
    (raw,), _, _ = identified(lambda _: "grün".encode(), record())
    assert text == raw


def test_a_copy_on_another_partition_is_another_key_where_that_is_the_scope() -> None:
    copies = record(("message-id", b"a")), record(("message-id", b"a"), partition=1)
    (one, other), _, _ = identified(standard, *copies, by_partition=True)
    assert one != other
    (one, other), _, _ = identified(standard, *copies)
    assert one == other


def test_a_record_without_a_key_is_known_by_its_position() -> None:
    unkeyed = record()
    digests, _, _ = identified(standard, unkeyed)
    assert digests == [b""]
    assert unkeyed.idempotency_key == str(unkeyed.position)


def test_a_record_without_a_time_stamp_is_of_time_zero() -> None:
    timeless = record()
    timeless.timestamp = -1
    assert identified(standard, timeless)[2] == [0]


def test_distinct_keys_stay_distinct_as_text() -> None:
    keys = [b"\xff", b"\\xff", b"\xc3\xbf", b"a"]
    records = [record(("message-id", key)) for key in keys]
    identified(standard, *records)
    assert len({each.idempotency_key for each in records}) == len(keys)


def raising(_record: Record) -> str:
    raise KeyError("no such field")


@pytest.mark.parametrize(
    "key", [raising, lambda _: 5, lambda _: ["k"], lambda _: "", lambda _: b"", lambda _: None]
)
def test_a_key_that_cannot_be_read_counts_as_missing(key: Callable[[Record], Any]) -> None:
    assert identified(key, record())[0] == [b""]


def test_any_text_that_json_can_give_is_a_key() -> None:
    surrogates = [json.loads(text) for text in (r'"\ud800"', r'"\ud801"')]
    (odd, other), _, _ = identified(
        lambda r: surrogates[r.partition], record(), record(partition=1)
    )
    assert len(odd) == len(other) == 12
    assert odd != other
