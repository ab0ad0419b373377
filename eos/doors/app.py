"""Handler functions: the user writes `@app.step`, and `eos run` does the rest."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeVar

from eos.core.errors import ConfigError, FatalError
from eos.core.events import Emit
from eos.core.settings import Settings, duration
from eos.doors.environment import from_environment
from eos.doors.outbox import Outbox
from eos.doors.together import Stopping, together
from eos.handle import Step
from eos.handle.steps import Decode, Encode

F = TypeVar("F", bound=Callable[..., Any])
_LEAST_POLL = 0.01
_MOST_SECONDS = 3_600_000_000.0


class _Relay(NamedTuple):
    """An outbox that is relayed."""

    database: Any
    poll: float
    keep: float


class App:
    """An application: one consumer group, and the steps that it takes.

    Settings that are not given are taken from the environment (`EOS_BROKERS`, `EOS_LEDGER`,
    `EOS_SECRET`, …, each setting in capitals; `EOS_KAFKA` names a file, a line for each setting
    of librdkafka's: `sasl.password=…`), else from the defaults.

    Args:
        group: The consumer group.
        **settings: See `eos.Settings`.

    Example:
        ```python
        app = eos.App(group="payments", brokers="localhost:9092", ledger="redis://localhost")

        @app.step("orders", to="receipts")
        def charge(order: eos.Record) -> eos.Send:
            return eos.Send(f"charged {order.value!r}")
        ```
    """

    def __init__(self, *, group: str, **settings: Any) -> None:
        known = {field.name for field in fields(Settings)}
        faults = [
            f"{name}: there is no such setting; see eos.Settings"
            for name in sorted(settings.keys() - known)
        ]
        given = {n: v for n, v in settings.items() if n in known and v is not None}
        found, wrong = from_environment(os.environ)
        faults += wrong
        defaults = {"instance": socket.gethostname()}
        try:
            self.settings = Settings(group=group, **{**defaults, **found, **given})
        except ConfigError as error:
            raise ConfigError([*faults, *error.faults]) from error
        if faults:
            raise ConfigError(faults)
        self._steps: list[Step] = []
        self._relay: _Relay | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that were registered."""
        return tuple(self._steps)

    @property
    def relayed(self) -> Any:
        """The database of the outbox that is relayed, an engine; None if there is none."""
        return None if self._relay is None else self._relay.database

    def step(
        self,
        source: str,
        *,
        to: str | None = None,
        batch: bool = False,
        name: str | None = None,
        decode: Decode | None = None,
        encode: Encode | None = None,
        retry_on: Sequence[type[Exception]] | None = None,
        fatal: Sequence[type[Exception]] = (),
        into: Any = None,
    ) -> Callable[[F], F]:
        """Register a handler for a topic.

        The handler gets a `Record` (with `batch`, a list of them) and returns a `Send`, several
        or None (with `batch`, one such result per record; an exception in the place of a result
        says what would have been raised for that record alone). With `to`, what it sends and the
        record's offset are settled in one Kafka transaction. Without `to`, its effect lies
        elsewhere, and is not exactly-once: see `in_doubt` in `eos.Settings`.

        With `into`, the handler is called inside a transaction of that database, with the record
        (or the list) and the connection: `(record, db)`. It writes to `db`, does not commit, and
        returns nothing. Its statements and the record's frontier are committed together, once for
        each batch that is read: exactly once, whatever becomes of Kafka's offsets.

        What the handler raises decides what happens next. `eos.RetriableError`: what it needs is
        away, so it is tried again for as long as it takes, and no try is counted.
        `eos.HandlerError`: no other try can help, so the record is a dead letter. Any other
        exception is tried again `retries` times. The record's partition waits meanwhile, so that
        the order of each key is kept, and the others go on.

        Args:
            source: The topic to read.
            to: Where a `Send` without a topic of its own goes.
            batch: Give the handler lists of records.
            name: Names the step in the ids of what it sends; default: the function's name.
            decode: Turns a payload into what the handler finds as `record.value`, for example
                `json.loads`. What it raises on is a dead letter, `undecodable`, at once. A
                tombstone stays None. Idempotency keys are read from the payload as it came.
            encode: Turns the value of a `Send` into bytes or str, for example `json.dumps`. What
                it raises on is a dead letter, `unsendable`. None stays a tombstone.
            retry_on: Exceptions that are worth another try; any other makes a dead letter at
                once, `not_retryable`. Default: every exception; but none where an effect outside
                of Kafka shall happen once at most (in_doubt="skip" or "dead_letter"): naming one
                here says that a handler which raises it has had no effect yet.
            fatal: Exceptions that stop the worker, as `eos.FatalError` does: the record is handled
                again by the next one.
            into: A database: an engine of SQLAlchemy, or its URL (PostgreSQL or SQLite), with the
                tables that `eos db create` makes.

        Raises:
            ConfigError: If the topic has a step already, or something is of the wrong kind.
        """
        faults = [
            *_not_callable(decode=decode, encode=encode),
            *_no_exceptions("retry_on", retry_on or ()),
            *_no_exceptions("fatal", fatal),
        ]
        if into is not None and (to is not None or encode is not None):
            faults.append("into= writes to a database and sends nothing: leave to= and encode= out")
        if faults:
            raise ConfigError([f"step for {source!r}: {fault}" for fault in faults])

        def register(handler: F) -> F:
            if any(step.source == source for step in self._steps):
                raise ConfigError([f"topic {source!r} has a step already: one step reads a topic"])
            self._steps.append(
                Step(
                    source,
                    to,
                    handler,
                    batch,
                    name or str(getattr(handler, "__name__", "step")),
                    retry_on=None if retry_on is None else tuple(retry_on),
                    fatal=(FatalError, *fatal),
                    decode=decode,
                    encode=encode,
                    into=into,
                )
            )
            return handler

        return register

    def relay(self, outbox: Any, *, poll: str | float = "1s", keep: str | float = "0s") -> None:
        """Publish what an outbox holds: each worker of this app becomes a relay of it, too.

        An app may have relays and no steps. The workers, and whoever else runs a relay with this
        namespace, share the outbox's shards.

        Args:
            outbox: An `eos.Outbox`; or a database, as for one.
            poll: Rows are looked for at least this often; mostly a commit tells of them.
            keep: For how long published rows are kept, in table `eos_outbox_published`.

        Raises:
            ConfigError: Something is of the wrong kind; or the app relays an outbox already.
        """
        from eos.stores.sql.connections import engine_of  # noqa: PLC0415 see below

        if self._relay is not None:
            raise ConfigError(["an app relays one outbox: give the other one an app of its own"])
        times, faults = {}, []
        for name, given, least in (("poll", poll, _LEAST_POLL), ("keep", keep, 0.0)):
            try:
                times[name] = duration(given)
            except (ValueError, TypeError, AttributeError):
                faults.append(f"{name}={given!r}: write a duration, such as '1s'")
                continue
            if not least <= times[name] <= _MOST_SECONDS:
                faults.append(
                    f"{name}={given!r}: give at least {least:g} seconds, and no centuries"
                )
        if faults:
            raise ConfigError(faults)
        engine = outbox.engine if isinstance(outbox, Outbox) else engine_of(outbox)
        self._relay = _Relay(engine, **times)

    def work(
        self,
        *,
        slot: int = 0,
        stopping: Callable[[], bool] = lambda: False,
        emit: Emit | None = None,
    ) -> None:
        """Work in this process and thread until `stopping()`, then drain.

        Args:
            slot: Numbers the worker among those of this instance.
            stopping: Asked between batches.
            emit: Told what happens, in `eos.core.events`, beside metrics and logs.

        Raises:
            ConfigError: If the app has no steps, or a server's address is missing.
            FatalError: If going on could lose or repeat a record.
        """
        # Here, because it loads the servers' libraries: whoever imports an app to test its
        # handlers does without them.
        from eos import build  # noqa: PLC0415

        if not self._steps and self._relay is None:
            raise ConfigError(["the app has no steps: write a handler with @app.step(topic)"])
        self.settings.check_servers(*(["ledger"] if self._steps else []))
        if slot and self.settings.ledger.startswith("memory:"):
            raise ConfigError(
                ["ledger='memory:' is for one worker: several need redis://… or a SQL database"]
            )
        tell = build.observers(self.settings, emit)

        def steps(stopping: Stopping) -> None:
            ports = build.adapters(self.settings, slot, tell)
            try:
                build.line(self.settings, self._steps, ports, tell).run(stopping)
            finally:
                ports.ledger.close()

        def relay(stopping: Stopping) -> None:
            if (it := self._relay) is not None:
                settings = build.relay_settings(self.settings)
                told = build.observers(settings, emit)
                build.relay(settings, it.database, told, poll=it.poll, keep=it.keep).run(stopping)

        together(stopping, *([relay] if self._relay else []), *([steps] if self._steps else []))


def _not_callable(**functions: object) -> list[str]:
    return [
        f"{name}={given!r}: give a function"
        for name, given in functions.items()
        if given is not None and not callable(given)
    ]


def _no_exceptions(name: str, given: object) -> list[str]:
    right = isinstance(given, Sequence) and all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in given
    )
    return [] if right else [f"{name}={given!r}: give a tuple of exception classes"]
