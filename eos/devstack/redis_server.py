"""Starting a Redis."""

from pathlib import Path

import redis

from eos.devstack.group import ServerGroup
from eos.devstack.ports import HOST, free_ports
from eos.devstack.server import Server


def describe(program: str, folder: Path, group: ServerGroup) -> tuple[Server, str]:
    """Describe a Redis on a free port.

    Returns:
        The server, not yet started, and its URL.
    """
    data, log = folder / "redis", folder / "logs" / "redis.log"
    data.mkdir(parents=True, exist_ok=True)
    port = free_ports(1)[0]
    url = f"redis://{HOST}:{port}/0"
    settings = {
        "port": port,
        "bind": HOST,
        "dir": data,
        "maxmemory-policy": "noeviction",  # any other policy drops claims
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
    }
    command = [program]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    return Server(
        "Redis", command, group=group, logs=[log], answers=lambda pid: answers(url, pid)
    ), url


def answers(url: str, pid: int | None = None) -> bool:
    """Say whether the Redis at `url` answers (it refuses while it loads its data).

    With a pid, only if that is its process: another Redis may have taken the port.
    """
    try:
        with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()
            return pid is None or client.info("server")["process_id"] == pid
    except redis.RedisError:
        return False
