"""A leader is elected that lacks records which a group has settled: they are given away anew."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from eos.core.events import Halted, Lost
from eos.core.settings import Settings
from eos.devstack import Stack, running
from eos.devstack.waiting import wait_until
from tests.fault.rows import rows
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.replays import Shop, once

LONG = 3 * SECONDS


@pytest.fixture
def three() -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)
        with running(brokers=3, redis=False) as stack:
            yield stack


class Pair:
    """A partition that lives on two brokers of three, and may lose records."""

    def __init__(self, three: Stack, cluster: Cluster, topic: str) -> None:
        self.leader, self.follower = three.brokers[:2]
        self._cluster, self._topic = cluster, topic
        self._admin = AdminClient({"bootstrap.servers": three.bootstrap_servers})
        known = self._admin.list_topics(timeout=SECONDS).brokers.values()
        by_port = {broker.port: broker.id for broker in known}
        ports = [int(server.rpartition(":")[2]) for server in three.bootstrap_servers.split(",")]
        self._replicas = replicas = [by_port[port] for port in ports[:2]]
        conf = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
        made = NewTopic(topic, 1, replica_assignment=[replicas], config=conf)
        self._admin.create_topics([made])[topic].result(SECONDS)
        self.in_sync(2)

    def in_sync(self, count: int) -> None:
        """Wait until so many copies are alike."""

        def alike() -> bool:
            topic = self._admin.list_topics(self._topic, timeout=SECONDS).topics[self._topic]
            return len(topic.partitions) == 1 and len(topic.partitions[0].isrs) == count

        assert wait_until(alike, seconds=LONG, every=0.2)

    def cut_off(self) -> None:
        """Lose what only the leader has."""
        self.leader.kill()
        self.follower.start()

        def elected() -> bool:
            topic = self._admin.list_topics(self._topic, timeout=SECONDS).topics[self._topic]
            return topic.partitions[0].leader == self._replicas[1]

        assert wait_until(elected, seconds=LONG, every=0.2)
        assert wait_until(lambda: self._cluster.ends(self._topic) == {0: 3}, seconds=LONG)

    def send_anew(self) -> None:
        """Send records; a producer from before would miss what was lost."""
        told = [Input(name, 0) for name in "xyz"]
        self._cluster.send(self._topic, told, **{"client.id": "new"})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("worker", rows(["stopped"], ["stopped", "runs"]))
def test_the_partition_halts_though_the_log_has_grown_beyond_the_frontier(
    three: Stack, settings: Settings, redis_url: str, worker: str
) -> None:
    cluster = Cluster(three.bootstrap_servers)
    settings = replace(settings, brokers=three.bootstrap_servers, ledger=redis_url)
    to = cluster.create("to")
    at = Shop("transaction", cluster, settings, f"{settings.group}.in", to)
    pair = Pair(three, cluster, at.source)
    with at.running() as line:
        cluster.send(at.source, [Input(name, 0) for name in "abc"])
        cluster.await_settled(settings.group, at.source, LONG)
        pair.follower.kill()
        pair.in_sync(1)
        cluster.send(at.source, [Input(name, 0) for name in "de"])
        cluster.await_settled(settings.group, at.source, LONG)
        if worker == "runs":
            pair.cut_off()
            pair.send_anew()
            line.until(lambda line: line.saw(Halted), "a partition that halts")
    if worker == "stopped":
        pair.cut_off()
        pair.send_anew()
        with at.running() as line:
            line.until(lambda line: line.saw(Halted), "a partition that halts")
    assert "the log was cut off" in line.saw(Halted)[0].detail
    assert line.saw(Lost) == []
    assert at.effects() == once("bug", list("abcde"))

    pair.leader.start()
    at.replays("--partitions", "0", "--from", "3")
    at.work()
    assert at.effects() == once("bug", list("abcdexyz"))
