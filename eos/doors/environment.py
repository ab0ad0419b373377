"""Settings that stand in the environment, and in the file that it names."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from eos.core.errors import ConfigError
from eos.core.settings import Settings

_WHOLE_NUMBERS = frozenset({"retries", "batch_records"})
_NOT_FROM_ENVIRONMENT = frozenset({"key", "group", "reconcile"})


def from_environment(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Read the settings that the environment gives, `EOS_` and the name in capitals.

    Returns:
        The settings found, and the faults of those that cannot be read.
    """
    found: dict[str, Any] = {}
    faults = []
    for name in sorted({field.name for field in fields(Settings)} - _NOT_FROM_ENVIRONMENT):
        variable = f"EOS_{name.upper()}"
        if variable not in environment:
            continue
        given = environment[variable]
        try:
            found[name] = _read(name, given)
        except ValueError:
            faults.append(f"{variable}={given!r}: write a whole number")
        except ConfigError as error:
            faults += [f"{variable}: {fault}" for fault in error.faults]
    return found, faults


def client_settings(path: str) -> dict[str, str]:
    """Read settings of librdkafka's from a file, a line `name=value` for each, `#` for comments.

    Raises:
        ConfigError: It cannot be read, or has lines that are none of these; names the lines, and
            not what they say, for it may be a password.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path!r} cannot be read: {error}"]) from error
    said = {number: line for number, line in enumerate(lines, 1) if line and line[0] != "#"}
    pairs = [(number, *line.partition("=")) for number, line in said.items()]
    if faults := [
        f"{path!r}, line {number}: write name=value, such as security.protocol=SASL_SSL"
        for number, name, equals, _ in pairs
        if not (name.strip() and equals)
    ]:
        raise ConfigError(faults)
    return {name.strip(): value.strip() for _, name, _, value in pairs}


def _read(name: str, given: str) -> Any:
    if name == "kafka":
        return client_settings(given)
    return int(given) if name in _WHOLE_NUMBERS else given
