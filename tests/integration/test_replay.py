"""A bug is fixed, and what the group has settled is handled again: each record once."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from sqlalchemy import Engine, text

from eos.consume.lanes import Lane
from eos.core.frontier import Frontier
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.kafka.log import KafkaLog
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.lines import Running
from tests.integration.outbox_door_kit import command
from tests.integration.replays import TIERS, Open, Shop, once
from tests.integration.test_ledger_loss import flush

IDS = [f"id-{number}" for number in range(20)]


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def shop(
    cluster: Cluster,
    settings: Settings,
    source: str,
    to: str,
    request: pytest.FixtureRequest,
) -> Open:
    def opened(tier: str) -> Shop:
        engine: Engine | None = None
        if tier in {"inbox", "joined"}:
            engine = request.getfixturevalue("engine")
        return Shop(tier, cluster, settings, source, to, engine)

    return opened


def send(shop: Shop, ids: list[str], *, copies: bool = True) -> None:
    """Send records, and then a copy of each to the other partition."""
    shop.cluster.send(shop.source, [Input(name, n % 2) for n, name in enumerate(ids)])
    if copies:
        shop.await_settled()  # or a copy may be the first that is read
        shop.cluster.send(shop.source, [Input(name, 1 - n % 2) for n, name in enumerate(ids)])


def first_run(shop: Shop) -> None:
    with shop.running():
        send(shop, IDS)
        shop.await_settled()
    assert shop.effects() == once("bug", IDS)
    shop.version = "mended"


@pytest.mark.parametrize(
    ("tier", "loses"),
    [
        *((tier, "nothing") for tier in TIERS),
        *((tier, loses) for tier in ("transaction", "inbox") for loses in ("before", "between")),
    ],
)
def test_effects_are_corrected_once_and_duplicates_stay_suppressed(
    shop: Open, tier: str, loses: str
) -> None:
    at = shop(tier)
    first_run(at)
    lose: Callable[[], None] = flush(at.settings.ledger) if loses != "nothing" else lambda: None
    if loses == "before":
        lose()
    assert "handled again" in at.replays("--from", "1h")
    assert at.effects() == once("bug", IDS)
    if loses == "between":
        lose()
    at.work()
    assert at.effects() == once("bug", IDS) + once("mended", IDS)
    assert not at.doubted

    at.version = "again"
    at.replays("--from", "1h")
    at.work()
    assert at.effects() == once("bug", IDS) + once("mended", IDS) + once("again", IDS)
    more = ["new-1", "new-2"]
    with at.running():
        send(at, more)
        at.cluster.send(at.source, [Input(name, 0) for name in IDS])
        at.await_settled()
    assert at.effects()["again:new-1"] == 1
    assert at.effects().total() == 3 * len(IDS) + len(more)


def test_in_the_plain_tier_what_a_lost_ledger_leaves_unknown_is_in_doubt(shop: Open) -> None:
    at = shop("plain")
    first_run(at)
    at.replays("--from", "1h")
    flush(at.settings.ledger)()
    at.work()
    assert not (at.effects() - once("bug", IDS) - once("mended", IDS))
    assert {*at.sink, *at.doubted} == set(once("bug", IDS) + once("mended", IDS))


@pytest.mark.parametrize("tier", TIERS)
def test_only_a_stretch_of_one_partition_is_handled_again(shop: Open, tier: str) -> None:
    at = shop(tier)
    first_run(at)
    told = at.replays("--from", "3", "--until", "6", "--partitions", "1")
    assert f"{at.source}[1]  3 to 6 will be handled again" in told
    at.work()
    assert at.effects() - once("bug", IDS) == once("mended", [IDS[7], IDS[9], IDS[11]])


@pytest.mark.parametrize("tier", TIERS)
def test_only_some_keys_are_handled_again(shop: Open, tier: str) -> None:
    at = shop(tier)
    first_run(at)
    at.replays("--from", "1h", "--key", "id-4", "--key", "id-7", "--key", "nobody")
    at.work()
    assert at.effects() - once("bug", IDS) == once("mended", ["id-4", "id-7"])


@pytest.mark.parametrize("loses", ["nothing", "in the middle"])
@pytest.mark.parametrize("tier", ["transaction", "inbox"])
def test_a_replay_goes_on_where_it_was_when_workers_come_and_go(
    shop: Open, tier: str, loses: str
) -> None:
    at = shop(tier)
    first_run(at)
    at.replays("--from", "1h")
    for _ in range(50):
        goal = at.effects().total() + 1
        with at.running(batch_records=1, commit_interval=0):
            until(at, goal)
        if loses != "nothing":
            flush(at.settings.ledger)()
        if _all(at):
            break
    at.work()
    assert at.effects() == once("bug", IDS) + once("mended", IDS)


def replayed_while_the_ledger_is_lost(at: Shop) -> None:
    first_run(at)
    at.replays("--from", "1h", "--partitions", "0", "--key", "id-2")
    at.away = "id-2"  # at offset 1 of partition 0, which is held back there
    with at.running(batch_records=1, commit_interval=0) as line:
        line.until(lambda _: at.offsets()[0] == 1, "the record before it")
        flush(at.settings.ledger)()
        at.cluster.send(at.source, [Input("id-10", 1), Input("new", 1)])
        assert wait_until(lambda: at.effects()["mended:new"] == 1, seconds=SECONDS)
        at.away = ""
        at.await_settled()
    assert at.effects() == once("bug", IDS) + once("mended", ["new", "id-2"])


@pytest.mark.parametrize("tier", ["transaction", "inbox"])
def test_what_a_replay_has_not_come_to_owns_its_key_though_the_ledger_is_lost(
    shop: Open, tier: str
) -> None:
    replayed_while_the_ledger_is_lost(shop(tier))


@pytest.mark.parametrize("broken", ["commits do not carry it on", "recovery does not heed it"])
def test_broken_replays_are_rejected(
    shop: Open, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "commits do not carry it on":
        carried = Lane.frontier_at
        monkeypatch.setattr(
            Lane, "frontier_at", lambda *given, **more: forgetful(carried(*given, **more))
        )
    else:
        read = KafkaLog.frontiers
        monkeypatch.setattr(
            KafkaLog,
            "frontiers",
            lambda log, topic: {
                p: found and forgetful(found) for p, found in read(log, topic).items()
            },
        )
    with pytest.raises(AssertionError):
        replayed_while_the_ledger_is_lost(shop("transaction"))


def forgetful(frontier: Frontier) -> Frontier:
    """Give a frontier that says nothing of a replay."""
    return frontier._replace(replay=None)


@pytest.mark.parametrize("tier", ["transaction", "inbox", "joined"])
def test_what_is_older_than_the_window_stays_suppressed_too(shop: Open, tier: str) -> None:
    at = shop(tier)
    at.settings = replace(at.settings, window="1m")
    old = int(time.time() * 1000) - 3_600_000
    with at.running() as line:
        send_at(at, old, [("a", 0), ("b", 1)])
        at.await_settled()
        send_at(at, old, [("a", 1), ("c", 1)])
        at.await_settled()
        send_at(at, old + 3_600_000, [("new", 0), ("new-1", 1)])
        at.await_settled()
        assert wait_until(lambda: forgotten(at, line, "a"), seconds=2 * SECONDS), line.told()
    at.version = "mended"
    at.replays("--from", "1", "--partitions", "1")  # the copy, and not its owner
    at.work()
    assert at.effects() == once("bug", ["a", "b", "c", "new", "new-1"]) + once(
        "mended", ["c", "new-1"]
    )


def forgotten(at: Shop, line: Running, key: str) -> bool:
    """Tell whether the ledger has forgotten who owns a key."""
    assert line.error is None
    where = ("--brokers", at.settings.brokers, "--ledger", at.settings.ledger)
    if at.tier == "joined":
        assert at.engine is not None
        with at.engine.connect() as db:
            keys = db.execute(text("SELECT count(*) FROM eos_inbox_keys"))
            return bool(keys.scalar_one() == 2)
    told = command("ledger", "explain", key, at.source, *where, "--group", at.settings.group)
    return "has no owner" in told[1]


def send_at(at: Shop, milliseconds: int, records: list[tuple[str, int]]) -> None:
    """Send records of a certain time."""
    producer = Producer({"bootstrap.servers": at.settings.brokers})
    for name, partition in records:
        id_: list[tuple[str, str | bytes | None]] = [("message-id", name.encode())]
        producer.produce(
            at.source, b"value", partition=partition, headers=id_, timestamp=milliseconds
        )
    assert producer.flush(SECONDS) == 0


@pytest.mark.parametrize("tier", TIERS)
def test_dead_letters_of_what_is_handled_again_are_done_with(shop: Open, tier: str) -> None:
    at = shop(tier)
    at.fails = {"id-3", "id-6"}
    with at.running():
        send(at, IDS)
        at.await_settled()
    well = [name for name in IDS if name not in at.fails]
    assert at.effects() == once("bug", well)
    at.version, at.fails = "mended", set()
    assert "1 dead letters are done with" in at.replays("--from", "1h", "--key", "id-3")
    at.work()
    assert at.effects() == once("bug", well) + once("mended", ["id-3"])

    where = ("--namespace", at.settings.namespace, "--brokers", at.settings.brokers)
    assert command("dlq", "redrive", "--all", *where) == (0, "1 dead letter redriven\n")
    code, told = at.replay("--from", "1h")
    assert (code, "was redriven and is not handled yet" in told) == (2, True), told
    at.cluster.send(at.source, [Input("end", 0)])  # behind the marker, which nobody settles
    at.work()
    both = once("bug", well) + once("mended", ["id-3", "id-6", "end"])
    assert at.effects() == both
    at.version = "again"
    at.replays("--from", "1h")
    at.work()
    assert at.effects() == both + once("again", [*IDS, "end"])


def until(at: Shop, goal: int) -> None:
    """Wait until there are so many effects, or there is nothing left to do."""
    assert wait_until(lambda: at.effects().total() >= goal or _all(at), seconds=SECONDS)


def _all(at: Shop) -> bool:
    return at.cluster.is_settled(at.settings.group, at.source)


@pytest.mark.parametrize("outputs", ["same", "new"])
def test_outputs_keep_their_ids_or_get_new_ones(shop: Open, outputs: str) -> None:
    at = shop("transaction")
    first_run(at)
    at.replays("--from", "1h", "--outputs", outputs)
    at.work()
    with at.running():
        send(at, ["new"], copies=False)
        at.await_settled()
    ids = [dict(m.headers() or [])["message-id"] for m in at.cluster.read_committed(at.to)]
    assert len(ids) == 2 * len(IDS) + 1
    assert len(set(ids)) == (len(IDS) if outputs == "same" else 2 * len(IDS)) + 1


def test_a_dry_run_counts_and_changes_nothing(shop: Open) -> None:
    at = shop("transaction")
    first_run(at)
    before = at.offsets()
    told = at.replays("--from", "1h", "--dry-run")
    assert "20 records, of which 10 stay suppressed" in told
    assert "At most 20 records would be handled again" in told
    assert at.offsets() == before
    at.work()
    assert at.effects() == once("bug", IDS)
