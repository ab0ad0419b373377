"""Test an app without servers: its real line, with Kafka, ledger and clock in the test's hands.

    def test_a_copy_is_not_charged_twice():
        with eos.testing.run(app) as t:
            t.send("orders", b"order 1", copies=3)
            t.crash(after="produce")
            assert t.values("receipts") == [b"charged order 1"]
            assert t.suppressed == 2

See `docs/how-to/testing.md`. With pytest, the fixtures `eos_run` and `eos_clock` are there by
themselves.
"""

from collections.abc import Mapping

from eos.core.ports import Ledger
from eos.testing.clock import Clock
from eos.testing.harness import Run
from eos.testing.results import DeadLetter, Sent
from eos.testing.stage import Application, Stage, StuckError

__all__ = ["Application", "Clock", "DeadLetter", "Run", "Sent", "StuckError", "run"]


def run(
    app: Application,
    *,
    ledger: Ledger | None = None,
    partitions: int | Mapping[str, int] = 1,
    clock: Clock | None = None,
) -> Run:
    """Run an app in this thread, on topics in memory.

    The line is the real one, with the app's settings; only what stands at its ends is replaced,
    so no server is contacted, whatever the settings name. Topics that the app does not name are
    made when something is sent there.

    Args:
        app: What has the settings and the steps: an `eos.App`.
        ledger: Default: one in memory, with the window of the app's settings.
        partitions: How many partitions each topic has that the app reads; or by topic.
        clock: A clock of yours: then time passes only when you turn it, and what waits (a retry,
            a pause) waits until you do. Default: whenever the line waits for something, time
            passes at once.

    Returns:
        A context manager, and what the test talks to.
    """
    return Run(Stage(app, ledger=ledger, partitions=partitions, clock=clock))
