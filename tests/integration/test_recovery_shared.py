"""Members of a group that rebuild a lost ledger together, by partition."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from sqlalchemy import text

from eos.core.events import Recovered
from eos.core.frontier import Frontier
from eos.core.ports import Ports
from eos.core.record import Record
from eos.core.settings import Settings
from eos.db import create, engine_of
from eos.handle import Step
from eos.operate import sharing
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.copies import with_copies
from tests.integration.lines import Running, step
from tests.integration.processes import Worker, fault, quick
from tests.integration.test_ledger_loss import flush
from tests.integration.worker import insert

PARTITIONS = 6
WORKERS = 3


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    return topic("orders", partitions=PARTITIONS)


def spread(inputs: Sequence[Input]) -> list[Input]:
    """Put inputs on all partitions."""
    return [each._replace(partition=n % PARTITIONS) for n, each in enumerate(inputs)]


class Watched:
    """The log of one worker: what it reads again is counted, once all workers are about to."""

    def __init__(self, log: Any, source: str, meet: threading.Barrier, read: Counter[Any]) -> None:
        self._log = log
        self._source = source
        self._meet = meet
        self._read = read
        self._met = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def read(
        self, topic: str, partition: int, offsets: range, *, to_end: bool = False
    ) -> Iterator[Sequence[Message]]:
        if topic == self._source and offsets and not self._met:
            self._met = True
            self._meet.wait(SECONDS)
        for messages in self._log.read(topic, partition, offsets, to_end=to_end):
            if topic == self._source:
                self._read.update((partition, message.offset()) for message in messages)
            yield messages


class Tier:
    """A step whose effects are kept in one way or another, and what became of them.

    Attributes:
        step: The step.
        sure: The ids that took effect, those in doubt left out.
        doubtful: Those.
    """

    def __init__(self, step: Step, read: Callable[[], list[str]]) -> None:
        self.step = step
        self.sure = read
        self.doubtful: list[str] = []


@pytest.fixture(params=["topic", "database", "plain"])
def tier(
    request: pytest.FixtureRequest,
    source: str,
    to: str,
    read_committed: Callable[[str], list[Message]],
) -> Tier:
    if request.param == "topic":
        return Tier(step(source, to), lambda: ids(read_committed(to)))
    if request.param == "database":
        url = str(request.getfixturevalue("postgres_url"))
        engine = engine_of(url)
        create(engine)
        with engine.begin() as db:
            db.execute(text("CREATE TABLE effects (id TEXT, position TEXT)"))

        def rows() -> list[str]:
            with engine.connect() as db:
                return list(db.execute(text("SELECT id FROM effects")).scalars())

        return Tier(Step(source, None, insert, batch=False, name="insert", into=url), rows)
    handled: list[str] = []

    def handle(record: Record) -> None:
        (made.doubtful if record.in_doubt else handled).append((record.value or b"").decode())

    made = Tier(step(source, None, handle), lambda: handled)
    return made


def test_three_workers_rebuild_a_lost_ledger_together_and_read_each_record_once(
    settings: Settings,
    source: str,
    tier: Tier,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # They wait for each other: nobody shall be taken for dead meanwhile.
    monkeypatch.setattr(sharing, "LEASE_SECONDS", 2 * SECONDS)
    inputs = spread(with_copies(51, 300))
    meet, lost = threading.Barrier(WORKERS), threading.Event()
    read: list[Counter[Any]] = [Counter() for _ in range(WORKERS)]

    def wrapping(slot: int) -> Callable[[Ports], None]:
        def wrap(ports: Ports) -> None:
            log = ports.log

            def watched() -> Any:
                return Watched(log(), source, meet, read[slot]) if lost.is_set() else log()

            ports.log = watched

        return wrap

    lines = [Running(settings, [tier.step], wrapping(slot), slot=slot) for slot in range(WORKERS)]
    with ExitStack() as running:
        for line in lines:
            running.enter_context(line).until_assigned(1)
        cluster.send(source, inputs)
        cluster.await_settled(settings.group, source)
        before = [len(line.saw(Recovered)) for line in lines]
        lost.set()
        flush(settings.ledger)()
        late = [Input(f"late-{n}", n) for n in range(PARTITIONS)]
        copies = [each._replace(partition=0) for each in inputs[:20]]
        cluster.send(source, [*late, *copies])
        cluster.await_settled(settings.group, source)
    recovered = [
        sum(event.records for event in line.saw(Recovered)[told:])
        for line, told in zip(lines, before, strict=True)
    ]
    print(f"read again by each: {recovered}")  # noqa: T201 pytest shows it for a test that failed
    assert all(recovered), "each took part"
    assert recovered == [counted.total() for counted in read]
    assert sum(read, Counter()).most_common(1)[0][1] == 1, "no record was read twice"
    wanted = {each.id or "" for each in (*inputs, *late)}
    sure = Counter(tier.sure())
    assert set(sure) | set(tier.doubtful) == wanted
    assert max(sure.values()) == 1
    if not tier.step.plain:
        assert tier.doubtful == []
        assert sum(recovered) == len(inputs)


EACH = 5000


@pytest.fixture
def settled(topic: Callable[..., str], cluster: Cluster, settings: Settings) -> str:
    """A topic of three partitions that the group has settled, though the ledger knows nothing."""
    made = topic("orders", partitions=3)
    cluster.send(made, [Input(f"{n}", n % 3) for n in range(3 * EACH)])
    consumer = Consumer({"bootstrap.servers": settings.brokers, "group.id": settings.group})
    ends = [TopicPartition(made, p, EACH, Frontier(EACH).metadata) for p in range(3)]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()
    return made


def reread(*workers: Worker) -> Counter[tuple[int, int]]:
    """Give how often each record was read again, as the workers' diaries say."""
    return Counter(
        (note["partition"], offset)
        for worker in workers
        for note in worker.notes("Reread")
        for offset in note["offsets"]
    )


def test_what_a_worker_had_put_back_when_it_was_killed_is_not_read_again(
    settled: str,
    bootstrap_servers: str,
    redis_url: str,
    namespace: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    tmp_path: Path,
) -> None:
    settings = quick(bootstrap_servers, redis_url, namespace)
    late = [Input(f"late-{n}", n % 3) for n in range(30)]
    copies = [Input(f"{n}", (n + 1) % 3) for n in range(0, 3 * EACH, 500)]
    with ExitStack() as stack:
        dead, *others = (
            stack.enter_context(Worker(settings, settled, to, tmp_path / f"{slot}", slot=slot))
            for slot in range(WORKERS)
        )
        # After so many records: in the middle of its second partition.
        dead.start(fault("log", "read", "before", EACH + 1))
        cluster.send(settled, [*late, *copies])
        assert dead.exit_code() == -9, dead.told()
        partial = Counter(partition for partition, _ in reread(dead))
        for other in others:
            other.start()
        cluster.await_settled(namespace, settled)
        for other in others:
            other.drain()
        again = reread(dead, *others)
    print(f"the dead one: {dict(partial)}")  # noqa: T201 pytest shows it for a test that failed
    assert max(partial.values()) == EACH, "one partition was done"
    assert 0 < min(partial.values()) < EACH, "another one was not"
    assert again == Counter((p, offset) for p in range(3) for offset in range(EACH))
    assert sorted(ids(read_committed(to))) == sorted(each.id or "" for each in late)
