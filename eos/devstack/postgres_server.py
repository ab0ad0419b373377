"""Starting a PostgreSQL."""

import os
import pwd
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from eos.devstack.errors import DevStackError
from eos.devstack.group import Account, ServerGroup
from eos.devstack.ports import HOST, free_ports, is_open
from eos.devstack.server import Server

INIT_SECONDS = 120
ANSWER_SECONDS = 2
# The packet by which a client asks for TLS: its length and a number that is no version.
ASK_FOR_TLS = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


class PostgresServer(Server):
    """A PostgreSQL: one process a connection, so what happens to it happens to all of them."""

    def terminate(self) -> None:
        """Ask for a quick stop, without waiting: at SIGTERM it would wait for its clients."""
        if self.alive:
            self._signal(signal.SIGINT)
            self.resume()

    def kill(self) -> None:
        """Kill all processes at once, as a power cut would."""
        if self.alive:
            self.pause()  # it starts no new ones while we kill those that are there
            _send(signal.SIGKILL, children(self.pid))
        super().kill()

    def pause(self) -> None:
        """Freeze all processes; the first one first, because it starts the others."""
        super().pause()
        _send(signal.SIGSTOP, children(self.pid))

    def resume(self) -> None:
        """Let all processes go on."""
        _send(signal.SIGCONT, children(self.pid))
        super().resume()


def describe(programs: Path, folder: Path, group: ServerGroup) -> tuple[PostgresServer, str]:
    """Describe a PostgreSQL on a free port, its data folder made if it is new.

    Args:
        programs: The folder that holds `initdb` and `postgres`.
        folder: The stack's folder.
        group: What the server must not outlive.

    Returns:
        The server, not yet started, and its URL: user and database `postgres`, no password.

    Raises:
        DevStackError: The folder holds data of another version, or as root: the user that
            PostgreSQL runs under may not enter it.
    """
    account = _account()
    data, log = folder / "postgres" / "data", folder / "logs" / "postgres.log"
    data.parent.mkdir(parents=True, exist_ok=True)
    if account:
        _check_entry(folder, account)
        os.chown(data.parent, account.user, account.group)
    _initialise(programs, data, group, log, account)
    port = free_ports(1)[0]
    settings = {
        "listen_addresses": HOST,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
    }
    command = [str(programs / "postgres"), "-D", str(data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    server = PostgresServer(
        "PostgreSQL",
        command,
        group=group,
        logs=[log],
        answers=lambda pid: _is_ready(data / "postmaster.pid", pid) and is_open(port),
        account=account,
    )
    return server, f"postgresql://postgres@{HOST}:{port}/postgres"


def answers(url: str) -> bool:
    """Say whether a PostgreSQL answers at `url` (host and port must stand in it).

    It is asked for TLS, which needs no log-in and no driver: it says yes or no.
    """
    place = urlsplit(url)
    try:
        with socket.create_connection(
            (place.hostname or HOST, place.port or 5432), timeout=ANSWER_SECONDS
        ) as client:
            client.settimeout(ANSWER_SECONDS)
            client.sendall(ASK_FOR_TLS)
            return client.recv(1) in {b"S", b"N"}
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started and that are still there."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = (line.split() for line in listed.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _account() -> Account | None:
    """Return whom PostgreSQL runs as where we are root, which it refuses to run as."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, user=found.pw_uid, group=found.pw_gid)
    raise DevStackError("PostgreSQL does not run as root: make a user named postgres")


def _check_entry(folder: Path, account: Account) -> None:
    """See that the user may enter the folder; those above it are not ours to open."""
    may = subprocess.run(
        ["test", "-x", str(folder)],
        user=account.user,
        group=account.group,
        extra_groups=[],
        check=False,
    )
    if may.returncode != 0:
        raise DevStackError(
            f"PostgreSQL does not run as root, and its user {account.name} may not enter {folder}: "
            "name another folder, for instance one in /var/tmp"
        )


def _initialise(
    programs: Path, data: Path, group: ServerGroup, log: Path, account: Account | None
) -> None:
    """Make the data folder, complete or not at all; refuse that of another version."""
    major = _major(programs)
    if data.exists():
        found = (data / "PG_VERSION").read_text().strip()
        if found != major:
            raise DevStackError(
                f"{data} holds data of PostgreSQL {found}, not of {major}: remove it, or name "
                "another folder"
            )
        return
    draft = data.with_name("draft")
    if draft.exists():  # a killed one left it
        group.spawn(["rm", "-rf", str(draft)], log).wait()
    command = [str(programs / "initdb"), "-D", str(draft), "--username=postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    made = group.spawn(command, log, account)
    if made.wait(INIT_SECONDS) != 0:
        raise DevStackError(f"initdb failed; the end of its log:\n{log.read_text()[-2000:]}")
    draft.rename(data)


def _major(programs: Path) -> str:
    told = subprocess.run(
        [str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout  # "postgres (PostgreSQL) 15.18 (Debian …)"
    return told.split()[2].partition(".")[0]


def _is_ready(note: Path, pid: int) -> bool:
    """Read PostgreSQL's own note: the pid is its first line, how far it got its eighth."""
    try:
        lines = note.read_text().split("\n")
    except OSError:
        return False
    return lines[0] == str(pid) and len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004
