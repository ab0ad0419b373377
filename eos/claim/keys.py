"""A record's idempotency key, as the ledger sees it."""

import logging
from collections.abc import Callable, Sequence
from itertools import compress
from operator import methodcaller

from eos.claim.digest import Digest, fingerprint
from eos.core.keys import MAX_KEY_BYTES, bounded
from eos.core.letters import KEY, REDRIVEN, redriven
from eos.core.ports import Assertion, Claims
from eos.core.record import Headers, Message, Position, Record
from eos.core.settings import KeyOf

_logger = logging.getLogger("eos.claim")
_HEADERS, _VALUE = methodcaller("headers"), methodcaller("value")
_TIMESTAMP = methodcaller("timestamp")

_Redriven = dict[int, Position]
"""Where records were dead-lettered that were published again, by their place in a list."""


class Identify:
    """Turns records into what the ledger compares: digest, fingerprint, time.

    Args:
        key: Reads a record's idempotency key.
        digest: Keyed digest of it.
        by_partition: Whether a copy on another partition is another key.
        group: The consumer group: what another one's dead letters became is a copy for this one.

    Attributes:
        reads_headers_only: Whether a record without headers can have no key.
    """

    def __init__(self, key: KeyOf, digest: Digest, *, by_partition: bool, group: str) -> None:
        self._key = key
        self._digest: Callable[[bytes], bytes] = digest
        self._by_partition = by_partition
        self._group = group
        self.reads_headers_only = bool(getattr(key, "reads_headers_only", False))

    def __call__(self, records: list[Record], into: Claims | Assertion) -> None:
        """Give each record its idempotency key, and write down those that carry one."""
        keyed = [(record, key) for record in records if (key := self.name(record))]
        marked = _marked([record.headers for record, _ in keyed])
        self._write(
            [key for _, key in keyed],
            [record.offset for record, _ in keyed],
            [record.value for record, _ in keyed],
            [record.timestamp for record, _ in keyed],
            into,
            {n: at for n in marked if (at := self._redriven_from(keyed[n][0]))},
        )

    def headers(
        self, offsets: list[int], messages: Sequence[Message], into: Claims, topic_id: str
    ) -> None:
        """As a call, where keys stand in headers alone: no record is made of any message.

        Args:
            offsets: The offsets of the messages.
            messages: What was read of one partition.
            into: The claims of it.
            topic_id: The topic's id.
        """
        found = list(map(_HEADERS, messages))
        if not any(found):
            return
        shown = Record(messages[0].topic(), topic_id, into.partition, 0, None, None, [], 0)
        keys: list[bytes | None] = []
        for shown.offset, headers in zip(offsets, found, strict=True):
            shown.headers = headers
            keys.append(self._read(shown) if headers else None)
        again: _Redriven = {}
        for n in _marked(found):
            if position := redriven(found[n], topic_id, self._group):
                keys[n] = keys[n] or _kept(found[n], position)
                again[sum(map(bool, keys[:n]))] = position
        keyed = list(compress(messages, keys))
        self._write(
            [key for key in keys if key],
            list(compress(offsets, keys)),
            list(map(_VALUE, keyed)),
            [milliseconds for _, milliseconds in map(_TIMESTAMP, keyed)],
            into,
            again,
        )

    def name(self, record: Record) -> bytes | None:
        """Give a record its idempotency key: what it carries, or its position.

        One that was redriven and carries none keeps the one that it had: the position at which it
        was dead-lettered. So it is handled once, however often it is published again.

        Returns:
            The key that it carries.
        """
        without = self.reads_headers_only and not record.headers
        key = None if without else self._read(record)
        if not key and record.headers and (position := self._redriven_from(record)):
            key = _kept(record.headers, position)
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
        again: _Redriven,
    ) -> None:
        """Write down what runs side by side; the times are milliseconds."""
        keys = [key if len(key) <= MAX_KEY_BYTES else bounded(key) for key in keys]
        if self._by_partition:
            scopes = [into.partition.to_bytes(4, "big")] * len(keys)
            for n, position in again.items():  # its key is of the partition where it was first
                scopes[n] = position.partition.to_bytes(4, "big")
            keys = list(map(bytes.__add__, scopes, keys))
        before = len(into.offsets)
        into.redriven.update({before + n: (at[1], at[2]) for n, at in again.items()})
        into.offsets += offsets
        into.digests += map(self._digest, keys)
        into.fingerprints += map(fingerprint, values)
        into.times += [time // 1000 if time > 0 else 0 for time in times]

    def _redriven_from(self, record: Record) -> Position | None:
        return redriven(record.headers, record.topic_id, self._group)

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


def _marked(headers: Sequence[Headers | None]) -> list[int]:
    """Give the places of those that say that they were redriven. Every record is asked."""
    return [n for n, each in enumerate(headers) if each for name, _ in each if name == REDRIVEN]


def _kept(headers: Headers, position: Position) -> bytes:
    """Give the key under which a record without one was dead-lettered."""
    return next((value for name, value in headers if name == KEY and value), str(position).encode())
