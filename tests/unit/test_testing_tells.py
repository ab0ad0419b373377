"""The test bench tells right from wrong: what is broken is found out."""

from collections.abc import Callable
from typing import Any

import pytest

import eos
from eos.stores.memory.ledger import MemoryLedger
from eos.testing import run


def echo(record: eos.Record) -> eos.Send:
    return eos.Send(record.value)


def app_of(
    handler: Callable[[Any], Any] = echo, to: str | None = "out", **settings: Any
) -> eos.App:
    app = eos.App(group="g", **settings)
    app.step("in", to=to)(handler)
    return app


def charge_naively(balance: dict[str, int]) -> Callable[[eos.Record], None]:
    """Charge whatever comes: right as long as nothing ever crashes."""

    def charge(_: eos.Record) -> None:
        balance["charged"] += 1

    return charge


def charge_once_by_token(balance: dict[str, int]) -> Callable[[eos.Record], None]:
    """Take no order from a worker that was replaced, and each record once."""
    seen = {"token": 0}
    charged: set[str] = set()

    def charge(record: eos.Record) -> None:
        if record.fencing_token < seen["token"] or record.idempotency_key in charged:
            return
        seen["token"] = record.fencing_token
        charged.add(record.idempotency_key)
        balance["charged"] += 1

    return charge


def charge_carefully(balance: dict[str, int]) -> Callable[[eos.Record], None]:
    """Ask what was charged already, where there is doubt."""
    charged: set[str] = set()

    def charge(record: eos.Record) -> None:
        if record.in_doubt and record.idempotency_key in charged:
            return
        charged.add(record.idempotency_key)
        balance["charged"] += 1

    return charge


@pytest.mark.parametrize(("handler", "charged"), [(charge_naively, 2), (charge_carefully, 1)])
def test_a_handler_that_ignores_doubt_is_found_out(
    handler: Callable[[dict[str, int]], Callable[[eos.Record], None]], charged: int
) -> None:
    balance = {"charged": 0}
    with run(app_of(handler(balance), to=None)) as t:
        t.send("in", "a")
        t.crash(after="handler")
        t.run()
    assert balance["charged"] == charged


@pytest.mark.parametrize(("handler", "charged"), [(charge_naively, 2), (charge_once_by_token, 1)])
def test_a_handler_that_obeys_a_zombie_is_found_out(
    handler: Callable[[dict[str, int]], Callable[[eos.Record], None]], charged: int
) -> None:
    balance = {"charged": 0}
    with run(app_of(handler(balance), to=None)) as t:
        t.send("in", "a")
        t.stall(before="handler")
        t.run()
    assert balance["charged"] == charged


def test_a_handler_that_has_a_side_effect_in_the_transaction_tier_is_found_out() -> None:
    mails: list[bytes | None] = []

    def handler(record: eos.Record) -> eos.Send:
        mails.append(record.value)  # an effect that no transaction takes back
        return eos.Send(record.value)

    with run(app_of(handler)) as t:
        t.send("in", "a")
        t.crash(before="commit")
        assert t.values("out") == [b"a"]
    assert mails == [b"a", b"a"]


def test_an_app_whose_key_is_wrong_is_found_out() -> None:
    with run(app_of(key=eos.header("no-such-header"))) as t:
        t.send("in", "a", copies=2)
        assert t.values("out") == [b"a", b"a"]
        assert t.suppressed == 0


class Forgetful(MemoryLedger):
    """A ledger that knows nobody's key."""

    def claim(self, shard: Any, batch: Any) -> Any:
        for claims in batch:
            claims.digests = [b"" for _ in claims.digests]
        return super().claim(shard, batch)


def test_a_ledger_that_is_broken_is_found_out() -> None:
    with run(app_of(), ledger=Forgetful(60)) as t:
        t.send("in", "a", copies=2)
        assert t.values("out") == [b"a", b"a"]
