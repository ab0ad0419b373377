"""What is read of a record, whatever it is an object of."""

from typing import Any

from eos.core.errors import ConfigError
from eos.core.record import Record


def as_record(given: Any) -> Record:
    """Give what is read of a message, or of anything like one; it stays as it is itself.

    Raises:
        ConfigError: It is no record.
    """

    def read(name: str, default: Any = None) -> Any:
        found = getattr(given, name, default)
        return found() if callable(found) else found

    if read("error") is not None:
        raise ConfigError(["this is an event and no record: look at message.error() first"])
    if not isinstance(read("offset"), int) or read("offset") < 0:
        raise ConfigError([f"{given!r} has no offset: settle() takes what a consumer gave"])
    stamp = read("timestamp", 0)
    milliseconds = stamp[1] if isinstance(stamp, tuple) else stamp
    return Record(
        read("topic"),
        "",
        read("partition"),
        read("offset"),
        read("key"),
        read("value"),
        read("headers") or [],
        milliseconds if isinstance(milliseconds, int) else 0,
    )
