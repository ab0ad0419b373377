"""Dead letters that are redriven are handled once, whatever is killed, and however often it is."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from eos.core.settings import Settings
from tests.fault.rows import rows
from tests.integration.cluster import Cluster
from tests.integration.letters_kit import Office, office

SEED = int(os.environ.get("EOS_SEED", random.randrange(2**32)))
KILLS = int(os.environ.get("EOS_LETTER_KILLS", "4"))

MakeOffice = Callable[..., Office]


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def make(
    cluster: Cluster,
    settings: Settings,
    source: str,
    to: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> MakeOffice:
    def made(tier: str, broken: str = "") -> Office:
        engine: Engine | None = None
        if tier in {"inbox", "joined"}:
            engine = request.getfixturevalue("engine")
            with engine.begin() as db:
                db.execute(text("DROP TABLE effects"))
                db.execute(text("CREATE TABLE effects (id TEXT)"))
        about = {"source": source, "to": to, "folder": tmp_path, "engine": engine}
        return office(tier, cluster, settings, broken=broken, **about)

    return made


def redriven(office: Office, *, letters: int, kills: int) -> None:
    """Bring letters about, mend the bug, redrive twice under kills, and check each record."""
    print(f"EOS_SEED={SEED}")  # noqa: T201 - for who reads a failure
    choice = random.Random(SEED)
    with office:
        office.send(letters, 2 * letters, choice, keyless=letters // 10)
        office.until_settled()
        _, told = office.dlq("list")
        assert told.splitlines()[-1] == f"{letters} dead letters"
        office.bug.unlink()
        office.until_done("redrive", "--all", kills=kills, choice=choice)
        _, told = office.dlq("list")
        assert told.splitlines()[-1] == f"0 dead letters, {letters} more are done with"
        office.until_done("redrive", "--all", "--again", kills=kills, choice=choice)
        office.until_settled()
        for clerk in office.clerks:
            clerk.drain()
    print(f"{office.kills} kills")  # noqa: T201
    assert_handled_once(office)


def assert_handled_once(office: Office) -> None:
    assert not office.missing()
    more = {id_: n for id_, n in office.effects().items() if n > 1}
    assert not more


@pytest.mark.parametrize("tier", ["transaction", "inbox", "joined", "plain"])
def test_a_hundred_letters_redriven_twice_are_handled_once_under_kills(
    tier: str, make: MakeOffice
) -> None:
    redriven(make(tier), letters=100, kills=KILLS)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("silent", "the command does not say where they were dead-lettered"),
        ("deaf", "the claim does not look at what they say"),
        ("gullible", "the claim moves the key whoever owns it"),
    ],
)
@pytest.mark.parametrize("tier", rows(["transaction"], ["transaction", "inbox"]))
def test_broken_redrives_are_rejected(tier: str, broken: str, what: str, make: MakeOffice) -> None:
    office = make(tier, broken)
    with pytest.raises(AssertionError):
        redriven(office, letters=20, kills=0)
    counted = Counter(office.effects().values())
    print(f"{what}: {len(office.missing())} lost, {counted}")  # noqa: T201 - for who reads it
    assert bool(office.missing()) == (broken != "gullible")
    if broken == "gullible":
        assert max(counted) > 1


@pytest.mark.parametrize(
    "method", rows(["produce", "commit"], ["settle_unknown", "begin", "produce", "commit"])
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_command_may_die_at_any_call(method: str, when: str, make: MakeOffice) -> None:
    office = make("transaction")
    choice = random.Random(1)
    with office:
        office.send(20, 0, choice, keyless=2)
        office.until_settled()
        office.bug.unlink()
        for call in (1, 2, 3):
            fault = {"method": method, "when": when, "call": call}
            process = office.start("redrive", "--all", fault=fault)
            assert process.wait(60) in {0, -signal.SIGKILL}, office.told()
        office.until_done("redrive", "--all", kills=0, choice=choice)
        assert office.dlq("list")[1].startswith("0 dead letters, 20 more")
        office.until_settled()
        for clerk in office.clerks:
            clerk.drain()
    assert office.effects() == Counter(office.ids)
    published = len(office.cluster.read_committed(office.source))
    assert published == 20 + 20, "each letter was published again once"
