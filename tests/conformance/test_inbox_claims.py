"""Keys that are claimed in the effects' transaction: the same verdicts as the rules give."""

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from eos.core.frontier import Frontier
from eos.core.ports import Claimed, Claims
from eos.core.record import Shard
from eos.core.rules import Verdict
from eos.stores.memory.ledger import MemoryLedger
from eos.stores.sql import tables
from eos.stores.sql.effects import SqlEffects
from eos.stores.sql.inbox import SqlInbox

PARTITIONS, ROUNDS, WINDOW = 3, 120, 1_000_000
_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'effects.db'}"
    else:
        url = request.getfixturevalue("ledger_url")
    made = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    tables.create(made)
    yield made
    made.dispose()


@pytest.fixture
def inbox(engine: Engine) -> SqlInbox:
    return SqlInbox(engine, engine.url.render_as_string(hide_password=False))


@pytest.fixture
def shard(inbox: SqlInbox) -> Shard:
    assert inbox.joins
    made = Shard("namespace", f"group-{next(_numbers)}", "topic")
    inbox.create(made, "topic", {p: Frontier(0) for p in range(PARTITIONS)})
    return made


def begun(inbox: SqlInbox, shard: Shard, frontiers: dict[int, int]) -> SqlEffects:
    effects = inbox.begin()
    for partition, frontier in sorted(frontiers.items()):
        assert effects.lock(shard, partition, frontier)
    return effects


def claims(partition: int, start: int, keys: list[str], *, time: int = 1000) -> Claims:
    """Claim these keys from `start` on; a key that ends in ! has another payload."""
    made = Claims(partition, 1, start, start, start + len(keys))
    made.offsets = list(range(start, made.end))
    made.digests = [key.rstrip("!").rjust(12).encode() if key else b"" for key in keys]
    made.fingerprints = [int(key.endswith("!")) for key in keys]
    made.times = [time] * len(keys)
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_random_batches_that_commit_or_not_get_the_verdicts_of_the_rules(
    inbox: SqlInbox, shard: Shard, seed: int
) -> None:
    chance = random.Random(seed)
    model = MemoryLedger(WINDOW)
    recovery = model.lock(shard, "token", 10)
    assert recovery is not None
    assert model.open(shard, recovery, {}, {})
    frontiers = dict.fromkeys(range(PARTITIONS), 0)
    names = [*("abcdefghij"), "", "a!", *(f"new-{n}" for n in range(200))]
    logs = [chance.choices(names, k=5 * ROUNDS) for _ in range(PARTITIONS)]
    seen: set[Verdict] = set()
    for turn in range(ROUNDS):
        chosen = chance.sample(range(PARTITIONS), chance.randint(1, PARTITIONS))
        batch = [
            claims(p, at, logs[p][at : at + chance.randint(1, 5)])
            for p, at in ((p, frontiers[p]) for p in chosen)
        ]
        before = model.snapshot()
        for each in batch:
            each.epoch = model.take(shard, [each.partition])[each.partition].epoch
        wanted = model.claim(shard, batch)
        assert isinstance(wanted, Claimed)
        effects = begun(inbox, shard, {p: frontiers[p] for p in chosen})
        answer = effects.claim(shard, batch)
        assert (answer.verdicts, answer.owners) == (wanted.verdicts, wanted.owners), (seed, turn)
        seen |= set(answer.verdicts)
        if chance.random() < 1 / 3:
            effects.rollback()
            model.restore(before)
            again = model.lock(shard, "token", 10)
            assert again is not None
            assert model.open(shard, again, {}, {})
            continue
        for each in batch:
            settled = each.end if chance.random() < 2 / 3 else each.start  # all, or none of it
            assert effects.advance(shard, each.partition, each.start, Frontier(settled))
            frontiers[each.partition] = settled
        effects.commit()
    assert seen == {Verdict.FRESH, Verdict.AGAIN, Verdict.DUPLICATE, Verdict.CONFLICT}


@pytest.mark.parametrize("first", ["commits", "rolls back"])
def test_of_two_transactions_that_claim_a_key_at_once_one_is_the_owner(
    inbox: SqlInbox, shard: Shard, engine: Engine, first: str
) -> None:
    if engine.dialect.name == "sqlite":
        return  # one transaction writes at a time: there is no "at once"
    one = begun(inbox, shard, {0: 0})
    assert one.claim(shard, [claims(0, 0, ["a", "b"])]).verdicts == [Verdict.FRESH] * 2
    two = begun(inbox, shard, {1: 0})
    told: list[list[Verdict]] = []
    waiting = threading.Thread(
        target=lambda: told.append(two.claim(shard, [claims(1, 0, ["b", "c"])]).verdicts)
    )
    waiting.start()
    with engine.connect() as db:
        blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while waiting.is_alive() and not db.execute(blocked).scalar():
            db.rollback()
    assert told == []
    one.commit() if first == "commits" else one.rollback()
    waiting.join()
    two.commit()
    kept = Verdict.DUPLICATE if first == "commits" else Verdict.FRESH
    assert told == [[kept, Verdict.FRESH]]


def test_a_key_is_forgotten_once_all_partitions_have_passed_it_by_the_window(
    inbox: SqlInbox, shard: Shard
) -> None:
    effects = begun(inbox, shard, dict.fromkeys(range(PARTITIONS), 0))
    old, young = claims(0, 0, ["old"], time=1000), claims(1, 0, ["young"], time=5000)
    effects.claim(shard, [old, young])
    for each in (old, young):
        assert effects.advance(shard, each.partition, 0, Frontier(1))
    effects.commit()

    inbox.advance(shard, {0: 9000, 1: 9000}, PARTITIONS, 100)
    assert verdict_of(inbox, shard, "old") is Verdict.DUPLICATE  # partition 2 has not passed it
    inbox.advance(shard, {2: 4000}, PARTITIONS + 1, 100)
    assert verdict_of(inbox, shard, "old") is Verdict.DUPLICATE  # nor has one without a row
    inbox.advance(shard, {2: 4000}, PARTITIONS, 100)
    assert verdict_of(inbox, shard, "old") is Verdict.FRESH
    assert verdict_of(inbox, shard, "young") is Verdict.DUPLICATE


def verdict_of(inbox: SqlInbox, shard: Shard, key: str) -> Verdict:
    """Look a key up, from another position, and leave no trace."""
    effects = begun(inbox, shard, {2: 0})
    (verdict,) = effects.claim(shard, [claims(2, 0, [key])]).verdicts
    effects.rollback()
    return verdict


def test_topics_do_not_know_of_each_others_keys(inbox: SqlInbox, shard: Shard) -> None:
    other = Shard(shard.namespace, shard.group, "other")
    inbox.create(other, "other", {0: Frontier(0)})
    for each in (shard, other):
        effects = begun(inbox, each, {0: 0})
        assert effects.claim(each, [claims(0, 0, ["a"])]).verdicts == [Verdict.FRESH]
        assert effects.advance(each, 0, 0, Frontier(1))
        effects.commit()


def test_a_new_topics_keys_are_found_by_their_own_index_whatever_the_statistics_say(
    ledger_url: str,
) -> None:
    """1. Statistics are gathered while only other topics have keys.
    2. PostgreSQL believes that the new one has none, and that any index finds as much.
    3. By that of the time it would read all keys of the new topic for each key that is looked up.
    """
    engine = create_engine(ledger_url.replace("postgresql://", "postgresql+psycopg://"))
    tables.create(engine)
    inbox = SqlInbox(engine, ledger_url)
    old, new = (Shard("namespace", f"plans-{n}", "topic") for n in range(2))
    for each in (old, new):
        inbox.create(each, "topic", {0: Frontier(0)})
    with engine.begin() as db:
        db.execute(text(_MANY_KEYS), {"group": old.group})
        db.execute(text("ANALYZE eos_inbox_keys"))
    before = scans(engine)

    for start in range(0, 2000, 500):
        effects = begun(inbox, new, {0: start})
        effects.claim(new, [claims(0, start, [f"key-{start + n}" for n in range(500)])])
        assert effects.advance(new, 0, start, Frontier(start + 500))
        effects.db.execute(text("SELECT pg_stat_force_next_flush()"))
        effects.commit()

    after = scans(engine)
    engine.dispose()
    assert after["eos_inbox_keys_pkey"] >= before["eos_inbox_keys_pkey"] + 2000
    assert after["eos_inbox_keys_time"] == before["eos_inbox_keys_time"]


_MANY_KEYS = (
    'INSERT INTO eos_inbox_keys (shard, digest, "partition", record_offset, fingerprint, log_time)'
    " SELECT id, decode(substr(md5(n::text), 1, 24), 'hex'), 0, n, 0, 1000"
    " FROM eos_ledger_shards, generate_series(1, 50000) AS n WHERE consumer_group = :group"
)


def scans(engine: Engine) -> dict[str, int]:
    """Count how often each index of the keys was used."""
    with engine.connect() as db:
        rows = db.execute(
            text(
                "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes"
                " WHERE relname = 'eos_inbox_keys'"
            )
        )
        return {row[0]: row[1] for row in rows}
