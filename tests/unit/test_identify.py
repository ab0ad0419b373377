"""What the ledger is told of a record."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.core.keys import MAX_KEY_BYTES, header, json_path, standard
from eos.core.ports import Claims
from eos.core.record import Record


def record(
    *headers: tuple[str, bytes | None],
    partition: int = 0,
    offset: int = 7,
    value: bytes | None = b"v",
) -> Record:
    found: Any = list(headers)
    return Record("orders", "id", partition, offset, None, value, found, 1_700_000_000_999)


def identified(
    key: Callable[[Record], Any], *records: Record, by_partition: bool = False
) -> Claims:
    claims = Claims(records[0].partition, 1, 0, 0, 0)
    Identify(key, Digest(b"secret"), by_partition=by_partition, group="g")(list(records), claims)
    return claims


def test_equal_keys_have_equal_digests_and_times_are_in_seconds() -> None:
    told = identified(
        standard,
        record(("message-id", b"a")),
        record(("message-id", b"a"), value=b"other"),
        record(("message-id", b"b")),
    )
    assert told.digests[0] == told.digests[1] != told.digests[2]
    assert told.fingerprints[0] == told.fingerprints[2] != told.fingerprints[1]
    assert told.times == [1_700_000_000] * 3


def test_text_and_its_bytes_are_one_key() -> None:
    text = identified(lambda _: "grün", record())
    raw = identified(lambda _: "grün".encode(), record())
    assert text.digests == raw.digests


def test_a_copy_on_another_partition_is_another_key_where_that_is_the_scope() -> None:
    copies = record(("message-id", b"a")), record(("message-id", b"a"), partition=1)
    one, other = (identified(standard, copy, by_partition=True).digests for copy in copies)
    assert one != other
    one, other = (identified(standard, copy).digests for copy in copies)
    assert one == other


def test_a_record_without_a_key_is_known_by_its_position_and_nothing_is_claimed_for_it() -> None:
    keyed, unkeyed = record(("message-id", b"a"), offset=7), record(offset=8)
    told = identified(standard, unkeyed, keyed)
    assert (told.offsets, len(told.digests), len(told.fingerprints)) == ([7], 1, 1)
    assert unkeyed.idempotency_key == str(unkeyed.position)


def test_a_record_without_a_time_stamp_is_of_time_zero() -> None:
    timeless = record(("message-id", b"a"))
    timeless.timestamp = -1
    assert identified(standard, timeless).times == [0]


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
    assert identified(key, record()).offsets == []


def test_any_text_that_json_can_give_is_a_key() -> None:
    surrogates = [json.loads(text) for text in (r'"\ud800"', r'"\ud801"')]
    odd, other = identified(
        lambda r: surrogates[r.partition], record(), record(partition=1)
    ).digests
    assert len(odd) == len(other) == 12
    assert odd != other


def test_a_long_key_is_hashed_and_never_cut() -> None:
    long = b"k" * MAX_KEY_BYTES
    records = [record(("message-id", key)) for key in (long, long + b"1", long + b"2")]
    told = identified(standard, *records)
    assert len(set(told.digests)) == 3
    assert records[0].idempotency_key == long.decode()
    assert [r.idempotency_key.startswith("blake2b:") for r in records] == [False, True, True]
    assert max(len(r.idempotency_key) for r in records) <= MAX_KEY_BYTES


@pytest.mark.parametrize("key", [standard, header("a"), lambda r: r.header("a")])
def test_a_record_without_headers_has_no_key_in_them(key: Callable[[Record], Any]) -> None:
    assert identified(key, record()).offsets == []


def test_a_function_that_reads_headers_only_is_not_asked_about_records_without_any() -> None:
    asked = []

    def key(each: Record) -> bytes | None:
        asked.append(each)
        return each.header("a")

    vars(key)["reads_headers_only"] = True
    told = identified(key, record(offset=1), record(("a", b"1"), offset=2), record(offset=3))
    assert (told.offsets, len(asked)) == ([2], 1)


def test_a_function_that_reads_payloads_is_asked_about_all_records() -> None:
    told = identified(json_path("id"), record(value=b'{"id": "1"}'))
    assert told.offsets == [7]
