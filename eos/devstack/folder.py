"""A stack's folder: held by one process at a time, and readable for those who look for it.

The lock says whether a stack runs here: the kernel drops it when its holder dies, so a pid read
from the note while the lock is held cannot be another process that got the same number later.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from eos.devstack.errors import DevStackError
from eos.devstack.waiting import wait_until

LOCK = "lock"
NOTE = "stack.json"
# Longer than anybody who only looks holds the lock.
LOCK_SECONDS = 2


@dataclass(frozen=True, kw_only=True)
class DevStack:
    """Where the servers are."""

    bootstrap_servers: str
    redis_url: str
    postgres_url: str = ""
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A stack that `eos dev` keeps running, and the pid of its keeper."""

    stack: DevStack
    keeper: int


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two stacks never share their data.

    Raises:
        DevStackError: Another process holds it.
    """
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        if not wait_until(lambda: _take(lock.fileno()), seconds=LOCK_SECONDS):
            raise DevStackError(f"{folder} is in use by another stack: name another folder")
        (folder / NOTE).unlink(missing_ok=True)  # a killed keeper left it
        try:
            yield
        finally:
            (folder / NOTE).unlink(missing_ok=True)


def is_held(folder: Path) -> bool:
    """Say whether another process holds the folder.

    Not for the holder itself: a process that closes a file loses its POSIX locks on it.
    """
    if not (folder / LOCK).exists():
        return False
    with (folder / LOCK).open("a") as lock:
        return not _take(lock.fileno())


def write_note(kept: Kept) -> None:
    """Tell others about the stack; the holder of the folder calls this."""
    note = kept.stack.folder / NOTE
    draft = note.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(kept), default=str))
    draft.rename(note)


def read_note(folder: Path) -> Kept | None:
    """Read about the stack that runs in the folder; None when there is none, or not yet."""
    if not is_held(folder):
        return None
    try:
        note = json.loads((folder / NOTE).read_text())
    except FileNotFoundError:
        return None
    return Kept(stack=DevStack(**note["stack"] | {"folder": folder}), keeper=note["keeper"])


def _take(descriptor: int) -> bool:
    """Lock an open file without waiting; say whether that was possible.

    A POSIX lock, because forked children do not inherit it: a worker that survives its parent
    does not hold the folder.
    """
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
