"""Headers of a message as text, for a column that people read."""

import base64
import json

from eos.core.record import Headers

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def dump(headers: Headers) -> str:
    """Write headers as JSON: `[name, text]`, or `[name, null, base64]` where it is no UTF-8."""
    return _ENCODE([_pair(name, value) for name, value in headers])


def load(text: str) -> Headers:
    """Read what `dump` wrote."""
    return [
        (name, rest[0].encode() if rest[0] is not None else base64.b64decode(rest[1]))
        for name, *rest in json.loads(text)
    ]


def _pair(name: str, value: bytes) -> list[str | None]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    # PostgreSQL takes no zero in a text.
    return [name, None, base64.b64encode(value).decode()] if "\0" in text else [name, text]
