"""A record's idempotency key, as the ledger sees it."""

import logging
from collections.abc import Callable, Sequence
from itertools import compress
from operator import methodcaller

from eos.claim.digest import Digest, fingerprint
from eos.core.keys import MAX_KEY_BYTES, bounded
from eos.core.ports import Assertion, Claims
from eos.core.record import Message, Record
from eos.core.settings import KeyOf

_logger = logging.getLogger("eos.claim")
_HEADERS, _VALUE = methodcaller("headers"), methodcaller("value")
_TIMESTAMP = methodcaller("timestamp")


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
        keyed = [(record, key) for record in records if (key := self.name(record))]
        self._write(
            [key for _, key in keyed],
            [record.offset for record, _ in keyed],
            [record.value for record, _ in keyed],
            [record.timestamp for record, _ in keyed],
            into,
        )

    def headers(self, offsets: list[int], messages: Sequence[Message], into: Claims) -> None:
        """As a call, where keys stand in headers alone: no record is made of any message.

        Args:
            offsets: The offsets of the messages.
            messages: What was read of one partition.
            into: The claims of it.
        """
        found = list(map(_HEADERS, messages))
        if not any(found):
            return
        shown = Record(messages[0].topic(), "", into.partition, 0, None, None, [], 0)
        keys: list[bytes | None] = []
        for shown.offset, headers in zip(offsets, found, strict=True):
            shown.headers = headers
            keys.append(self._read(shown) if headers else None)
        keyed = list(compress(messages, keys))
        self._write(
            [key for key in keys if key],
            list(compress(offsets, keys)),
            list(map(_VALUE, keyed)),
            [milliseconds for _, milliseconds in map(_TIMESTAMP, keyed)],
            into,
        )

    def name(self, record: Record) -> bytes | None:
        """Give a record its idempotency key: what it carries, or its position.

        Returns:
            The key that it carries.
        """
        without = self.reads_headers_only and not record.headers
        key = None if without else self._read(record)
        if key:
            record.idempotency_key = bounded(key).decode("utf-8", "surrogateescape")
        else:
            record.idempotency_key = str(record.position)
        return key

    def digests(self, key: str, partitions: int) -> list[bytes]:
        """Give the digests of a key: one, or one for each partition where each has its own."""
        raw = bounded(key.encode("utf-8", "surrogateescape"))
        scopes = [n.to_bytes(4, "big") for n in range(partitions)] if self._by_partition else [b""]
        return [self._digest(scope + raw) for scope in scopes]

    def _write(
        self,
        keys: list[bytes],
        offsets: list[int],
        values: list[bytes | None],
        times: list[int],
        into: Claims | Assertion,
    ) -> None:
        """Write down what runs side by side; the times are milliseconds."""
        keys = [key if len(key) <= MAX_KEY_BYTES else bounded(key) for key in keys]
        if self._by_partition:
            scope = into.partition.to_bytes(4, "big")
            keys = [scope + key for key in keys]
        into.offsets += offsets
        into.digests += map(self._digest, keys)
        into.fingerprints += map(fingerprint, values)
        into.times += [time // 1000 if time > 0 else 0 for time in times]

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
