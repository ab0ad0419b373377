"""The process group that all servers of one stack live in, and die in."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from eos.devstack.errors import DevStackError

GUARDIAN = Path(__file__).with_name("guardian.py")


@dataclass(frozen=True, kw_only=True)
class Account:
    """Another user of this machine whom a server runs as."""

    name: str
    user: int
    group: int


class ServerGroup:
    """A context whose members do not outlive the process that opened it.

    Membership is atomic: a server joins the group between fork and exec, while it still holds a
    copy of the pipe's write end, so the guardian cannot see the pipe closed before the server is a
    member. A server whose opener dies in the middle of starting it is killed like any other.
    """

    def __enter__(self) -> Self:
        # -I and -S: nothing but the standard library, whatever the user's environment says.
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARDIAN), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        if not (self._guardian.stdout and self._guardian.stdout.read(1)):
            raise DevStackError("the guardian of the servers did not start")
        self._members: list[subprocess.Popen[bytes]] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what is left, wait until it is gone, and release the guardian."""
        self._guardian.communicate()  # closes the pipe, and waits until it has killed all
        for member in self._members:
            member.kill()
        for member in self._members:
            member.wait()

    def spawn(
        self, command: list[str], output: Path, account: Account | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `command` as a member, its output appended to a file; as another user if asked.

        It is our own child (so its pid and exit code are known here), but in the guardian's
        process group: Ctrl-C in a terminal reaches us and not the server, and we stop it in order.
        """
        with output.open("ab") as log:
            member = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._guardian.pid,
                cwd="/" if account else None,  # ours may be closed to the other user
                user=account.user if account else None,
                group=account.group if account else None,
                extra_groups=[] if account else None,
            )
        self._members.append(member)
        return member
