"""Kills the servers when the process that started them is gone, however it went.

Run as a script by `group.ServerGroup`; standard library only, so that it is up in milliseconds.

1. The opener starts this guardian as the leader of a new process group, and every server as a
   member of that group.
2. The opener holds the write end of a pipe whose read end is our standard input. When the opener
   dies, even by SIGKILL, the kernel closes its end and we read the end of the file.
3. We kill the whole group, and ourselves with it.

A forked child of the opener (multiprocessing) holds a copy of the write end and would keep the
pipe open, so we also look whether our parent is still the opener.

Why not `prctl(PR_SET_PDEATHSIG)`: it is Linux only, and the signal comes when the *thread* that
forked ends, so a server started from a worker thread would die with that thread.
"""

import os
import select
import signal
import sys

LOOK_AT_PARENT_SECONDS = 0.5


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
    os.killpg(0, signal.SIGKILL)


main()
