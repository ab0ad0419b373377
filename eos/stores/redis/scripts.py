"""The Lua scripts that lie beside this module, each as one text with what it needs before it."""

import hashlib
from dataclasses import dataclass
from importlib import resources

LAYOUT = "1"
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


def load(*names: str) -> Script:
    """Give the script made of these files, in this order."""
    folder = resources.files(__package__) / "lua"
    source = "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


TAKE = load("prelude", "take")
CLAIM = load("prelude", "generations", "claim")
CONFIRM = load("prelude", "confirm")
LOCK = load("prelude", "lock")
REASSERT = load("prelude", "generations", "reassert")
OPEN = load("prelude", "open")
ADVANCE = load("prelude", "generations", "advance")
