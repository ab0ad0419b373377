"""Runs a pool until a signal stops it: what `eos run` does."""

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from eos.observe import shared
from eos.observe.logs import configure, say
from eos.workers.contract import STOP_SIGNALS
from eos.workers.pool import DRAIN_SECONDS, Pool

_logger = logging.getLogger("eos.workers")


def run(
    target: str,
    workers: int = 1,
    *,
    metrics_port: int | None = None,
    log_level: str = "info",
    log_json: bool = False,
    drain_seconds: float = DRAIN_SECONDS,
) -> int:
    """Run workers until SIGTERM or SIGINT; a second signal kills them.

    Call it from the main thread of a process that does nothing else: it takes over the signals
    and the logging.

    Args:
        target: The application, as `module:app`.
        workers: How many processes, default 1.
        metrics_port: Where to serve `/metrics` for all workers; 0 takes a free port; None
            serves nothing.
        log_level: `debug`, `info`, `warning` or `error`; default `info`.
        log_json: One JSON object a line, instead of text.
        drain_seconds: How long workers may finish what they began, default 30.

    Returns:
        The exit code: 0 if every worker drained; 1 if one had to be killed, or failed in a way
        that no restart can help: then its last words are on standard error.

    Raises:
        ConfigError: If the target is not of that form, or the port is taken.
    """
    configure(log_level, json=log_json)
    with _signals() as signals, ExitStack() as stack:
        pool = stack.enter_context(
            Pool(
                target,
                workers,
                log_level=log_level,
                log_json=log_json,
                drain_seconds=drain_seconds,
            )
        )
        if metrics_port is not None:
            server = stack.enter_context(shared.serve(metrics_port, pool.metrics_folder))
            say(_logger, logging.INFO, "serving /metrics", port=server.port)
        pool.start()
        pool.watch(lambda: bool(signals))
        first = len(signals[:1])  # none, if a worker failed; a second may have come meanwhile
        drained = pool.stop(hurry=lambda: len(signals) > first)
    if pool.failure:
        sys.stderr.write(f"eos: {pool.failure}\n")
    return 0 if drained else 1


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Note the stop signals that come, and leave the handlers as they were."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, lambda number, _frame: came.append(number))
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
