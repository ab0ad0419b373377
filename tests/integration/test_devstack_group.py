"""Servers die with the process that opened their group."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eos.devstack.group import ServerGroup
from eos.devstack.waiting import wait_until

OPENER = """
import os, sys, time
from pathlib import Path
from eos.devstack.group import ServerGroup
with ServerGroup() as group:
    server = group.spawn(["sleep", "600"], Path(os.devnull))
    worker = os.fork() if sys.argv[1] == "forks" else 0
    if worker or sys.argv[1] != "forks":
        print(server.pid, worker, flush=True)
    time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Whether nothing runs under the pid; a dead process that nobody has reaped is gone too."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return not state or state.startswith("Z")


@pytest.mark.parametrize("opener_also", ["alone", "forks"])
def test_members_and_guardian_die_with_a_killed_opener(opener_also: str) -> None:
    opener = subprocess.Popen(
        [sys.executable, "-c", OPENER, opener_also], stdout=subprocess.PIPE, text=True
    )
    assert opener.stdout
    server, worker = map(int, opener.stdout.readline().split())
    guardian = os.getpgid(server)

    opener.kill()

    # The worker that the opener forked holds the guardian's pipe open, and changes nothing.
    assert wait_until(lambda: gone(server) and gone(guardian), seconds=10)
    if worker:
        os.kill(worker, signal.SIGKILL)
    opener.wait()
    opener.stdout.close()


def test_members_are_gone_when_the_group_is_closed() -> None:
    with ServerGroup() as group:
        member = group.spawn(["sleep", "600"], Path(os.devnull))
        guardian = os.getpgid(member.pid)

    assert member.returncode == -signal.SIGKILL
    assert gone(guardian)


def test_a_signal_to_the_group_does_not_end_the_watch() -> None:
    with ServerGroup() as group:
        member = group.spawn(["sleep", "600"], Path(os.devnull))
        guardian = os.getpgid(member.pid)

        os.killpg(guardian, signal.SIGTERM)

        assert member.wait() == -signal.SIGTERM
        assert not gone(guardian)
