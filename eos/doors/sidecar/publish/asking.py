"""What a call asks to have published, read from HTTP. Pure: no I/O."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from eos.core import cloudevents
from eos.core.cloudevents import Event, MalformedEventError
from eos.core.errors import HandlerError
from eos.core.keys import MessageIds, bounded
from eos.core.record import Headers, Send
from eos.doors.sidecar.publish.envelope import TRACE
from eos.doors.sidecar.publish.publication import STEP

MOST_EVENTS = 1000
"""In one call."""
MOST_KEY = 255
"""Characters of an idempotency key."""

_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--:<-~]+")
_ESCAPED = re.compile(r"\\(.)")

Pairs = Sequence[tuple[str, str]]
"""Headers, names in lower case."""


class MalformedCallError(ValueError):
    """It cannot be done, and never will be.

    Args:
        detail: What is wrong, and what to do.
        status: Of the answer.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class Asked(NamedTuple):
    """What a call asks for.

    Attributes:
        key: Its idempotency key, of its caller.
        sends: The messages, in order.
        traces: Headers of its trace, which its messages carry as well.
    """

    key: bytes
    sends: list[Send]
    traces: Headers

    def ids(self, namespace: str) -> list[str]:
        """Give the `message-id` that each of its messages carries."""
        id_of = MessageIds(namespace, STEP)
        key = bounded(self.key).decode("utf-8", "surrogateescape")
        return [id_of(key, n).decode() for n in range(len(self.sends))]


def asked(caller: str, headers: Pairs, body: bytes) -> Asked:
    """Read a call.

    Args:
        caller: Whose it is; keys of different callers are different keys.
        headers: Its headers.
        body: A CloudEvent, several, or any payload.

    Raises:
        MalformedCallError: It cannot be done.
    """
    try:
        events = cloudevents.of_http(headers, body)
        sends = [_plain(headers, body)] if events is None else [_message(each) for each in events]
    except (MalformedEventError, HandlerError) as error:
        raise MalformedCallError(str(error)) from error
    if not sends:
        raise MalformedCallError("the batch is empty: send an event, or several")
    if len(sends) > MOST_EVENTS:
        raise MalformedCallError(f"{len(sends)} events: send at most {MOST_EVENTS} at once", 413)
    key = f"{quote(caller, safe='')}/{_key(headers, events)}"
    return Asked(key.encode(), sends, _traces(headers))


def key_of(text: str) -> str:
    """Read the header `Idempotency-Key`: a string of RFC 8941, or a word without quotes.

    Raises:
        MalformedCallError: It is neither, or too long.
    """
    if (quoted := _STRING.fullmatch(text)) is not None:
        key = _ESCAPED.sub(r"\1", quoted.group(1))
    elif _BARE.fullmatch(text):
        key = text
    else:
        raise MalformedCallError('Idempotency-Key: write a text in quotes, such as "order-17"')
    if not 1 <= len(key) <= MOST_KEY:
        raise MalformedCallError(f"Idempotency-Key: give 1 to {MOST_KEY} characters")
    return key


def _key(headers: Pairs, events: Sequence[Event] | None) -> str:
    given = _one(headers, "idempotency-key")
    if given is not None:
        return f"key/{key_of(given)}"
    if events is None or len(events) != 1:
        what = "a plain body" if events is None else "a batch"
        raise MalformedCallError(f"{what} needs the header Idempotency-Key: one for each call")
    attributes: Mapping[str, str] = events[0].attributes
    return f"event/{attributes['source']}\x00{attributes['id']}"


def _message(event: Event) -> Send:
    headers, value = cloudevents.to_record(event)
    # Not None: who sends no data wants no tombstone.
    return Send(value or b"", key=event.attributes.get("partitionkey"), headers=headers)


def _plain(headers: Pairs, body: bytes) -> Send:
    kind, key = _one(headers, "content-type"), _one(headers, "eos-key")
    told = [("content-type", kind)] if kind else []
    return Send(body, key=None if key is None else unquote_to_bytes(key), headers=told)


def _traces(headers: Pairs) -> Headers:
    found = {name: value for name, value in reversed(headers) if name in TRACE and value.isascii()}
    return [(name, found[name].encode()) for name in TRACE if name in found]


def _one(headers: Pairs, name: str) -> str | None:
    found = [value for given, value in headers if given == name]
    if len(found) > 1:
        raise MalformedCallError(f"the header {name!r} is there twice")
    return found[0] if found else None
