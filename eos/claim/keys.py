"""A record's idempotency key, as the ledger sees it."""

from collections.abc import Callable

from eos.claim.digest import Digest, fingerprint
from eos.core.record import Record
from eos.core.settings import KeyOf


class Identify:
    """Turns records into what the ledger compares: digest, fingerprint, time.

    Args:
        key: Reads a record's idempotency key.
        digest: Keyed digest of it.
        by_partition: Whether a copy on another partition is another key.
    """

    def __init__(self, key: KeyOf, digest: Digest, *, by_partition: bool) -> None:
        self._key = key
        self._digest: Callable[[bytes], bytes] = digest
        self._by_partition = by_partition

    def __call__(
        self, records: list[Record], digests: list[bytes], fingerprints: list[int], times: list[int]
    ) -> None:
        """Fill the lists, and give each record its idempotency key."""
        digest, key_of, by_partition = self._digest, self._key, self._by_partition
        for record in records:
            key = key_of(record)
            if key:
                if isinstance(key, str):
                    record.idempotency_key = key
                    key = key.encode("utf-8", "surrogateescape")
                else:
                    record.idempotency_key = key.decode("utf-8", "backslashreplace")
                if by_partition:
                    key = record.partition.to_bytes(4, "big") + key
                digests.append(digest(key))
            else:
                record.idempotency_key = str(record.position)
                digests.append(b"")
            fingerprints.append(fingerprint(record.value))
            times.append(record.timestamp // 1000 if record.timestamp > 0 else 0)
