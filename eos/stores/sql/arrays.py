"""Many values as one parameter: lists of them cost the drivers more time than the database."""

from collections.abc import Collection, Iterable

DIGEST_BYTES = 12


def joined(digests: Collection[bytes]) -> bytes:
    """Give digests as one string; `substr` finds the n-th of them again."""
    whole = b"".join(digests)
    if len(whole) != DIGEST_BYTES * len(digests):
        raise ValueError(f"a digest is not of {DIGEST_BYTES} bytes")
    return whole


def array(numbers: Iterable[int]) -> str:
    """Give numbers as PostgreSQL writes an array."""
    return "{" + ",".join(map(str, numbers)) + "}"
