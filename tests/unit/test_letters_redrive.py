"""In what order letters are redriven, and what a producer that was made anew means for it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from eos.core.errors import AbortableError
from eos.core.letters import Letter, Note, Place, read_note
from eos.core.record import Headers, Position
from eos.operate.letters import Found, Payload, Selection
from eos.operate.redrive import Redrive

ALL = Selection()


def letter(offset: int) -> Letter:
    where = Position("T0", 0, offset)
    return Letter(Place(0, offset), 0, "conflict", 1, "orders", where, 0, b"k", "", "", None, [])


class Topic:
    """The letters, and what was published: both ports of a redrive at once.

    Attributes:
        letters: Those that are there.
        notes: What is done with.
        published: The offsets of the letters that were published, a list for each transaction.
        renewals: How often the producer was made anew.
        refuses: Offsets of those that the brokers do not take.
        replaced: Has another command take over before a transaction begins, once.
    """

    topic = "letters"

    def __init__(self, count: int) -> None:
        self.letters = [letter(offset) for offset in range(count)]
        self.notes: dict[Place, Note] = {}
        self.published: list[list[int]] = []
        self.renewals = 0
        self.refuses: set[int] = set()
        self.replaced = False
        self.finds = 0
        self._open: list[int] = []
        self._note: Note | None = None

    def find(self) -> Found:
        self.finds += 1
        return Found({each.place: each for each in self.letters}, dict(self.notes), 0)

    def payloads(
        self, _partition: int, letters: Mapping[int, Letter]
    ) -> Iterator[tuple[Letter, Payload]]:
        for offset, each in letters.items():
            yield each, Payload(None, str(offset).encode(), [])

    def describe(self, _topic: str) -> tuple[str, int]:
        return "T0", 1

    def settle_unknown(self) -> None:
        self.renewals += 1
        self._open = []

    def begin(self) -> None:
        if self.replaced:
            self.replaced = False
            redrive(self, "another")(ALL)
            self.renewals += 1
        self._open = []

    def produce(self, topic: str, value: bytes, _key: Any, headers: Headers, _to: int) -> None:
        if topic == "orders":
            self._open.append(int(value))
        else:
            self._note = read_note(headers, value)

    def commit(self) -> bool:
        if self.refuses & set(self._open):
            raise AbortableError("too large", cause="rejected")
        self.published.append(self._open)
        assert self._note
        self.notes.update((Place(0, offset), self._note) for offset in self._note.offsets)
        return True

    def abort(self) -> None:
        self._open = []

    def close(self) -> None:
        pass


def redrive(topic: Any, run: str = "this") -> Redrive:
    return Redrive(topic, topic, renewals=lambda: topic.renewals, max_bytes=10**6, run=run)


def test_what_was_read_before_the_producer_was_made_anew_is_not_published() -> None:
    topic = Topic(3)
    topic.replaced = True
    doing = redrive(topic)
    with pytest.raises(AbortableError, match="made anew"):
        doing(ALL)
    assert topic.published == [[0, 1, 2]], "the other command's"
    assert doing(ALL).done == 0
    assert topic.published == [[0, 1, 2]]


@pytest.mark.parametrize("refused", [{0}, {6}, {2, 5}, {0, 1, 2, 3, 4, 5, 6}])
def test_what_the_brokers_refuse_is_left_alone_and_the_others_are_published_once(
    refused: set[int],
) -> None:
    topic = Topic(7)
    topic.refuses = refused
    outcome = redrive(topic)(ALL)
    assert outcome.left == {Place(0, offset): "too large" for offset in refused}
    assert outcome.done == 7 - len(refused)
    published = [offset for each in topic.published for offset in each]
    assert sorted(published) == sorted(set(range(7)) - refused)


def test_after_each_refusal_all_begins_again_with_reading() -> None:
    topic = Topic(2)
    topic.refuses = {1}
    redrive(topic)(ALL)
    assert topic.finds == topic.renewals == 3, "of both, of the second alone, and of the rest"
    assert topic.published == [[0]]
