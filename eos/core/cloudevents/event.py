"""What a CloudEvent is: attributes by name, a payload, and the rules that both keep."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

REQUIRED = ("specversion", "id", "source", "type")
# Attributes that the specification itself names; any other one is an extension.
NAMED = (*REQUIRED, "datacontenttype", "dataschema", "subject", "time")

_NAME = re.compile(r"[a-z0-9]+")
_VERSION = re.compile(r"1\.[0-9]+")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 (a token of RFC 9110, no secret)
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}[ \t]*(;[ -~\t]*)?")
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s";]+)', re.IGNORECASE)
# What the specification's type String does not hold: controls, surrogates, noncharacters.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
    )
    + "]"
)


class MalformedEventError(ValueError):
    """Says that it is a CloudEvent, and is none."""


class Event(NamedTuple):
    """One CloudEvent.

    Attributes:
        attributes: The context attributes by name: `specversion`, `id`, `source`, `type`,
            `datacontenttype` and whatever else is there. Values are canonical strings.
        data: The payload; None: there is none.
    """

    attributes: Mapping[str, str]
    data: bytes | None


def checked(event: Event) -> Event:
    """Give the event back, if its attributes keep the rules.

    A `time` or a `source` is passed on as it is written.

    Raises:
        MalformedEventError: If one does not; says which, and never what it holds.
    """
    attributes = event.attributes
    for name, value in attributes.items():
        _check(name, value)
    for name in REQUIRED:
        if name not in attributes:
            raise MalformedEventError(f"the event has no {name!r}: it is a required attribute")
    if not _VERSION.fullmatch(attributes["specversion"]):
        raise MalformedEventError("the event's 'specversion' is not 1.0: send CloudEvents 1.0")
    kind = attributes.get("datacontenttype")
    if kind is not None and not _MEDIA_TYPE.fullmatch(kind):
        raise MalformedEventError("the event's content type is no media type: type/subtype")
    return event


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name) or name == "data":
        raise MalformedEventError(
            f"{name[:40]!r} is no attribute's name: give lower-case letters and digits"
        )
    if not value and name in NAMED:
        raise MalformedEventError(f"the attribute {name!r} is empty")
    if _FORBIDDEN.search(value):
        raise MalformedEventError(
            f"the attribute {name!r} holds a control character or another that is not allowed"
        )


def gathered(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give attributes by name.

    Raises:
        MalformedEventError: If one is there twice.
    """
    attributes: dict[str, str] = {}
    for name, value in pairs:
        if name in attributes:
            raise MalformedEventError(f"the attribute {name[:40]!r} is there twice")
        attributes[name] = value
    return attributes


def media_type(content_type: str) -> str:
    """Give the media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def charset(content_type: str) -> str:
    """Give the charset parameter in lower case, `utf-8` where there is none."""
    found = _CHARSET.search(content_type)
    return found.group(1).lower() if found else "utf-8"


def is_structured(content_type: str) -> bool:
    """Tell whether a body of this type holds one event whole, in whatever format."""
    kind = media_type(content_type)
    return kind == "application/cloudevents" or kind.startswith("application/cloudevents+")


def is_batch(content_type: str) -> bool:
    """Tell whether a body of this type holds a batch of events, in whatever format."""
    kind = media_type(content_type)
    batch = "application/cloudevents-batch"
    return kind == batch or kind.startswith(f"{batch}+")


def binary(event: Event) -> Event:
    """Give the event back, if binary mode can tell it.

    Raises:
        MalformedEventError: If its payload has the type of an event: a reader would take that
            one for the event itself.
    """
    kind = event.attributes.get("datacontenttype", "")
    if is_structured(kind) or is_batch(kind):
        raise MalformedEventError(
            "the event's payload is itself a CloudEvent: send it in structured mode"
        )
    return checked(event)
