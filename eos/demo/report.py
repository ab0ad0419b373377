"""What the demo found, and whether it proves anything."""

from collections.abc import Mapping
from dataclasses import dataclass

from eos.demo.kills import Kill
from eos.demo.tally import Tally


@dataclass(frozen=True, slots=True)
class Progress:
    """How the run is getting on.

    Attributes:
        seconds: Since its start.
        sent: Messages published.
        settled: Records that the eos workers settled.
        suppressed: Duplicates among them.
        rolled_back: Claimed records that died with a worker or were given back.
        kills: Those that counted.
    """

    seconds: float
    sent: int
    settled: int
    suppressed: int
    rolled_back: int
    kills: tuple[Kill, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome.

    Attributes:
        seed: Repeats the run's orders and kills.
        sent: Messages published.
        orders: Distinct orders among them.
        seconds: From the first order until both groups had settled everything.
        eos: The effects of the eos workers.
        plain: The effects of the plain loop.
        suppressed: Duplicates that eos suppressed, by cause.
        rolled_back: Claimed records that died with a worker or were given back, and were
            handled again.
        kills: Those that counted.
        kills_wanted: How many had to.
        commits_wanted: How many of them had to fall into a commit.
        hidden: What the counts cannot show, a line each.
    """

    seed: int
    sent: int
    orders: int
    seconds: float
    eos: Tally
    plain: Tally
    suppressed: Mapping[str, int]
    rolled_back: int
    kills: tuple[Kill, ...]
    kills_wanted: int
    commits_wanted: int
    hidden: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str, str]]:
        """Give the table: a name, the value for eos, the value for the plain loop."""
        pairs: list[tuple[str, int, int]] = [
            ("messages sent", self.sent, self.sent),
            ("distinct orders", self.orders, self.orders),
            ("effects", self.eos.effects, self.plain.effects),
            ("orders with an effect", self.eos.distinct, self.plain.distinct),
            ("DUPLICATES", self.eos.duplicates, self.plain.duplicates),
            ("  by redelivery", self.eos.redelivered, self.plain.redelivered),
            ("  by re-send", self.eos.resent, self.plain.resent),
            ("LOST", self.eos.lost, self.plain.lost),
        ]
        rows = [(name, f"{eos:,}", f"{plain:,}") for name, eos, plain in pairs]
        rows += [
            (f"suppressed: {cause.replace('_', ' ')}", f"{count:,}", "-")
            for cause, count in self.suppressed.items()
        ]
        rows += [
            ("attempts rolled back and done again", f"{self.rolled_back:,}", "-"),
            ("records per second", rate := f"{self.sent / self.seconds:,.0f}", rate),
        ]
        return rows

    def faults(self) -> list[str]:
        """Give what is wrong: a broken promise, or a run that put nothing to the test."""
        commits = sum(bool(kill.committing) for kill in self.kills)
        checks = [
            (self.eos.duplicates, f"eos shows {self.eos.duplicates} duplicates"),
            (self.eos.lost, f"eos lost {self.eos.lost} orders"),
            (
                not self.plain.redelivered,
                "the plain loop shows no duplicate by redelivery: nothing was tested",
            ),
            (
                not sum(self.suppressed.values()),
                "eos suppressed no duplicate: nothing was tested",
            ),
            (
                len(self.kills) < self.kills_wanted,
                f"only {len(self.kills)} of {self.kills_wanted} kills counted",
            ),
            (
                commits < self.commits_wanted,
                f"only {commits} of {self.commits_wanted} kills fell into a commit",
            ),
        ]
        return [text for wrong, text in checks if wrong]
