"""The one place where what redis-py raises becomes an error of eos."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from eos.core.errors import EosError, FatalError, RetriableError

_Row = tuple[type[exceptions.RedisError], str, type[EosError], str]

_LOGIN = "refuses the login: check user and password in the ledger's URL"
_RIGHTS = (
    "gives its user too few rights: it needs the keys eos*, and the commands evalsha, eval, "
    "info, time, del, unlink, hget, hset, hsetnx, hmget, hgetall, hdel"
)
_REPLICA = "is a replica: point the ledger's URL at the primary"
_FULL = "is out of memory: raise maxmemory, or shorten the window"

# The first row that fits decides: class, part of the text, meaning, advice. Some answers have
# a class of their own in redis-py, and then no code in the text; the text is also where
# Redis 6.2 puts the code of an error inside a script.
_TABLE: tuple[_Row, ...] = (
    (exceptions.AuthenticationError, "", FatalError, _LOGIN),
    (exceptions.AuthorizationError, "", FatalError, _LOGIN),
    (exceptions.AuthenticationWrongNumberOfArgsError, "", FatalError, _LOGIN),
    (exceptions.ResponseError, "NOAUTH", FatalError, _LOGIN),
    (exceptions.NoPermissionError, "", FatalError, _RIGHTS),
    (exceptions.ResponseError, "NOPERM", FatalError, _RIGHTS),
    (exceptions.ResponseError, "can't run this command", FatalError, _RIGHTS),
    (exceptions.ResponseError, "ACL failure in script", FatalError, _RIGHTS),
    (
        exceptions.ResponseError,
        "EOSLAYOUT",
        FatalError,
        "holds data of another version of eos: run one version, or purge it",
    ),
    (
        exceptions.ResponseError,
        "WRONGTYPE",
        FatalError,
        "has keys of ours (eos*) that somebody else wrote: give the ledger one of its own",
    ),
    (exceptions.BusyLoadingError, "", RetriableError, "is still loading its data: wait"),
    (
        exceptions.TimeoutError,
        "",
        RetriableError,
        "did not answer in time: check its load, or raise the timeout",
    ),
    (
        exceptions.ConnectionError,
        "",
        RetriableError,
        "cannot be reached: check that it runs, and the network to it",
    ),
    (exceptions.ReadOnlyError, "", RetriableError, _REPLICA),
    (exceptions.ResponseError, "READONLY", RetriableError, _REPLICA),
    (exceptions.OutOfMemoryError, "", RetriableError, _FULL),
    (exceptions.ResponseError, "OOM", RetriableError, _FULL),
    (
        exceptions.ResponseError,
        "MISCONF",
        RetriableError,
        "cannot save to its disk and takes no writes: free the disk",
    ),
    (
        exceptions.ResponseError,
        "NOREPLICAS",
        RetriableError,
        "misses its replicas and takes no writes: bring them back",
    ),
    (
        exceptions.ResponseError,
        "BUSY",
        RetriableError,
        "is busy with somebody's long script: wait, or SCRIPT KILL it",
    ),
    (exceptions.TryAgainError, "", RetriableError, "is moving a slot: wait"),
    (
        exceptions.ClusterDownError,
        "",
        RetriableError,
        "is cut off from its primary or its cluster: wait for the fail-over",
    ),
)


# A server that knows no AUTH repeats what came with it.
_ARGUMENTS = re.compile(r",? with args beginning with:.*", re.DOTALL)


def translate(error: exceptions.RedisError, secret: str | None = None) -> EosError:
    """Give the error of eos that says what to do about one of redis-py.

    Args:
        error: What redis-py raised.
        secret: The password, which the text must not show.
    """
    text = _ARGUMENTS.sub("", str(error))
    if secret:
        text = text.replace(secret, "***")
    for kind, part, meaning, advice in _TABLE:
        if isinstance(error, kind) and part in str(error):
            message = f"the ledger's server {advice} ({text})"
            if meaning is RetriableError:
                return RetriableError(message, on="ledger")
            return meaning(message)
    return FatalError(f"the ledger's server gives an answer that nobody expects ({text})")


@contextmanager
def translated(secret: str | None = None) -> Iterator[None]:
    """Let no exception of redis-py pass, nor the password in its text."""
    try:
        yield
    except exceptions.RedisError as error:
        meaning = translate(error, secret)
        # A cause is printed with its own text: there is none where something was left out.
        raise meaning from (error if str(error) in str(meaning) else None)
