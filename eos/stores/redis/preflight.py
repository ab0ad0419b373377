"""What a Redis tells of itself."""

import time
from collections.abc import Mapping
from typing import Any

from redis import exceptions

from eos.core.ports.preflight import RedisServer
from eos.core.record import Shard
from eos.stores.redis import scripts, wire
from eos.stores.redis.errors import translated
from eos.stores.redis.ledger import RedisLedger, client_of

LAYOUT = scripts.LAYOUT
_NOBODY = Shard("eos", "check", "none")


class RedisPreflight:
    """Asks a Redis what it is; writes nothing.

    Args:
        url: As the ledger's.
        timeout: How long a connection or an answer may take, in seconds.

    Raises:
        ConfigError: At once, if the URL is none.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self._ledger = RedisLedger(url, window=1, timeout=timeout)
        self._redis = client_of(url, timeout)
        self._secret = self._redis.connection_pool.connection_kwargs.get("password")

    def version(self) -> str:
        """Give its version, which any server tells.

        Raises:
            RetriableError: It is away.
            FatalError: It refuses the login.
        """
        with translated(self._secret):
            told = self._redis.info("server")
        return str(told.get("valkey_version") or told.get("redis_version"))

    def refusals(self) -> None:
        """Raise what the ledger refuses as it starts.

        Raises:
            ConfigError: With each fault: its version, its policy.
        """
        self._ledger.check()

    def rights(self) -> None:
        """Run a script that reads, both ways in which the ledger runs its own.

        Raises:
            FatalError: Our user may not run it, or not what it calls.
        """
        key = wire.meta_key(_NOBODY)
        with translated(self._secret):
            self._redis.eval(scripts.CONFIRM.source, 1, key, "none")
            self._redis.evalsha(scripts.CONFIRM.sha, 1, key, "none")

    def server(self) -> RedisServer:
        """Ask it about itself."""
        with translated(self._secret):
            told = self._redis.info("everything")
            before = time.time()
            seconds, micros = self._redis.time()
            after = time.time()
        off_by = (after - before) / 2
        entries = self._setting("hash-max-listpack-entries", "hash-max-ziplist-entries")
        saves = self._setting("save")
        return RedisServer(
            version=str(told.get("redis_version")),
            mode=str(told.get("redis_mode", "standalone")),
            role=str(told.get("role", "master")),
            policy=_text(told.get("maxmemory_policy")) or self._setting("maxmemory-policy"),
            limit=int(told.get("maxmemory", 0)),
            used=int(told.get("used_memory", 0)),
            append_only=bool(told.get("aof_enabled")),
            saves=None if saves is None else bool(saves),
            replicas=int(told.get("connected_slaves", 0)),
            listpack_entries=int(entries) if entries else None,
            ahead=seconds + micros / 1e6 - before - off_by,
            off_by=off_by,
        )

    def layouts(self, shards: Mapping[str, Shard]) -> dict[str, str | None]:
        """Give the layout of what is known of shards; None where that is nothing."""
        with translated(self._secret):
            return {
                name: _text(self._redis.hget(wire.meta_key(shard), "layout"))
                for name, shard in shards.items()
            }

    def _setting(self, *names: str) -> str | None:
        """Give a setting under the first name that the server knows; None if it does not tell."""
        for name in names:
            try:
                told = self._redis.config_get(name)
            except exceptions.RedisError:  # hosted servers, and users with few rights
                return None
            for value in told.values():
                return _text(value)
        return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)
