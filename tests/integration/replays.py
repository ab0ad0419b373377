"""A group in each tier, whose effects can be counted, and `eos replay`."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from sqlalchemy import Engine, text

from eos.core.errors import HandlerError, RetriableError
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.handle import Step
from tests.integration.cluster import Cluster
from tests.integration.lines import Running
from tests.integration.outbox_door_kit import command, url_of

TIERS = ("transaction", "inbox", "joined", "plain")
INSERT = text("INSERT INTO effects (id) VALUES (:id)")


@dataclass
class Shop:
    """Somebody who handles records, and has them handled again.

    Attributes:
        tier: `transaction`, `inbox`, `joined` (the ledger is the same database) or `plain`.
        cluster: Where the topics are.
        settings: How its workers run.
        source: What they read.
        to: Where they send, in the transaction tier.
        engine: Their database, if they have one.
        version: Of the handler; it shows in each effect.
        away: What cannot be handled now: a server is away.
        fails: What the handler cannot handle.
        tried: What it could not handle now.
    """

    tier: str
    cluster: Cluster
    settings: Settings
    source: str
    to: str
    engine: Engine | None = None
    version: str = "bug"
    away: str = ""
    fails: set[str] = field(default_factory=set)
    sink: list[str] = field(default_factory=list)
    doubted: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.engine is not None:
            with self.engine.begin() as db:
                db.execute(text("DROP TABLE effects"))
                db.execute(text("CREATE TABLE effects (id TEXT)"))
        if self.tier == "joined":
            assert self.engine is not None
            self.settings = replace(self.settings, ledger=url_of(self.engine))

    @property
    def step(self) -> Step:
        """What it does with a record."""
        if self.tier == "transaction":
            return Step(self.source, self.to, self._send, batch=False, name="step")
        if self.tier == "plain":
            return Step(self.source, None, self._append, batch=False, name="step")
        return Step(self.source, None, self._insert, batch=False, name="step", into=self.engine)

    def running(self, **changes: Any) -> Running:
        """Give its worker."""
        return Running(replace(self.settings, **changes), [self.step])

    def work(self, **changes: Any) -> None:
        """Let a worker settle all that there is, and stop it."""
        with self.running(**changes):
            self.await_settled()

    def await_settled(self) -> None:
        """Wait until all is settled."""
        self.cluster.await_settled(self.settings.group, self.source)

    def replay(self, *arguments: str) -> tuple[int, str]:
        """Run `eos replay`."""
        where = ("--brokers", self.settings.brokers, "--ledger", self.settings.ledger)
        into = ("--into", url_of(self.engine)) if self.engine is not None else ()
        given = (self.settings.group, self.source, "--reason", "a bug", *arguments)
        return command("replay", *given, *where, *into)

    def replays(self, *arguments: str) -> str:
        """Run `eos replay`, which must do it; give what it says."""
        code, told = self.replay(*arguments)
        assert code == 0, told
        return told

    def effects(self) -> Counter[str]:
        """Count the effects, each as `version:id`."""
        if self.tier == "transaction":
            messages = self.cluster.read_committed(self.to)
            return Counter((message.value() or b"").decode() for message in messages)
        if self.engine is not None:
            with self.engine.connect() as db:
                return Counter(row[0] for row in db.execute(text("SELECT id FROM effects")))
        return Counter(self.sink)  # without what was handed out in doubt

    def offsets(self) -> dict[int, int]:
        """Give the group's offsets."""
        return self.cluster.committed(self.settings.group, self.source)

    def set_offset(self, partition: int, offset: int) -> None:
        """Set an offset, as Kafka's own tools do it."""
        conf = {"bootstrap.servers": self.settings.brokers, "group.id": self.settings.group}
        tool = Consumer(conf)
        try:
            tool.commit(
                offsets=[TopicPartition(self.source, partition, offset)], asynchronous=False
            )
        finally:
            tool.close()

    def _told(self, record: Record) -> str:
        if record.idempotency_key == self.away:
            self.tried.append(self.away)
            raise RetriableError("not now")
        if record.idempotency_key in self.fails:
            raise HandlerError("the bug")
        return f"{self.version}:{record.idempotency_key}"

    def _send(self, record: Record) -> Send:
        return Send(self._told(record).encode())

    def _append(self, record: Record) -> None:
        (self.doubted if record.in_doubt else self.sink).append(self._told(record))

    def _insert(self, record: Record, db: Any) -> None:
        db.execute(INSERT, {"id": self._told(record)})


def once(version: str, ids: list[str]) -> Counter[str]:
    """Give the effects of a handler of this version that handled each of these once."""
    return Counter(f"{version}:{id_}" for id_ in ids)


Open = Callable[[str], Shop]
