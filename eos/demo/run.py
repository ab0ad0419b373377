"""The whole demo: a ground to stand on, orders, two loops, kills, and the verdict."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eos.core.errors import ConfigError
from eos.demo.ground import Ground
from eos.demo.kills import Kill, Killer
from eos.demo.orders import COPIES, Publisher, plan
from eos.demo.report import Progress, Report
from eos.demo.servers import servers
from eos.demo.tally import behind, tally
from eos.devstack import DevStackError
from eos.observe import shared
from eos.workers import Pool

MOST_EMBEDDED = 100_000
"""The mock broker keeps 5 MB a partition, and drops what is older, read or not."""
MUST_COUNT = 8
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
        embedded: No servers: a mock broker in this process, and SQLite.
    """

    records: int = 100_000
    duration: float = 90.0
    kills: int = 10
    seed: int
    keep: Path | None = None
    embedded: bool = False

    @classmethod
    def fitting(cls, *, embedded: bool, **given: Any) -> "Options":
        """Fill in what is None with what fits the form.

        Raises:
            ConfigError: If the embedded form cannot hold so many records.
        """
        usual = {"records": 24_000, "duration": 24.0, "kills": 9} if embedded else {}
        chosen = {name: value for name, value in given.items() if value is not None}
        options = cls(embedded=embedded, **{**usual, **chosen})
        if embedded and options.records > MOST_EMBEDDED:
            raise ConfigError(
                [f"records={options.records}: the mock broker holds {MOST_EMBEDDED} at most"]
            )
        return options


class Demo:
    """One run.

    Args:
        options: What to show.
        say: Given a line whenever something happens.
        show: Given the progress about once a second.
        eos_app: Another application in the place of the eos workers', as `module:app`: to see
            the demo fail.
    """

    def __init__(
        self,
        options: Options,
        say: Callable[[str], None],
        show: Callable[[Progress], None],
        eos_app: str | None = None,
    ) -> None:
        self._options = options
        self._say = say
        self._show = show
        self._eos_app = eos_app
        self._due = 0.0

    def run(self) -> Report:
        """Run it.

        Raises:
            DevStackError: If servers are missing or orders cannot be published.
        """
        options = self._options
        with _folder(options.keep) as folder, ExitStack() as opened:
            ground = opened.enter_context(self._ground(folder))
            self._say(
                f"{ground.workers} workers each, {options.records} orders over "
                f"{options.duration:g} s, {COPIES:.0%} of them sent twice, "
                f"{options.kills} kills, seed {options.seed}"
            )
            app = self._eos_app or ground.eos_app
            pool = opened.enter_context(_pool(app, ground, folder / "eos.log"))
            plain = opened.enter_context(_pool(ground.plain_app, ground, folder / "plain.log"))
            return self._under_fire(ground, pool, plain)

    def _ground(self, folder: Path) -> AbstractContextManager[Ground]:
        run = f"demo-{self._options.seed}-{random.SystemRandom().randrange(10**6)}"
        if self._options.embedded:
            from eos.demo.embedded import embedded  # noqa: PLC0415 SQLAlchemy takes a while

            self._say("starting a mock broker in this process; the rest is SQLite")
            return embedded(run, folder)
        self._say("starting Apache Kafka and Redis")
        return servers(run, folder)

    def _under_fire(self, ground: Ground, pool: Pool, plain: Pool) -> Report:
        options, names = self._options, ground.names
        sendings = plan(options.records, options.seed, ground.partitions)
        publisher = Publisher(names.bootstrap_servers, names.orders, sendings, options.duration)
        in_commit = None if ground.commits is None else ground.commits + _EXTRA_COMMIT_KILLS
        killer = Killer(pool, plain, options.kills, in_commit, options.duration, options.seed)
        pool.start()
        plain.start()
        self._gather(ground, pool, plain)
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
        self._drain(ground, pool, plain)
        seconds = time.monotonic() - began
        for each in (pool, plain):
            each.stop()
        return self._report(ground, pool, publisher, killer.done, seconds)

    def _gather(self, ground: Ground, pool: Pool, plain: Pool) -> None:
        """Wait until every worker is a member of its group."""
        deadline = time.monotonic() + _GATHER_SECONDS
        while time.monotonic() < deadline:
            self._watch(pool, plain)
            if ground.gathered():
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

    def _drain(self, ground: Ground, pool: Pool, plain: Pool) -> None:
        """Wait until both groups have settled everything."""
        self._say("all orders are published; waiting for both groups to settle them")
        deadline = time.monotonic() + _SETTLE_SECONDS
        names = ground.names
        left = dict.fromkeys(names.groups, 1)
        while any(left.values()) and time.monotonic() < deadline:
            self._watch(pool, plain)
            left = {
                group: behind(names.bootstrap_servers, group, names.orders, ground.partitions)
                for group in left
            }
        for group, records in left.items():
            if records:
                self._say(f"group {group} still has {records} records to settle")

    def _report(
        self, ground: Ground, pool: Pool, publisher: Publisher, kills: list[Kill], seconds: float
    ) -> Report:
        ours, plains = ground.effects()
        return Report(
            seed=self._options.seed,
            sent=publisher.sent,
            orders=publisher.orders,
            seconds=seconds,
            eos=tally(ours, publisher.orders),
            plain=tally(plains, publisher.orders),
            suppressed={
                cause: int(_metric(pool, "eos_duplicates_suppressed_total", cause=cause))
                for cause in ("redelivery", "resend_same_partition", "resend_other_partition")
            },
            rolled_back=_rolled_back(pool),
            kills=tuple(kills),
            kills_wanted=min(self._options.kills, MUST_COUNT),
            commits_wanted=min(self._options.kills, ground.commits or 0),
            hidden=ground.hidden,
        )


def _metric(pool: Pool, name: str, **labels: str) -> float:
    return shared.total(pool.metrics_folder, name, **labels)


def _rolled_back(pool: Pool) -> int:
    return int(
        _metric(pool, "eos_records_given_back_total") + _metric(pool, "eos_records_abandoned_total")
    )


def _pool(target: str, ground: Ground, output: Path) -> Pool:
    return Pool(target, ground.workers, environment=ground.names.environment(), output=output)


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
