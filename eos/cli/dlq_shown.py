"""Dead letters as a terminal shows them. Whatever they hold, it moves no cursor."""

import base64
from collections.abc import Iterator, Mapping, Sequence

from eos.cli.moments import shown
from eos.core.letters import Letter, Note, Place
from eos.operate.letters import Payload

_KEY, _ERROR = 40, 60
_COLUMNS = ("ID", "TIME", "TOPIC", "REASON", "TRIES", "KEY", "ERROR")


def table(letters: Sequence[Letter], notes: Mapping[Place, Note]) -> Iterator[str]:
    """Give a line for each letter, and one above them; nothing if there are none."""
    if not letters:
        return
    rows = [_COLUMNS, *(_row(letter, notes.get(letter.place)) for letter in letters)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def in_full(letter: Letter, note: Note | None, payload: Payload | None) -> Iterator[str]:
    """Give all that is known of a letter."""
    position = letter.position
    told = [
        ("id", str(letter.place)),
        ("state", f"{note.done.value} (by {note.run})" if note else "waits"),
        ("time", shown(letter.time)),
        ("reason", letter.reason),
        ("attempts", str(letter.attempts)),
        ("error", letter.error or "-"),
        ("traceback", letter.traceback or "-"),
        ("key", _text(letter.key)),
        ("came from", f"{letter.topic}[{position.partition}]@{position.offset}"),
        ("topic id", position.topic_id),
        ("group", letter.group or "-"),
        ("sent", shown(letter.timestamp)),
    ]
    if payload is not None:
        told.append(("kafka key", "-" if payload.key is None else _text(payload.key)))
        told += [(f"header {name}", _text(value)) for name, value in payload.headers]
    width = max(len(name) for name, _ in told)
    for name, value in told:
        yield line(f"{name.ljust(width)}  {value}")
    yield ""
    yield from _payload(letter, payload)


def line(text: str) -> str:
    """Give a text as one line, with what cannot be printed written out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _payload(letter: Letter, payload: Payload | None) -> Iterator[str]:
    if payload is None and letter.omitted is None:  # retention took the letter itself just now
        yield "payload: not in the log any more"
    elif payload is None:
        yield f"payload of {letter.omitted} bytes: left out, and not in the log any more"
    elif payload.value is None:
        yield "no payload: a tombstone"
    else:
        left_out = ", read again where it came from" if letter.omitted is not None else ""
        try:
            text = payload.value.decode()
        except UnicodeDecodeError:
            yield f"payload of {len(payload.value)} bytes{left_out}, in base64:"
            yield base64.b64encode(payload.value).decode()
        else:
            yield f"payload of {len(payload.value)} bytes{left_out}:"
            yield from (line(each) for each in text.split("\n"))


def _row(letter: Letter, note: Note | None) -> Sequence[str]:
    reason = f"{letter.reason} ({note.done.value})" if note else letter.reason
    error = _short(letter.error, _ERROR)
    key = _short(_text(letter.key), _KEY)
    told = (letter.topic, reason, str(letter.attempts), key, error)
    return (str(letter.place), shown(letter.time), *map(line, told))


def _text(value: bytes | None) -> str:
    return "-" if value is None else value.decode("utf-8", "backslashreplace")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
