"""`eos.Outbox`: a message reaches Kafka if and only if the transaction that wrote it commits."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from eos.core.errors import ConfigError
from eos.core.outbox import shard_of
from eos.core.record import Headers, Send, as_bytes
from eos.doors.outbox.trace import current_trace

Encode = Callable[[Any], bytes | str | None]

_LONGEST_ID = 255
_LATEST = 253_402_300_800  # the year 10000
_SHOWN = 40


class Outbox:
    """Writes messages into the database; a relay (`eos relay`, `app.relay`) publishes them.

    A message is published once, if its transaction commits, and never if it does not. Messages of
    one key that were added by transactions one after the other are published in that order.

    Args:
        database: An engine of SQLAlchemy, or a URL: `postgresql://…`, `sqlite:///…`. Adding goes
            through the connections that `add` is given; this is for `app.relay(outbox)`.
        encode: Makes the payload of a value, such as `json.dumps`; None: values are bytes or str.
        cloudevents: The `source` of the messages, a URI reference: then each gets the headers of
            CloudEvents 1.0 in Kafka's binary mode (`ce_id`, `ce_source`, `ce_type`, `ce_time`, …).

    Example:
        ```python
        outbox = eos.Outbox(engine)
        with engine.begin() as db:
            db.execute(…)
            outbox.add(db, "orders", order.json(), key=order.id)
        ```
    """

    def __init__(
        self, database: Any, *, encode: Encode | None = None, cloudevents: str | None = None
    ) -> None:
        # Here, because it loads SQLAlchemy: see App.work.
        from eos.stores.sql.connections import engine_of  # noqa: PLC0415
        from eos.stores.sql.outbox_adding import Added, add  # noqa: PLC0415
        from eos.stores.sql.outbox_headers import dump  # noqa: PLC0415

        faults = []
        if cloudevents is not None and not (isinstance(cloudevents, str) and cloudevents):
            faults.append(
                f"cloudevents={cloudevents!r}: give the messages' source, a URI reference"
            )
        given: object = encode  # whatever the type says
        if given is not None and not callable(given):
            faults.append(f"encode={encode!r}: give a function, such as json.dumps")
        if faults:
            raise ConfigError(faults)
        self.engine = engine_of(database)
        self._encode = encode
        self._source = cloudevents
        self._add, self._added, self._dump = add, Added, dump

    def add(
        self,
        db: Any,
        topic: str,
        value: Any,
        *,
        key: bytes | str | None = None,
        headers: Mapping[str, bytes | str] | Sequence[tuple[str, bytes | str]] | None = None,
        id: str | None = None,  # noqa: A002 what everybody calls it
        type: str | None = None,  # noqa: A002
        deliver_at: datetime | float | None = None,
    ) -> str:
        """Add a message to the transaction that `db` is in.

        Args:
            db: A connection or session as for `Inbox.settle`; what an `into=` handler is given.
            topic: Where to.
            value: The payload; None is a tombstone.
            key: The Kafka key, which decides on the partition and keeps the order.
            headers: A mapping or pairs of name and value.
            id: Its `message-id`, by which consumers recognise a copy; random by default. One that
                is made from what the message tells of stays the same if that is done again.
            type: With `cloudevents`: the `ce_type`; default: the topic's name.
            deliver_at: Publish it then and not before: an aware `datetime`, or seconds since the
                epoch. The order of a key is that of these times then.

        Returns:
            Its `message-id`.

        Raises:
            ConfigError: `db` is no connection that is known, or in no transaction; or something
                is of the wrong kind.
            HandlerError: Value, key or a header is neither bytes nor str; topic is no topic name.
            RetriableError: The database is away.
            Exception: What `encode` raises.

            After all of these but a `RetriableError` nothing was added, and the transaction is as
            it was.
        """
        if type is not None and self._source is None:
            raise ConfigError([f"type={type!r}: it is of CloudEvents, Outbox(…, cloudevents=…)"])
        made = self._row(Send(value, topic, key, _pairs(headers)), id, type)
        self._add(db, [made], _milliseconds(deliver_at))
        return str(made.message_id)

    def add_all(
        self,
        db: Any,
        messages: Iterable[Send],
        *,
        deliver_at: datetime | float | None = None,
    ) -> list[str]:
        """Add messages in this order, with one statement for hundreds of them.

        Args:
            db: As for `add`.
            messages: Each names its topic. A header `message-id` is its id.
            deliver_at: As for `add`, for all of them.

        Returns:
            Their ids.

        Raises:
            ConfigError: As for `add`; nothing is added then.
        """
        rows = [self._row(message, None, None) for message in messages]
        self._add(db, rows, _milliseconds(deliver_at))
        return [row.message_id for row in rows]

    async def add_async(self, db: Any, topic: str, value: Any, **options: Any) -> str:
        """As `add`, with SQLAlchemy's `AsyncConnection` or `AsyncSession`."""
        if not hasattr(db, "run_sync"):
            raise ConfigError(
                ["add_async() takes an AsyncConnection or AsyncSession of SQLAlchemy's"]
            )
        return str(await db.run_sync(lambda below: self.add(below, topic, value, **options)))

    def _row(self, message: Send, given: str | None, kind: str | None) -> Any:
        if not isinstance(message, Send):
            raise ConfigError([f"{message!r} is no message: write eos.Send(value, topic=…)"])
        if message.topic is None:
            raise ConfigError([f"{message!r} names no topic: write eos.Send(value, topic=…)"])
        topic, headers, now = message.topic, list(message.headers), time.time()
        message_id = _id(given, headers)
        more = current_trace()
        if self._source is not None:
            more += _cloudevent(self._source, _kind(kind, topic), message_id, now)
        names = {name for name, _ in headers}  # those that are given stay as they are
        headers += [pair for pair in more if pair[0] not in names]
        if self._encode is not None and message.value is not None:
            message = Send(self._encode(message.value), topic, message.key)
        value = as_bytes(message.value, "value")
        shard = shard_of(message_id.encode() if message.key is None else message.key)
        return self._added(
            shard,
            topic,
            message_id,
            message.key,
            value,
            self._dump(headers),
            int(now * 1000),
        )


def _pairs(headers: Any) -> Any:
    return dict(headers) if isinstance(headers, Mapping) else headers


def _id(given: str | None, headers: Headers) -> str:
    """Find or make the message's id; its header is there afterwards."""
    told = next((value for name, value in headers if name == "message-id"), None)
    if told is None:
        found = uuid4().hex if given is None else given
    else:
        found = _text(told)
        if given is not None and given != found:
            raise ConfigError([f"id={given!r}, and its header message-id is {found!r}: give one"])
    wanted = f"give 1 to {_LONGEST_ID} characters, as str, that are UTF-8 and no zeros"
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST_ID or "\0" in found:
        raise ConfigError([f"id={_short(found)}: {wanted}"])
    try:
        encoded = found.encode()
    except UnicodeEncodeError as error:
        raise ConfigError([f"id={_short(found)}: {wanted}"]) from error
    if told is None:
        headers.insert(0, ("message-id", encoded))
    return found


def _text(header: bytes) -> str:
    try:
        return header.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([f"header message-id={_short(header)}: it is no UTF-8"]) from error


def _short(given: object) -> str:
    shown = repr(given)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _kind(given: str | None, topic: str) -> str:
    if given is not None and not (isinstance(given, str) and given):
        raise ConfigError([f"type={given!r}: give the kind of event, such as 'order.placed'"])
    return given or topic


def _cloudevent(source: str, kind: str, message_id: str, now: float) -> Headers:
    stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", message_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("ce_time", stamp.replace("+00:00", "Z").encode()),
    ]


def _milliseconds(at: datetime | float | None) -> int | None:
    if at is None:
        return None
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ConfigError([f"deliver_at={at}: give it a time zone, datetime.now(UTC) + …"])
        at = at.timestamp()
    # Also refuses what is no number, and what somebody took for milliseconds.
    if isinstance(at, bool) or not isinstance(at, int | float) or not abs(at) < _LATEST:
        raise ConfigError(
            [f"deliver_at={at!r}: give an aware datetime, or seconds since the epoch"]
        )
    return int(at * 1000)
