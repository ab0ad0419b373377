"""No record is passed over or done twice: roll-backs, lost answers, zombies."""

import contextlib

import psycopg
import pytest
from confluent_kafka import Message, TopicPartition
from sqlalchemy import Engine, text

import eos
from tests.integration import inbox_kinds as kinds
from tests.integration.inbox_kinds import EFFECT
from tests.integration.inbox_kit import Log, begun, effects, read, settle


def test_gaps_in_the_log_are_no_harm(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)

    assert settle(engine, inbox, messages[0])
    assert settle(engine, inbox, messages[3])  # as if 1 and 2 had been compacted away
    assert not settle(engine, inbox, messages[0])


def test_a_record_is_not_passed_over_because_its_transaction_was_rolled_back(
    engine: Engine, log: Log
) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)
    assert settle(engine, inbox, messages[0])
    with engine.connect() as db:
        assert inbox.settle(db, messages[1])
        assert inbox.settle(db, messages[2])
        db.rollback()

    with pytest.raises(eos.AbortableError, match=r"@1 is not settled.*3 would pass over it"):
        settle(engine, inbox, messages[3])
    with pytest.raises(eos.AbortableError, match=r"@1 is not settled.*2 would pass over it"):
        settle(engine, inbox, messages[2])
    inbox.seek(consumer)

    again = read(consumer, 3)
    assert [each.offset() for each in again] == [1, 2, 3]
    assert [settle(engine, inbox, each) for each in again] == [True, True, True]
    assert effects(engine) == 4


def test_a_loop_may_try_the_record_again_that_failed(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)

    for message in read(consumer, 4):
        with contextlib.suppress(ZeroDivisionError), engine.begin() as db:
            assert inbox.settle(db, message)
            db.execute(text(EFFECT))
            raise ZeroDivisionError
        assert settle(engine, inbox, message)

    assert effects(engine) == 4


def test_a_savepoint_that_holds_the_effect_alone_may_be_rolled_back(
    engine: Engine, log: Log
) -> None:
    inbox, consumer = begun(engine, log)

    with engine.begin() as db:
        for message in read(consumer, 4):
            assert inbox.settle(db, message)
            with contextlib.suppress(ZeroDivisionError), db.begin_nested():
                db.execute(text(EFFECT))
                if message.offset() == 2:
                    raise ZeroDivisionError

    assert effects(engine) == 3
    assert [settle(engine, inbox, each) for each in read_again(log, inbox)] == []


def read_again(log: Log, inbox: eos.Inbox) -> list[Message]:
    consumer = log.consumer()
    inbox.seek(consumer)
    return [each for each in consumer.consume(10, 1.0) if each.error() is None]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_commit_whose_answer_was_lost_is_found_out(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    first, second, *_ = read(consumer, 2)
    for message, arrived in ((first, True), (second, False)):
        with psycopg.connect(kinds.address(engine)) as db:
            assert inbox.settle(db, message)
            db.execute(EFFECT)
            if arrived:
                db.pgconn.exec_(b"COMMIT")
            db.pgconn.finish()  # what became of it, this process does not know
            db.close()

    assert not settle(engine, inbox, first)
    assert settle(engine, inbox, second)
    assert effects(engine) == 2


def test_records_of_a_partition_out_of_order_are_noticed(engine: Engine, log: Log) -> None:
    inbox, consumer = begun(engine, log)
    messages = read(consumer, 4)
    settle(engine, inbox, messages[0])
    settle(engine, inbox, messages[2])

    with pytest.raises(eos.FatalError, match="in order, in one thread"):
        settle(engine, inbox, messages[1])


def test_nothing_is_settled_before_a_seek(engine: Engine, log: Log) -> None:
    inbox = eos.Inbox(engine, group=log.group)
    consumer = log.consumer()
    consumer.assign([TopicPartition(log.topic, 0, 0)])
    message = read(consumer, 1)[0]

    with pytest.raises(eos.AbortableError, match=r"on_assign=inbox\.seek"):
        settle(engine, inbox, message)


def test_a_zombie_is_told_no_and_what_it_may_still_settle_is_in_order(
    engine: Engine, log: Log
) -> None:
    zombie, reading = begun(engine, log)
    held = read(reading, 4)
    assert settle(engine, zombie, held[0])

    heir, consumer = begun(engine, log)
    mine = read(consumer, 3)
    assert [each.offset() for each in mine] == [1, 2, 3]
    assert settle(engine, heir, mine[0])
    assert settle(engine, heir, mine[1])

    assert [settle(engine, zombie, each) for each in held[1:]] == [False, False, True]
    assert not settle(engine, heir, mine[2])
    assert effects(engine) == 4


def test_a_zombie_cannot_jump_ahead_of_its_heir(engine: Engine, log: Log) -> None:
    zombie, reading = begun(engine, log)
    held = read(reading, 4)
    with engine.connect() as db:  # it settles all in one transaction, which the server ends
        for message in held[:3]:
            assert zombie.settle(db, message)
        db.rollback()
    heir, consumer = begun(engine, log)
    mine = read(consumer, 1)
    assert settle(engine, heir, mine[0])

    with pytest.raises(eos.AbortableError, match="@1 is not settled"):
        settle(engine, zombie, held[3])
    assert effects(engine) == 1
