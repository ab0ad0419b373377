"""`eos.Outbox`: what is added with the transaction that `db` is in, and nothing else."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import eos
from eos.db import create, engine_of
from eos.doors.outbox import trace
from tests.integration.cluster import Cluster, Input
from tests.integration.inbox_kinds import KINDS, address, connect, of_django
from tests.integration.outbox_door_kit import (
    Running,
    add,
    await_empty,
    await_that,
    column,
    count,
    headers,
    published,
    relay_app,
    relaying,
)


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def to(topic: Callable[..., str]) -> str:
    return topic("orders")


# --- connections ---------------------------------------------------------------------------


@pytest.mark.parametrize(("database_kind", "kind"), KINDS)
def test_what_is_added_stands_or_falls_with_the_transaction_of_any_kind_of_connection(
    engine: Engine, kind: str
) -> None:
    outbox = eos.Outbox(engine)
    with connect(engine, kind) as opened:
        outbox.add(opened.db, "orders", "never", key="k")
        opened.execute("INSERT INTO effects (record) VALUES (7)")
        opened.rollback()
    assert count(engine) == count(engine, "effects") == 0
    with connect(engine, kind) as opened:
        first = outbox.add(opened.db, "orders", b"\x00\xff", key=b"k", headers={"h": b"\xfe"})
        more = outbox.add_all(
            opened.db, [eos.Send(f"{number}", "orders", "k") for number in range(3)]
        )
        opened.execute("INSERT INTO effects (record) VALUES (7)")
        opened.commit()
    assert [bytes(v) for v in column(engine, "value", "eos_outbox")] == [
        b"\x00\xff",
        *(b"0", b"1", b"2"),
    ]
    assert column(engine, "message_id", "eos_outbox") == [first, *more]
    assert count(engine, "effects") == 1


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_what_is_added_with_await_stands_or_falls_with_its_transaction(engine: Engine) -> None:
    outbox = eos.Outbox(engine)
    drivers = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}
    url = engine.url.set(drivername=drivers[engine.dialect.name])

    async def write() -> None:
        below = create_async_engine(url)
        async with AsyncSession(below) as db:
            await outbox.add_async(db, "orders", "never")
            await db.rollback()
        async with below.begin() as connection:
            await outbox.add_async(connection, "orders", "kept", key="k", id="an id")
            with pytest.raises(eos.ConfigError, match=r"await .*outbox.add_async"):
                outbox.add(connection, "orders", "refused")
        await below.dispose()

    asyncio.run(write())
    assert column(engine, "message_id", "eos_outbox") == ["an id"]
    with engine.begin() as db, pytest.raises(eos.ConfigError, match="takes an AsyncConnection"):
        asyncio.run(outbox.add_async(db, "orders", "refused"))


def autocommitting(engine: Engine) -> Iterator[tuple[Any, str]]:
    """Open connections that commit each statement, each with what the message advises."""
    yield create_engine(engine.url, isolation_level="AUTOCOMMIT").connect(), "isolation level"
    yield of_django(engine), "transaction.atomic"
    if engine.dialect.name == "sqlite":
        yield sqlite3.connect(str(engine.url.database), isolation_level=None), "BEGIN IMMEDIATE"
        return
    yield psycopg.connect(address(engine), autocommit=True), "db.transaction"
    plain = psycopg2.connect(address(engine))
    plain.autocommit = True
    yield plain, "db.autocommit = False"


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_a_connection_that_commits_each_statement_is_refused(engine: Engine) -> None:
    outbox = eos.Outbox(engine)
    for db, advice in autocommitting(engine):
        with pytest.raises(eos.ConfigError, match="autocommit mode") as caught:
            outbox.add(db, "orders", "refused")
        assert advice in str(caught.value)
        assert "settle" not in str(caught.value)
        db.close()
    with pytest.raises(eos.ConfigError, match="is no connection that eos knows"):
        outbox.add(object(), "orders", "refused")
    assert count(engine) == 0


def test_rows_of_one_transaction_are_published_in_the_order_in_which_they_were_added(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    values = [str(number) for number in range(1_200)]  # more than one statement takes
    with relaying(bootstrap_servers, namespace, engine):
        add(engine, to, *values)
        await_empty(engine)
    assert published(cluster, to) == values


# --- in a handler --------------------------------------------------------------------------


@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_a_handler_adds_in_its_own_transaction_and_what_it_gave_up_is_never_published(
    engine: Engine,
    cluster: Cluster,
    bootstrap_servers: str,
    namespace: str,
    topic: Callable[..., str],
    to: str,
) -> None:
    source, outbox, tries = topic("in"), eos.Outbox(engine), []
    app = relay_app(bootstrap_servers, namespace, outbox, ledger=str(engine.url), backoff="1ms")

    @app.step(source, into=engine)
    def pay(record: eos.Record, db: Any) -> None:
        tries.append(record.value)
        outbox.add(db, to, f"{(record.value or b'').decode()} at try {tries.count(record.value)}")
        if record.value == b"bad" and tries.count(record.value) < 3:
            raise ValueError("once more")

    cluster.send(source, [Input(value, 0) for value in ("one", "bad", "two")])
    running = Running(app)
    await_that(lambda: len(set(tries)) == 3, "the handler to have seen all")
    await_that(lambda: len(published(cluster, to)) == 3, "what it added")
    running.stop()
    assert running.failure is None, running.failure
    found = sorted(published(cluster, to))
    assert found[0] == "bad at try 3"
    assert [text.partition(" ")[0] for text in found] == ["bad", "one", "two"]


# --- headers -----------------------------------------------------------------------------


def test_ids_and_headers_reach_kafka_as_they_were_given(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    outbox = eos.Outbox(engine)
    with engine.begin() as db:
        made = outbox.add(db, to, None, key="k", headers=[("a", "1"), ("a", b"\x00\xff")])
        outbox.add(db, to, "é", key="k", headers={"ü": "ö"}, id="mine")
        outbox.add(db, to, "", key="k", headers={"message-id": "given"})
    with relaying(bootstrap_servers, namespace, engine):
        await_empty(engine)
    first, second, third = cluster.read_committed(to)
    assert first.value() is None
    assert first.headers() == [("message-id", made.encode()), ("a", b"1"), ("a", b"\x00\xff")]
    assert (second.value(), second.key()) == ("é".encode(), b"k")
    assert headers(second) == {"message-id": "mine", "ü": "ö"}
    assert (third.value(), headers(third)) == (b"", {"message-id": "given"})


def test_cloudevents_carry_the_headers_of_their_binary_mode_and_an_encoded_payload(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    outbox = eos.Outbox(engine, encode=json.dumps, cloudevents="/shop/orders")
    began = datetime.now(UTC) - timedelta(seconds=1)
    with engine.begin() as db:
        outbox.add(db, to, {"n": 1}, key="k", id="one", type="order.placed")
        outbox.add(db, to, None, key="k", id="two", headers={"ce_type": "order.gone"})
    with relaying(bootstrap_servers, namespace, engine):
        await_empty(engine)
    first, second = cluster.read_committed(to)
    found = headers(first)
    assert began < datetime.fromisoformat(found.pop("ce_time")) < datetime.now(UTC)
    assert found == {
        "message-id": "one",
        "ce_specversion": "1.0",
        "ce_id": "one",
        "ce_source": "/shop/orders",
        "ce_type": "order.placed",
    }
    assert first.value() == b'{"n": 1}'
    assert second.value() is None
    assert len(headers(second)) == len(second.headers() or [])
    assert headers(second)["ce_type"] == "order.gone"


@pytest.fixture
def _telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def inject(carrier: dict[str, str]) -> None:
        carrier["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    library = ModuleType("opentelemetry.propagate")
    library.inject = inject  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry", ModuleType("opentelemetry"))
    monkeypatch.setitem(sys.modules, "opentelemetry.propagate", library)
    trace._inject.cache_clear()  # noqa: SLF001 it looks for the library once
    yield
    trace._inject.cache_clear()  # noqa: SLF001


@pytest.mark.usefixtures("_telemetry")
def test_the_trace_that_a_message_was_added_in_goes_with_it_unless_one_is_given(
    engine: Engine, cluster: Cluster, bootstrap_servers: str, namespace: str, to: str
) -> None:
    outbox = eos.Outbox(engine)
    with engine.begin() as db:
        outbox.add(db, to, "1", key="k")
        outbox.add(db, to, "2", key="k", headers={"traceparent": "mine"})
    with relaying(bootstrap_servers, namespace, engine):
        await_empty(engine)
    first, second = (headers(message)["traceparent"] for message in cluster.read_committed(to))
    assert first.startswith("00-0af765")
    assert second == "mine"


# --- what is refused -----------------------------------------------------------------------

OUTSIDE = datetime(2030, 1, 1)  # noqa: DTZ001 without a time zone


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": "no such name"},
        {"topic": ""},
        {"topic": "t" * 250},
        {"topic": None},
        {"topic": 5},
        {"value": 5},
        {"value": {"a": 1}},
        {"value": "\ud800"},
        {"key": 5},
        {"key": "\ud800"},
        {"headers": {"h": 5}},
        {"headers": {5: "h"}},
        {"headers": [("message-id", b"\xff")]},
        {"id": ""},
        {"id": "i" * 256},
        {"id": 5},
        {"id": b"bytes"},
        {"id": "a\0b"},
        {"id": "\ud800"},
        {"id": "one", "headers": {"message-id": "two"}},
        {"type": "order.placed"},
        {"deliver_at": OUTSIDE},
        {"deliver_at": "tomorrow"},
        {"deliver_at": True},
        {"deliver_at": float("nan")},
        {"deliver_at": float("inf")},
        {"deliver_at": 1_900_000_000_000},  # milliseconds
    ],
    ids=str,
)
@pytest.mark.parametrize("database_kind", ["postgresql", "sqlite"])
def test_what_can_never_be_sent_is_refused_before_anything_is_added(
    engine: Engine, wrong: dict[str, Any]
) -> None:
    given = {"topic": "orders", "value": "v", **wrong}
    with engine.begin() as db:
        eos.Outbox(engine).add(db, "orders", "before")
        with pytest.raises((eos.ConfigError, eos.HandlerError)):
            eos.Outbox(engine).add(db, **given)
        eos.Outbox(engine).add(db, "orders", "behind")
    # The transaction goes on as if nothing had been asked.
    assert column(engine, "value", "eos_outbox") == [b"before", b"behind"]


@pytest.mark.parametrize(
    "wrong", [eos.Send("no topic"), eos.Send(5, "orders"), "no message", None], ids=str
)
def test_of_many_messages_none_is_added_if_one_is_refused(engine: Engine, wrong: Any) -> None:
    outbox = eos.Outbox(engine)
    messages = [eos.Send(str(number), "orders") for number in range(700)]
    with engine.begin() as db:
        with pytest.raises((eos.ConfigError, eos.HandlerError)):
            outbox.add_all(db, [*messages, wrong])
        assert outbox.add_all(db, []) == []
    assert count(engine) == 0


def test_what_an_encoder_raises_is_the_user_s_and_nothing_is_added(engine: Engine) -> None:
    outbox = eos.Outbox(engine, encode=json.dumps)
    with engine.begin() as db, pytest.raises(TypeError, match="not JSON serializable"):
        outbox.add_all(db, [eos.Send({"a": 1}, "orders"), eos.Send(object(), "orders")])
    assert count(engine) == 0


@pytest.mark.parametrize(
    "wrong", [{"cloudevents": ""}, {"cloudevents": 5}, {"encode": "json"}], ids=str
)
def test_an_outbox_names_what_it_cannot_use(engine: Engine, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(eos.ConfigError, match=f"{name}="):
        eos.Outbox(engine, **wrong)


def test_an_outbox_without_tables_says_which_command_makes_them(tmp_path: Path) -> None:
    engine = engine_of(f"sqlite:///{tmp_path / 'db.sqlite'}")
    with engine.begin() as db, pytest.raises(eos.ConfigError, match="eos db create"):
        eos.Outbox(engine).add(db, "orders", "v")
    create(engine)
    with engine.begin() as db:
        eos.Outbox(engine).add(db, "orders", "v")
    assert count(engine) == 1
    engine.dispose()
