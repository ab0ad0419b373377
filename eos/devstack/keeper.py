"""The process that keeps a stack for `eos dev`, in the foreground or detached.

Run as `python -m eos.devstack.keeper FOLDER BROKERS [postgres]` it is what `eos dev up` leaves.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from eos.devstack import kafka_cluster, postgres_server, redis_server
from eos.devstack.errors import DevStackError
from eos.devstack.folder import DevStack, Kept, is_held, read_note, write_note
from eos.devstack.stack import CLOSE_SECONDS, running
from eos.devstack.waiting import wait_until

START_SECONDS = 180


def keep(
    folder: Path, *, brokers: int, ready: Callable[[DevStack], None], postgres: bool = False
) -> None:
    """Run a stack until SIGINT or SIGTERM, and call `ready` once it is up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(folder, brokers=brokers, postgres=postgres) as opened:
            stack = DevStack(
                bootstrap_servers=opened.bootstrap_servers,
                redis_url=opened.redis_url,
                postgres_url=opened.postgres_url,
                folder=opened.folder,
            )
            write_note(Kept(stack=stack, keeper=os.getpid()))
            ready(stack)
            while True:
                time.sleep(1)  # not signal.pause(): it misses what came just before it
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def up(folder: Path, *, brokers: int, postgres: bool = False) -> DevStack:
    """Have a detached keeper run a stack in the folder, and wait until it is ready.

    Raises:
        DevStackError: It did not start; the message is the keeper's.
    """
    folder = folder.expanduser().resolve()
    log = folder / "logs" / "keeper.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "eos.devstack.keeper", str(folder), str(brokers)]
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [*command, "postgres"] if postgres else command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        # No deadline: each step of the keeper has its own, and the fetch of Kafka a long one.
        while not (kept := read_note(folder)):
            if keeper.poll() is not None:
                raise DevStackError(log.read_text().strip() or f"it ended: see {log}")
            time.sleep(0.05)
    except KeyboardInterrupt:
        keeper.terminate()
        raise
    return kept.stack


def find(folder: Path) -> Kept | None:
    """Return the stack that runs in the folder, waiting for one that is just starting."""
    folder = folder.expanduser().resolve()
    wait_until(lambda: bool(read_note(folder)) or not is_held(folder), seconds=START_SECONDS)
    return read_note(folder)


def silent(stack: DevStack) -> list[str]:
    """Ask every server; return the addresses that do not answer."""
    kafka = stack.bootstrap_servers.split(",")
    quiet = [address for address in kafka if not kafka_cluster.metadata(address)]
    if not redis_server.answers(stack.redis_url):
        quiet.append(stack.redis_url)
    if stack.postgres_url and not postgres_server.answers(stack.postgres_url):
        quiet.append(stack.postgres_url)
    return quiet


def down(folder: Path) -> bool:
    """Stop the stack that runs in the folder; say whether there was one."""
    kept = find(folder)
    if not kept:
        return False
    os.kill(kept.keeper, signal.SIGTERM)
    if not wait_until(lambda: not is_held(kept.stack.folder), seconds=2 * CLOSE_SECONDS):
        os.kill(kept.keeper, signal.SIGKILL)  # the guardian ends the servers
    return True


def main() -> None:
    """Keep a stack; what went wrong is one clear message for whoever reads our output."""
    folder, brokers, *more = sys.argv[1:]
    try:
        keep(Path(folder), brokers=int(brokers), ready=lambda _: None, postgres=bool(more))
    except DevStackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
