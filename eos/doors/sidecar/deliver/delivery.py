"""Hands the records of a topic to the app, and what it answers to the line.

The line asks for a partition's records as a whole, and of all partitions at once. Events with
different Kafka keys go at the same time, those of one key one after the other.

What was handled, but stands behind an event that is to be tried again, is remembered: when the
line comes back to it, it is not pushed once more. Whoever takes the partition over pushes it again,
under a higher fencing token.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from eos.core.cloudevents import MalformedEventError
from eos.core.errors import HandlerError, RetriableError
from eos.core.events import Emit, Pushed
from eos.core.record import Record, Send
from eos.doors.sidecar.config import Deliver
from eos.doors.sidecar.deliver.answers import Answer, Fate, retry_after
from eos.doors.sidecar.deliver.calls import Calls
from eos.doors.sidecar.deliver.requests import BATCHED, Request, batch_of, request_of, sends_of

Result = list[Send] | Exception
"""What the app has published, or why the event is not handled."""

_QUOTED = 120

Run = Callable[[Coroutine[Any, Any, Any]], Future[Any]]
"""Runs a coroutine in the loop, and gives what it comes to."""


class FailedError(Exception):
    """The app did not handle it; another try may help."""


@dataclass(slots=True)
class _Pushed:
    """What became of the records of a partition that were pushed together.

    Attributes:
        found: The results that there are, by offset.
        fates: How many events met with which fate.
        seconds: How long each call took.
    """

    found: dict[int, Result] = field(default_factory=dict)
    fates: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


class Delivery:
    """Delivers one topic. Called by the line, and pushes in another thread's event loop.

    Args:
        deliver: What is delivered, and how.
        calls: Calls the app; belongs to the loop.
        run: Runs a coroutine in the loop.
        emit: Told how pushes went; in the line's thread.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        deliver: Deliver,
        calls: Calls,
        run: Run,
        emit: Emit,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._deliver = deliver
        self._calls = calls
        self._run = run
        self._emit = emit
        self._clock = clock
        self._under_way: dict[int, Future[_Pushed]] = {}
        self._handled: dict[int, dict[int, Result]] = {}
        self._tokens: dict[int, int] = {}

    def ahead(self, records: Sequence[Record]) -> None:
        """Begin to push the records of a partition."""
        partition = records[0].partition
        before = self._under_way.get(partition)
        self._under_way[partition] = self._run(self._push(list(records), before))

    def __call__(self, records: Sequence[Record]) -> list[Result]:
        """Push the records of a partition, and wait for the answers.

        Returns:
            What each of them has published, or the exception that says what is to become of it.
        """
        partition = records[0].partition
        if partition not in self._under_way:
            self.ahead(records)
        pushed = self._under_way.pop(partition).result()
        away = self._calls.breaker.open
        self._emit(Pushed(self._deliver.topic, pushed.fates, pushed.seconds, away=away))
        behind = RetriableError("an event before it is not handled yet", on="app")
        return [pushed.found.get(record.offset, behind) for record in records]

    def one(self, record: Record) -> list[Send]:
        """Push one record; for policies that ask about each. Raises what says it failed."""
        (result,) = self([record])
        if isinstance(result, Exception):
            raise result
        return result

    async def _push(self, records: list[Record], before: Future[_Pushed] | None) -> _Pushed:
        if before is not None:  # of a batch that the line gave up
            await asyncio.wait([asyncio.wrap_future(before)])
        pushed = _Pushed(self._remembered(records[0]))
        left = [record for record in records if record.offset not in pushed.found]
        if left and self._calls.breaker.open:
            await self._one(left.pop(0), pushed, probing=True)
        if not self._calls.breaker.open:
            await self._all(left, pushed)
        self._remember(records[0].partition, pushed)
        return pushed

    async def _all(self, records: Sequence[Record], pushed: _Pushed) -> None:
        if self._deliver.mode != BATCHED:
            await asyncio.gather(*(self._chain(chain, pushed) for chain in _by_key(records)))
            return
        for first in range(0, len(records), self._deliver.batch):
            if not await self._batch(records[first : first + self._deliver.batch], pushed):
                return

    async def _chain(self, records: Sequence[Record], pushed: _Pushed) -> bool:
        """Push one after the other; False at one that is to be tried again."""
        for record in records:
            if not await self._one(record, pushed):
                return False
        return True

    async def _batch(self, records: Sequence[Record], pushed: _Pushed) -> bool:
        """Push several at once; one by one what was not taken so."""
        request = batch_of(records)
        fate, answer = await self._post(request, pushed, len(records))
        result = self._result(fate, answer)
        if isinstance(result, list):
            # What it has published goes with the last one: they are settled together, or not at
            # all, for none of them fails.
            pushed.found.update({record.offset: [] for record in records[:-1]})
            pushed.found[records[-1].offset] = result
            return True
        if len(records) > 1 and not isinstance(result, RetriableError):
            return await self._chain(records, pushed)
        pushed.found[records[0].offset] = result
        return isinstance(result, HandlerError)

    async def _one(self, record: Record, pushed: _Pushed, *, probing: bool = False) -> bool:
        batched = self._deliver.mode == BATCHED
        request = batch_of([record]) if batched else request_of(self._deliver.mode, record)
        fate, answer = await self._post(request, pushed, 1, probing=probing)
        pushed.found[record.offset] = result = self._result(fate, answer)
        return isinstance(result, list | HandlerError)

    async def _post(
        self, request: Request, pushed: _Pushed, events: int, *, probing: bool = False
    ) -> tuple[Fate, Answer]:
        path = self._deliver.path
        fate, answer, seconds = await self._calls.post(path, request, probing=probing)
        pushed.fates[fate.value] += events
        pushed.seconds.append(seconds)
        return fate, answer

    def _result(self, fate: Fate, answer: Answer) -> Result:
        told = _in_words(answer)
        match fate:
            case Fate.HANDLED:
                return self._sends(answer)
            case Fate.REJECTED:
                return HandlerError(f"the app rejects it: {told}", reason="rejected")
            case Fate.BUSY:
                after = retry_after(answer.headers.get("retry-after"), self._clock())
                return RetriableError(f"the app is busy: {told}", on="app", after=after)
            case Fate.AWAY:
                return RetriableError(f"the app is away: {told}", on="app")
            case _:
                return FailedError(f"the app did not handle it: {told}")

    def _sends(self, answer: Answer) -> Result:
        try:
            return sends_of(answer) if self._deliver.to else []
        except (MalformedEventError, HandlerError) as error:
            return FailedError(f"the app answers with what is no event: {error}")

    def _remembered(self, first: Record) -> dict[int, Result]:
        """Give what was handled and is not settled yet, from this record on."""
        partition, token = first.partition, first.fencing_token
        if self._tokens.get(partition) != token:
            self._tokens[partition], self._handled[partition] = token, {}
        handled = self._handled[partition]
        return {offset: handled[offset] for offset in handled if offset >= first.offset}

    def _remember(self, partition: int, pushed: _Pushed) -> None:
        if self._deliver.mode == BATCHED and self._deliver.to:
            return  # what a batch has published belongs to all of it
        found = pushed.found
        self._handled[partition] = {o: found[o] for o in found if isinstance(found[o], list)}


def _by_key(records: Sequence[Record]) -> Iterable[list[Record]]:
    """Sort records into those that may be pushed at the same time; their order is kept."""
    chains: dict[object, list[Record]] = {}
    for record in records:
        name = record.offset if record.key is None else record.key
        chains.setdefault(name, []).append(record)
    return chains.values()


def _in_words(answer: Answer) -> str:
    body = answer.body[:_QUOTED].decode("utf-8", "replace")
    return f"{answer.status} {body}".strip() if answer.status else body
