"""Copies at other positions are suppressed in the same transaction."""

import pytest
from confluent_kafka import Message
from sqlalchemy import Engine, create_engine, text

import eos
from tests.integration.inbox_kit import Log, effects, read, settle


def test_copies_at_other_positions_are_suppressed_and_written_down(
    engine: Engine, log: Log
) -> None:
    inbox = eos.Inbox(engine, group=log.group, key=eos.header("message-id"))
    log.send("same", id="a")
    log.send("same", id="a")
    log.send("same", partition=1, id="a")
    consumer = log.consumer(0, 1)
    inbox.seek(consumer)
    messages = [each for each in read(consumer, 7) if each.value() == b"same"]

    fresh = [settle(engine, inbox, each) for each in sorted(messages, key=place)]

    assert fresh == [True, False, False]
    with engine.connect() as db:
        noted = db.execute(
            text(
                "SELECT partition, record_offset, owner_partition, owner_offset, verdict"
                " FROM eos_suppressed ORDER BY id"
            )
        ).all()
    assert [tuple(row) for row in noted] == [
        (0, 5, 0, 4, "duplicate"),
        (1, 0, 0, 4, "duplicate"),
    ]


def place(message: Message) -> tuple[int, int]:
    return message.partition() or 0, message.offset() or 0


def test_a_copy_is_handled_when_its_owners_transaction_was_rolled_back(
    engine: Engine, log: Log
) -> None:
    inbox = eos.Inbox(engine, group=log.group, key=eos.header("message-id"))
    log.send("same", partition=1, id="a")
    log.send("same", partition=1, id="a")
    consumer = log.consumer(1)
    inbox.seek(consumer)
    owner, copy = read(consumer, 2)
    with engine.connect() as db:
        assert inbox.settle(db, owner)
        assert not inbox.settle(db, copy)
        db.rollback()

    assert settle(engine, inbox, owner)
    assert not settle(engine, inbox, copy)
    assert effects(engine) == 1


def test_another_payload_under_the_same_key_is_never_dropped_in_silence(
    engine: Engine, log: Log
) -> None:
    log.send("one", "other", partition=1, id="a")
    inbox = eos.Inbox(engine, group=log.group, key=eos.header("message-id"))
    consumer = log.consumer(1)
    inbox.seek(consumer)
    first, second = read(consumer, 2)
    assert settle(engine, inbox, first)

    for _ in range(2):  # rolled back, it comes again
        with pytest.raises(eos.ConflictError, match="another payload: put it aside"):
            settle(engine, inbox, second)
    with engine.begin() as db:
        with pytest.raises(eos.ConflictError):
            inbox.settle(db, second)
        db.execute(text("INSERT INTO effects (record) VALUES (0)"))  # put aside
    assert not settle(engine, inbox, second)

    tolerant = eos.Inbox(
        engine, group=f"{log.group}2", key=eos.header("message-id"), conflict="handle"
    )
    consumer = log.consumer(1)
    tolerant.seek(consumer)
    assert [settle(engine, tolerant, each) for each in (first, second)] == [True, True]


def test_keys_older_than_the_window_are_forgotten(
    engine: Engine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eos.doors.inbox.inbox.PRUNE_EVERY", 1)
    inbox = eos.Inbox(engine, group=log.group, key=eos.payload_hash(), window="1h")
    consumer = log.consumer()
    inbox.seek(consumer)
    for message in read(consumer, 3):
        settle(engine, inbox, message)
    with engine.begin() as db:
        db.execute(text("UPDATE eos_inbox_keys SET log_time = log_time - 7200"))

    settle(engine, inbox, read(consumer, 1)[0])

    with engine.connect() as db:
        kept = db.execute(text("SELECT record_offset FROM eos_inbox_keys")).all()
    assert [row[0] for row in kept] == [3]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_copy_waits_for_its_owners_transaction_to_end(engine: Engine, log: Log) -> None:
    log.send("same", partition=0, id="a")
    log.send("same", partition=1, id="a")
    key = eos.header("message-id")
    owner = eos.Inbox(engine, group=log.group, key=key)
    reading = log.consumer(0)
    owner.seek(reading)
    mine = read(reading, 5)[4]
    other = eos.Inbox(engine, group=log.group, key=key)
    consumer = log.consumer(1)
    other.seek(consumer)
    theirs = read(consumer, 1)[0]

    impatient = create_engine(engine.url, connect_args={"options": "-c lock_timeout=200"})
    with engine.connect() as db:
        assert owner.settle(db, mine)
        with pytest.raises(eos.RetriableError, match="locked by another"):
            settle(impatient, other, theirs)
        db.commit()
    impatient.dispose()

    assert not settle(engine, other, theirs)
