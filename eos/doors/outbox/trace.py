"""The trace that whoever adds a message is in (W3C Trace Context), if OpenTelemetry is there."""

from functools import cache
from importlib import import_module
from typing import Any

from eos.core.record import Headers


def current_trace() -> Headers:
    """Give the headers `traceparent` and what else the set propagators write; none without."""
    inject = _inject()
    if inject is None:
        return []
    carrier: dict[str, str] = {}
    inject(carrier)
    return [(name, value.encode()) for name, value in carrier.items()]


@cache
def _inject() -> Any:
    try:
        return import_module("opentelemetry.propagate").inject  # it need not be there
    except ImportError:
        return None
