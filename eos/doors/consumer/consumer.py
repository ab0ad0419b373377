"""A drop-in for `confluent_kafka.Consumer`."""

from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Self

from eos.core.errors import ConfigError
from eos.core.frontier import parse
from eos.core.ports import Partition
from eos.core.record import Headers, Message, Send
from eos.core.settings import KeyOf
from eos.doors.consumer import conf as configuration
from eos.doors.consumer.claim import Claim

_FOREVER = float("inf")
_ROUND = 1.0


class Consumer:
    """A Kafka consumer that hands out each record to be handled, and no duplicates.

    All calls of `confluent_kafka.Consumer` are there and mean what they mean there; they give
    the same `Message` objects in the same order. Where the configuration has auto-commit on (the
    default), what was handed out is settled once the loop comes back for more. Where it is off,
    `commit()` settles.

    Args:
        conf: The configuration of a `confluent_kafka.Consumer`.
        ledger: Where idempotency keys and their owners are kept: `redis://…`, or `memory:`.
        key: Reads the idempotency key of a record; None looks where producers put it by
            standard: see `eos.Settings`.
        producer: The configuration of a producer, with its `transactional.id`. Then `produce`
            and the offsets are one Kafka transaction, which `commit()` ends: exactly once.
            Without it, effects lie elsewhere: a crash between an effect and its settling
            repeats that record, and `claim(message).in_doubt` says so.
        **settings: Further settings: see `eos.Settings`.

    Raises:
        ConfigError: With every fault of the configuration.

    Example:
        ```python
        consumer = eos.Consumer({"bootstrap.servers": …, "group.id": …}, ledger="redis://…")
        consumer.subscribe(["orders"])
        for message in consumer:
            charge(message.value())
        ```
    """

    def __init__(
        self,
        conf: Mapping[str, Any],
        *,
        ledger: str,
        key: KeyOf | None = None,
        producer: Mapping[str, Any] | None = None,
        client: Any = None,
        **settings: Any,
    ) -> None:
        # Here, because they load the servers' libraries: see App.work.
        from eos import build  # noqa: PLC0415
        from eos.doors.consumer.handout import Handout  # noqa: PLC0415

        read = configuration.read(
            conf, ledger=ledger, key=key, producer=producer, settings=settings
        )
        below = build.loop(
            read.settings,
            callbacks=read.callbacks,
            interval=read.interval,
            producer=read.producer,
            client=client,
        )
        self._auto_store = read.auto_store
        self._reader = below.reader
        self._client = below.reader.client
        self._out = Handout(below, read)
        self._tape, self._settling = self._out.tape, self._out.settling
        self._closed = False

    # --- reading ------------------------------------------------------------------------------

    def poll(self, timeout: float | None = -1) -> Any:
        """Give the next record to be handled, or an error event; None if none came in time.

        Args:
            timeout: Seconds to wait; negative or None waits for ever.
        """
        tape, out = self._tape, self._out
        # The way of nearly every call, as short as it can be made.
        at = tape.at
        if at < tape.left and monotonic() < out.due:
            tape.at = at + 1
            self._settling.last = 1
            return tape.messages[at]
        return out.one(_seconds(timeout))

    def consume(self, num_messages: int = 1, timeout: float | None = -1) -> list[Any]:
        """Give up to so many records to be handled; fewer if no more came in time."""
        return self._out.several(num_messages, _seconds(timeout))

    def __iter__(self) -> Iterator[Any]:
        """Give records, and error events, until the consumer is closed."""
        while not self._closed:
            if (message := self.poll(_ROUND)) is not None:
                yield message

    def claim(self, message: Message) -> Claim:
        """Tell what is known of a record that one of the latest calls handed out.

        Raises:
            KeyError: It was not, or too long ago.
        """
        return self._out.claim(message)

    # --- settling -----------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        value: bytes | str | None = None,
        key: bytes | str | None = None,
        headers: dict[str, bytes | str] | Headers | None = None,
        *,
        source: Message | None = None,
    ) -> None:
        """Publish a message in the transaction that the next `commit()` ends.

        It carries a `message-id` header derived from the record that it comes from, unless one
        is given: so whoever reads it recognises a re-send.

        Args:
            topic: Where to.
            value: The payload.
            key: The Kafka key.
            headers: Names and values.
            source: The record that it comes from; default: the one that `poll` gave last. Where
                `consume` gave several and none is named here, no id is derived.

        Raises:
            ConfigError: The consumer was made without a producer.
            BufferError: Too much waits for a `commit()`.
            HandlerError: Something is neither bytes nor str.
        """
        self._out.produce(Send(value, topic, key, headers), source)

    def commit(
        self,
        message: Message | None = None,
        offsets: list[Any] | None = None,
        asynchronous: bool = True,
    ) -> list[Any] | None:
        """Settle: this record and all below it, or up to these offsets, or all handed out so far.

        The ledger is told before this returns. Without a producer, Kafka's committed offset
        follows at once (`asynchronous=False`) or soon; an offset below the frontier announces a
        replay. With a producer this ends the transaction; where it must be aborted, its records
        are handed out once more, and nothing is lost.

        Returns:
            What was committed; None if `asynchronous`. Nothing, if the transaction was aborted.

        Raises:
            KafkaException: As `confluent_kafka.Consumer.commit`: the partition is lost, say.
        """
        if message is not None and offsets is not None:
            raise ValueError("commit a message or offsets, not both")
        wanted = None
        if message is not None:
            if message.error() is not None:
                self._out.refuse(message)
            wanted = {_place(message): (_offset(message) + 1, "")}
        elif offsets is not None:
            if not offsets:
                return None
            wanted = {(o.topic, o.partition): (o.offset, o.metadata or "") for o in offsets}
        return self._out.commit(wanted, wait=not asynchronous)

    def store_offsets(
        self, message: Message | None = None, offsets: list[Any] | None = None
    ) -> None:
        """Name what is handled, where `enable.auto.offset.store` is False."""
        if self._auto_store:
            self._client.store_offsets(offsets=[])  # says what is wrong as it always did
        if message is not None:
            self._settling.store({_place(message): _offset(message) + 1})
        else:
            self._settling.store({(o.topic, o.partition): o.offset for o in offsets or ()})

    # --- where to read ------------------------------------------------------------------------

    def subscribe(
        self,
        topics: list[str],
        on_assign: Callable[..., None] | None = None,
        on_revoke: Callable[..., None] | None = None,
        on_lost: Callable[..., None] | None = None,
    ) -> None:
        """Join the group. The callbacks are given this consumer and the partitions."""
        given = {"on_assign": on_assign, "on_revoke": on_revoke, "on_lost": on_lost}

        def telling(function: Callable[..., None]) -> Callable[[list[Any]], None]:
            return lambda partitions: function(self, partitions)

        self._reader.watch(topics, {n: telling(f) for n, f in given.items() if f is not None})

    def unsubscribe(self) -> None:
        """Leave the subscription."""
        self._out.drop_all()
        self._client.unsubscribe()

    def assign(self, partitions: list[Any]) -> None:
        """Read these partitions, without the group's doing or, in `on_assign`, from elsewhere.

        Raises:
            ConfigError: With a producer, outside of `on_assign`: nothing would fence the offsets.
        """
        self._out.check_assignable()
        if not self._reader.rebalancing:
            self._out.drop_all()
        self._reader.assign(partitions)

    def incremental_assign(self, partitions: list[Any]) -> None:
        """Read these partitions too. Raises as `assign` does."""
        self._out.check_assignable()
        self._reader.assign(partitions, more=True)

    def unassign(self) -> None:
        """Read nothing any more."""
        if not self._reader.rebalancing:
            self._out.drop_all()
        self._reader.unassign()

    def incremental_unassign(self, partitions: list[Any]) -> None:
        """Read these partitions no more."""
        if not self._reader.rebalancing:
            self._out.drop([(p.topic, p.partition) for p in partitions])
        self._reader.unassign(partitions)

    def assignment(self) -> list[Any]:
        """Give the partitions that are read."""
        return list(self._client.assignment())

    def seek(self, partition: Any) -> None:
        """Read a partition from another offset. Below what is settled it announces a replay."""
        place = (partition.topic, partition.partition)
        offset = self._reader.resolve(place, partition.offset)
        if not self._out.seek(place, offset):
            self._client.seek(partition)  # it is not ours: says so as it always did

    def pause(self, partitions: list[Any]) -> None:
        """Hand out nothing of these partitions until `resume`."""
        places = [(p.topic, p.partition) for p in partitions]
        self._client.pause(partitions)
        self._out.drop(places)
        self._reader.hold(places)

    def resume(self, partitions: list[Any]) -> None:
        """Hand out records of these partitions again."""
        places = [(p.topic, p.partition) for p in partitions]
        self._reader.release(places)
        self._out.flow(places)

    def position(self, partitions: list[Any]) -> list[Any]:
        """Give where each partition goes on: one past the last record handed out."""
        known = self._out.positions()
        answer = list(self._client.position(partitions))
        for each in answer:
            each.offset = known.get((each.topic, each.partition), _NOTHING_YET)
        return answer

    def committed(self, partitions: list[Any], timeout: float | None = None) -> list[Any]:
        """Give what is committed, with the user's own metadata."""
        arguments = (partitions,) if timeout is None else (partitions, timeout)
        answer = list(self._client.committed(*arguments))
        return [_with_note(each) for each in answer]

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the group.

        Settled is what the loop came back from or committed, and not what was handed out last:
        nobody knows that it was handled.
        """
        if not self._closed:
            self._closed = True
            self._out.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        """Give whatever else the client can do."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._client, name)


_NOTHING_YET = -1001


def wrap(
    consumer: Any,
    *,
    config: Mapping[str, Any],
    ledger: str,
    key: KeyOf | None = None,
    producer: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Consumer:
    """Give a consumer that somebody else made what `eos.Consumer` has.

    Args:
        consumer: A `confluent_kafka.Consumer` that has not subscribed yet.
        config: What it was made with. Nobody can ask a consumer; auto-commit and auto-store must
            be off in it.
        ledger: As for `Consumer`.
        key: As for `Consumer`.
        producer: As for `Consumer`.
        **settings: As for `Consumer`.

    Raises:
        ConfigError: It settles records by itself, or reads already.
    """
    configuration.check_made(config)
    if consumer.assignment():
        raise ConfigError(["the consumer has an assignment already: wrap it before it subscribes"])
    if configuration.stores_by_itself(consumer):
        raise ConfigError(["the consumer stores offsets by itself, whatever its config says"])
    return Consumer(config, ledger=ledger, key=key, producer=producer, client=consumer, **settings)


def _with_note(each: Any) -> Any:
    """Give a committed offset with the user's own metadata, and without ours."""
    if not each.metadata or each.error:
        return each
    note = parse(each.offset, each.metadata).note
    return type(each)(each.topic, each.partition, each.offset, *([note] if note else []))


def _seconds(timeout: float | None) -> float:
    return _FOREVER if timeout is None or timeout < 0 else timeout


def _place(message: Message) -> Partition:
    return message.topic(), message.partition()


def _offset(message: Message) -> int:
    return int(message.offset())
