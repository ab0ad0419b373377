from eos.core.ports import Claimed, Claims
from eos.core.record import Shard
from eos.core.rules import Verdict
from eos.stores.memory.ledger import MemoryLedger

SHARD = Shard("ns", "group", "topic")


def opened(ledger: MemoryLedger) -> None:
    recovery = ledger.lock(SHARD, "worker", 10)
    assert recovery
    assert ledger.open(SHARD, recovery, {0: 0}, {})


def claim(ledger: MemoryLedger, offset: int, key: bytes) -> list[Verdict] | None:
    claims = Claims(0, 2**52, 0, offset, offset + 1, 0, [offset], [key.ljust(12)], [1], [1000])
    answer = ledger.claim(SHARD, [claims])
    return answer.verdicts if isinstance(answer, Claimed) else None


def test_a_restored_ledger_is_closed_and_has_what_it_had_then() -> None:
    ledger = MemoryLedger(60)
    opened(ledger)
    claim(ledger, 0, b"a")
    before = ledger.snapshot()
    claim(ledger, 1, b"b")
    ledger.restore(before)
    assert claim(ledger, 1, b"b") is None
    opened(ledger)
    assert claim(ledger, 0, b"a") == [Verdict.AGAIN]
    assert ledger.take(SHARD, [0])[0].claimed == 1


def test_a_snapshot_can_be_restored_twice() -> None:
    ledger = MemoryLedger(60)
    before = ledger.snapshot()
    for _ in range(2):
        opened(ledger)
        assert claim(ledger, 0, b"a") == [Verdict.FRESH]
        ledger.restore(before)


def test_time_comes_from_the_clock_that_was_given() -> None:
    now = 5_000.0
    ledger = MemoryLedger(60, clock=lambda: now)
    assert ledger.take(SHARD, [0])[0].epoch == 5_000_000_000
    assert ledger.lock(SHARD, "one", 10)
    now += 11
    assert ledger.lock(SHARD, "two", 10)
