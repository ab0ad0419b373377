"""What single values of a configuration may be."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def flat(table: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Give librdkafka's names: an unquoted dot in TOML begins a table."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        else:
            found[before + name] = value
    return found


def is_url(url: str) -> bool:
    """Tell whether an app may be called there: no password, no fragment."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if parts.fragment or "@" in parts.netloc or not url.isascii() or not url.isprintable():
        return False
    if parts.scheme == "unix":
        return not parts.netloc and len(parts.path) > 1
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def is_wide(address: str) -> bool | None:
    """Tell whether others than this machine can reach it; None: it is no address."""
    if address.startswith("unix:"):
        return None if len(address) == len("unix:") else False
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None or port is None or parts.path or "@" in address:
        return None
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def whole(value: object) -> int | None:
    """Read a whole number, or the text of one; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def size(value: object) -> int:
    """Read a size: bytes, or such as "1MiB"; -1 if it is none."""
    if isinstance(value, str):
        for unit, factor in _UNITS.items():
            if value.endswith(unit):
                number = whole(value.removesuffix(unit).strip())
                return -1 if number is None else number * factor
    number = whole(value)
    return -1 if number is None else number
