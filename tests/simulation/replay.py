"""Who has what was settled handled again, as `eos replay` does."""

from collections.abc import Mapping
from functools import partial

from eos.core.frontier import Frontier, Replay
from eos.core.letters import Done
from eos.core.rules import Owner
from tests.simulation.actor import Actor, Rewind, Steps, World
from tests.simulation.kafka import Fenced, IllegalGeneration, Record


class Refused(Exception):  # noqa: N818 - an answer of the command
    """What was asked for cannot be done now."""


class Replayer(Actor):
    """An operator: stops the workers, moves the group's offsets back, starts the workers."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "replayer")
        self.busy = False
        """Whether the workers are stopped, and it is on it."""

    def run(self) -> Steps[None]:
        """Replay once, and again if workers came in between."""
        self.busy = True
        while True:
            self.world.stop_workers()
            yield
            try:
                yield from self._replay()
                break
            except IllegalGeneration:
                self.tell("is refused: the group has members")
            except (Rewind, Fenced) as why:
                self.tell("begins again: {}", why)
            except Refused as why:
                self.tell("is refused: {}", why)
                break
        self.busy = False
        self.world.start_workers()

    def _replay(self) -> Steps[None]:
        kafka, ledger, on = self.world.kafka, self.world.ledger, self.world.on
        if kafka.assignment:
            raise IllegalGeneration
        was: dict[int, tuple[int, Frontier]] = {}
        for partition in range(len(kafka.log)):
            at = yield from self.frontier(partition, stable=True)
            was[partition] = (max(at.offset, at.replay.peak if at.replay else 0), at)
        floors = yield from self.call("look", ledger.floors)
        spans = self._spans({p: (max(peak, floors.get(p, 0)), at) for p, (peak, at) in was.items()})
        if not spans:
            return
        waiting = yield from self._letters(spans, {p: peak for p, (peak, _) in was.items()})
        epochs = {}
        for partition in spans:
            take = partial(ledger.take, partition)
            epochs[partition] = yield from self.call(f"take of p{partition}", take)
        yield
        for partition, (_, replay) in spans.items():
            at = was[partition][1]
            known = at.replay.peak if at.replay else at.offset
            if known < replay.peak:
                kafka.reset(partition, Frontier(replay.peak))
        if on.replay_rewinds:
            marks = {p: (epochs[p], start) for p, (start, _) in spans.items()}
            yield from self.call("rewind", lambda: (ledger.rewind(marks), 0))
        if waiting and on.replay_discards:
            yield from self._discard(waiting)
        yield
        for partition, (start, replay) in spans.items():
            kafka.reset(partition, Frontier(start, replay=replay))
            self.tell("replays p{} from {}: {}", partition, start, replay)

    def _letters(
        self, spans: Mapping[int, tuple[int, Replay]], peaks: Mapping[int, int]
    ) -> Steps[list[int]]:
        """Find the letters of what is handled again."""
        kafka, ledger, on = self.world.kafka, self.world.ledger, self.world.on
        if on.replay_letters_to_end:
            yield from self.wait_for(kafka.letters_end)
        yield
        waiting = []
        for letter, (record, *_) in enumerate(kafka.read_letters()):
            start, replay = spans.get(record.partition, (0, Replay(0, 0)))
            if not start <= record.offset < replay.until:
                continue
            if letter not in kafka.noted:
                waiting.append(letter)
            elif kafka.noted[letter] is Done.REDRIVEN:
                owner = (yield from self.call("look", partial(ledger.owner, record.called)))[0]
                if owner is not None and owner[:2] == (record.partition, record.offset):
                    raise Refused(f"{record} was redriven and is not handled yet")
                if on.replay_audit_knows:
                    settled = owner is not None and owner.offset < peaks[owner.partition]
                    yield from self._check_handled(record, owner if settled else None)
        return waiting

    def _check_handled(self, record: Record, owner: Owner | None) -> Steps[None]:
        """See that a letter was handled once it was redriven: of that only the audit is sure."""
        kafka = self.world.kafka
        yield from self.wait_for(lambda: kafka.audit_end(stable=True) == len(kafka.audit))
        told = kafka.audited(len(kafka.audit), {})

        def owns(partition: int, offset: int) -> bool:
            return not told[partition].own_none([offset], [b"%d" % record.called])

        if owns(record.partition, record.offset) and not (owner and owns(*owner[:2])):
            raise Refused(f"{record} was redriven, and is not handled, as the audit says")

    def _discard(self, letters: list[int]) -> Steps[None]:
        kafka = self.world.kafka
        epoch = kafka.take_redriver()
        yield
        if kafka.discard(epoch, letters) < len(letters) and self.world.on.replay_counts_letters:
            raise Rewind("a letter was redriven meanwhile")

    def _spans(self, peaks: dict[int, tuple[int, Frontier]]) -> dict[int, tuple[int, Replay]]:
        die = self.world.die
        spans = {}
        for partition, (peak, _) in peaks.items():
            start = 0 if die.chance(0.3) else die.below(peak + 1)
            until = peak if die.chance(0.7) else start + die.below(peak - start + 1)
            if start < until and die.chance(0.8):
                spans[partition] = (start, Replay(peak, until))
        return spans
