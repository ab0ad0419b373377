"""Partitions begin at their rows, if those can be trusted."""

import pytest
from confluent_kafka import Consumer, TopicPartition
from sqlalchemy import Engine, text

import eos
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.inbox_kit import Log, begun, effects, read, settle


def test_the_row_and_not_the_offset_says_where_to_begin(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    for message in read(consumer, 3):
        settle(engine, inbox, message)

    _, again = begun(engine, log)

    assert read(again, 1)[0].offset() == 3


def test_without_a_row_kafkas_offset_counts(engine: Engine, log: Log) -> None:
    consumer = log.consumer()
    consumer.commit(offsets=[TopicPartition(log.topic, 0, 2)], asynchronous=False)

    eos.Inbox(engine, group=log.group).seek(consumer)

    assert read(consumer, 1)[0].offset() == 2


def test_without_row_and_offset_the_start_counts(engine: Engine, log: Log) -> None:
    _, consumer = begun(engine, log, start="latest")
    log.send("4")

    assert read(consumer, 1)[0].value() == b"4"
    _, again = begun(engine, log, start="latest")
    assert read(again, 1)[0].value() == b"4"


@pytest.mark.parametrize(
    "strategy", ["range", "cooperative-sticky", "consumer"], ids=["eager", "cooperative", "kip848"]
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_it_begins_partitions_as_the_group_assigns_them(
    engine: Engine, log: Log, cluster: Cluster, strategy: str
) -> None:
    log.send("a", "b", partition=1)
    how = (
        {"group.protocol": "consumer"}
        if strategy == "consumer"
        else {"partition.assignment.strategy": strategy}
    )
    seen: list[bytes | None] = []
    for _ in range(2):
        inbox = eos.Inbox(engine, group=log.group)
        consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap_servers,
                "group.id": log.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                **how,
            }
        )
        consumer.subscribe([log.topic], on_assign=inbox.seek)
        for message in read(consumer, 3):
            assert settle(engine, inbox, message)
            seen.append(message.value())
        consumer.close()

    assert sorted(map(bytes, filter(None, seen))) == [b"0", b"1", b"2", b"3", b"a", b"b"]


def test_a_restored_backup_is_refused_until_told(
    engine: Engine, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)
    for message in messages:
        settle(engine, inbox, message)
    inbox.seek(consumer)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_frontiers SET next_offset = 2"))
        db.execute(text("DELETE FROM effects"))

    with pytest.raises(eos.FatalError, match="went back from 4 to 2: was the database restored"):
        settle(engine, inbox, messages[3])
    with pytest.raises(eos.FatalError, match=r"had come to 4, and its row says 2.*accept_rewind"):
        inbox.seek(consumer)
    with pytest.raises(eos.AbortableError, match="not begun"):
        settle(engine, inbox, messages[3])
    inbox.seek(consumer, accept_rewind=True)

    assert "goes back from 4 to its row, 2" in caplog.text
    again = read(consumer, 2)
    assert [settle(engine, inbox, each) for each in again] == [True, True]


def test_a_committed_offset_above_the_row_shows_a_restored_backup(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    settle(engine, inbox, read(consumer, 1)[0])
    consumer.commit(offsets=[TopicPartition(log.topic, 0, 3)], asynchronous=False)

    with pytest.raises(eos.FatalError, match=r"had come to 3, and its row says 1.*auto\.commit"):
        begun(engine, log)
    eos.Inbox(engine, group=log.group).seek(consumer, accept_rewind=True)

    assert read(consumer, 1)[0].offset() == 1


def test_a_topic_made_anew_starts_clean_under_its_id(
    engine: Engine, log: Log, cluster: Cluster
) -> None:
    kafka = {"bootstrap.servers": cluster.bootstrap_servers}
    inbox, consumer = begun(engine, log, kafka=kafka)
    for message in read(consumer, 4):
        assert settle(engine, inbox, message)
    log.close()
    remake(cluster, log.topic)
    log.send("new")

    inbox, consumer = begun(engine, log, kafka=kafka)

    assert settle(engine, inbox, read(consumer, 1)[0])


def test_without_its_id_a_topic_made_anew_is_noticed(
    engine: Engine, log: Log, cluster: Cluster
) -> None:
    inbox, consumer = begun(engine, log)
    for message in read(consumer, 4):
        settle(engine, inbox, message)
    log.close()
    remake(cluster, log.topic)
    log.send("new")

    with pytest.raises(eos.FatalError, match="ends at 1, and its row says 4: was the topic made"):
        begun(engine, log)


def remake(cluster: Cluster, topic: str) -> None:
    cluster._admin.delete_topics([topic])[topic].result(SECONDS)  # noqa: SLF001
    cluster.create_named(topic, 2)


def test_rows_by_name_become_rows_by_id_and_old_processes_stop(
    engine: Engine, log: Log, cluster: Cluster
) -> None:
    old, consumer = begun(engine, log)
    first, second, *_ = read(consumer, 4)
    settle(engine, old, first)

    new, again = begun(engine, log, kafka={"bootstrap.servers": cluster.bootstrap_servers})

    assert settle(engine, new, read(again, 1)[0])
    with pytest.raises(eos.AbortableError, match="is gone"):
        settle(engine, old, second)
    with pytest.raises(eos.ConfigError, match="under its topic id"):
        old.seek(consumer)
    assert effects(engine) == 2


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_after_a_seek_that_failed_nothing_is_settled_until_one_succeeds(
    engine: Engine, log: Log, cluster: Cluster
) -> None:
    inbox, consumer = begun(engine, log)
    settle(engine, inbox, read(consumer, 1)[0])
    consumer.close()
    inbox = eos.Inbox(engine, group=log.group)
    member = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": log.group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    with engine.begin() as db:
        db.execute(text("ALTER TABLE eos_frontiers RENAME TO gone"))
    member.subscribe([log.topic], on_assign=inbox.seek)

    with pytest.raises(eos.ConfigError, match="eos db create"):
        read(member, 1)
    with engine.begin() as db:
        db.execute(text("ALTER TABLE gone RENAME TO eos_frontiers"))
    wrong = read(member, 1)[0]  # the client has begun where it thinks right
    with pytest.raises(eos.AbortableError, match="was not begun at its row"):
        settle(engine, inbox, wrong)
    inbox.seek(member)

    assert [settle(engine, inbox, each) for each in read(member, 3)] == [True] * 3
    assert effects(engine) == 4
    member.close()
