"""Kills the servers when the process that started them is gone, however it went.

Run as a script by `group.ServerGroup`; standard library only, so that it is up in milliseconds.

1. The opener starts this guardian as the leader of a new process group, and every server as a
   member of that group.
2. The opener holds the write end of a pipe whose read end is our standard input. When the opener
   dies, even by SIGKILL, the kernel closes its end and we read the end of the file.
3. We kill the whole group, and ourselves with it; before that the children that a member put into
   groups of their own, as PostgreSQL does: if they are stopped they would not see their parent go.

A forked child of the opener (multiprocessing) holds a copy of the write end and would keep the
pipe open, so we also look whether our parent is still the opener.

Why not `prctl(PR_SET_PDEATHSIG)`: it is Linux only, and the signal comes when the *thread* that
forked ends, so a server started from a worker thread would die with that thread.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys

LOOK_AT_PARENT_SECONDS = 0.5
TRIES = 5


def main() -> None:
    """Wait for the opener's death, then kill the group."""
    # A signal sent to our group, as a terminal or an operator may do, must not end the watch.
    for harmless in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(harmless, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"!")  # on watch
    opener = int(sys.argv[1])
    pipe_closed = False
    while not pipe_closed and os.getppid() == opener:
        pipe_closed = bool(select.select([sys.stdin], [], [], LOOK_AT_PARENT_SECONDS)[0])
    for child in strangers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)


def strangers() -> list[int]:
    """Return the children of our group's members that are in other groups."""
    listed = ""
    for _ in range(TRIES):
        # The kernel sends SIGHUP to a group that is orphaned with stopped members, and `ps` is
        # one of ours: it may end with half a list.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            listed = subprocess.run(
                ["ps", "-A", "-o", "pid=,ppid=,pgid="], capture_output=True, text=True, check=True
            ).stdout
            break
    ours = os.getpgid(0)
    rows = [tuple(map(int, line.split())) for line in listed.splitlines()]
    members = {pid for pid, _, group in rows if group == ours}
    return [pid for pid, parent, group in rows if parent in members and group != ours]


main()
