"""Dead letters: what their headers say, what is published in their place, and what is done with.

A dead letter is the record as it came, with headers of ours behind its own. Two more kinds of
records have to do with it:

- the *redriven* record, in the topic where it came from: the letter without our headers, and with
  four others, of which `eos-redriven` says at which position it was dead-lettered, and `eos-group`
  by whom. The claim goes by that (`eos.core.rules.verdict`). For other groups that read the topic
  it is one more copy of a record that they have handled.
- the *note* that letters are done with, in the topic of the letters, on their own partition and
  behind them, so that no retention takes it before them.
"""

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from eos.core.record import Headers, Position

REASON, ATTEMPTS, TOPIC = "eos-reason", "eos-attempts", "eos-topic"
POSITION, TIMESTAMP = "eos-position", "eos-timestamp"
ERROR, TRACEBACK = "eos-error", "eos-traceback-digest"
KEY, OMITTED = "eos-idempotency-key", "eos-payload-omitted"
GROUP = "eos-group"
REDRIVEN = "eos-redriven"
DONE = "eos-done"
_MARK = frozenset({REDRIVEN, GROUP})
_ADDED = _MARK | {ATTEMPTS, KEY}

_MAX_ATTEMPTS_DIGITS = 9


class Done(StrEnum):
    """How a letter was done with."""

    REDRIVEN = "redriven"
    DISCARDED = "discarded"
    REPLAYED = "replayed"


class Place(NamedTuple):
    """Where a letter stands in the topic of the letters; written `partition:offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        """Give the form that commands take."""
        return f"{self.partition}:{self.offset}"


class Letter(NamedTuple):
    """A dead letter, without its payload.

    Attributes:
        place: Where it stands; its id.
        time: When it was dead-lettered, milliseconds since the epoch.
        reason: A word from a closed set, such as `handler_failed`.
        attempts: How often it was tried.
        topic: Where the record was read.
        position: The same, with the topic's id.
        timestamp: The record's own, milliseconds since the epoch.
        key: Its idempotency key, or its position where it had none.
        error: Kind and message of what was raised, in short; empty if nothing was.
        traceback: Tells apart where that was raised.
        omitted: How large the payload was that was left out of it; None if none was.
        headers: Those that the record came with.
        group: The consumer group that could not handle it; empty if the letter does not say.
    """

    place: Place
    time: int
    reason: str
    attempts: int
    topic: str
    position: Position
    timestamp: int
    key: bytes
    error: str
    traceback: str
    omitted: int | None
    headers: Headers
    group: str = ""


class Note(NamedTuple):
    """A note that letters of its own partition are done with.

    Attributes:
        done: How.
        run: Which command did it.
        offsets: Where they stand.
    """

    done: Done
    run: str
    offsets: Sequence[int]


def read(place: Place, time: int, headers: Headers) -> Letter | None:
    """Read a dead letter's headers; None if it is something else, which somebody else put there.

    A record may have headers of these names itself: ours stand behind them.
    """
    first = max((n for n, (name, _) in enumerate(headers) if name == REASON), default=-1)
    if first < 0:
        return None
    ours = {name: value or b"" for name, value in headers[first:]}
    told = {name: value.decode("utf-8", "replace") for name, value in ours.items()}
    position = position_of(ours.get(POSITION))
    if position is None or TOPIC not in told or KEY not in ours:
        return None
    return Letter(
        place=place,
        time=time,
        reason=told[REASON],
        attempts=_whole(ours.get(ATTEMPTS)),
        topic=told[TOPIC],
        position=position,
        timestamp=_whole(ours.get(TIMESTAMP), digits=18),
        key=ours[KEY],
        error=told.get(ERROR, ""),
        traceback=told.get(TRACEBACK, ""),
        omitted=_whole(ours[OMITTED]) if OMITTED in ours else None,
        headers=headers[:first],
        group=told.get(GROUP, ""),
    )


def redriven_headers(letter: Letter, own: Headers) -> Headers:
    """Give the headers with which a letter is published again.

    Args:
        letter: The letter.
        own: Those that the record came with; what an earlier redrive added to them is replaced.
    """
    added = {
        ATTEMPTS: str(letter.attempts).encode(),
        KEY: letter.key,
        **_mark(letter),
    }
    return [*((name, value) for name, value in own if name not in _ADDED), *added.items()]


def least_headers(letter: Letter, own: Headers) -> Headers:
    """Give as few as will do: those that the claim goes by. The arguments are as above."""
    mark = _mark(letter)
    return [*((name, value) for name, value in own if name not in _MARK), *mark.items()]


def copy_headers(position: Position, group: str, own: Headers) -> Headers:
    """Give the headers with which a copy is published again that was suppressed in vain.

    Args:
        position: Where it was suppressed.
        group: The consumer group that did.
        own: Those that it came with; what an earlier redrive added to them is replaced.
    """
    mark = {REDRIVEN: str(position).encode(), GROUP: group.encode()}
    return [*((name, value) for name, value in own if name not in _MARK), *mark.items()]


def redriven(
    headers: Iterable[tuple[str, bytes | None]], topic_id: str, group: str
) -> Position | None:
    """Give where a record was dead-lettered that says so.

    None if it was not, or in another topic, or by another group: that one has handled it, or will,
    where it stood first.

    Args:
        headers: Its headers.
        topic_id: The id of the topic where it stands. A topic that was made anew has another one,
            and so has whatever a handler sends with the headers that it got.
        group: Who reads it.
    """
    told = {name: value for name, value in headers if name in _MARK}
    position = position_of(told.get(REDRIVEN))
    if position is None or position.topic_id != topic_id:
        return None
    return position if told.get(GROUP) in {None, group.encode()} else None


def earlier_attempts(headers: Headers) -> int:
    """Give how often a redriven record was tried before."""
    return _whole(next((value for name, value in headers if name == ATTEMPTS), None))


def position_of(value: bytes | None) -> Position | None:
    """Read what `str` makes of a position; None if it is no such thing."""
    topic_id, _, rest = (value or b"").decode("utf-8", "replace").partition("/")
    partition, _, offset = rest.partition("/")
    if not (topic_id and _is_whole(partition, 10) and _is_whole(offset, 18)):
        return None
    return Position(topic_id, int(partition), int(offset))


def place_of(text: str) -> Place | None:
    """Read the id of a letter; None if it is none."""
    partition, _, offset = text.partition(":")
    if not (_is_whole(partition, 9) and _is_whole(offset, 18)):
        return None
    return Place(int(partition), int(offset))


def write_note(note: Note) -> tuple[bytes, Headers]:
    """Give payload and headers of a note."""
    told = {"done": note.done, "run": note.run, "offsets": list(note.offsets)}
    payload = json.dumps(told, separators=(",", ":")).encode()
    return payload, [(DONE, note.done.value.encode())]


def read_note(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> Note | None:
    """Read what `write_note` wrote; None if it is something else."""
    if not any(name == DONE for name, _ in headers):
        return None
    try:
        told = json.loads(value or b"")
        offsets = [int(offset) for offset in told["offsets"]]
        return Note(Done(told["done"]), str(told["run"]), offsets)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None  # whatever somebody wrote there


def _mark(letter: Letter) -> dict[str, bytes]:
    group = {GROUP: letter.group.encode()} if letter.group else {}
    return {REDRIVEN: str(letter.position).encode(), **group}


def _whole(value: bytes | None, *, digits: int = _MAX_ATTEMPTS_DIGITS) -> int:
    text = (value or b"").decode("ascii", "replace")
    return int(text) if _is_whole(text, digits) else 0


def _is_whole(text: str, digits: int) -> bool:
    """Tell whether a text is a whole number as `str` writes one, of so many digits at most."""
    plain = text.isascii() and text.isdecimal() and len(text) <= digits
    return plain and (text == "0" or text[0] != "0")
