"""What becomes of a call, by what the line found."""

import asyncio
import random
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eos.core.errors import EosError, FatalError, RetriableError
from eos.core.events import DeadLettered
from eos.core.record import Headers
from eos.core.rules import Owner, Verdict
from eos.doors.sidecar.publish.publication import Outcome, Publication
from eos.handle import Handled

Told = Callable[[int | EosError], None]


class Log:
    """A log of one partition that the test settles by hand."""

    requests = "requests"

    def __init__(self) -> None:
        self.appended: list[tuple[int, bytes, Headers]] = []
        self.answer: EosError | None = None
        self.silent = False
        self.number: dict[int, int] = {0: 1}
        self.ends: Mapping[int, int] = {}
        self.asked = 0

    def append(
        self, topic: str, partition: int, value: bytes, headers: Headers, told: Told
    ) -> None:
        assert topic == self.requests
        self.appended.append((partition, value, headers))
        if not self.silent:
            told(self.answer or len(self.appended) - 1)

    def assigned(self) -> dict[int, int]:
        return self.number

    def settled(self) -> Mapping[int, int]:
        self.asked += 1
        return self.ends


class Desk:
    """A publication, and its log."""

    def __init__(self, timeout: float = 5.0) -> None:
        self.log = Log()
        self.publication = Publication(lambda f, *a: f(*a), timeout, random.Random(1))
        self.publication.log = cast("Any", self.log)

    def call(self, key: bytes = b"k", value: bytes = b"v") -> "asyncio.Task[Outcome]":
        return asyncio.ensure_future(self.publication(key, value, []))

    async def appended(self, count: int) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)
            if len(self.log.appended) >= count:
                return
        raise AssertionError("nothing is appended")

    def settle(
        self,
        offset: int,
        verdict: Verdict = Verdict.FRESH,
        owner: Owner | None = None,
        letter: str = "",
    ) -> None:
        judged = [SimpleNamespace(verdict=verdict, owner=owner)]
        lane = SimpleNamespace(partition=("requests", 0), shard=SimpleNamespace(topic_id="id"))
        slice_ = SimpleNamespace(
            lane=lane,
            end=offset + 1,
            offsets=[offset],
            judged=None if verdict is Verdict.FRESH else judged,
        )
        letters = [DeadLettered("requests", letter, f"id/0/{offset}")] if letter else []
        self.publication.told([cast("Handled", SimpleNamespace(slice=slice_, letters=letters))])


def run(work: Callable[[Desk], Any], **given: Any) -> Any:
    async def main() -> Any:
        return await work(Desk(**given))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("verdict", "letter", "outcome"),
    [
        (Verdict.FRESH, "", Outcome.PUBLISHED),
        (Verdict.AGAIN, "", Outcome.PUBLISHED),
        (Verdict.FRESH, "unsendable", Outcome.REFUSED),
        (Verdict.CONFLICT, "conflict", Outcome.OTHER_PAYLOAD),
        (Verdict.SETTLED, "", Outcome.MOVED),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_the_verdict_decides(
    verdict: Verdict, letter: str, outcome: Outcome, *, early: bool
) -> None:
    async def work(desk: Desk) -> Outcome:
        if early:
            desk.settle(0, verdict, letter=letter)
        call = desk.call()
        await desk.appended(1)
        if not early:
            await asyncio.sleep(0.01)
            desk.settle(0, verdict, letter=letter)
        return await call

    assert run(work) is outcome


def test_a_copy_is_answered_once_its_owner_is_settled() -> None:
    async def work(desk: Desk) -> list[Outcome]:
        found = []
        for offset, ends in enumerate([{3: 10}, {3: 11}, {3: 0}]):
            desk.log.ends = ends
            call = desk.call()
            await desk.appended(offset + 1)
            desk.settle(offset, Verdict.DUPLICATE, Owner(3, 10, 0))
            found.append(await call)
        assert desk.log.asked == 2  # what is settled stays settled
        return found

    assert run(work) == [Outcome.IN_FLIGHT, Outcome.REPEATED, Outcome.REPEATED]


def test_a_copy_in_a_partition_of_ours_needs_no_question() -> None:
    async def work(desk: Desk) -> Outcome:
        desk.settle(0)
        desk.log.appended.append((0, b"", []))
        call = desk.call()
        await desk.appended(2)
        desk.settle(1, Verdict.DUPLICATE, Owner(0, 0, 0))
        outcome = await call
        assert desk.log.asked == 0
        return outcome

    assert run(work) is Outcome.REPEATED


def test_while_a_call_is_in_flight_its_copies_are_not_appended() -> None:
    async def work(desk: Desk) -> list[Outcome]:
        first = desk.call()
        await desk.appended(1)
        found = [await desk.call(), await desk.call(value=b"other")]
        desk.settle(0)
        assert len(desk.log.appended) == 1
        found.append(await first)
        assert desk.publication.waiting == 0
        return found

    assert run(work) == [Outcome.IN_FLIGHT, Outcome.OTHER_PAYLOAD, Outcome.PUBLISHED]


def test_one_who_waits_too_long_is_told_so_and_may_ask_again() -> None:
    async def work(desk: Desk) -> list[Outcome]:
        desk.log.silent = True
        return [await desk.call(), await desk.call()]

    assert run(work, timeout=0.01) == [Outcome.LATE, Outcome.LATE]


def test_one_whose_partition_went_to_another_sidecar_is_told_so() -> None:
    async def work(desk: Desk) -> list[Outcome]:
        call = desk.call()
        await desk.appended(1)
        desk.log.number = {0: 2}
        moved = await call
        desk.log.number = {}
        return [moved, await desk.call()]

    assert run(work) == [Outcome.MOVED, Outcome.MOVED]


def test_brokers_that_are_away_are_told_from_those_that_refuse() -> None:
    async def work(desk: Desk) -> Outcome:
        desk.log.answer = RetriableError("away", on="kafka")
        outcome = await desk.call()
        desk.log.answer = FatalError("no")
        with pytest.raises(FatalError):
            await desk.call()
        assert desk.publication.waiting == 0
        return outcome

    assert run(work) is Outcome.AWAY


def test_a_sidecar_that_is_not_ready_takes_nothing() -> None:
    async def work(desk: Desk) -> Outcome:
        desk.publication.log = None
        return await desk.call()

    assert run(work) is Outcome.MOVED


def test_outcomes_that_nobody_waits_for_are_forgotten() -> None:
    async def work(desk: Desk) -> list[Outcome]:
        for offset in (1, 0, *range(2, 10_001)):
            desk.settle(offset)
        return [await desk.call(), await desk.call()]

    assert run(work, timeout=0.01) == [Outcome.PUBLISHED, Outcome.LATE]
