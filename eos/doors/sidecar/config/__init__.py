"""What a sidecar is told.

told         the values
reading      from a file and the environment, with all faults at once
listening    its section `[listen]`
outgoing     its sections `[publish]` and `[outbox]`
values       what single values may be
shown        written again, secrets hidden
"""

from eos.doors.sidecar.config.told import (
    MODES,
    Config,
    Deliver,
    Listen,
    Outbox,
    Publish,
    Target,
    key_of,
    token_of,
)

__all__ = [
    "MODES",
    "Config",
    "Deliver",
    "Listen",
    "Outbox",
    "Publish",
    "Target",
    "key_of",
    "token_of",
]
