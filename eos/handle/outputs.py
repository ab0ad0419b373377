"""Turns what a handler returned into messages to be published."""

from collections.abc import Iterable, Sequence
from typing import Any

from eos.consume.lanes import Lane
from eos.core.errors import HandlerError, RetriableError
from eos.core.keys import MessageIds
from eos.core.record import Record, Send, as_bytes
from eos.handle.letters import HEADER_OVERHEAD, OVERHEAD, Output, size_of
from eos.handle.steps import Step

_MESSAGE_ID_BYTES = 42

Result = Send | Iterable[Send] | Exception | None


def results_of(step: Step, records: Sequence[Record], returned: Any) -> list[Result]:
    """Give what a handler of lists returned: one result per record.

    Raises:
        ValueError: It returned another number of results.
    """
    results: list[Result] = list(returned)
    if len(results) != len(records):
        raise ValueError(
            f"step {step.name!r} got {len(records)} records and returned {len(results)} "
            "results: return one per record"
        )
    return results


class Outputs:
    """Makes the messages that a step's results stand for.

    Args:
        steps: The steps.
        namespace: Part of the ids of what they send.
        max_bytes: How large a message may be.

    Attributes:
        lane: Where the records are from that are being handled.
    """

    def __init__(self, steps: Sequence[Step], namespace: str, max_bytes: int) -> None:
        self._ids = {step.source: MessageIds(namespace, step.name) for step in steps}
        self._max_bytes = max_bytes
        self.lane: Lane | None = None
        self._small = max_bytes - OVERHEAD - 2 * HEADER_OVERHEAD - _MESSAGE_ID_BYTES

    def __call__(self, step: Step, record: Record, result: Result) -> list[Output]:
        """Give what a handler sends for one record.

        Raises:
            HandlerError: What it returned can never be sent.
            Exception: The one that it returned: this record failed.
        """
        if result is None:
            return []
        if isinstance(result, Exception):
            raise result
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
            replay = self.lane.replayed(record.offset) if self.lane else None
            run = replay.run if replay else ""
            message_id = self._ids[step.source](record.idempotency_key, ordinal, run)
            headers = [("message-id", message_id), *headers]
        value = _encoded(step, send)
        output = Output(topic, value, record.key if send.key is None else send.key, headers)
        # Only what may be too large is measured: most messages are far from it.
        if send.headers or len(value or b"") + len(output.key or b"") > self._small:
            self._check_size(step, output)
        return output

    def _check_size(self, step: Step, output: Output) -> None:
        if (size := size_of(output)) > self._max_bytes:
            raise HandlerError(
                f"step {step.name!r} sends {size} bytes, and message.max.bytes is {self._max_bytes}"
            )


def _encoded(step: Step, send: Send) -> bytes | None:
    """Give the payload of a Send; a tombstone is one whatever the step's `encode` may do."""
    if step.encode is None or send.value is None:
        return as_bytes(send.value, "value")
    try:
        value = step.encode(send.value)
    except RetriableError:
        raise
    except step.fatal:
        raise
    except Exception as error:
        raise HandlerError(f"step {step.name!r} cannot encode what it sends: {error!r}") from error
    return as_bytes(value, "encoded value")
