"""The one place where what redis-py raises becomes an error of eos."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from eos.core.errors import EosError, FatalError, RetriableError

_Row = tuple[type[exceptions.RedisError], str, type[EosError], str]

_AWAY = "the ledger's server cannot be reached: check that it runs and the network to it"
_SLOW = "the ledger's server did not answer in time: check its load, or raise the timeout"
_LOGIN = "the ledger's server refuses the login: check user and password in the ledger's URL"
_RIGHTS = (
    "the ledger's user lacks rights: it needs the keys eos*, and the commands evalsha, eval, "
    "info, time, get, set, del, unlink, hget, hset, hsetnx, hmget, hgetall, hdel"
)

# The first row that fits decides. Some answers have a class of their own in redis-py, and then
# no code in the text; Redis 6.2 puts the code of an error inside a script into the text.
_TABLE: tuple[_Row, ...] = (
    (exceptions.AuthenticationError, "", FatalError, _LOGIN),
    (exceptions.AuthorizationError, "", FatalError, _LOGIN),
    (exceptions.AuthenticationWrongNumberOfArgsError, "", FatalError, _LOGIN),
    (exceptions.NoPermissionError, "", FatalError, _RIGHTS),
    (
        exceptions.BusyLoadingError,
        "",
        RetriableError,
        "the ledger's server is still loading its data: wait",
    ),
    (exceptions.TimeoutError, "", RetriableError, _SLOW),
    (exceptions.ConnectionError, "", RetriableError, _AWAY),
    (
        exceptions.ReadOnlyError,
        "",
        RetriableError,
        "the ledger's server is a replica: point the ledger's URL at the primary",
    ),
    (
        exceptions.OutOfMemoryError,
        "",
        RetriableError,
        "the ledger's server is out of memory: raise maxmemory, or shorten the window",
    ),
    (
        exceptions.ResponseError,
        "EOSLAYOUT",
        FatalError,
        "the ledger holds data of another version of eos: run one version, or purge it",
    ),
    (
        exceptions.ResponseError,
        "WRONGTYPE",
        FatalError,
        "somebody else writes to keys of the ledger (eos*): give it a server of its own",
    ),
    (exceptions.ResponseError, "NOAUTH", FatalError, _LOGIN),
    (exceptions.ResponseError, "NOPERM", FatalError, _RIGHTS),
    (exceptions.ResponseError, "can't run this command", FatalError, _RIGHTS),
    (
        exceptions.ResponseError,
        "READONLY",
        RetriableError,
        "the ledger's server is a replica: point the ledger's URL at the primary",
    ),
    (
        exceptions.ResponseError,
        "OOM",
        RetriableError,
        "the ledger's server is out of memory: raise maxmemory, or shorten the window",
    ),
    (
        exceptions.ResponseError,
        "MISCONF",
        RetriableError,
        "the ledger's server cannot save to its disk and takes no writes: free the disk",
    ),
    (
        exceptions.ResponseError,
        "NOREPLICAS",
        RetriableError,
        "the ledger's server misses its replicas and takes no writes: bring them back",
    ),
    (
        exceptions.ResponseError,
        "BUSY",
        RetriableError,
        "the ledger's server is busy with somebody's long script: wait, or SCRIPT KILL it",
    ),
    (
        exceptions.ResponseError,
        "TRYAGAIN",
        RetriableError,
        "the ledger's server is moving a slot: wait",
    ),
    (
        exceptions.ResponseError,
        "MASTERDOWN",
        RetriableError,
        "the ledger's server is a replica without its primary: wait for the fail-over",
    ),
    (
        exceptions.ResponseError,
        "CLUSTERDOWN",
        RetriableError,
        "the ledger's cluster is down: bring it back",
    ),
)


def translate(error: exceptions.RedisError) -> EosError:
    """Give the error of eos that says what to do about one of redis-py."""
    text = str(error)
    for kind, code, meaning, advice in _TABLE:
        if isinstance(error, kind) and code in text:
            return meaning(f"{advice} ({text})")
    return FatalError(f"the ledger's server gives an unexpected answer ({text})")


@contextmanager
def translated() -> Iterator[None]:
    """Let no exception of redis-py pass."""
    try:
        yield
    except exceptions.RedisError as error:
        raise translate(error) from error
