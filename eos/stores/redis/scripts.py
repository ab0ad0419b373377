"""The Lua scripts that lie beside this module, each as one text with what it needs before it."""

import hashlib
from dataclasses import dataclass
from importlib import resources

LAYOUT = "2"
"""Version of the keys and of what they hold; the scripts say it again in prelude.lua."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server knows it.

    Attributes:
        source: Its text.
        sha: SHA-1 of its text, by which EVALSHA calls it.
    """

    source: str
    sha: str


def of(source: str) -> Script:
    """Give the script that this text is."""
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _load(*names: str) -> Script:
    folder = resources.files(__package__) / "lua"
    return of("\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names))


TAKE = _load("prelude", "take")
CLAIM = _load("prelude", "generations", "claim")
CONFIRM = _load("prelude", "confirm")
BEGIN = _load("prelude", "marks", "begin")
SETTLE = _load("prelude", "marks", "settle")
REWIND = _load("prelude", "marks", "rewind")
VOID = _load("prelude", "generations", "void")
LOCK = _load("prelude", "leases", "lock")
REASSERT = _load("prelude", "leases", "generations", "reassert")
OPEN = _load("prelude", "leases", "open")
ADVANCE = _load("prelude", "generations", "advance")
LOOK = _load("prelude", "leases", "generations", "look")
UNSEAL = _load("prelude", "leases", "unseal")
CLEAR = _load("prelude", "generations", "clear")
FIND = _load("prelude", "generations", "find")
