"""Who has dead letters published again, as `eos dlq redrive` does."""

from collections.abc import Container

from eos.core.letters import Done
from tests.simulation.actor import Actor, Fate, Steps, World
from tests.simulation.kafka import Fenced, Record
from tests.simulation.ledger import owner_of


class Redriver(Actor):
    """One operator, or one after another: whoever comes later fences the one before.

    Nobody can tell whether a command that was killed has published a letter, but the log. So each
    pass begins with a new producer and with reading the letters.
    """

    def __init__(self, world: World, unforgiven: Container[int], *, beside_replays: bool) -> None:
        super().__init__(world, "redriver")
        self.unforgiven = unforgiven
        self.beside_replays = beside_replays
        """A replay handles a letter without a key again; and a second copy of one, if it lost the
        owner before that was settled. So neither is redriven beside replays."""

    def run(self) -> Steps[None]:
        """Redrive now and then."""
        while True:
            yield
            try:
                yield from self._pass()
            except Fenced:
                self.tell("is fenced by another one")

    def done(self) -> bool:
        """Tell whether nothing waits that is redriven in the end."""
        return not any(map(self._waits, range(len(self.world.kafka.letters))))

    def _pass(self) -> Steps[None]:
        kafka = self.world.kafka
        epoch = kafka.take_redriver()
        yield
        chosen = self._choose()
        for letter in chosen:
            yield
            moves = not self.world.on.claim_moves
            if moves and self.world.on.tool_first:
                self._move(letter, None)
                yield
            published = self._publish(epoch, letter)
            yield
            if published is None:
                return
            if moves and not self.world.on.tool_first:
                self._move(letter, published)

    def _choose(self) -> list[int]:
        """Choose some of the letters that can be read; now and then one that is done with."""
        die, kafka = self.world.die, self.world.kafka
        if self.world.healing:
            return [n for n in range(len(kafka.letters)) if self._waits(n)]
        return [
            n
            for n, letter in enumerate(kafka.read_letters())
            if kafka.noted.get(n) is not Done.REPLAYED
            and not (self.beside_replays and n in kafka.noted)
            and self._may(letter.record)
            and die.chance((0.5 if letter.failed else 0.05) * (0.2 if n in kafka.noted else 1))
        ][:2]

    def _waits(self, letter: int) -> bool:
        kafka = self.world.kafka
        told = kafka.letters[letter]
        forgiven = self._may(told.record) and told.record.called not in self.unforgiven
        return forgiven and told.failed and letter not in kafka.noted

    def _may(self, record: Record) -> bool:
        return record.called >= 0 or not self.beside_replays

    def _publish(self, epoch: int, letter: int) -> Record | None:
        """Publish once; None if nobody knows whether it was."""
        world, kafka, die = self.world, self.world.kafka, self.world.die
        place = kafka.letters[letter].record.partition
        partition = place if die.chance(0.6) else die.below(len(kafka.log))

        def request() -> Record:
            record = kafka.redrive(epoch, letter, partition)
            world.appended(record)
            return record

        fate = world.fate()
        if fate is Fate.FINE:
            return request()
        self.tell("gets no answer to its commit")
        if fate is Fate.ANSWER_LOST:
            request()
        else:
            world.delay(f"{self.name}'s commit", request)
        return None

    def _move(self, letter: int, to: Record | None) -> None:
        record = self.world.kafka.letters[letter].record
        place = record.partition, record.offset
        self.world.ledger.move(record.called, place, owner_of(to) if to else None)
        self.tell("moves the key of {} to {}", record, to)
