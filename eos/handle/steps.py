"""What `@app.step` was told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eos.core.errors import FatalError
from eos.core.record import Record

Decode = Callable[[bytes], Any]
"""Turns a payload into what the handler finds as `record.value`."""

Encode = Callable[[Any], bytes | str | None]
"""Turns the value of a `Send` into a payload."""


@dataclass(frozen=True, slots=True)
class Step:
    """What `@app.step` was told.

    Attributes:
        source: The topic to read.
        to: Where a `Send` without a topic goes; None if the handler always names one.
        handler: Takes a record, or with `batch` a list of records; with `into`, a connection, too.
        batch: Whether the handler takes lists and returns one result per record.
        name: Part of the ids of what it sends: renaming the function changes them.
        retry_on: Exceptions that are worth another try; others make a dead letter at once. None:
            every exception is, unless another try could repeat an effect that was to happen
            once at most.
        fatal: Exceptions that stop the worker.
        decode: Turns payloads into values; None leaves bytes.
        encode: Turns values into payloads; None takes bytes and str.
        into: The database that the effects go into: an engine of SQLAlchemy; None: no database.
        ahead: With `batch`: told of each partition's records before the handler is called for the
            first one, so that it may work on all at the same time; None: it need not be.
    """

    source: str
    to: str | None
    handler: Callable[..., Any]
    batch: bool
    name: str
    retry_on: tuple[type[Exception], ...] | None = None
    fatal: tuple[type[Exception], ...] = (FatalError,)
    decode: Decode | None = None
    encode: Encode | None = None
    into: Any = None
    ahead: Callable[[Sequence[Record]], None] | None = None

    @property
    def plain(self) -> bool:
        """Whether its effects lie where neither Kafka nor a database of ours settles them."""
        return self.to is None and self.into is None
