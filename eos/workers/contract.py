"""What a pool and its workers agree on."""

import importlib
import logging
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

from eos.core.errors import ConfigError, EosError, FatalError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""Ask a worker, or the pool, to drain and leave."""

BAD_SETTINGS = os.EX_CONFIG
BEYOND_HELP = os.EX_SOFTWARE
HOPELESS = frozenset({BAD_SETTINGS, BEYOND_HELP})
"""Exit codes after which a restart would only fail again, or fence a twin for ever."""

_logger = logging.getLogger("eos.workers")


class Workable(Protocol):
    """What `module:app` must name; `eos.App` is one."""

    def work(self, *, slot: int, stopping: Callable[[], bool]) -> None:
        """Work until `stopping` answers True; then finish what was begun, and return.

        Args:
            slot: The worker's number, from 0: the same after each restart.
            stopping: Cheap to ask, again and again.
        """


def split(target: str) -> tuple[str, str]:
    """Take `module:app` apart.

    Raises:
        ConfigError: If it is not of that form.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise ConfigError([f"{target!r}: write module:app, such as orders.main:app"])
    return module, attribute


def load(target: str) -> Workable:
    """Import the application.

    Raises:
        ConfigError: If there is none under that name, or its module fails to be imported.
    """
    name, attribute = split(target)
    found: Any = _imported(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError([f"module {name!r} has no {attribute!r}"])
        found = getattr(found, part)
    if isinstance(found, type) or not callable(getattr(found, "work", None)):
        raise ConfigError([f"{target} is not an eos.App, but {found!r:.100}"])
    app: Workable = found
    return app


def one_line(error: EosError) -> str:
    """Say what an error says, on one line."""
    text = "; ".join(error.faults) if isinstance(error, ConfigError) else str(error)
    return " ".join(text.split()) or type(error).__name__


def exit_code(error: EosError) -> int:
    """Choose the exit code that tells the pool whether a restart can help."""
    if isinstance(error, ConfigError):
        return BAD_SETTINGS
    return BEYOND_HELP if isinstance(error, FatalError) else 1


def _imported(name: str) -> object:
    try:
        return importlib.import_module(name)
    except EosError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            where = "in this folder or on PYTHONPATH"
            raise ConfigError([f"there is no module {missing!r} {where}"]) from error
        _logger.exception("importing %s failed", name)
        raise ConfigError([f"importing {name} failed: {type(error).__name__}: {error}"]) from error
