"""The whole demo: servers, orders, two loops, kills, and the verdict."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from eos.demo.kills import Kill, Killer
from eos.demo.names import Names
from eos.demo.orders import COPIES, PARTITIONS, Publisher
from eos.demo.report import Progress, Report
from eos.demo.tally import behind, read_charges, tally
from eos.devstack import DevStackError, running
from eos.observe import shared
from eos.workers import Pool

WORKERS = 4
MUST_COUNT = 8
MUST_COMMIT = 2
_EXTRA_COMMIT_KILLS = 1
_STEP_SECONDS = 0.005
_LOOK_SECONDS = 1.0
_GATHER_SECONDS = 60.0
_SETTLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to show.

    Attributes:
        records: How many orders; 6 % of them are sent twice.
        duration: Over how many seconds they are published, and workers are killed.
        kills: How often a worker is killed.
        seed: Of orders, kills and victims.
        keep: A folder for data and logs that stays; None leaves nothing behind.
    """

    records: int = 100_000
    duration: float = 90.0
    kills: int = 10
    seed: int
    keep: Path | None = None


class Demo:
    """One run.

    Args:
        options: What to show.
        say: Given a line whenever something happens.
        show: Given the progress about once a second.
    """

    def __init__(
        self, options: Options, say: Callable[[str], None], show: Callable[[Progress], None]
    ) -> None:
        self._options = options
        self._say = say
        self._show = show
        self._due = 0.0

    def run(self) -> Report:
        """Run it.

        Raises:
            DevStackError: If servers are missing or orders cannot be published.
        """
        options = self._options
        with _folder(options.keep) as folder, ExitStack() as opened:
            self._say("starting Apache Kafka and Redis")
            stack = opened.enter_context(running(folder / "servers"))
            run = f"demo-{options.seed}-{random.SystemRandom().randrange(10**6)}"
            names = Names(run, stack.bootstrap_servers, stack.redis_url)
            _make_topics(names)
            self._say(
                f"{WORKERS} workers each, {options.records} orders over {options.duration:g} s, "
                f"{COPIES:.0%} of them sent twice, {options.kills} kills, seed {options.seed}"
            )
            pool = opened.enter_context(_pool("eos.demo.eos_app:app", names, folder / "eos.log"))
            plain = opened.enter_context(
                _pool("eos.demo.plain_app:app", names, folder / "plain.log")
            )
            return self._under_fire(names, pool, plain)

    def _under_fire(self, names: Names, pool: Pool, plain: Pool) -> Report:
        options = self._options
        publisher = Publisher(
            names.bootstrap_servers, names.orders, options.records, options.duration, options.seed
        )
        in_commit = min(options.kills, MUST_COMMIT + _EXTRA_COMMIT_KILLS)
        killer = Killer(pool, plain, options.kills, in_commit, options.duration, options.seed)
        pool.start()
        plain.start()
        self._gather(names, pool, plain)
        began = time.monotonic()
        publisher.start()
        while publisher.is_alive() or killer.pending:
            self._watch(pool, plain)
            if kill := killer.step(time.monotonic() - began):
                self._say(str(kill))
            self._look(pool, publisher, killer.done, began)
            if not publisher.is_alive() and time.monotonic() - began > options.duration * 1.2:
                break  # nothing is held any more: the kills left over cannot count
        if publisher.failure:
            raise DevStackError(f"orders could not be published: {publisher.failure}")
        self._drain(names, pool, plain)
        seconds = time.monotonic() - began
        for each in (pool, plain):
            each.stop()
        return self._report(names, pool, publisher, killer.done, seconds)

    def _gather(self, names: Names, pool: Pool, plain: Pool) -> None:
        """Wait until every worker is a member of its group."""
        admin = AdminClient({"bootstrap.servers": names.bootstrap_servers})
        deadline = time.monotonic() + _GATHER_SECONDS
        while time.monotonic() < deadline:
            self._watch(pool, plain)
            asked = admin.describe_consumer_groups(
                [names.group, names.plain_group], request_timeout=_LOOK_SECONDS
            )
            with suppress(KafkaException, TimeoutError):  # the coordinator may be starting
                groups = [group.result(_LOOK_SECONDS * 2) for group in asked.values()]
                if all(len(g.members) == WORKERS and g.state.name == "STABLE" for g in groups):
                    return
        self._say("not every worker has joined its group yet; going on")

    def _watch(self, *pools: Pool) -> None:
        for pool in pools:
            pool.watch_once()
            if pool.failure:
                raise DevStackError(f"a worker failed for good: {pool.failure}")
        time.sleep(_STEP_SECONDS)

    def _look(self, pool: Pool, publisher: Publisher, kills: list[Kill], began: float) -> None:
        now = time.monotonic() - began
        if now < self._due:
            return
        self._due = now + _LOOK_SECONDS
        self._show(
            Progress(
                seconds=now,
                sent=publisher.sent,
                settled=int(_metric(pool, "eos_records_settled_total")),
                suppressed=int(_metric(pool, "eos_duplicates_suppressed_total")),
                rolled_back=_rolled_back(pool),
                kills=tuple(kills),
            )
        )

    def _drain(self, names: Names, pool: Pool, plain: Pool) -> None:
        """Wait until both groups have settled everything."""
        self._say("all orders are published; waiting for both groups to settle them")
        deadline = time.monotonic() + _SETTLE_SECONDS
        left = {names.group: 1, names.plain_group: 1}
        while any(left.values()) and time.monotonic() < deadline:
            self._watch(pool, plain)
            left = {g: behind(names.bootstrap_servers, g, names.orders) for g in left}
        for group, records in left.items():
            if records:
                self._say(f"group {group} still has {records} records to settle")

    def _report(
        self, names: Names, pool: Pool, publisher: Publisher, kills: list[Kill], seconds: float
    ) -> Report:
        servers = names.bootstrap_servers
        return Report(
            seed=self._options.seed,
            sent=publisher.sent,
            orders=publisher.orders,
            seconds=seconds,
            eos=tally(read_charges(servers, names.charges), publisher.orders),
            plain=tally(read_charges(servers, names.plain_charges), publisher.orders),
            suppressed={
                cause: int(_metric(pool, "eos_duplicates_suppressed_total", cause=cause))
                for cause in ("redelivery", "resend_same_partition", "resend_other_partition")
            },
            rolled_back=_rolled_back(pool),
            kills=tuple(kills),
            kills_wanted=min(self._options.kills, MUST_COUNT),
            commits_wanted=min(self._options.kills, MUST_COMMIT),
        )


def _metric(pool: Pool, name: str, **labels: str) -> float:
    return shared.total(pool.metrics_folder, name, **labels)


def _rolled_back(pool: Pool) -> int:
    return int(
        _metric(pool, "eos_records_given_back_total") + _metric(pool, "eos_records_abandoned_total")
    )


def _pool(target: str, names: Names, output: Path) -> Pool:
    return Pool(target, WORKERS, environment=names.environment(), output=output)


def _make_topics(names: Names) -> None:
    admin = AdminClient({"bootstrap.servers": names.bootstrap_servers})
    wanted = [
        NewTopic(topic, PARTITIONS) for topic in (names.orders, names.charges, names.plain_charges)
    ]
    for made in admin.create_topics(wanted).values():
        made.result(30)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder for data and logs."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    folder = Path(tempfile.mkdtemp(prefix="eos-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
