import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos.core.errors import FatalError
from eos.core.ports import Claims, Known, Mark
from eos.core.record import Shard
from eos.core.rules import Owner, Verdict, log_time
from eos.stores.redis import wire

GENERATION = 10


def claims_at(times: list[int]) -> Claims:
    n = len(times)
    return Claims(3, 5, 0, 0, n, 0, list(range(n)), [b"k" * 12] * n, [1] * n, times)


def runs_of(packed: bytes) -> list[tuple[int, int]]:
    *_, runs, _ = struct.unpack_from(">HQQQQQHI", packed)
    return [struct.unpack_from(">IQ", packed, 48 + 12 * i) for i in range(runs)]


@given(st.lists(st.integers(-20, 100), max_size=30), st.integers(0, 100), st.integers(0, 120))
def test_runs_file_each_record_as_its_log_time_does(times: list[int], last: int, now: int) -> None:
    runs = runs_of(wire.pack_claims([claims_at(times)], GENERATION))
    filed = [
        log_time(stamp, last, now) // GENERATION for count, stamp in runs for _ in range(count)
    ]
    rising, want = last, []
    for time in times:
        rising = log_time(time, rising, now)
        want.append(rising // GENERATION)
    assert filed == want
    if runs:
        assert log_time(runs[-1][1], last, now) == rising


def test_a_batch_of_one_age_is_one_run() -> None:
    assert runs_of(wire.pack_claims([claims_at([21, 29, 20])], GENERATION)) == [(3, 29)]


def test_a_batch_without_records_is_its_head() -> None:
    whole = Claims(3, 5, 1, 2, 500, 400)
    packed = wire.pack_claims([whole], GENERATION)
    assert struct.unpack(">HQQQQQHI", packed) == (3, 5, 1, 2, 500, 400, 0, 0)


def test_records_without_key_may_be_left_out_or_have_no_digest() -> None:
    claims = claims_at([1, 2])
    claims.offsets, claims.end = [0, 7], 9
    claims.digests[1] = b""
    packed = wire.pack_claims([claims], GENERATION)
    records = [struct.unpack_from(">12sQI", packed, 60 + 24 * i) for i in range(2)]
    assert [(digest, place & (2**48 - 1)) for digest, place, _ in records] == [
        (b"k" * 12, 0),
        (bytes(12), 7),
    ]


def test_marks_stand_one_after_the_other() -> None:
    marks = [Mark(65_535, 2**53, 2**48), Mark(0, 0, 0)]
    packed = wire.pack_marks(marks)
    assert list(struct.iter_unpack(">HQQ", packed)) == marks
    assert wire.pack_marks([]) == b""


def test_what_is_known_belongs_to_the_partitions_of_the_batch_in_their_order() -> None:
    batch = [Claims(7, 0, 0, 0, 0), Claims(2, 0, 0, 0, 0)]
    packed = struct.pack(">QQQQ", 1, 2, 2**48, 4)
    assert wire.unpack_known(batch, packed) == {7: Known(1, 2), 2: Known(2**48, 4)}
    with pytest.raises(ValueError, match="shorter"):
        wire.unpack_known(batch, packed[:16])


def test_hearsay_names_owners_by_the_index_of_their_record() -> None:
    assert wire.unpack_hearsay({1: ..., 3: ..., 8: ...}, bytes([1, 0, 1])) == {1, 8}
    assert wire.unpack_hearsay({}, b"") == frozenset()


def test_what_does_not_fit_is_refused_before_it_is_sent() -> None:
    claims = claims_at([1])
    claims.partition = 1 << 16
    with pytest.raises(FatalError, match="65536"):
        wire.pack_claims([claims], GENERATION)
    claims = claims_at([1])
    claims.end = (1 << 48) + 1
    with pytest.raises(FatalError, match="too large"):
        wire.pack_claims([claims], GENERATION)


@pytest.mark.parametrize("name", ["offsets", "digests", "fingerprints", "times"])
def test_lists_of_different_lengths_are_refused(name: str) -> None:
    claims = claims_at([1, 2, 3])
    getattr(claims, name).pop()
    with pytest.raises(ValueError, match="length"):
        wire.pack_claims([claims], GENERATION)


def test_owners_stand_behind_the_verdicts_that_suppress() -> None:
    verdicts = bytes([0, 2, 1, 3, 4])
    owners = [Owner(65_535, 2**48 - 1, 2**32 - 1), Owner(0, 0, 0)]
    packed = b"".join(struct.pack(">QI", (o.partition << 48) | o.offset, o[2]) for o in owners)
    assert wire.unpack_owners(verdicts, packed) == {1: owners[0], 3: owners[1]}
    assert wire.unpack_verdicts(verdicts) == [
        Verdict.FRESH,
        Verdict.DUPLICATE,
        Verdict.AGAIN,
        Verdict.CONFLICT,
        Verdict.SETTLED,
    ]


def test_all_keys_of_a_shard_share_a_hash_tag_and_no_two_shards_do() -> None:
    one, other = Shard("ns", "group", "topic"), Shard("ns", "group", "re-created")
    assert wire.meta_key(one) == wire.meta_key(Shard("ns", "group", "topic"))
    assert wire.meta_key(one) != wire.meta_key(other)
    assert wire.meta_key(Shard("a/b", "c", "t")) != wire.meta_key(Shard("a", "b/c", "t"))
    assert wire.meta_key(one).startswith("eos:{")
    assert wire.meta_key(one).endswith("}")
