"""One worker process: `python -m eos.workers.child module:app --slot 0 …`, started by the pool."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from eos.core.errors import EosError
from eos.observe.logs import configure
from eos.workers.contract import HOPELESS, STOP_SIGNALS, exit_code, load, one_line

_LOOK_AT_PARENT_SECONDS = 0.2

_logger = logging.getLogger("eos.workers")


class Stop:
    """Whether the worker was asked to stop.

    A signal sets this flag and does nothing else: an exception out of a handler would destroy
    records that the Kafka client has fetched. It is no `threading.Event`, whose lock a second
    signal would wait for while the first one holds it.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self, *_: object) -> None:
        """Ask; a signal handler."""
        self._asked = True

    def __call__(self) -> bool:
        """Answer."""
        return self._asked


def main() -> int:
    """Work until asked to stop.

    Returns:
        The exit code: 0 after draining.
    """
    arguments = _arguments()
    stop = Stop()
    _on_stop_signals(stop.ask)
    # The pool started us with these blocked, so none was lost, and none killed us, until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    configure(arguments.log_level, json=arguments.log_json, slot=arguments.slot)
    threading.Thread(
        target=_follow, args=(arguments.parent, stop, arguments.grace), daemon=True
    ).start()
    sys.path.insert(0, str(Path.cwd()))
    try:
        load(arguments.target).work(slot=arguments.slot, stopping=stop)
    except EosError as error:
        return _failed(error, arguments.last_words)
    except Exception:
        _logger.exception("the worker failed")
        return 1
    finally:
        # A leaving interpreter takes our handler off: a late signal would kill what has drained.
        _on_stop_signals(signal.SIG_IGN)
    return 0


def _on_stop_signals(handler: Callable[..., None] | signal.Handlers) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, handler)


def _failed(error: EosError, last_words: Path) -> int:
    code, text = exit_code(error), one_line(error)
    _logger.error("%s: %s", type(error).__name__, text)
    if code in HOPELESS:
        last_words.write_text(text, encoding="utf-8")
    return code


def _follow(parent: int, stop: Stop, grace: float) -> None:
    """Stop when the pool is gone, even by SIGKILL.

    Orphans get another parent. `prctl(PR_SET_PDEATHSIG)` would be Linux only, and the signal
    comes when the *thread* that started us ends. A pipe would stay open in a forked copy of it.
    """
    while os.getppid() == parent:
        time.sleep(_LOOK_AT_PARENT_SECONDS)
    _logger.warning("the pool is gone: draining")
    stop.ask()
    time.sleep(grace)
    os._exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="eos.workers.child", description=__doc__)
    parser.add_argument("target", metavar="module:app")
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of the pool")
    parser.add_argument("--grace", type=float, required=True, help="seconds for an orphan to drain")
    parser.add_argument("--last-words", type=Path, required=True, help="file for a fatal error")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    code = main()
    if code:
        # At once: a thread that hangs in the Kafka client must not keep us from a restart.
        logging.shutdown()
        os._exit(code)
