"""The ledger on Redis (or Valkey) 6.2 and later: one script call per batch and shard."""

import contextlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from eos.core.errors import ConfigError
from eos.core.leases import WHOLE
from eos.core.ports import Assertion, Claimed, Claims, Mark, Recovery, Refused, Taken
from eos.core.ports.inspection import GenerationState, LedgerState, PartitionState
from eos.core.record import Shard
from eos.core.rules import Admission, Owner
from eos.stores.redis import scripts, wire
from eos.stores.redis.errors import translated

_OLDEST = (6, 2)
_PURGE_SECONDS = 30.0
_SCANNED = 1000
_WHOLE = "whole"
_URL_ADVICE = (
    "ledger: its URL cannot be read. Write redis://user:password@host:port/db (the schemes are "
    "redis and rediss), with %40 for @, %3A for :, %2F for /, %3F for ?, %23 for #, %5B for [ and "
    "%5D for ] in user and password; what follows a ? are settings that redis-py knows"
)
_ADMISSIONS = (Admission.OPEN, Admission.CLOSED, Admission.FENCED, Admission.GAP)


class RedisLedger:
    """A `Ledger` on one Redis or Valkey server.

    Nothing is retried in here: the caller decides, and may repeat any call. A claim that is
    repeated because its answer was lost says AGAIN where the lost answer said FRESH, and both
    mean the same to the caller: handle.

    Args:
        url: `redis://` or `rediss://`, as redis-py reads it.
        window: For how long an owner is kept at least, in seconds of log time.
        generation: Length of a generation, in seconds; an owner is kept for at most this much
            longer than the window. Shorter ones save memory, and cost a look-up each per
            record. Default: the window.
        timeout: How long a connection or an answer may take, in seconds.

    Raises:
        ConfigError: At once, if the URL is none; from the first call, if the server is too old
            or may evict keys.
        RetriableError: From each call, if the server is away or takes no writes now.
        FatalError: From each call, if the login is refused, or the data are not ours.
    """

    def __init__(
        self, url: str, *, window: int, generation: int | None = None, timeout: float = 5.0
    ) -> None:
        self._window = window
        self._generation = generation or window
        self._checked = False
        self._server = b""
        self._redis = client_of(url, timeout)
        self._secret = self._redis.connection_pool.connection_kwargs.get("password")

    def check(self) -> None:
        """Refuse a server that cannot be a ledger; the first call and a recovery do so, too.

        Raises:
            ConfigError: If it is older than 6.2, or may evict keys: that drops claims.
        """
        with translated(self._secret):
            server = self._redis.info("server")
            memory = self._redis.info("memory")
        faults = []
        version = str(server.get("redis_version"))
        number = re.match(r"(\d+)\.(\d+)", version)
        if number and (int(number[1]), int(number[2])) < _OLDEST:
            faults.append(
                f"ledger: the server has version {version}; 6.2 is the oldest that will do"
            )
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            faults.append(
                f"ledger: the server has maxmemory-policy {policy}, which drops claims when "
                "memory is short; set it to noeviction"
            )
        if faults:
            raise ConfigError(faults)
        self._checked = True

    def take(self, shard: Shard, partitions: Sequence[int]) -> dict[int, Taken]:
        """Take partitions over: bump their epochs. Works on a closed shard too."""
        answer = self._run(scripts.TAKE, shard, str(shard), *partitions)
        each = len(answer) // len(partitions)
        marks = [answer[at : at + each] for at in range(0, len(answer), each)]
        return {p: Taken(*mark) for p, mark in zip(partitions, marks, strict=True)}

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        """Claim a batch of records, all or nothing."""
        packed = wire.pack_claims(batch, self._generation)
        redriven = wire.pack_redriven(batch)
        status, *answer = self._run(scripts.CLAIM, shard, packed, self._generation, redriven)
        if status:
            return Refused(_ADMISSIONS[status], *answer)
        seal, verdicts, known, packed, hearsay = answer
        owners = wire.unpack_owners(verdicts, packed)
        return Claimed(
            seal.decode(),
            wire.unpack_verdicts(verdicts),
            owners,
            wire.unpack_known(batch, known),
            wire.unpack_hearsay(owners, hearsay),
        )

    def confirm(self, shard: Shard, seal: str) -> bool:
        """Tell whether the seal is still the one that claims were made under."""
        return bool(self._run(scripts.CONFIRM, shard, seal))

    def begin(self, shard: Shard, seal: str, mark: Mark) -> bool:
        """Note that the records below the mark may begin."""
        return bool(self._run(scripts.BEGIN, shard, seal, wire.pack_marks([mark])))

    def settle(self, shard: Shard, seal: str, marks: Sequence[Mark]) -> Admission:
        """Move frontiers on, all or none of them; never back."""
        return _ADMISSIONS[self._run(scripts.SETTLE, shard, seal, wire.pack_marks(marks))]

    def rewind(self, shard: Shard, marks: Sequence[Mark]) -> bool:
        """Take floors, and what has begun, back to where a replay begins; never forward."""
        return bool(self._run(scripts.REWIND, shard, wire.pack_marks(marks)))

    def void(self, shard: Shard, mark: Mark, start: int) -> bool:
        """Note that nothing is delivered any more from `start` up to a mark."""
        packed = wire.pack_marks([mark])
        return bool(self._run(scripts.VOID, shard, packed, start, self._generation))

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        """Take, or hold on to, the shard as a whole, or a partition of it, to recover it."""
        wanted = (_WHOLE,) if partitions is None else partitions
        answer = self._run(scripts.LOCK, shard, token, max(1, int(seconds * 1000)), *wanted)
        if answer is None:
            return None
        identity, sealed, part, done, ends = answer
        server = identity.rpartition(b"/")[0]
        if server != self._server:
            self.check()  # nothing is opened on a server that nobody has looked at
            self._server = server
        claimed, floors = (dict(zip(ends[0::3], ends[n::3], strict=True)) for n in (1, 2))
        floors = {partition: floor for partition, floor in floors.items() if floor}
        held = WHOLE if partitions is None else int(part) if part else None
        told = (claimed, floors, held, frozenset(done))
        return Recovery(token, identity.decode(), bool(sealed), *told)

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        """Put owners back, and count the stretch as claimed."""
        packed, audited = wire.pack_assertion(assertion, self._generation)
        part = {WHOLE: _WHOLE, None: ""}.get(recovery.partition, recovery.partition)
        args = (recovery.identity, f"{part}/{recovery.token}", packed, self._generation)
        flags = assertion.settled + 2 * assertion.done
        redriven, gaps = wire.pack_redriven([assertion]), wire.pack_gaps(assertion.gaps)
        told = (flags, audited, redriven, assertion.floor, gaps)
        return bool(self._run(scripts.REASSERT, shard, *args, *told))

    def open(
        self,
        shard: Shard,
        recovery: Recovery,
        frontiers: Mapping[int, int],
        begun: Mapping[int, int],
        partitions: int = 0,
    ) -> bool:
        """Seal the shard anew, record the frontiers as floors, and end the recovery."""
        told = (wire.pack_numbers(frontiers), wire.pack_numbers(begun), partitions)
        return bool(self._run(scripts.OPEN, shard, recovery.identity, recovery.token, *told))

    def advance(self, shard: Shard, frontier_times: Mapping[int, int], partitions: int) -> int:
        """Tell how far partitions have come in log time, and drop what no window needs."""
        packed = wire.pack_numbers(frontier_times)
        return int(self._run(scripts.ADVANCE, shard, packed, partitions, self._window))

    def look(self, shard: Shard) -> LedgerState:
        """Tell what is known of a shard."""
        sealed, held, live, known, done = self._run(scripts.LOOK, shard)
        return LedgerState(
            bool(sealed),
            bool(held),
            {number: PartitionState(*told) for number, *told in _by(5, known)},
            sorted(GenerationState(*told) for told in _by(2, live)),
            frozenset(done),
        )

    def unseal(self, shard: Shard) -> None:
        """Let nobody claim before the shard was recovered."""
        self._run(scripts.UNSEAL, shard)

    def purge(self, shard: Shard) -> bool:
        """Delete all that is known of a shard, and hold it as a whole: nobody opens it meanwhile.

        Its keys are looked for among all that the server has.
        """
        token, meta = uuid.uuid4().hex, wire.meta_key(shard)
        leases = f"{meta}:leases"
        if self.lock(shard, token, _PURGE_SECONDS) is None:
            return False
        # First: should we die half-way, whoever recovers the shard reads all of it again.
        self._run(scripts.CLEAR, shard)
        tag = meta[meta.index("{") :]
        with translated(self._secret):
            found = self._redis.scan_iter(match=f"*{tag}*", count=_SCANNED)
            buckets = (key for key in found if key not in {meta.encode(), leases.encode()})
            while some := list(islice(buckets, _SCANNED)):
                self._redis.unlink(*some)
                if self.lock(shard, token, _PURGE_SECONDS) is None:
                    return False
            self._redis.delete(meta, leases)
        return True

    def owners(self, shard: Shard, digests: Sequence[bytes]) -> dict[bytes, Owner]:
        """Tell who owns keys."""
        found = self._run(scripts.FIND, shard, b"".join(digests))
        return {digest: wire.unpack_owner(owner) for digest, owner in _by(2, found)}

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def _run(self, script: scripts.Script, shard: Shard, *args: bytes | str | int) -> Any:
        if not self._checked:
            self.check()
        meta = wire.meta_key(shard)
        with translated(self._secret):
            try:
                return self._redis.evalsha(script.sha, 1, meta, *args)
            except NoScriptError:
                # The server forgot its scripts (a restart, SCRIPT FLUSH), and so ran nothing.
                return self._redis.eval(script.source, 1, meta, *args)


def _by(size: int, flat: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (flat[at : at + size] for at in range(0, len(flat), size))


def client_of(url: str, timeout: float) -> Any:
    """Make the client; no error says anything of what the URL holds."""
    _, *rest = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)
    # An @ so late means that the password holds what ends it, and what is left of it would be
    # taken for the server's address.
    if "@" not in "".join(rest):
        with contextlib.suppress(ValueError, TypeError):
            client = redis.Redis.from_url(
                url,
                decode_responses=False,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                socket_keepalive=True,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
            pool = client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # refuses settings it does not know
            return client
    # Not in an except clause: the error of redis-py, which may show a password, is forgotten.
    raise ConfigError([_URL_ADVICE])
