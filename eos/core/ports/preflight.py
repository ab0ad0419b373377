"""What servers tell of themselves before anything runs. Facts: `eos.operate.checks` judges."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Operations = frozenset[str] | None
"""What our user may do there, in Kafka's words (`READ`, `WRITE`, …); None where nobody tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster of brokers.

    Attributes:
        id: Its id.
        brokers: Those that are there now: address by number.
        operations: What our user may do to the cluster itself.
    """

    id: str
    brokers: Mapping[int, str]
    operations: Operations = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic that is there.

    Attributes:
        id: Its id; empty where the brokers know none.
        copies: Of each partition how many copies there are to be.
        in_sync: Of each partition how many of them are in sync.
        leaderless: The partitions that nobody leads now.
        operations: What our user may do.
    """

    id: str
    copies: tuple[int, ...]
    in_sync: tuple[int, ...]
    leaderless: tuple[int, ...] = ()
    operations: Operations = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How far a partition reaches.

    Attributes:
        start: The first offset that is there.
        stable: Where readers of committed records have to stop.
        end: Where it ends.
        newest: Its highest time stamp in milliseconds, -1 if it is empty.
        newest_at: The offset of the record that has it.
        waits_since: Where `stable` lies below `end`: the time stamp in milliseconds of the first
            record that readers wait for; None if it is not known.
    """

    start: int
    stable: int
    end: int
    newest: int = -1
    newest_at: int = -1
    waits_since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A consumer group.

    Attributes:
        state: In Kafka's words, such as `STABLE`, `EMPTY`, `DEAD` (which is also: none of it yet).
        protocol: `classic` or `consumer` (KIP-848).
        assignor: How its members share partitions; empty without members.
        members: The client ids of its members.
        operations: What our user may do.
    """

    state: str
    protocol: str = "classic"
    assignor: str = ""
    members: tuple[str, ...] = ()
    operations: Operations = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """What a group has committed.

    Attributes:
        committed: By topic and partition.
        unstable: Partitions whose offset stands in a transaction that does not end.
    """

    committed: Mapping[tuple[str, int], int] = field(default_factory=dict)
    unstable: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A Redis, or what speaks like one.

    Attributes:
        version: As it says.
        mode: `standalone`, `cluster` or `sentinel`.
        role: `master` or `slave`.
        policy: Its maxmemory-policy; None where it does not tell.
        limit: Its maxmemory in bytes; 0: none.
        used: Memory in use, in bytes.
        append_only: Whether it keeps an append-only file.
        saves: Whether it saves snapshots by itself; None where it does not tell.
        replicas: How many are connected.
        listpack_entries: Its hash-max-listpack-entries; None where it does not tell.
        ahead: By how many seconds its clock is ahead of ours.
        off_by: How wrong `ahead` may be, in seconds.
    """

    version: str
    mode: str = "standalone"
    role: str = "master"
    policy: str | None = "noeviction"
    limit: int = 0
    used: int = 0
    append_only: bool = False
    saves: bool | None = None
    replicas: int = 0
    listpack_entries: int | None = None
    ahead: float = 0.0
    off_by: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A SQL database.

    Attributes:
        kind: `postgresql` or `sqlite`.
        version: Its version, or the library's: major, minor.
        encoding: In which it keeps text.
        replica: Whether it takes no writes because it follows another one.
        forgetful: Settings that let it forget what it has committed, such as `fsync=off`.
        journal: The journal mode of SQLite.
        forbidden: What our user lacks: `INSERT on eos_outbox`, ….
        ahead: By how many seconds its clock is ahead of ours.
        off_by: How wrong `ahead` may be, in seconds.
    """

    kind: str
    version: tuple[int, int]
    encoding: str = "UTF8"
    replica: bool = False
    forgetful: tuple[str, ...] = ()
    journal: str = ""
    forbidden: tuple[str, ...] = ()
    ahead: float = 0.0
    off_by: float = 0.0
