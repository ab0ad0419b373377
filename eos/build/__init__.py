"""Settings → a ready line. The only package that knows every adapter."""

from eos.build.checks import checks
from eos.build.ledgers import inspect
from eos.build.letters import letters, redrive
from eos.build.lines import line
from eos.build.loops import Loop, loop
from eos.build.relays import relay, relay_settings, resolve, upkeep
from eos.build.replays import replays
from eos.build.servers import adapters, ledger, observers

__all__ = [
    "Loop",
    "adapters",
    "checks",
    "inspect",
    "ledger",
    "letters",
    "line",
    "loop",
    "observers",
    "redrive",
    "relay",
    "relay_settings",
    "replays",
    "resolve",
    "upkeep",
]
