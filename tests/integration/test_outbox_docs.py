"""What `docs/how-to/outbox.md` shows is run as it stands there."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from sqlalchemy import create_engine, text

from eos.db import create
from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS, Cluster, Input

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "outbox.md"


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def header(message: Message, name: str) -> str:
    value = dict(message.headers() or [])[name]
    assert isinstance(value, bytes)
    return value.decode()


def test_the_examples_run_as_they_stand(
    cluster: Cluster, topic: Callable[..., str], namespace: str, postgres_url: str
) -> None:
    database = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(database)
    create(engine)
    with engine.begin() as db:
        db.execute(text("CREATE TABLE charges (order_id TEXT, cents INTEGER)"))
    topics = {name: topic(name) for name in ("payments", "orders", "reminders", "events")}
    cluster.send(topics["orders"], [Input("o6", 0, b'{"id": "o6", "cents": 7}')])
    names: dict[str, Any] = {
        "DATABASE": database,
        "BROKERS": cluster.bootstrap_servers,
        "PLAIN_URL": postgres_url,
    }

    for example in examples():
        code = example
        for name, unique in topics.items():
            code = code.replace(f'"{name}"', f'"{unique}"')
        code = code.replace('group="', f'group="{namespace}-')
        exec(code, names)  # noqa: S102

    over = threading.Event()
    apps = [names[name] for name in ("app", "relaying")]
    works = [threading.Thread(target=app.work, kwargs={"stopping": over.is_set}) for app in apps]
    for work in works:
        work.start()
    wanted = {"payments": 6, "reminders": 1, "events": 1}

    def published() -> dict[str, int]:
        return {name: len(cluster.read_committed(topics[name])) for name in wanted}

    try:
        assert wait_until(lambda: published() == wanted, seconds=2 * SECONDS), published()
    finally:
        over.set()
        for work in works:
            work.join()

    ids = [header(each, "message-id") for each in cluster.read_committed(topics["payments"])]
    assert {"payment-o1", "payment-o6"} < set(ids)
    event = cluster.read_committed(topics["events"])[0]
    assert header(event, "ce_type") == "com.example.charged"
    assert header(event, "ce_source") == "/billing"
    engine.dispose()


@pytest.mark.parametrize("example", examples())
def test_every_example_is_python(example: str) -> None:
    compile(example, str(PAGE), "exec")
