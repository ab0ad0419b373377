"""What `docs/how-to/inbox.md` shows is run as it stands there."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from sqlalchemy import create_engine, text

from eos.db import create, metadata
from tests.integration.cluster import Cluster, Input

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "inbox.md"
ORDERS = 5


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_examples_run_as_they_stand(
    cluster: Cluster, topic: Callable[..., str], namespace: str, postgres_url: str
) -> None:
    database = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(database)
    create(engine)
    with engine.begin() as db:
        db.execute(text("CREATE TABLE charges (order_id TEXT)"))
        db.execute(text("CREATE TABLE failed (why TEXT)"))
    orders = topic("orders")
    cluster.send(orders, [Input(f"o{number}", 0) for number in range(ORDERS)])
    alembic, loop, plain, savepoint, keys, step = (
        example.replace('"orders"', f'"{orders}"').replace('"payments"', f'"{namespace}"')
        for example in examples()
    )

    def charged() -> list[str]:
        with engine.connect() as db:
            return sorted(row[0] for row in db.execute(text("SELECT order_id FROM charges")))

    def done() -> bool:
        return len(charged()) == wanted

    names: dict[str, Any] = {
        "DATABASE": database,
        "BROKERS": cluster.bootstrap_servers,
        "PLAIN_URL": postgres_url,
        "done": done,
    }
    wanted = ORDERS
    exec(alembic, names)  # noqa: S102
    assert names["target_metadata"][1] is metadata
    exec(loop, names)  # noqa: S102
    assert charged() == [f"o{number}" for number in range(ORDERS)]

    for example, value in ((plain, "plain"), (savepoint, "bad"), (keys, "")):
        if value:
            cluster.send(orders, [Input(value, 0)])
            names["message"] = next(following(cluster, namespace, names["inbox"], orders))
        exec(example, names)  # noqa: S102
    assert "plain" in charged()
    with engine.connect() as db:
        failed = str(db.execute(text("SELECT why FROM failed")).scalar())
    assert "no_such_table" in failed

    with engine.begin() as db:
        db.execute(text("DELETE FROM charges"))
    exec(step.replace(namespace, f"{namespace}-app"), names)  # noqa: S102
    wanted = ORDERS + 2
    names["app"].work(stopping=done)
    assert charged() == sorted(["bad", "plain", *(f"o{number}" for number in range(ORDERS))])
    engine.dispose()


def following(cluster: Cluster, group: str, inbox: Any, topic: str) -> Iterator[Any]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": group})
    consumer.subscribe([topic], on_assign=inbox.seek)
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            consumer.close()
            yield message


@pytest.mark.parametrize("example", examples())
def test_every_example_is_python(example: str) -> None:
    compile(example, str(PAGE), "exec")
