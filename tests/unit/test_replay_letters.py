"""A replay beside dead letters that were redriven, or are while it begins."""

from typing import Any

import pytest

from eos.core import audit
from eos.core.errors import ConfigError
from eos.core.frontier import Frontier
from eos.core.letters import Done, Letter, Note
from eos.core.letters import Place as LetterPlace
from eos.core.ports import Suppressed
from eos.core.ports.inspection import LedgerState, PartitionState
from eos.core.record import Position, Shard
from eos.core.rules import Owner, Verdict
from eos.operate.letters import Found
from eos.operate.redrive import Outcome
from eos.operate.replay import Replays
from eos.operate.replay_plan import Place, Wanted

SHARD = Shard("ns", "g", "id")
DIGEST = b"d" * 12
AT = LetterPlace(0, 0)
LETTER = Letter(AT, 0, "handler_failed", 1, "in", Position("id", 0, 2), 0, b"k", "", "", None, [])


class Entry:
    """A record of the audit."""

    def __init__(self, suppressed: Suppressed) -> None:
        self.told = audit.write(SHARD, "in", suppressed)

    def value(self) -> bytes:
        return self.told


class Servers:
    """All that is asked, in one: partition 0 is settled up to 5, and 2 was dead-lettered."""

    topic = "letters"

    def __init__(self) -> None:
        self.owner: Owner | None = None
        self.audit: list[Entry] = []
        self.notes: dict[LetterPlace, Note] = {}
        self.to_end: list[bool] = []
        self.noted = 0
        self.committed: list[Any] = []
        self.frontier = Frontier(5)

    @property
    def letters(self) -> "Servers":
        return self

    def find(self, *, to_end: bool = False) -> Found:
        self.to_end.append(to_end)
        return Found({AT: LETTER}, self.notes, 0)

    def discard(self, *_: object) -> Outcome:
        return Outcome(self.noted)

    def exists(self, _topic: str) -> bool:
        return True

    def describe(self, _topic: str) -> tuple[str, int]:
        return "id", 1

    def ends(self, partitions: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(partitions, 5)

    def members(self, _group: str) -> int:
        return 0

    def commit(self, _group: str, frontiers: Any) -> None:
        self.committed.append(frontiers)

    def ensure(self, *_: object) -> None: ...

    def frontiers(self, _topic: str) -> dict[int, Frontier]:
        return {0: self.frontier}

    def window_starts(self, _topic: str, _time: int) -> dict[int, int]:
        return {0: 0}

    def log_time(self, *_: object) -> int:
        return 0

    def read(self, *_: object, **__: object) -> list[list[Entry]]:
        return [self.audit]

    def look(self, _shard: Shard) -> LedgerState:
        return LedgerState(True, False, {0: PartitionState(1, 5, 5, 0)}, [])

    def owners(self, *_: object) -> dict[bytes, Owner]:
        return {DIGEST: self.owner} if self.owner else {}

    def take(self, *_: object) -> dict[int, Any]:
        return {0: type("Taken", (), {"epoch": 1})}

    def rewind(self, *_: object) -> bool:
        return True

    def replays(self) -> Replays:
        it: Any = self
        return Replays(
            ledger=it,
            topics=it,
            log=it,
            groups=it,
            shard=lambda _: SHARD,
            audit="audit",
            publish=lambda *_: None,
            digests=lambda *_: [DIGEST],
            redrive=it,
        )


WANTED = Wanted("in", Place(0))
REDRIVEN = {AT: Note(Done.REDRIVEN, "run", [0])}
GIVEN = Entry(Suppressed(0, 2, DIGEST, Owner(0, 4, 1), Verdict.FRESH, 0, None))
OTHERS = Entry(Suppressed(0, 2, b"x" * 12, Owner(0, 4, 1), Verdict.FRESH, 0, None))
COPY = Entry(Suppressed(0, 3, DIGEST, Owner(0, 2, 1), Verdict.DUPLICATE, 0, None))


@pytest.mark.parametrize(
    ("owner", "heard"),
    [
        pytest.param(None, [], id="the ledger was lost"),
        pytest.param(Owner(0, 2, 1), [GIVEN], id="the letter has the key"),
        pytest.param(Owner(0, 7, 1), [], id="it was claimed and not settled"),
        pytest.param(None, [OTHERS], id="another key was given away there"),
        pytest.param(Owner(0, 3, 1), [COPY], id="an old ledger names a copy"),
    ],
)
def test_nothing_is_replayed_while_a_redriven_letter_waits(
    owner: Owner | None, heard: list[Entry]
) -> None:
    at = Servers()
    at.notes, at.owner, at.audit = REDRIVEN, owner, heard
    with pytest.raises(ConfigError, match="is not handled yet"):
        at.replays().plan(WANTED)


@pytest.mark.parametrize(
    ("owner", "heard"),
    [
        pytest.param(None, [GIVEN], id="and the ledger was lost"),
        pytest.param(Owner(0, 4, 1), [GIVEN], id="and has the key"),
        pytest.param(Owner(0, 4, 1), [], id="or somebody else was who had the key"),
    ],
)
def test_all_is_replayed_once_a_redriven_letter_is_handled(
    owner: Owner | None, heard: list[Entry]
) -> None:
    at = Servers()
    at.notes, at.owner, at.audit = REDRIVEN, owner, heard
    assert at.replays().plan(WANTED).letters == frozenset()


def test_letters_are_looked_for_behind_open_transactions() -> None:
    at = Servers()
    assert at.replays().plan(WANTED).letters == {AT}
    assert at.to_end == [True]


@pytest.mark.parametrize(("noted", "commits"), [(0, 0), (1, 1)])
def test_nothing_is_replayed_if_a_letter_is_redriven_meanwhile(noted: int, commits: int) -> None:
    at = Servers()
    at.noted = noted
    replays = at.replays()
    plan = replays.plan(WANTED)
    if noted:
        replays(plan, "a bug")
    else:
        with pytest.raises(ConfigError, match="redriven meanwhile"):
            replays(plan, "a bug")
    assert len(at.committed) == commits
