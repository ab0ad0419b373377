"""A stack's folder has one holder, and tells the truth about it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eos.devstack import DevStack, DevStackError
from eos.devstack.folder import Kept, held, is_held, read_note, write_note

HOLDER = """
import sys
from pathlib import Path
from eos.devstack.folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder_of(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def kept_in(folder: Path) -> Kept:
    stack = DevStack(bootstrap_servers="127.0.0.1:1", redis_url="redis://x/0", folder=folder)
    return Kept(stack=stack, keeper=1)


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    with (
        holder_of(tmp_path),
        pytest.raises(DevStackError, match="is in use by another stack"),
        held(tmp_path),
    ):
        pass


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    with holder_of(tmp_path) as holder:
        assert is_held(tmp_path)
        holder.kill()
        holder.wait()
        assert not is_held(tmp_path)


def test_a_note_counts_only_while_the_folder_is_held(tmp_path: Path) -> None:
    with holder_of(tmp_path) as holder:
        write_note(kept_in(tmp_path))
        assert read_note(tmp_path) == kept_in(tmp_path)
        holder.kill()
        holder.wait()
        assert read_note(tmp_path) is None


def test_the_note_of_a_killed_keeper_is_not_taken_for_that_of_the_next(tmp_path: Path) -> None:
    write_note(kept_in(tmp_path))

    with holder_of(tmp_path):
        assert read_note(tmp_path) is None


def test_a_folder_that_nobody_made_is_not_held_and_not_made(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none")
    assert not (tmp_path / "none").exists()
