"""Calls the user's handler, outside of any transaction, and collects what is to be sent."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from eos.consume.step import Slice
from eos.core.errors import FatalError, HandlerError
from eos.core.events import DeadLettered, Emit, Retried
from eos.core.keys import MessageIds
from eos.core.record import Headers, Record, Send
from eos.core.settings import Settings, duration
from eos.retry import Backoff

# What a message costs beside its bytes, at most, and each of its headers.
_OVERHEAD = 128
_HEADER_OVERHEAD = 20
_MESSAGE_ID_BYTES = 42
_LONGEST_HEADER = 1024  # of those that we add to a dead letter

Result = Send | Iterable[Send] | None


class Output(NamedTuple):
    """A message to be published."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers


@dataclass(slots=True)
class Handled:
    """A slice that went through the handler: what it wants published, in order."""

    slice: Slice
    outputs: list[Output] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """What `@app.step` was told.

    Attributes:
        source: The topic to read.
        to: Where a `Send` without a topic goes; None if the handler always names one.
        handler: Takes a record, or with `batch` a list of records.
        batch: Whether the handler takes lists and returns one result per record.
        name: Part of the ids of what it sends: renaming the function changes them.
    """

    source: str
    to: str | None
    handler: Callable[[Any], Any]
    batch: bool
    name: str


class Handle:
    """The third step of the line.

    A handler that raises is tried again after a pause, in place, so that the order of its
    partition holds; when its retries are used up the record becomes a dead letter, in the same
    transaction as its offset.

    Args:
        steps: The steps, by source topic.
        settings: Retries, back-off, and the dead letter topic's name.
        max_bytes: How large a message may be.
        wait: Stays in the group for some seconds without reading on.
        emit: Told of retries and dead letters.
    """

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        settings: Settings,
        max_bytes: int,
        wait: Callable[[float], None],
        emit: Emit,
    ) -> None:
        self._steps = {step.source: step for step in steps}
        self._ids = {step.source: MessageIds(settings.namespace, step.name) for step in steps}
        self._retries = settings.retries
        self._backoff = Backoff(duration(settings.backoff))
        self._dead_letters = settings.dead_letters
        self._max_bytes = max_bytes
        self._small = max_bytes - _OVERHEAD - 2 * _HEADER_OVERHEAD - _MESSAGE_ID_BYTES
        self._wait = wait
        self._emit = emit

    def __call__(self, batch: list[Slice]) -> list[Handled]:
        """Handle what is left in each slice."""
        return [self._handle(slice_) for slice_ in batch]

    def _handle(self, slice_: Slice) -> Handled:
        step = self._steps[slice_.lane.partition[0]]
        handled = Handled(slice_)
        for record, reason in slice_.rejected:
            handled.outputs.append(self._dead_letter(record, reason))
        if step.batch and slice_.records:
            self._handle_batch(step, slice_.records, handled.outputs)
        else:
            for record in slice_.records:
                self._handle_one(step, record, handled.outputs)
        return handled

    def _handle_batch(self, step: Step, records: list[Record], outputs: list[Output]) -> None:
        """Try the batch as a whole; after a failure, each record by itself."""
        try:
            outputs += self._outputs_of_batch(step, records)
        except FatalError:  # the user's word that going on is wrong
            raise
        except Exception as error:  # noqa: BLE001 the user's code may raise anything
            self._emit(Retried(step.source, 1, _in_short(error)))
            for record in records:
                self._handle_one(step, record, outputs)

    def _outputs_of_batch(self, step: Step, records: list[Record]) -> list[Output]:
        results = list(step.handler(records))
        if len(results) != len(records):
            raise ValueError(
                f"step {step.name!r} got {len(records)} records and returned {len(results)} "
                "results: return one per record"
            )
        outputs: list[Output] = []
        for record, result in zip(records, results, strict=True):
            outputs += self._outputs(step, record, result)
        return outputs

    def _handle_one(self, step: Step, record: Record, outputs: list[Output]) -> None:
        while True:
            try:
                outputs += (
                    self._outputs_of_batch(step, [record])
                    if step.batch
                    else self._outputs(step, record, step.handler(record))
                )
            except HandlerError as error:  # it can never be sent: trying again is of no use
                outputs.append(self._dead_letter(record, "unsendable", error))
            except FatalError:  # the user's word that going on is wrong
                raise
            except Exception as error:  # noqa: BLE001 the user's code may raise anything
                if record.attempt > self._retries:
                    outputs.append(self._dead_letter(record, "handler_failed", error))
                else:
                    self._emit(Retried(step.source, record.attempt, _in_short(error)))
                    self._wait(self._backoff.seconds(record.attempt))
                    record.attempt += 1
                    continue
            return

    def _outputs(self, step: Step, record: Record, result: Result) -> list[Output]:
        if result is None:
            return []
        sends = [result] if isinstance(result, Send) else list(result)
        return [self._output(step, record, send, n) for n, send in enumerate(sends)]

    def _output(self, step: Step, record: Record, send: Send, ordinal: int) -> Output:
        if not isinstance(send, Send):
            raise HandlerError(
                f"step {step.name!r} returned {type(send).__name__}: return eos.Send or several"
            )
        topic = send.topic or step.to
        if topic is None:
            raise HandlerError(f"step {step.name!r} has no `to`, and its Send names no topic")
        headers = send.headers
        if not headers or not any(name == "message-id" for name, _ in headers):
            message_id = self._ids[step.source](record.idempotency_key, ordinal)
            headers = [("message-id", message_id), *headers]
        output = Output(topic, send.value, record.key if send.key is None else send.key, headers)
        # Only what may be too large is measured: most messages are far from it.
        if send.headers or len(output.value or b"") + len(output.key or b"") > self._small:
            self._check_size(step, output)
        return output

    def _check_size(self, step: Step, output: Output) -> None:
        if (size := _size(output)) > self._max_bytes:
            raise HandlerError(
                f"step {step.name!r} sends {size} bytes, and message.max.bytes is {self._max_bytes}"
            )

    def _dead_letter(self, record: Record, reason: str, error: Exception | None = None) -> Output:
        """Make the dead letter: the record as it was, and in its headers why it is here."""
        self._emit(DeadLettered(record.topic, reason, str(record.position)))
        told: list[tuple[str, str]] = [
            ("eos-reason", reason),
            ("eos-attempts", str(record.attempt)),
            ("eos-topic", record.topic),
            ("eos-position", str(record.position)),
            ("eos-idempotency-key", record.idempotency_key),
            ("eos-timestamp", str(record.timestamp)),
        ]
        if error is not None:
            told += [("eos-error", _in_short(error)), ("eos-traceback-digest", _digest(error))]
        headers = [(n, v.encode("utf-8", "backslashreplace")[:_LONGEST_HEADER]) for n, v in told]
        letter = Output(self._dead_letters, record.value, record.key, [*record.headers, *headers])
        if _size(letter) > self._max_bytes:
            # Its position says where the payload still stands.
            omitted = ("eos-payload-omitted", str(len(record.value or b"")).encode())
            letter = Output(self._dead_letters, None, None, [*headers, omitted])
        return letter


def _size(output: Output) -> int:
    """Give how large librdkafka finds a message, rounded up."""
    headers = sum(len(n) + len(v or b"") + _HEADER_OVERHEAD for n, v in output.headers)
    return len(output.value or b"") + len(output.key or b"") + headers + _OVERHEAD


def _in_short(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except Exception:  # noqa: BLE001 the user's error may not be able to say what it is
        return type(error).__name__


def _digest(error: Exception) -> str:
    """Tell failures apart that came about in the same way: where, not what it said."""
    frames = traceback.extract_tb(error.__traceback__)
    told = [type(error).__qualname__, *(f"{f.filename}:{f.lineno}:{f.name}" for f in frames)]
    return blake2b("\n".join(told).encode("utf-8", "replace"), digest_size=8).hexdigest()
