"""Reads `[listen]`: where the sidecar listens, and to whom."""

from collections.abc import Callable
from typing import Any

from eos.core.errors import ConfigError
from eos.core.settings import duration
from eos.doors.sidecar.config.told import Listen
from eos.doors.sidecar.config.values import is_wide, size
from eos.doors.sidecar.listen.callers import callers_of
from eos.doors.sidecar.listen.tls import context_of

_FILES = ("token_file", "cert_file", "key_file", "client_ca_file")
_MOST_SECONDS = 300
_MOST_BYTES = 1 << 30


def listen_of(value: Callable[[str, Any], Any]) -> tuple[Listen, list[str]]:
    """Read the section.

    Args:
        value: Gives what a key is set to, or the default that it is asked with.

    Returns:
        What was read, and a sentence for each fault; with any, the former is of no use.
    """
    faults: list[str] = []
    files = {key: _path(key, value(key, None), faults) for key in _FILES}
    address = value("address", Listen().address)
    wide = is_wide(address) if isinstance(address, str) else None
    if wide is None:
        faults.append(f"address={address!r}: write host:port, [host]:port or unix:/path")
    elif wide and files["token_file"] is None and files["client_ca_file"] is None:
        faults.append(
            f"address={address!r} is more than loopback: give token_file or client_ca_file, too"
        )
    _look_into(files, faults)
    listen = Listen(
        address=str(address),
        timeout=_seconds(value("timeout", "10s"), faults),
        max_body=_bytes(value("max_body", 1 << 20), faults),
        **files,
    )
    return listen, [f"[listen] {fault}" for fault in faults]


def _path(key: str, value: object, faults: list[str]) -> str | None:
    if value is None or isinstance(value, str):
        return value
    faults.append(f"{key}={value!r}: write the path of a file")
    return None


def _look_into(files: dict[str, str | None], faults: list[str]) -> None:
    try:
        if (path := files["token_file"]) is not None:
            callers_of(path)
    except ConfigError as error:
        faults += error.faults
    try:
        context_of(files["cert_file"], files["key_file"], files["client_ca_file"])
    except ConfigError as error:
        faults += error.faults


def _seconds(value: Any, faults: list[str]) -> float:
    try:
        seconds = duration(value)
    except (ValueError, TypeError, AttributeError):
        seconds = -1.0
    if not 0 < seconds <= _MOST_SECONDS:
        faults.append(f"timeout={value!r}: write a duration up to 5m, such as '10s'")
    return seconds


def _bytes(value: object, faults: list[str]) -> int:
    found = size(value)
    if not 1 <= found <= _MOST_BYTES:
        faults.append(f"max_body={value!r}: write bytes, or '1MiB', up to 1GiB")
    return found
