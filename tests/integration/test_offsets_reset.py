"""Another tool sets the group's offset back: it is reported, and not swallowed."""

from contextlib import suppress

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from eos.core.events import Halted
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.replays import TIERS, Open, Shop, once
from tests.integration.test_ledger_loss import flush
from tests.integration.test_replay import IDS, database_kind, send, shop

__all__ = ["database_kind", "shop"]


def settled(at: Shop) -> None:
    """Let all be settled; each record once."""
    with at.running():
        send(at, IDS)
        at.await_settled()
    at.version = "again"


@pytest.mark.parametrize("tier", TIERS)
def test_that_partition_halts_and_the_other_one_goes_on(shop: Open, tier: str) -> None:
    at = shop(tier)
    settled(at)
    at.set_offset(0, 4)
    with at.running() as line:
        line.until(lambda line: line.saw(Halted), "a partition that halts")
        at.cluster.send(at.source, [Input("other", 1)])
        at.cluster.send(at.source, [Input("waits", 0)])
        assert wait_until(lambda: at.effects()["again:other"] == 1, seconds=SECONDS)
        assert "again:waits" not in at.effects()
    told = line.saw(Halted)
    assert [event.partitions for event in told] == [(0,)]
    assert f"`eos replay {at.settings.group} {at.source} --partitions 0 --from 4" in told[0].detail
    assert "--to-offset 20" in told[0].detail
    assert at.offsets()[0] == 4
    assert at.effects() == once("bug", IDS) + once("again", ["other"])

    # What the message says, either way.
    at.replays("--partitions", "0", "--from", "4")
    at.work()
    again = [IDS[8], IDS[10], IDS[12], IDS[14], IDS[16], IDS[18]]
    assert at.effects() == once("bug", IDS) + once("again", ["other", "waits", *again])


@pytest.mark.parametrize("tier", TIERS)
def test_or_goes_on_where_it_was(shop: Open, tier: str) -> None:
    at = shop(tier)
    settled(at)
    at.set_offset(0, 4)
    with at.running():
        assert wait_until(lambda: 1 in at.offsets(), seconds=SECONDS)
    at.set_offset(0, 20)
    at.cluster.send(at.source, [Input("new", 0)])
    at.work()
    assert at.effects() == once("bug", IDS) + once("again", ["new"])


@pytest.mark.parametrize("tier", TIERS)
def test_the_policy_may_be_to_suppress(shop: Open, tier: str) -> None:
    at = shop(tier)
    settled(at)
    at.set_offset(0, 4)
    at.cluster.send(at.source, [Input("new", 0)])
    at.work(offsets_reset="suppress")
    assert at.effects() == once("bug", IDS) + once("again", ["new"])


@pytest.mark.parametrize("loses", ["nothing", "after"])
@pytest.mark.parametrize("tier", TIERS)
def test_the_policy_may_be_to_replay(shop: Open, tier: str, loses: str) -> None:
    at = shop(tier)
    settled(at)
    at.set_offset(0, 4)
    at.cluster.send(at.source, [Input("new", 0)])
    at.work(offsets_reset="replay")
    if loses == "after" and tier in {"transaction", "inbox"}:
        flush(at.settings.ledger)()
    again = [IDS[8], IDS[10], IDS[12], IDS[14], IDS[16], IDS[18]]
    at.cluster.send(at.source, [Input(id_, 1) for id_ in IDS])
    at.work()
    assert at.effects() == once("bug", IDS) + once("again", ["new", *again])


@pytest.mark.parametrize("tier", TIERS)
def test_offsets_that_are_gone_halt_where_nobody_else_knows_them(
    shop: Open, tier: str, cluster: Cluster
) -> None:
    at = shop(tier)
    settled(at)
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})

    def deleted() -> bool:
        with suppress(KafkaException):  # while its last member is being forgotten
            admin.delete_consumer_groups([at.settings.group])[at.settings.group].result(SECONDS)
            return True
        return False

    assert wait_until(deleted, seconds=SECONDS, every=0.2)
    at.cluster.send(at.source, [Input("new-0", 0), Input("new-1", 1)])
    if tier != "transaction":
        at.work()
        assert at.effects() == once("bug", IDS) + once("again", ["new-0", "new-1"])
        return
    with at.running() as line:
        line.until(lambda line: line.saw(Halted), "partitions that halt")
    told = line.saw(Halted)[0]
    assert told.partitions == (0, 1)
    assert "the group's offset is gone" in told.detail
    at.set_offset(0, 20)
    at.set_offset(1, 20)
    at.work()
    assert at.effects() == once("bug", IDS) + once("again", ["new-0", "new-1"])
