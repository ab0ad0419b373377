"""How batches and answers travel: a whole batch in one argument, packed at C speed.

The layouts are those of claim.lua, marks.lua and open.lua. There is no Python statement per record.
"""

import base64
import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, compress, groupby

from eos.core.errors import FatalError
from eos.core.ports import Assertion, Claims, Known, Mark
from eos.core.record import Shard
from eos.core.rules import Gap, Owner, Verdict

_HEAD = struct.Struct(">HQQQQQHI")
_RUN = struct.Struct(">IQ")
_RECORD = struct.Struct(">12sQI")
_NUMBER = struct.Struct(">HQ")
_REDRIVEN = struct.Struct(">IQ")
_MARK = struct.Struct(">HQQ")
_GAP = struct.Struct(">QQ")
_KNOWN = struct.Struct(">QQ")
_OWNER = struct.Struct(">QI")

_PARTITION_BITS, _OFFSET_BITS = 16, 48
_VERDICTS = (
    Verdict.FRESH,
    Verdict.AGAIN,
    Verdict.DUPLICATE,
    Verdict.CONFLICT,
    Verdict.SETTLED,
)
_SUPPRESSED = (2, 3)


def meta_key(shard: Shard) -> str:
    """Give the key that holds what is known of a shard as a whole.

    What stands in braces is the hash tag that all keys of the shard share. It is a digest, for
    it is repeated in the name of each bucket.
    """
    name = f"{shard.namespace}\0{shard.group}\0{shard.topic_id}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return f"eos:{{{base64.urlsafe_b64encode(digest).decode().rstrip('=')}}}"


def pack_claims(batch: Sequence[Claims], generation: int) -> bytes:
    """Pack a batch of claims.

    Args:
        batch: The claims of each partition.
        generation: Length of a generation, in seconds.
    """
    return b"".join(
        _pack(claims, claims.epoch, claims.frontier, claims.start, claims.begun, generation)
        for claims in batch
    )


def pack_assertion(assertion: Assertion, generation: int) -> tuple[bytes, bytes]:
    """Pack a stretch of re-asserted owners; what only claims have is 0.

    Returns:
        The stretch, and those positions of it that the audit has.
    """
    audited = [offset in assertion.audited for offset in assertion.offsets]
    if not any(audited):
        return _pack(assertion, 0, 0, 0, 0, generation), b""
    # They stay in the stretch, without a key, for their log time.
    digests = [b"" if of else d for d, of in zip(assertion.digests, audited, strict=True)]
    voids = zip(
        compress(assertion.digests, audited), compress(assertion.offsets, audited), strict=True
    )
    place = assertion.partition << _OFFSET_BITS
    return (
        _pack(replace(assertion, digests=digests), 0, 0, 0, 0, generation),
        b"".join(_RECORD.pack(digest, place | offset, 0) for digest, offset in voids if digest),
    )


def pack_redriven(batch: Sequence[Claims | Assertion]) -> bytes:
    """Pack where records were dead-lettered, by their place among all of the batch.

    A position that is too large for the server is nobody's: it is left out.
    """
    if not any(claims.redriven for claims in batch):
        return b""
    befores = accumulate((len(claims.offsets) for claims in batch), initial=0)
    return b"".join(
        _REDRIVEN.pack(before + n, partition << _OFFSET_BITS | offset)
        for before, claims in zip(befores, batch, strict=False)
        for n, (partition, offset) in claims.redriven.items()
        if not (partition >> _PARTITION_BITS or offset >> _OFFSET_BITS)
    )


def pack_numbers(numbers: Mapping[int, int]) -> bytes:
    """Pack an offset or a log time for each partition."""
    return b"".join(_NUMBER.pack(p, max(0, number)) for p, number in numbers.items())


def pack_marks(marks: Sequence[Mark]) -> bytes:
    """Pack marks."""
    return b"".join(_MARK.pack(*mark) for mark in marks)


def pack_gaps(gaps: Sequence[Gap]) -> bytes:
    """Pack where nothing is delivered any more."""
    return b"".join(_GAP.pack(gap.start, gap.stop) for gap in gaps)


def unpack_known(batch: Sequence[Claims], packed: bytes) -> dict[int, Known]:
    """Give what was known of each partition of a batch before it."""
    known = map(Known._make, _KNOWN.iter_unpack(packed))
    return dict(zip((claims.partition for claims in batch), known, strict=True))


def unpack_hearsay(owners: Iterable[int], flags: bytes) -> frozenset[int]:
    """Give which of the owners' indices carry the flag."""
    return frozenset(compress(owners, flags))


def unpack_verdicts(packed: bytes) -> list[Verdict]:
    """Give the verdicts, one per record."""
    return list(map(_VERDICTS.__getitem__, packed))


def unpack_owners(verdicts: bytes, packed: bytes) -> dict[int, Owner]:
    """Give the owners behind the suppressing verdicts, by index."""
    if not packed:
        return {}
    places = (i for i, verdict in enumerate(verdicts) if verdict in _SUPPRESSED)
    return dict(zip(places, (_owner(*told) for told in _OWNER.iter_unpack(packed)), strict=True))


def unpack_owner(packed: bytes) -> Owner:
    """Give an owner as it is stored."""
    return _owner(*_OWNER.unpack(packed))


def _owner(position: int, fingerprint: int) -> Owner:
    return Owner(position >> _OFFSET_BITS, position & ((1 << _OFFSET_BITS) - 1), fingerprint)


def _pack(
    claims: Claims | Assertion,
    epoch: int,
    frontier: int,
    start: int,
    begun: int,
    generation: int,
) -> bytes:
    if claims.partition >> _PARTITION_BITS or claims.end > 1 << _OFFSET_BITS:
        raise FatalError(f"partition {claims.partition}, offset {claims.end}: too large a number")
    count, runs = len(claims.offsets), _runs(claims.times, generation)
    # Partition and offset are one number, so that they are stored, and compared, as one.
    place = (claims.partition << _OFFSET_BITS).__or__
    records = b"".join(
        map(_RECORD.pack, claims.digests, map(place, claims.offsets), claims.fingerprints)
    )
    if len(claims.times) != count or len(records) != count * _RECORD.size:
        raise ValueError("lists of claims are not of one length")
    numbers = (epoch, frontier, start, claims.end, begun)
    head = _HEAD.pack(claims.partition, *numbers, len(runs), count)
    return b"".join((head, *(_RUN.pack(*run) for run in runs), records))


def _runs(times: Sequence[int], generation: int) -> list[tuple[int, int]]:
    """Cut a batch where its log time enters another generation.

    The log time of a record is clamped from below by those before it, so that what counts is
    the highest time stamp so far; the server clamps it by what it knows.

    Returns:
        How many records, and the highest time stamp so far at the last of them.
    """
    if not times:
        return []
    first, highest = max(0, times[0]), max(0, *times)
    if first // generation == highest // generation:
        return [(len(times), highest)]
    rising = accumulate(times, max, initial=0)
    next(rising)
    runs = (list(run) for _, run in groupby(rising, lambda time: time // generation))
    return [(len(run), run[-1]) for run in runs]
