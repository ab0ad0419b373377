"""A record's idempotency key, as the ledger sees it."""

import logging
from collections.abc import Callable

from eos.claim.digest import Digest, fingerprint
from eos.core.keys import MAX_KEY_BYTES, bounded
from eos.core.ports import Assertion, Claims
from eos.core.record import Record
from eos.core.settings import KeyOf

_logger = logging.getLogger("eos.claim")


class Identify:
    """Turns records into what the ledger compares: digest, fingerprint, time.

    Args:
        key: Reads a record's idempotency key.
        digest: Keyed digest of it.
        by_partition: Whether a copy on another partition is another key.

    Attributes:
        reads_headers_only: Whether a record without headers can have no key.
    """

    def __init__(self, key: KeyOf, digest: Digest, *, by_partition: bool) -> None:
        self._key = key
        self._digest: Callable[[bytes], bytes] = digest
        self._by_partition = by_partition
        self.reads_headers_only = bool(getattr(key, "reads_headers_only", False))

    def __call__(self, records: list[Record], into: Claims | Assertion) -> None:
        """Give each record its idempotency key, and write down those that carry one."""
        digest, by_partition = self._digest, self._by_partition
        headers_only = self.reads_headers_only
        for record in records:
            key = None if headers_only and not record.headers else self._read(record)
            if key:
                if len(key) > MAX_KEY_BYTES:
                    key = bounded(key)
                record.idempotency_key = key.decode("utf-8", "surrogateescape")
                if by_partition:
                    key = record.partition.to_bytes(4, "big") + key
                into.offsets.append(record.offset)
                into.digests.append(digest(key))
                into.fingerprints.append(fingerprint(record.value))
                into.times.append(record.timestamp // 1000 if record.timestamp > 0 else 0)
            else:
                record.idempotency_key = str(record.position)

    def _read(self, record: Record) -> bytes | None:
        """Read a key. A record that the function cannot read has none."""
        try:
            key: object = self._key(record)
        except Exception:
            # The function is the user's, and what it reads is whatever somebody sent.
            _logger.exception("the key of %r could not be read: it counts as missing", record)
            return None
        if isinstance(key, str):
            return key.encode("utf-8", "surrogatepass")
        if key is None or isinstance(key, bytes):
            return key
        _logger.error("the key of %r is a %s: it counts as missing", record, type(key).__name__)
        return None
