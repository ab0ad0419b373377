"""What comes from outside while the workers work: copies, redriven letters, replays.

All that is decided here falls from a die of its own: where nobody operates, a seed tells the same
history as ever.
"""

from tests.simulation.actor import Steps, World
from tests.simulation.redrive import Redriver
from tests.simulation.replay import Replayer

REDRIVING = 0.3
"""In what share of the histories handlers fail, and an operator redrives."""
REPLAYING = 0.2
"""In what share of them an operator replays; in half of these there are letters, too."""


class Operators:
    """Whoever operates in one history; nobody in most of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.die = world.die
        self.failing = 0.0
        """How likely a handler fails for good."""
        self.copies = 0
        """How many are still sent."""
        self.unforgiven: frozenset[int] = frozenset()
        """The keys whose letters nobody redrives in the end."""
        self.window = [0] * len(world.kafka.log)
        """Below it, the ledger has forgotten owners."""
        self.redriver: Redriver | None = None
        self.replayer: Replayer | None = None
        self.replays = 0
        """How many are still to come."""
        self.dump = -1
        """The ledger's state of before the last replay: somebody may put that back."""
        kind = self.die.random.random()
        if not world.on.quiet:
            kind = REDRIVING + (kind - 0.5) * REPLAYING
        self.replaying = world.on.replays and abs(kind - REDRIVING) < REPLAYING / 2
        if self.replaying:
            self.copies = self.die.below(3)
            self.replays = 1 + self.die.below(2)
        if kind < REDRIVING and world.on.redrives:
            self.failing = 0.3 if self.replaying or self.die.chance(0.5) else 0.1
            self.copies = self.die.below(5)
            if self.die.chance(0.3):
                self.unforgiven = frozenset([self.die.below(4)])
            self._employ()

    def fails(self) -> bool:
        """Decide whether a handler fails for good."""
        return self.failing > 0 and not self.world.healing and self.die.chance(self.failing)

    def done(self) -> bool:
        """Tell whether they have done all that they ever will."""
        if self.replayer is not None:
            return False
        if self.world.healing:
            return self.redriver is None or self.redriver.done()
        return self.redriver is None and self.replays == 0

    def step(self) -> None:
        """Let something of it happen, or nothing."""
        if self.redriver is not None and self.die.chance(0.4 if self.replayer else 0.1):
            next(self.redriving)
            if not self.world.healing and self.die.chance(0.05):
                self.redriver.tell("is killed")
                self._employ()
        if self.replayer is not None:
            self._replay(self.replayer)
        elif self.replays and not self.world.healing:
            self._begin()
        if self.replaying:
            self._hide()
        if self.dump >= 0 and not self.world.healing:
            self._strike()
        if self.copies and not self.world.healing and self.die.chance(0.03):
            self.copies -= 1
            self._copy()

    def _employ(self) -> None:
        self.redriver = Redriver(self.world, self.unforgiven, beside_replays=self.replaying)
        self.redriving = self.redriver.run()

    def _begin(self) -> None:
        """Begin a replay: rather once all is settled, and the window may have passed it."""
        settled = self.world.kafka.done()
        if not self.die.chance(0.1 if settled else 0.004 if self.redriver is None else 0.01):
            return
        if settled and self.redriver is None and self.die.chance(0.5):
            self.window = self.world.kafka.ends.copy()
            self.world.ledger.forget(self._keys(below=True), self.window)
            self.world.late.clear()  # nothing is on its way for as long as a window
            self.world.tell("world", "lets the window pass")
        self.dump = self.world.ledger.dump()
        self.replays -= 1
        self.replayer = Replayer(self.world)
        self.steps: Steps[None] = self.replayer.run()

    def _hide(self) -> None:
        """Let another group's transaction stand open among the letters for a while."""
        kafka = self.world.kafka
        if kafka.letters_shown is None:
            if not self.world.healing and self.die.chance(0.01):
                kafka.letters_shown = len(kafka.letters)
        elif self.world.healing or self.die.chance(0.03):
            kafka.letters_shown = None

    def _strike(self) -> None:
        """Hit the ledger where it hurts a replay: with that dump, or just when it was opened."""
        ledger = self.world.ledger
        if self.die.chance(0.01):
            ledger.roll_back(self.dump)
            self.world.tell("world", "puts the ledger's dump back: {}", ledger.state)
        elif self.world.now < ledger.opened_at + 4 and self.die.chance(0.05):
            ledger.flush()
            self.world.tell("world", "flushes the ledger that was just opened")

    def _replay(self, replayer: Replayer) -> None:
        if self.die.chance(0.5):
            return
        if not self.world.healing and self.die.chance(0.02):
            replayer.tell("is killed")
            self.replays += self.die.below(2)
            self.world.start_workers()
            self.replayer = None
            return
        try:
            next(self.steps)
        except StopIteration:
            self.replayer = None

    def _keys(self, *, below: bool) -> set[int]:
        return {
            record.called
            for partition, log in enumerate(self.world.kafka.log)
            for record in log
            if not below or record.offset < self.window[partition]
        }

    def _copy(self) -> None:
        """Append a copy of some record, which may name a letter: a corrected one, or wrongly.

        Who sends a corrected one must discard the letter, too; until then a replay would handle
        both. So nobody does where there are replays.
        """
        kafka, die = self.world.kafka, self.die
        gone = self._keys(below=True)
        records = [r for log in kafka.log for r in log if r.key is not None and r.key not in gone]
        letters = [letter.record for letter in kafka.letters]
        origin = None
        if records:
            copied = records[die.below(len(records))]
            key, fingerprint = copied.called, copied.fingerprint ^ die.chance(0.1)
        else:
            key, fingerprint = 100 + self.copies, 0
        if records and self.redriver is not None and die.chance(0.5):
            placed = letters if letters and die.chance(0.5) else records
            named = placed[die.below(len(placed))]
            if named.called != key or (named in letters and not self.replaying):
                origin = (named.partition, named.offset)
        self.world.appended(kafka.append(die.below(len(kafka.log)), key, fingerprint, origin))
