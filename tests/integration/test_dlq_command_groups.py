"""Several groups read a topic: a dead letter is redriven for the one that could not handle it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine

import eos
from eos.core.settings import Settings
from eos.kafka.topics import KafkaTopics
from tests.integration.cluster import Cluster, Input
from tests.integration.dlq_kit import Buggy, Desk
from tests.integration.inbox_kit import Log, read, settle
from tests.integration.lines import Running, step


@pytest.mark.parametrize("namespaces", ["its own", "shared"])
def test_a_group_that_has_handled_a_record_takes_its_redrive_for_a_copy(
    cluster: Cluster,
    settings: Settings,
    source: str,
    to: str,
    topic: Callable[..., str],
    namespaces: str,
) -> None:
    desk = Desk(cluster, settings, source, to, handler=Buggy("for us", "for both"))
    group = f"{settings.group}-other"
    namespace = group if namespaces == "its own" else settings.namespace
    other = replace(settings, group=group, namespace=namespace, instance="other")
    theirs, others = topic("theirs"), Buggy("for both")
    ids = ["for us", "for both", "for nobody"]
    with desk.line(), Running(other, [step(source, theirs, others)]):
        desk.send(*(Input(id_, n % 2) for n, id_ in enumerate(ids)))
        desk.settled()
        desk.settled(group)
        desk.handler.bad.clear()
        others.bad.clear()
        for _ in range(2):
            assert desk.dlq("redrive", "--all", "--again").exit_code == 0
            desk.settled()
            desk.settled(group)
    assert desk.values() == sorted(ids)
    mended = ids if namespaces == "shared" else ["for us", "for nobody"]
    assert desk.values(theirs) == sorted(mended)


def test_an_inbox_of_another_group_takes_it_for_a_copy_too(
    cluster: Cluster, engine: Engine, log: Log
) -> None:
    kafka = {"bootstrap.servers": cluster.bootstrap_servers}
    inbox = eos.Inbox(engine, group=log.group, key=eos.header("message-id"), kafka=kafka)
    topic_id, _ = KafkaTopics(kafka).describe(log.topic)
    log.send("same", id="a")  # behind the four that are there
    for group in ("another", log.group):
        says = (("eos-redriven", f"{topic_id}/0/4".encode()), ("eos-group", group.encode()))
        cluster.send(log.topic, [Input("a", 0, b"same", headers=says)])
    consumer = log.consumer()
    inbox.seek(consumer)
    settled = [settle(engine, inbox, message) for message in read(consumer, 7)]
    assert settled[4:] == [True, False, True]
