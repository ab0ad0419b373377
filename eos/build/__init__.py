"""Settings → a ready line. The only package that knows every adapter."""

from eos.build.checks import checks
from eos.build.ledgers import inspect
from eos.build.letters import letters, redrive
from eos.build.lines import line
from eos.build.loops import Loop, loop
from eos.build.publishing import KEY, Publishing, publishing, publishing_settings
from eos.build.relays import relay, relay_settings, resolve, upkeep
from eos.build.replays import replays
from eos.build.servers import adapters, ledger, max_message_bytes, observers

__all__ = [
    "KEY",
    "Loop",
    "Publishing",
    "adapters",
    "checks",
    "inspect",
    "ledger",
    "letters",
    "line",
    "loop",
    "max_message_bytes",
    "observers",
    "publishing",
    "publishing_settings",
    "redrive",
    "relay",
    "relay_settings",
    "replays",
    "resolve",
    "upkeep",
]
