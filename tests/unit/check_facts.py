"""What tests of the rules of `eos check` share."""

from collections.abc import Iterable
from typing import Any

from eos.core.settings import Settings
from eos.operate.checks import Finding, Level, Subject

NOW = 1_800_000_000.0
DAY = 86_400


def subject(*, relays: bool = False, instance_is_host: bool = False, **settings: Any) -> Subject:
    made = Settings(**{"group": "shop", "brokers": "b:1", "ledger": "redis://r", **settings})
    return Subject(
        settings=made, sources=("orders",), relays=relays, instance_is_host=instance_is_host
    )


def levels(found: Iterable[Finding]) -> list[str]:
    return [str(each.level) for each in found]


def bad(found: Iterable[Finding]) -> list[Finding]:
    return [each for each in found if each.level is not Level.OK]


def the(found: Iterable[Finding]) -> Finding:
    (one,) = bad(found)
    return one
