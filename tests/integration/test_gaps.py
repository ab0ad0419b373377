"""The log lets go of records before they were handled: what else depends on them is handled.

The story: `g` is claimed on partition 0 and not settled, for its handler waits; a copy of it on
partition 1 is suppressed in its favour, and settled. Then the log loses `g`.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from sqlalchemy import text

from eos.consume.gaps import Gaps
from eos.core.events import Halted, Lost, Recovered
from eos.core.frontier import Frontier
from eos.devstack.waiting import wait_until
from eos.kafka.groups import KafkaGroups
from eos.operate.gaps import Mend
from eos.operate.recovery import Recover
from eos.stores.redis import wire
from eos.stores.redis.ledger import RedisLedger
from eos.stores.sql.inbox import SqlInbox
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.lines import Running
from tests.integration.replays import TIERS, Open, Shop, once
from tests.integration.test_ledger_loss import flush
from tests.integration.test_replay import database_kind, shop

__all__ = ["database_kind", "shop"]

CLAIMING = ("transaction", "inbox", "plain")
"""Where a key is claimed before its record is settled."""
AUDITED = ("transaction", "inbox")
"""Where it is written down in whose favour a record was suppressed."""


def remove(at: Shop, partition: int, before: int) -> None:
    """Remove records, as retention does."""
    admin = AdminClient({"bootstrap.servers": at.settings.brokers})
    asked = admin.delete_records([TopicPartition(at.source, partition, before)])
    for done in asked.values():
        done.result(SECONDS)


def begin(at: Shop, line: Running) -> None:
    """Bring the story about up to where the log loses `g`."""
    at.away = "g"
    told = [("a", b"a"), ("g", b"k"), ("h", b"h")]
    at.cluster.send(at.source, [Input(id_, 0, key=key) for id_, key in told])
    assert wait_until(lambda: at.effects()["bug:a"] == 1, seconds=SECONDS)
    line.until(lambda _: at.tried, "a record that waits")
    at.cluster.send(at.source, [Input(id_, 1, key=b"k") for id_ in ("g", "b")])
    assert wait_until(lambda: at.offsets().get(1) == 2, seconds=SECONDS)
    assert wait_until(lambda: at.offsets().get(0) == 1, seconds=SECONDS)


def effects(at: Shop) -> Counter[str]:
    """Count effects, those in doubt included: here each attempt but the last one had none."""
    return at.effects() + Counter(at.doubted)


def nothing(_at: Shop) -> None:
    """Leave the ledger as it is."""


def everything(at: Shop) -> None:
    """Let the ledger lose all."""
    flush(at.settings.ledger)()


LOSES: dict[str, Callable[[Shop], None]] = {"nothing": nothing, "everything": everything}


@pytest.mark.parametrize(
    ("tier", "loses"),
    [("plain", "nothing"), *((tier, loses) for tier in AUDITED for loses in LOSES)],
)
def test_a_copy_that_was_suppressed_in_its_favour_is_handled(
    shop: Open, tier: str, loses: str
) -> None:
    at = shop(tier)
    with at.running() as line:
        begin(at, line)
    remove(at, 0, 2)
    LOSES[loses](at)
    at.away = ""
    with at.running() as line:
        line.until(lambda line: line.saw(Lost), "records that are lost")
        at.await_settled()
        at.cluster.send(at.source, [Input("g", 0), Input("g", 1), Input("h", 1)])
        at.await_settled()
    # The plain tier has no audit: there it is the next copy that is handled.
    copies = 1 if tier in AUDITED else 0
    assert line.saw(Lost) == [Lost(at.source, 0, range(1, 2), "retention", copies, 0)]
    assert effects(at) == once("bug", ["a", "b", "g", "h"])


@pytest.mark.parametrize("tier", CLAIMING)
def test_while_the_worker_runs_on(shop: Open, tier: str) -> None:
    at = shop(tier)
    with at.running() as line:
        begin(at, line)
        remove(at, 0, 2)
        # Not before: the client may have read `g` again already, and then it is handled.
        line.until(lambda line: line.saw(Lost), "records that are lost")
        at.away = ""
        at.await_settled()
        at.cluster.send(at.source, [Input("g", 0), Input("g", 1)])
        at.await_settled()
    assert effects(at) == once("bug", ["a", "b", "g", "h"])


@pytest.mark.parametrize("tier", TIERS)
def test_a_group_that_fell_behind_goes_on_where_the_log_begins(shop: Open, tier: str) -> None:
    at = shop(tier)
    at.cluster.send(at.source, [Input("a", 0), Input("b", 1)])
    at.work()
    at.cluster.send(at.source, [Input(f"lost-{n}", 0) for n in range(5)])
    remove(at, 0, 6)
    at.cluster.send(at.source, [Input("c", 0), Input("b", 0), Input("lost-3", 1)])
    with at.running() as line:
        at.await_settled()
    assert line.saw(Lost) == [Lost(at.source, 0, range(1, 6), "retention", 0, 0)]
    assert effects(at) == once("bug", ["a", "b", "c", "lost-3"])


@pytest.mark.parametrize("tier", AUDITED)
def test_a_copy_that_is_gone_as_well_is_counted(shop: Open, tier: str) -> None:
    at = shop(tier)
    with at.running() as line:
        begin(at, line)
    remove(at, 0, 2)
    remove(at, 1, 1)
    at.away = ""
    at.cluster.send(at.source, [Input("g", 1), Input("g", 0)])
    with at.running() as line:
        at.await_settled()
    assert line.saw(Lost) == [Lost(at.source, 0, range(1, 2), "retention", 0, 1)]
    assert effects(at) == once("bug", ["a", "b", "g", "h"])


class Killed(BaseException):
    """The worker dies."""


STEPS: dict[str, tuple[type, str, tuple[str, ...]]] = {
    "before the ledger is told": (RedisLedger, "void", AUDITED),
    "before the seal is broken": (RedisLedger, "unseal", AUDITED),
    "before the ledger is opened": (Recover, "__call__", AUDITED),
    "before a copy is published": (Mend, "_publish", AUDITED),
    "before the frontier is moved": (Gaps, "_move", ("transaction",)),
    "before it is noted that all is done": (SqlInbox, "note", ("inbox",)),
}
KILLS = [(tier, step) for step, (_, _, tiers) in STEPS.items() for tier in tiers]


@pytest.mark.parametrize(("tier", "step"), rows(KILLS[3:5], KILLS))
def test_whoever_dies_on_the_way_a_successor_does_it(
    shop: Open, tier: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    at = shop(tier)
    with at.running() as line:
        begin(at, line)
    remove(at, 0, 2)
    at.away = ""
    where, name, _ = STEPS[step]
    with monkeypatch.context() as broken:
        broken.setattr(where, name, die)
        with at.running() as line:
            assert isinstance(line.failed(), Killed)
    with at.running() as line:
        line.until(lambda line: line.saw(Lost), "records that are lost")
        at.await_settled()
        at.cluster.send(at.source, [Input("g", 0), Input("g", 1)])
        at.await_settled()
    assert effects(at) == once("bug", ["a", "b", "g", "h"])


@pytest.mark.parametrize("left_out", ["the owner is not void", "copies are not published again"])
@pytest.mark.parametrize("tier", AUDITED)
def test_without_it_the_record_is_lost(
    shop: Open, tier: str, left_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if left_out == "the owner is not void":
        monkeypatch.setattr(RedisLedger, "void", lambda *_: True)
        monkeypatch.setattr(wire, "pack_gaps", lambda _: b"")  # recovery would tell it
    else:
        monkeypatch.setattr(Mend, "_redrive", lambda *_: (0, 0))
    at = shop(tier)
    with at.running() as line:
        begin(at, line)
    remove(at, 0, 2)
    at.away = ""
    at.work()
    assert effects(at) == once("bug", ["a", "b", "h"])


@pytest.mark.parametrize("tier", TIERS)
def test_a_log_that_ends_before_the_frontier_halts_its_partition(shop: Open, tier: str) -> None:
    at = shop(tier)
    at.cluster.send(at.source, [Input("a", 0), Input("b", 1)])
    at.work()
    # As it is where a leader was elected that lacks what was settled.
    set_frontier(at, 7)
    at.cluster.send(at.source, [Input("c", 1)])
    with at.running() as line:
        line.until(lambda line: line.saw(Halted), "a partition that halts")
        assert wait_until(lambda: effects(at)["bug:c"] == 1, seconds=SECONDS)
    assert [event.partitions for event in line.saw(Halted)] == [(0,)]
    assert "the log was cut off" in line.saw(Halted)[0].detail
    assert line.saw(Lost) == []
    assert effects(at) == once("bug", ["a", "b", "c"])


@pytest.mark.parametrize("tier", ["transaction", "inbox"])
def test_what_compaction_removes_is_as_good_as_gone(
    shop: Open, tier: str, cluster: Cluster
) -> None:
    at = shop(tier)
    at.source = cluster.create(
        "compacted",
        2,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="1000",
    )
    with at.running() as line:
        begin(at, line)
    # It takes the place of `g` in the log; the next ones roll the segment, and begin a cleaning.
    cluster.send(at.source, [Input("i", 0, key=b"k")])

    def is_gone() -> bool:
        cluster.send(at.source, [Input("x", 0, key=b"x"), Input("x", 0, key=b"x")])
        return 1 not in offsets(at, 0)

    assert wait_until(is_gone, seconds=4 * SECONDS, every=1.0)
    at.away = ""
    with at.running() as line:
        at.await_settled()
        cluster.send(at.source, [Input("g", 0, key=b"y"), Input("g", 1, key=b"y")])
        at.await_settled()
    told = line.saw(Lost)
    assert [(event.offsets, event.cause, event.redriven) for event in told] == [
        (range(1, 2), "compaction", 1)
    ]
    assert [event.cause for event in line.saw(Recovered)] == ["closed"]
    assert effects(at) == once("bug", ["a", "b", "g", "h", "i", "x"])


def set_frontier(at: Shop, offset: int) -> None:
    """Let partition 0 be settled up to an offset, as eos says it."""
    groups = KafkaGroups({"bootstrap.servers": at.settings.brokers})
    groups.commit(at.settings.group, {(at.source, 0): Frontier(offset)})
    if at.engine is not None:
        row = text("UPDATE eos_frontiers SET next_offset = :offset WHERE partition = 0")
        with at.engine.begin() as db:
            db.execute(row, {"offset": offset})


def offsets(at: Shop, partition: int) -> list[Any]:
    """Give the offsets that a partition still has."""
    messages = at.cluster.read_committed(at.source)
    return [m.offset() for m in messages if m.partition() == partition]
