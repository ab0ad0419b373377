"""A request to publish, as a record of the log of requests. Pure: no I/O.

The same request gives the same bytes, whatever the order of its headers: a ledger compares them to
tell a call that is made again from another one under the same key. A trace is no part of them.
"""

import json
from collections.abc import Sequence

from eos.core.errors import HandlerError
from eos.core.record import Headers, Record, Send

TRACE = ("traceparent", "tracestate")
"""Headers of W3C trace context: they go along, beside what is compared."""

_EACH = 200
"""What a message takes beside its own bytes, about: its id, a length for each of its parts."""


def written(topic: str, sends: Sequence[Send]) -> bytes:
    """Give the payload of a request's record.

    Args:
        topic: Where its messages go.
        sends: The messages; their values are bytes.
    """
    messages = [
        {
            "key": None if send.key is None else send.key.decode("latin-1"),
            "headers": sorted([name, value.decode("latin-1")] for name, value in send.headers),
            "bytes": len(send.value),
        }
        for send in sends
    ]
    head = json.dumps({"topic": topic, "messages": messages}, separators=(",", ":"))
    return b"".join([head.encode(), b"\n", *(send.value for send in sends)])


def sends_of(record: Record) -> list[Send]:
    """Give the messages that a request's record asks for.

    Raises:
        HandlerError: It is none that `written` wrote.
    """
    head, ended, rest = (record.value or b"").partition(b"\n")
    traces = [(name, value) for name in TRACE if (value := record.header(name)) is not None]
    try:
        request = json.loads(head)
        sends, at = [], 0
        for message in request["messages"]:
            headers: Headers = [(name, text.encode("latin-1")) for name, text in message["headers"]]
            key, end = message["key"], at + message["bytes"]
            value = rest[at:end]
            key = None if key is None else key.encode("latin-1")
            sends.append(Send(value, request["topic"], key, [*headers, *traces]))
            at = end
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HandlerError(f"{record!r} is no request of ours: {error!r}") from error
    if not ended or at != len(rest):
        raise HandlerError(f"{record!r} is no request of ours: it is cut short, or longer")
    return sends


def fits(value: bytes, messages: int, most_bytes: int) -> bool:
    """Tell whether a request can be appended, and then each of its messages published."""
    return len(value) + _EACH * (messages + 1) <= most_bytes
