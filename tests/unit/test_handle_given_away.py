"""A partition that the vigil gives away while a handler is busy: the rest of it is left alone."""

from typing import Any

import pytest

from eos.core.events import GivenAway
from eos.core.record import Record, Send
from eos.handle import Handle, Step
from tests.unit.handling import MAX_BYTES, SETTINGS, Bench


class Losing(Bench):
    """A bench whose lane is lost while the handler is busy with its n-th record."""

    def __init__(self, loses_at: int, **bench: Any) -> None:
        super().__init__(self._handler, **bench)
        self.values: list[bytes | None] = []
        ledger: Any = self.ledger
        self.handle = Handle(
            steps=[Step("in", "out", self._handler, batch=False, name="step")],
            settings=SETTINGS,
            max_bytes=MAX_BYTES,
            ledger=ledger,
            hold=self._hold,
            emit=self.events.append,
            holds=lambda _: len(self.values) < loses_at,
        )

    def _handler(self, record: Record) -> Send:
        self.values.append(record.value)
        return Send(record.value)


@pytest.mark.parametrize(("loses_at", "end"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_no_further_record_of_a_lane_is_handled_once_it_is_lost(loses_at: int, end: int) -> None:
    bench = Losing(loses_at)
    handled = bench.once(b"a", b"b", b"c")
    assert bench.values == [b"a", b"b", b"c"][:end]
    assert [output.value for output in handled.outputs] == bench.values
    assert (handled.slice.start, handled.slice.end, handled.slice.read) == (0, end, end)
    left = [event.given_back for event in bench.events if isinstance(event, GivenAway)]
    assert left == ([3 - end] if end < 3 else [])


def test_what_is_left_of_a_lost_lane_has_not_begun() -> None:
    bench = Losing(1, plain=True)
    bench.once(b"a", b"b", b"c")
    assert [mark.offset for mark in bench.ledger.marks] == [1]
