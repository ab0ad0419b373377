import json
import logging
from collections.abc import Iterator

import pytest

from eos.core.events import (
    Aborted,
    Assigned,
    Claimed,
    Committed,
    Committing,
    DeadLettered,
    GivenAway,
    Halted,
    Lived,
    OutboxCounted,
    ProducerRecreated,
    Published,
    Recovered,
    Retried,
    RowBuried,
    Settled,
    ShardOpened,
    ShardStopped,
    Tally,
    Waiting,
)
from eos.core.rules import Verdict
from eos.observe.logs import Logs, configure, say

TALLY = Tally("orders", {Verdict.FRESH: 5, Verdict.DUPLICATE: 1}, 0)
BATCH = Claimed([TALLY], "orders", unkeyed=0)
LETTER = DeadLettered("orders", "handler_failed", "id/0/7")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logs(clock: Clock, caplog: pytest.LogCaptureFixture) -> Logs:
    caplog.set_level(logging.DEBUG)
    return Logs("billing", clock)


@pytest.fixture
def root() -> Iterator[None]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("event", "level", "logger", "line"),
    [
        (BATCH, "DEBUG", "eos.claim", "claimed group=billing topics=orders fresh=5 duplicate=1"),
        (Committing(5), "DEBUG", "eos.settle", "committing group=billing records=5"),
        (
            Committed([TALLY, Tally("bills", {Verdict.FRESH: 2}, 0)], [], 4, 0.0123),
            "DEBUG",
            "eos.settle",
            (
                "committed group=billing topics=bills,orders fresh=7 duplicate=1 outputs=4 "
                "seconds=0.012"
            ),
        ),
        (
            Committed([TALLY], [], 4, 2, resolved=True),
            "INFO",
            "eos.settle",
            (
                "committed, as the offsets tell group=billing topics=orders fresh=5 duplicate=1 "
                "outputs=4 seconds=2"
            ),
        ),
        (
            Settled([TALLY]),
            "DEBUG",
            "eos.settle",
            "settled group=billing topics=orders fresh=5 duplicate=1",
        ),
        (
            Aborted("rebalance", 5),
            "INFO",
            "eos.settle",
            "aborted group=billing cause=rebalance records=5",
        ),
        (
            Aborted("transaction", 5, "produce: queue full"),
            "WARNING",
            "eos.settle",
            'aborted group=billing cause=transaction records=5 detail="produce: queue full"',
        ),
        (
            Retried("orders", 2, "ValueError: no card 4111 1111"),
            "WARNING",
            "eos.handle",
            "handler failed, trying again group=billing topic=orders attempt=2 error=ValueError",
        ),
        (
            GivenAway("orders", 1, 7),
            "INFO",
            "eos.handle",
            "given away while busy group=billing partition=orders[1] records=7",
        ),
        (
            Assigned((("orders", 0), ("orders", 1))),
            "INFO",
            "eos.consume",
            "assigned group=billing partitions=orders[0],orders[1]",
        ),
        (
            Recovered("orders", "closed", 30, 0.5),
            "INFO",
            "eos.ledger",
            "recovered group=billing topic=orders cause=closed records=30 seconds=0.500",
        ),
        (
            ProducerRecreated("slow"),
            "WARNING",
            "eos.settle",
            "producer re-created group=billing reason=slow",
        ),
        (
            Lived("orders", 2),
            "DEBUG",
            "eos.ledger",
            "window moved group=billing topic=orders windows=2",
        ),
        (
            Halted("orders", (0, 2), "why"),
            "ERROR",
            "eos.consume",
            "halted group=billing partitions=orders[0],orders[2] detail=why",
        ),
        (
            Published(2, 50, 0.01, 0.25),
            "DEBUG",
            "eos.outbox",
            "published group=billing shard=2 rows=50 seconds=0.010 waited=0.250",
        ),
        (
            RowBuried(2, "unknown_topic", "it is gone"),
            "ERROR",
            "eos.outbox",
            'row put aside group=billing shard=2 reason=unknown_topic detail="it is gone"',
        ),
        (
            ShardOpened(2),
            "INFO",
            "eos.outbox",
            "shard taken over group=billing shard=2",
        ),
        (
            ShardStopped(2, "server_away", "timed out"),
            "WARNING",
            "eos.outbox",
            'shard given up group=billing shard=2 cause=server_away detail="timed out"',
        ),
        (
            OutboxCounted(5, 1.5, 2, 1),
            "DEBUG",
            "eos.outbox",
            "counted group=billing rows=5 oldest=1.500 scheduled=2 dead=1",
        ),
    ],
)
def test_an_event_is_one_line(
    logs: Logs, caplog: pytest.LogCaptureFixture, event: object, level: str, logger: str, line: str
) -> None:
    logs(event)  # type: ignore[arg-type]
    assert [(r.levelname, r.name, r.getMessage()) for r in caplog.records] == [
        (level, logger, line)
    ]


def test_a_dead_letter_is_logged_with_the_transaction_that_publishes_it(
    logs: Logs, caplog: pytest.LogCaptureFixture
) -> None:
    logs(Committed([TALLY], [LETTER], 4, 0.1))
    letter, commit = caplog.records
    assert (letter.levelname, letter.name, letter.getMessage()) == (
        "WARNING",
        "eos.handle",
        "dead-lettered group=billing topic=orders reason=handler_failed position=id/0/7",
    )
    assert commit.name == "eos.settle"


def test_a_wait_that_lasts_is_told_again_with_what_is_in_the_way(
    logs: Logs, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(150):
        logs(Waiting("kafka", 1.0, "a transaction"))
        clock.now += 1
    assert [r.getMessage() for r in caplog.records] == [
        'waiting group=billing on=kafka detail="a transaction"',
        'waiting group=billing on=kafka detail="a transaction" seconds=60.000',
        'waiting group=billing on=kafka detail="a transaction" seconds=120.000',
    ]


def test_a_wait_is_logged_when_it_begins_and_when_it_ends(
    logs: Logs, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        logs(Waiting("ledger", 1.0))
        clock.now += 1
    logs(BATCH)
    logs(BATCH)
    logs(Waiting("ledger", 1.0))
    assert [r.getMessage() for r in caplog.records] == [
        "waiting group=billing on=ledger",
        "back group=billing on=ledger seconds=3.000",
        "waiting group=billing on=ledger",
    ]


def test_a_value_cannot_forge_a_line_or_a_field(
    logs: Logs, caplog: pytest.LogCaptureFixture
) -> None:
    logs(Aborted("transaction", 1, 'x\n2026-01-01 "all is well" cause=none'))
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert record.getMessage().endswith(r'detail="x\n2026-01-01 \"all is well\" cause=none"')


@pytest.mark.usefixtures("root")
def test_a_plain_line_says_when_and_which_worker(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", slot=3)
    say(logging.getLogger("eos.test"), logging.INFO, "started", pid=7)
    logging.getLogger("eos.test").debug("hidden")
    (line,) = capsys.readouterr().err.splitlines()
    time, rest = line.split(" ", 1)
    assert time.endswith("Z")
    assert rest == "INFO    worker 3 eos.test: started pid=7"


@pytest.mark.usefixtures("root")
def test_a_json_line_keeps_the_fields_apart(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", json=True, slot=3)
    say(logging.getLogger("eos.test"), logging.INFO, "started", pid=7)
    logging.getLogger("users.own").warning("low on %s", "tea")
    own, foreign = map(json.loads, capsys.readouterr().err.splitlines())
    assert own.pop("time")
    assert own == {
        "level": "info",
        "worker": 3,
        "logger": "eos.test",
        "event": "started",
        "pid": 7,
    }
    assert foreign["event"] == "low on tea"


@pytest.mark.parametrize("json_lines", [True, False])
@pytest.mark.usefixtures("root")
def test_a_trace_is_kept(capsys: pytest.CaptureFixture[str], *, json_lines: bool) -> None:
    configure("info", json=json_lines)
    try:
        int("boom")
    except ValueError:
        logging.getLogger("eos.test").exception("the worker failed")
    assert "ValueError: invalid literal" in capsys.readouterr().err


def test_that_keys_are_not_forgotten_is_said_now_and_then(
    logs: Logs, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told = []
    for generations in (3, 4, 4, 5, 2):
        logs(Lived("orders", generations))
        told.append(caplog.records[-1].levelname)
        clock.now += 40
    assert told == ["DEBUG", "WARNING", "DEBUG", "WARNING", "DEBUG"]
    (said,) = {r.getMessage() for r in caplog.records if "windows=4" in r.getMessage()} - {
        "window moved group=billing topic=orders windows=4"
    }
    assert said.startswith("keys are not forgotten group=billing topic=orders windows=4 detail=")
