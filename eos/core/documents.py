"""Paths into JSON documents, for keys that stand in the payload."""

import json
import re
from typing import Any

from eos.core.errors import ConfigError

MAX_DOCUMENT_BYTES = 1_048_576
"""Documents above this size are not parsed: 1 MiB, Kafka's own default for a message."""

_STEP = re.compile(
    r"""
    \.?(?P<name>[^.\[\]'"\s$]+)      # order, .order
    | \[(?P<index>\d{1,9})\]         # [0]
    | \['(?P<single>[^']+)'\]        # ['a name']
    | \["(?P<double>[^"]+)"\]        # ["a name"]
    """,
    re.VERBOSE,
)


class Path:
    """One place in a document: names and indices, a subset of JSONPath.

    Args:
        text: `order.id`, `$.order.id`, `items[0].id`, `$['a name']`. There are no wildcards,
            slices or filters: a key stands in one place.

    Raises:
        ConfigError: If it is no such path.
    """

    def __init__(self, text: str) -> None:
        self._steps: list[str | int] = []
        at = 1 if text.startswith("$") else 0
        if at and text[1:2] not in {".", "["}:
            raise _no_path(text)
        while at < len(text):
            step = _STEP.match(text, at)
            # A name begins the path or stands behind a dot.
            if step is None or (step["name"] and (step[0][0] == ".") == (at == 0)):
                raise _no_path(text)
            name = step["name"] or step["single"] or step["double"]
            self._steps.append(name or int(step["index"]))
            at = step.end()
        if not self._steps:
            raise _no_path(text)

    def __call__(self, document: Any) -> Any:
        """Give what stands there; None if there is no such place."""
        for step in self._steps:
            if isinstance(step, str):
                if not isinstance(document, dict):
                    return None
                document = document.get(step)
            elif isinstance(document, list) and step < len(document):
                document = document[step]
            else:
                return None
        return document


def parsed(value: bytes | None, max_bytes: int = MAX_DOCUMENT_BYTES) -> Any:
    """Give the document that a payload is, its numbers as they are written; None if it is none.

    Args:
        value: The payload.
        max_bytes: What is longer is not parsed.
    """
    if not value or len(value) > max_bytes:
        return None
    try:
        # A number is a name here: 1.0 and 1.00 are two, and none of them is rounded.
        return json.loads(value, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # bytes that are no text are a ValueError too
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _no_path(text: str) -> ConfigError:
    return ConfigError([f"json_path({text!r}): write order.id, $.order.id or items[0].id"])
