"""The window is counted in the time of the log, whatever time passes beside it."""

import time

import pytest

from eos.core.events import Lived, Recovered
from eos.devstack.waiting import wait_until
from eos.operate import window
from tests.integration.cluster import SECONDS
from tests.integration.lines import Running
from tests.integration.replays import TIERS, Open, once
from tests.integration.test_ledger_loss import flush
from tests.integration.test_replay import database_kind, send_at, shop

__all__ = ["database_kind", "shop"]

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("tier", "loses"),
    [
        *((tier, "nothing") for tier in TIERS),
        *((tier, "the ledger") for tier in ("transaction", "inbox")),
    ],
)
def test_after_a_stop_that_was_longer_than_the_window_copies_are_still_suppressed(
    shop: Open, tier: str, loses: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = shop(tier)
    then = int(time.time() * 1000) - HOUR
    with monkeypatch.context() as patch:
        patch.setattr(window, "EVERY", 1000.0)  # a partition that is read to its end counts as now
        with at.running(window="1m") as line:
            send_at(at, then, [("a", 0), ("b", 1)])
            at.await_settled()
    assert not line.saw(Lived)
    # While it is down: copies, within the window of the log; and an hour later something else.
    send_at(at, then + 30_000, [("b", 0), ("a", 1), ("c", 0)])
    send_at(at, then + HOUR, [("d", 0), ("e", 1)])
    if loses != "nothing":
        flush(at.settings.ledger)()
    monkeypatch.setattr(window, "EVERY", 0.2)
    with at.running(window="1m") as line:
        at.await_settled()
        if tier != "joined":
            dropped = wait_until(lambda: 1 in _generations(line), seconds=SECONDS)
            assert dropped, "the old generation is dropped once nothing needs it"
    assert at.effects() == once("bug", ["a", "b", "c", "d", "e"])
    assert bool(line.saw(Recovered)) == (loses != "nothing")


def _generations(line: Running) -> list[int]:
    """Give how many generations the ledger had, each time that it was told of the frontiers."""
    return [event.generations for event in line.saw(Lived)]
