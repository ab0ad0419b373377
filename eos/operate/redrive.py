"""Has dead letters published again, or discards them.

What is published and the note that it is stand in one Kafka transaction. So there is no second
place to keep in step, and no group whose offsets could only tell of all letters up to one, when
those of one reason are chosen. A command that is killed leaves a transaction open: the next one has
the same transactional id, ends that transaction, reads the topic, and finds in it what was done.

So whatever begins under that id must have read the topic under it. A producer that was made anew
may have fenced another command, which had fenced us: then all begins again with reading.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from eos.core.errors import AbortableError
from eos.core.letters import (
    Done,
    Letter,
    Note,
    Place,
    least_headers,
    redriven_headers,
    write_note,
)
from eos.core.ports import Transactions
from eos.handle.letters import Output, size_of
from eos.operate.letters import Letters, Payload, Selection

BATCH = 500
"""At most so many letters go into a transaction."""
BATCH_BYTES = 8_000_000


@dataclass(slots=True)
class Outcome:
    """What a command did.

    Attributes:
        done: How many letters are done with by it.
        left: Those that cannot be published again, and why.
    """

    done: int = 0
    left: dict[Place, str] = field(default_factory=dict)


class _Work(NamedTuple):
    """A letter that is to be done with, and what is published for it."""

    place: Place
    output: Output | None = None
    partition: int = -1


class Redrive:
    """One command that does letters of a namespace.

    Args:
        letters: The letters.
        transactions: A producer under a transactional id that all commands of the namespace share.
        renewals: How often that producer was made anew.
        max_bytes: How large a message may be.
        run: Names this command among others.

    Attributes:
        committed: How many letters it has done with so far.
    """

    def __init__(
        self,
        letters: Letters,
        transactions: Transactions,
        *,
        renewals: Callable[[], int],
        max_bytes: int,
        run: str,
    ) -> None:
        self.letters = letters
        self.committed = 0
        self._transactions = transactions
        self._renewals = renewals
        self._max_bytes = max_bytes
        self._run = run
        self._left: dict[Place, str] = {}
        self._in_few: dict[Place, int] = {}

    def __call__(self, selection: Selection, *, again: bool = False) -> Outcome:
        """Publish letters again where they came from.

        May be called again after it raised: what was committed is not published a second time.

        Args:
            selection: Which.
            again: Also those that are done with; the claim suppresses what was handled.

        Raises:
            AbortableError: Call again.
            RetriableError: A server is away: call again.
            FencedError: Another command works on these letters.
            ConfigError: There is no topic of letters.
        """
        return self._do(selection, Done.REDRIVEN, again=again)

    def discard(self, selection: Selection, done: Done = Done.DISCARDED) -> Outcome:
        """Note that letters are done with, and how. Raises as a call does."""
        return self._do(selection, done, again=False)

    def close(self) -> None:
        """Give the connections back."""
        self._transactions.close()
        self.letters.close()

    def _do(self, selection: Selection, done: Done, *, again: bool) -> Outcome:
        while (count := self._pass(selection, done, again=again)) is None:
            pass
        return Outcome(count, dict(self._left))

    def _pass(self, selection: Selection, done: Done, *, again: bool) -> int | None:
        """Read what stands there, and do it; None if the brokers refused some of it.

        The client cannot go on with a producer after that: it has lost count of what it sent.
        """
        self._transactions.settle_unknown()  # ends what a command that was killed left open
        renewals = self._renewals()
        found = self.letters.find()
        ours = {place for place, note in found.notes.items() if note.run == self._run}
        wanted: dict[int, dict[int, Letter]] = {}
        for letter in found.chosen(selection, done=again):
            if letter.place not in ours and letter.place not in self._left:
                wanted.setdefault(letter.place.partition, {})[letter.place.offset] = letter
        count = len(ours)
        for partition, letters in wanted.items():
            with closing(self._works(partition, letters, done)) as works:
                for batch in self._batches(works):
                    if not self._publish(batch, done, renewals):
                        return None
                    count += len(batch)
        return count

    def _works(
        self, partition: int, letters: Mapping[int, Letter], done: Done
    ) -> Generator[_Work, None, None]:
        if done is not Done.REDRIVEN:
            yield from (_Work(letter.place) for letter in letters.values())
            return
        for letter, payload in self.letters.payloads(partition, letters):
            output = self._output(letter, payload)
            if output is not None:
                yield _Work(letter.place, output, self._partition(letter))

    def _batches(self, works: Iterable[_Work]) -> Iterator[list[_Work]]:
        """Give what is to be done in one transaction each."""
        batch: list[_Work] = []
        size, most = 0, BATCH
        for work in works:
            few = self._in_few.get(work.place, BATCH)
            if batch and len(batch) >= few:
                yield batch
                batch, size, most = [], 0, BATCH
            batch.append(work)
            size += size_of(work.output) if work.output else 0
            most = min(most, few)
            if len(batch) >= most or size >= BATCH_BYTES:
                yield batch
                batch, size, most = [], 0, BATCH
        if batch:
            yield batch

    def _output(self, letter: Letter, payload: Payload | None) -> Output | None:
        """Give what is published for a letter; None if nothing can be."""
        if self.letters.describe(letter.topic) is None:
            self._left[letter.place] = f"topic {letter.topic!r} does not exist"
            return None
        if payload is None:
            self._left[letter.place] = (
                f"its payload was left out, and {letter.position} is not in the log any more"
            )
            return None
        headers = redriven_headers(letter, payload.headers)
        output = Output(letter.topic, payload.value, payload.key, headers)
        if size_of(output) > self._max_bytes:
            # It was that large before.
            output = output._replace(headers=least_headers(letter, payload.headers))
        return output

    def _partition(self, letter: Letter) -> int:
        """Give the partition where it stood: it stays with its likes, whoever sent it there."""
        topic_id, count = self.letters.describe(letter.topic) or ("", 0)
        stays = topic_id == letter.position.topic_id and letter.position.partition < count
        return letter.position.partition if stays else -1

    def _publish(self, batch: Sequence[_Work], done: Done, renewals: int) -> bool:
        """Do a batch; False if the brokers refuse it."""
        try:
            self._commit(batch, done, renewals)
        except AbortableError as error:
            self._transactions.abort()
            if error.cause != "rejected":
                raise
            if len(batch) > 1:  # it is divided until the letter is alone
                self._in_few.update((work.place, len(batch) // 2) for work in batch)
            else:
                self._left[batch[0].place] = str(error)
            return False
        except BaseException:
            self._transactions.abort()
            raise
        self.committed += len(batch)
        return True

    def _commit(self, batch: Sequence[_Work], done: Done, renewals: int) -> None:
        note = Note(done, self._run, [work.place.offset for work in batch])
        value, headers = write_note(note)
        self._transactions.begin()
        if self._renewals() != renewals:
            raise AbortableError("the producer was made anew", "transaction")
        for work in batch:
            if work.output is not None:
                self._transactions.produce(*work.output, work.partition)
        partition = batch[0].place.partition
        self._transactions.produce(self.letters.topic, value, None, headers, partition)
        if not self._transactions.commit():
            raise AbortableError("nobody says what became of a transaction", "unknown_outcome")
