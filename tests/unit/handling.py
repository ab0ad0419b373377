"""A bench for the third step: one handler, and what it is given."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from eos.consume.lanes import Lane, Slice
from eos.core.errors import RetriableError
from eos.core.events import Event
from eos.core.ports import Mark
from eos.core.record import Record, Send, Shard
from eos.core.settings import Settings
from eos.handle import Handle, Handled, Step
from eos.handle.letters import Output

SETTINGS = Settings(
    group="g", brokers="a:1", ledger="memory:", namespace="ns", retries=2, backoff="1s"
)
MAX_BYTES = 1000


class Held(NamedTuple):
    """A lane that is to be read again."""

    offset: int
    attempts: int
    seconds: float


class Ledger:
    """Notes the marks that it is given; it may be away, or have lost its seal."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.rewound: list[Mark] = []
        self.sealed = True
        self.away = False

    def begin(self, _shard: Shard, _seal: str, mark: Mark) -> bool:
        self.marks.append(mark)
        if self.away:
            raise RetriableError("no connection", "ledger")
        return self.sealed

    def rewind(self, _shard: Shard, marks: Sequence[Mark]) -> bool:
        self.rewound += marks
        return self.sealed


class Bench:
    """One handler, and what it is given; what it cannot handle yet is noted."""

    def __init__(
        self,
        handler: Callable[[Any], Any],
        *,
        to: str | None = "out",
        batch: bool = False,
        plain: bool = False,
        settings: Settings = SETTINGS,
        **step: Any,
    ) -> None:
        self.events: list[Event] = []
        self.held: list[Held] = []
        self.handled: list[Handled] = []
        self.ledger = Ledger()
        ledger: Any = self.ledger
        self.lane = Lane(("in", 0), Shard("ns", "g", "id"), 7, 1, 0, 0, plain=plain)
        self.handle = Handle(
            steps=[Step("in", to, handler, batch=batch, name="step", **step)],
            settings=settings,
            max_bytes=MAX_BYTES,
            ledger=ledger,
            hold=self._hold,
            emit=self.events.append,
        )

    def _hold(self, lane: Lane, offset: int, attempts: int, seconds: float) -> None:
        assert lane is self.lane
        self.held.append(Held(offset, attempts, seconds))

    def once(
        self,
        *values: bytes,
        rejected: Sequence[tuple[Record, str]] = (),
        attempts: Mapping[int, int] | None = None,
        start: int = 0,
        doubt: Collection[int] = (),
    ) -> Handled:
        """Handle one slice.

        Args:
            values: The payloads.
            rejected: What the claim has rejected.
            attempts: How often records were tried before, by offset.
            start: The first offset.
            doubt: The offsets in doubt.
        """
        records = [record(start + n, value) for n, value in enumerate(values)]
        for each in records:
            each.attempt += (attempts or {}).get(each.offset, 0)
            each.in_doubt = each.offset in doubt
        offsets = [each.offset for each in records]
        end = start + len(values)
        slice_ = Slice(self.lane, start, end, records, offsets, rejected=list(rejected))
        (handled,) = self.handle([slice_])
        self.handled.append(handled)
        return handled

    def run(self, *values: bytes, rejected: Sequence[tuple[Record, str]] = ()) -> list[Output]:
        """Handle slices until nothing is left, as the line does."""
        outputs: list[Output] = []
        start, attempts = 0, 0
        while True:
            handled = self.once(
                *values[start:], rejected=rejected, attempts={start: attempts}, start=start
            )
            outputs += handled.outputs
            start, attempts = handled.slice.end, handled.slice.attempts
            if start == len(values):
                return outputs

    def letters(self) -> list[str]:
        return [letter.reason for handled in self.handled for letter in handled.letters]


def record(offset: int, value: bytes, headers: Any = ()) -> Record:
    made = Record("in", "id", 0, offset, b"k", value, list(headers), 1000)
    made.idempotency_key = f"key-{offset}"
    return made


def told(output: Output) -> dict[str, str]:
    return {name: value.decode() for name, value in output.headers}


def fails_on(poison: bytes) -> Callable[[Record], Send]:
    def handler(each: Record) -> Send:
        if each.value == poison:
            raise ValueError("no")
        return Send(each.value)

    return handler
