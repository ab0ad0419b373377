"""What a test talks to; see `eos.testing.run` and `docs/how-to/testing.md`.

Nothing happens behind a test's back: `send` and `crash` prepare, and the line works whenever the
test asks for a result, or turns the clock.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from eos.core.errors import AbortableError, RetriableError
from eos.core.events import Event
from eos.core.record import Record
from eos.core.rules import Verdict
from eos.handle.steps import Step
from eos.stores.memory.ledger import MemoryLedger
from eos.testing.clock import Clock
from eos.testing.results import DeadLetter, Sent, contents
from eos.testing.stage import Stage
from eos.testing.wires import Died

_IDS = frozenset({"message-id", "idempotency-key", "ce_id"})


class Run:
    """An app at work.

    Args:
        stage: What it runs on.

    Attributes:
        stage: What it runs on, for what is not offered here.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._ids = itertools.count(1)

    @property
    def clock(self) -> Clock:
        """What the app lives by."""
        return self.stage.clock

    # --- what comes in --------------------------------------------------------------------

    def send(
        self,
        topic: str,
        value: Any = b"",
        *,
        key: bytes | str | None = None,
        id: str | bytes | None = None,  # noqa: A002 the word that everybody has for it
        headers: Mapping[str, bytes | str] | None = None,
        copies: int = 1,
        partition: int | Sequence[int] | None = None,
        timestamp: float | None = None,
    ) -> None:
        """Send a record to the app; it is handled when a result is asked for.

        Args:
            topic: A topic that the app reads.
            value: The payload: bytes, str, None for a tombstone, or a list or dictionary, which
                becomes JSON.
            key: The Kafka key.
            id: The idempotency key, as the header `message-id`. Default: one that was not used
                before, unless the headers have one; empty: none.
            headers: Further headers.
            copies: How often this very record is sent, as by a producer that got no answer.
            partition: The partition, or several that the copies take turns on; default: as the
                key has it, without a key the first.
            timestamp: Seconds since the epoch; default: now, by the run's clock.

        Raises:
            LookupError: If the app does not read this topic.
        """
        if topic not in self.stage.sources:
            there = ", ".join(self.stage.sources)
            raise LookupError(f"no step reads {topic!r}: the app reads {there}")
        pairs = [(name, _bytes(text) or b"") for name, text in (headers or {}).items()]
        name = f"test-{next(self._ids)}" if id is None else id
        if name and not (id is None and _IDS & {header for header, _ in pairs}):
            pairs.insert(0, ("message-id", _bytes(name) or b""))
        places = partition if isinstance(partition, Sequence) else [partition]
        for _, place in zip(range(copies), itertools.cycle(places), strict=False):
            self.stage.kafka.send(
                topic,
                _payload(value),
                key=_bytes(key),
                headers=pairs,
                partition=place,
                timestamp=timestamp,
            )

    def run(self) -> None:
        """Let the line work until all is settled, or, by a clock of yours, nothing can be done.

        Whatever asks for a result does so first.

        Raises:
            StuckError: If it does not come to an end.
            FatalError: And whatever else ends the app's line.
        """
        self.stage.work()

    # --- what came of it ------------------------------------------------------------------

    def sent(self, topic: str) -> list[Sent]:
        """Give what is committed in a topic, partition by partition.

        Raises:
            LookupError: If no step names the topic, and nothing was sent there.
        """
        self.run()
        named = {step.to for step in self.stage.steps if step.to}
        known = named.union(self.stage.kafka.topics)
        if topic not in known:
            raise LookupError(
                f"no step names {topic!r}, and nothing was sent there; there are "
                f"{', '.join(sorted(known))}. To ask all the same: partitions={{{topic!r}: 1}}"
            )
        return [Sent(*contents(message)) for message in self.stage.kafka.messages(topic)]

    def values(self, topic: str) -> list[bytes | None]:
        """Give the payloads of what is committed in a topic; see `sent`."""
        return [sent.value for sent in self.sent(topic)]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The dead letters."""
        self.run()
        messages = self.stage.kafka.messages(self.stage.settings.dead_letters)
        return [DeadLetter(*contents(message)) for message in messages]

    @property
    def suppressed(self) -> int:
        """How many settled records were not handled, because they came before."""
        return self.suppressed_as.total()

    @property
    def suppressed_as(self) -> Counter[Verdict]:
        """The same by verdict: DUPLICATE for a re-send, SETTLED for a redelivery."""
        self.run()
        return self.stage.notes.suppressed(self.stage.kafka.committed)

    @property
    def handled(self) -> list[Record]:
        """What handlers were called with, once for each call."""
        self.run()
        return list(self.stage.notes.handled)

    @property
    def in_doubt(self) -> list[Record]:
        """Those of `handled` whose earlier attempt may have had its effect: plain tier."""
        return [record for record in self.handled if record.in_doubt]

    @property
    def settled(self) -> bool:
        """Whether all that was sent is settled. False only by a clock of yours."""
        self.run()
        return self.stage.drained()

    @property
    def crashes(self) -> int:
        """How many workers have died."""
        self.run()
        return self.stage.crashes

    @property
    def events(self) -> list[Event]:
        """What happened on the line so far, see `eos.core.events`. This does not make it work."""
        return list(self.stage.notes.events)

    # --- what goes wrong ------------------------------------------------------------------

    def crash(self, *, before: str | None = None, after: str | None = None, call: int = 1) -> None:
        """Let the worker die at a crash point; another one takes over.

        It dies as by `kill -9`: nothing is told, closed or given up. Its successor has the same
        transactional id, so that the broker ends the transaction that it left open.

        Without a crash point it dies now, after what was sent before was worked off; so it is
        with everything else that goes wrong.

        Args:
            before: It dies before this call: the request is never made.
            after: It dies after this call: the answer is never read. `handler`, or a method of
                a port, such as `produce`, `send_offsets`, `commit` or `ledger.settle`.
            call: At which such call from now on, from 1.

        Raises:
            ValueError: If there is no such call.
        """

        def die() -> None:
            raise Died

        action = self.stage.bury if before is after is None else die
        self._at("the crash", action, before, after, call)

    def stall(self, *, before: str | None = None, after: str | None = None, call: int = 1) -> None:
        """Let the worker be held up at a crash point until all its work was done by another one.

        The group takes it for dead; then it goes on, as a zombie: what it settles is refused, and
        an effect that it has now carries an older `fencing_token` than one that was seen. See
        `crash` for the crash point.
        """
        self.stage.wires.draw(
            "the stall", self.stage.overtake, before=before, after=after, call=call
        )

    def lose_ledger(
        self, *, before: str | None = None, after: str | None = None, call: int = 1
    ) -> None:
        """Let the ledger forget everything; see `crash`.

        Raises:
            TypeError: If it is not a ledger in memory: then empty it yourself.
        """
        ledger = self.stage.ledger
        if not isinstance(ledger, MemoryLedger):
            raise TypeError(f"{type(ledger).__name__} is no ledger in memory: empty it yourself")
        self._at("the loss of the ledger", ledger.lose, before, after, call)

    def rebalance(
        self, *, before: str | None = None, after: str | None = None, call: int = 1
    ) -> None:
        """Let the group share its partitions anew; see `crash`."""
        self._at("the rebalance", self.stage.kafka.rebalance, before, after, call)

    def disconnect(
        self, *, before: str | None = None, after: str | None = None, call: int = 1
    ) -> None:
        """Let a call fail because its server is away; see `crash`. After it: the answer is lost."""

        def fail() -> None:
            raise RetriableError("disconnected by the test")

        self.stage.wires.draw("the disconnect", fail, before=before, after=after, call=call)

    def redeliver(self) -> None:
        """Let the next records that are handled be delivered once more, unsettled.

        The transaction that would settle them is aborted, as by a rebalance; in the plain tier
        the ledger is not told, and they come in doubt.

        Raises:
            ValueError: If the app has steps of several tiers: then say where, with `crash`.
        """
        ends = {_end_of(step) for step in self.stage.steps}
        if len(ends) != 1:
            raise ValueError("this app has steps of two tiers: ask for crash(before=…) instead")

        def abort() -> None:
            raise AbortableError("redelivery, asked for by the test", "transaction")

        wires = self.stage.wires
        wires.draw("the redelivery", abort, before=ends.pop(), after=None, call=1)

    def restart(self) -> None:
        """Let the line work, and replace the worker, as a deployment does."""
        self.run()
        self.stage.stop()

    def _at(
        self,
        what: str,
        action: Callable[[], None],
        before: str | None,
        after: str | None,
        call: int,
    ) -> None:
        if before is after is None:
            self.run()
            action()
        else:
            self.stage.wires.draw(what, action, before=before, after=after, call=call)

    # --- beginning and end ----------------------------------------------------------------

    def __enter__(self) -> Self:
        self.clock.watch(self.run)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the worker.

        Raises:
            AssertionError: If a crash, or what else was asked for, never came about.
        """
        self.clock.unwatch(self.run)
        self.stage.stop()
        if error is None and self.stage.wires.drawn:
            never = "; ".join(str(wire) for wire in self.stage.wires.drawn)
            raise AssertionError(f"asked for, and never came about: {never}")


def _payload(value: Any) -> bytes | None:
    return json.dumps(value).encode() if isinstance(value, dict | list) else _bytes(value)


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _end_of(step: Step) -> str:
    """Name the call that settles what a step handled."""
    if step.into is not None:
        return "effects.commit"
    return "ledger.settle" if step.plain else "transactions.commit"
