"""Publishes for callers, through the log: a call is appended as a record, and the line does it.

So a call has a position, and whatever holds for records holds for it: its key is claimed before
anything is published, a copy of it is recognised wherever it stands, and what it publishes and
that it is done are one transaction. A sidecar appends to a partition that it reads itself, and
the call waits until the line has settled it:

1. Sidecar A appends a call, settles it, and dies before it answers.
2. The caller asks sidecar B, which appends the call to a partition of its own.
3. The line of B finds that A's position owns the key: a duplicate. Its frontier is past that
   position, so the answer is the one that A would have given; else it is still in flight.

The answer is a function of the call, so nobody need keep it.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from eos import build
from eos.core.errors import EosError, HandlerError, RetriableError
from eos.core.ports import Append
from eos.core.record import Headers, Record, Send
from eos.core.rules import Owner, Verdict
from eos.doors.sidecar.publish.envelope import sends_of
from eos.handle import Handled, Step

STEP = "publish"
"""Part of the ids of what is published."""

_EARLY = 10_000
_LOOK_SECONDS = 0.5

Place = tuple[int, int]
"""Partition and offset of a call's record."""


class Outcome(StrEnum):
    """What became of a call."""

    PUBLISHED = "published"
    REPEATED = "repeated"
    IN_FLIGHT = "in_flight"
    OTHER_PAYLOAD = "other_payload"
    REFUSED = "refused"
    MOVED = "moved"
    AWAY = "away"
    LATE = "late"


class Found(NamedTuple):
    """What the line found of a call's record.

    Attributes:
        verdict: The claim's.
        owner: Which other position owns its key; None: none.
        letter: Why it is a dead letter; empty: it is none.
    """

    verdict: Verdict
    owner: Owner | None = None
    letter: str = ""


class Log(Protocol):
    """The log of calls, as `eos.build.Publishing` gives it."""

    @property
    def append(self) -> Append:
        """Append a record."""

    @property
    def requests(self) -> str:
        """Give its topic."""

    def assigned(self) -> dict[int, int]:
        """Give the partitions that are read here, and each assignment's number."""

    def settled(self) -> Mapping[int, int]:
        """Give below which offset everything is settled, in partitions of others as well."""


class Publication:
    """The calls that wait, and the step that does what they ask for.

    `__call__` belongs to the loop, `publish` and `told` to the line's thread.

    Args:
        soon: Has a function called in the loop.
        timeout: For how long a call waits, in seconds.
        draw: Draws numbers, to spread calls over partitions.

    Attributes:
        log: Where calls are appended; None until there is one.
        waiting: How many calls wait.
    """

    def __init__(
        self,
        soon: Callable[..., Any],
        timeout: float,
        draw: random.Random | None = None,
    ) -> None:
        self._soon = soon
        self._timeout = timeout
        self._draw = draw or random.Random()  # noqa: S311 no secret
        self._calls: dict[bytes, bytes] = {}
        self._waiting: dict[Place, asyncio.Future[Found]] = {}
        self._early: OrderedDict[Place, Found] = OrderedDict()
        self._settled: dict[int, int] = {}
        self._looking, self._looks = asyncio.Lock(), 0
        self.log: Log | None = None

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._calls)

    async def __call__(self, key: bytes, value: bytes, traces: Headers) -> Outcome:
        """Publish what a call asks for, once.

        Args:
            key: Its idempotency key, of its caller.
            value: What it asks for, as `envelope.written` gives it.
            traces: Headers of its trace.

        Raises:
            FatalError: The brokers refuse it.
        """
        if key in self._calls:
            same = self._calls[key] == value
            return Outcome.IN_FLIGHT if same else Outcome.OTHER_PAYLOAD
        self._calls[key] = value
        try:
            async with asyncio.timeout(self._timeout):
                return await self._done(value, [(build.KEY, key), *traces])
        except TimeoutError:
            return Outcome.LATE
        except RetriableError:
            return Outcome.AWAY
        finally:
            del self._calls[key]

    def step(self, topic: str, source: str) -> Step:
        """Give the step of the line that publishes.

        Args:
            topic: One that is published to; each message names its own.
            source: The topic that calls stand in.
        """
        return Step(source, topic, self.publish, batch=True, name=STEP)

    def publish(self, records: Sequence[Record]) -> list[list[Send] | Exception]:
        """Give what calls ask for: the handler of the line."""
        return [_asked(record) for record in records]

    def told(self, handled: Sequence[Handled]) -> None:
        """Take note of what was settled."""
        ends = {each.slice.lane.partition[1]: each.slice.end for each in handled}
        self._soon(self._tell, ends, [pair for each in handled for pair in _found(each)])

    def _tell(self, ends: Mapping[int, int], found: Iterable[tuple[Place, Found]]) -> None:
        self._note(ends)
        for place, what in found:
            if (future := self._waiting.get(place)) is not None:
                if not future.done():
                    future.set_result(what)
                continue
            # It may be settled before its producer has told where it stands.
            self._early[place] = what
            if len(self._early) > _EARLY:
                self._early.popitem(last=False)

    async def _done(self, value: bytes, headers: Headers) -> Outcome:
        log = self.log
        assigned = log.assigned() if log is not None else {}
        if log is None or not assigned:
            return Outcome.MOVED
        partition = self._draw.choice(list(assigned))
        offset = await self._appended(log, partition, value, headers)
        found = await self._awaited(log, (partition, offset), assigned[partition])
        return Outcome.MOVED if found is None else await self._outcome(log, found)

    async def _appended(self, log: Log, partition: int, value: bytes, headers: Headers) -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()

        def done(answer: int | EosError) -> None:
            if future.done():  # nobody waits for it any more
                return
            if isinstance(answer, int):
                future.set_result(answer)
            else:
                future.set_exception(answer)

        log.append(
            log.requests,
            partition,
            value,
            headers,
            lambda answer: _call(loop, done, answer),
        )
        return await future

    async def _awaited(self, log: Log, place: Place, assignment: int) -> Found | None:
        """Wait until a call is settled; None: another sidecar reads it now."""
        if (early := self._early.pop(place, None)) is not None:
            return early
        future = self._waiting[place] = asyncio.get_running_loop().create_future()
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=_LOOK_SECONDS)
                if not future.done() and log.assigned().get(place[0]) != assignment:
                    return None
            found: Found = await future
            return found
        finally:
            del self._waiting[place]

    async def _outcome(self, log: Log, found: Found) -> Outcome:
        match found.verdict:
            case Verdict.FRESH | Verdict.AGAIN:
                return Outcome.REFUSED if found.letter else Outcome.PUBLISHED
            case Verdict.CONFLICT:
                return Outcome.OTHER_PAYLOAD
            case Verdict.DUPLICATE if found.owner is not None:
                settled = await self._is_settled(log, found.owner)
                return Outcome.REPEATED if settled else Outcome.IN_FLIGHT
            case _:  # settled before, and whoever did it knew as what
                return Outcome.MOVED

    async def _is_settled(self, log: Log, owner: Owner) -> bool:
        if owner.offset >= self._settled.get(owner.partition, 0):
            await self._look(log)
        return owner.offset < self._settled.get(owner.partition, 0)

    async def _look(self, log: Log) -> None:
        """Ask how far all partitions are; one question for all who came before it was asked."""
        before = self._looks
        async with self._looking:
            if self._looks == before:
                self._looks += 1
                self._note(await asyncio.to_thread(log.settled))

    def _note(self, ends: Mapping[int, int]) -> None:
        for partition, end in ends.items():
            self._settled[partition] = max(end, self._settled.get(partition, 0))


def _call(loop: asyncio.AbstractEventLoop, done: Callable[..., None], answer: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(done, answer)


def _asked(record: Record) -> list[Send] | Exception:
    try:
        return sends_of(record)
    except HandlerError as error:
        return error


def _found(handled: Handled) -> Iterable[tuple[Place, Found]]:
    """Give what the line found of each record that it settled."""
    slice_ = handled.slice
    partition = slice_.lane.partition[1]
    letters = {letter.position: letter.reason for letter in handled.letters}
    for n, offset in enumerate(slice_.offsets):
        judged = slice_.judged[n] if slice_.judged is not None else None
        verdict = judged.verdict if judged else Verdict.FRESH
        owner = judged.owner if judged else None
        position = f"{slice_.lane.shard.topic_id}/{partition}/{offset}"
        yield (partition, offset), Found(verdict, owner, letters.get(position, ""))
