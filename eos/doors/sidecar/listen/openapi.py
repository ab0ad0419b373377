"""The OpenAPI document of what the sidecar answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PUBLISH = "/v1/topics/{topic}"
_FILE = Path(__file__).with_name("openapi.json")


def document(topics: Sequence[str] = ()) -> dict[str, Any]:
    """Give the document.

    Args:
        topics: What is published to: the document names them. None: publishing is no part of it.
    """
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    if topics:
        (parameter,) = found["paths"][PUBLISH]["parameters"]
        parameter["schema"] = {"type": "string", "enum": list(topics)}
    else:
        del found["paths"][PUBLISH]
    return found
