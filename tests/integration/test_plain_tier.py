"""Effects outside of Kafka: a worker that dies loses nothing, and repeats nothing unflagged.

What a policy promises for the few records whose effect nobody can be sure of is checked against a
file that each effect appends a line to.
"""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from confluent_kafka import Message

from tests.fault.rows import rows
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.copies import with_copies
from tests.integration.plain import PlainWorker, lost, repeated, unflagged
from tests.integration.processes import fault, quick

DISTINCT = 90
Start = Callable[..., PlainWorker]
Read = Callable[[str], list[Message]]

POINTS = [
    ("ledger", "claim", "before", 6),
    ("ledger", "claim", "after", 6),
    ("ledger", "settle", "before", 4),
    ("ledger", "settle", "after", 4),
    ("reader", "commit", "before", 3),
    ("reader", "commit", "after", 3),
]
MARKS = [("ledger", "begin", "before", 33), ("ledger", "begin", "after", 33)]
EFFECTS = {
    "before the effect": {"when": "before", "call": 33},
    "after the effect": {"when": "after", "call": 33},
}
POLICIES = ["retry", "skip", "dead_letter", "reconcile"]
SETTLES = POINTS[2:4]
FLUSHES = [
    ("claim", "before", 4),
    ("claim", "after", 4),
    ("settle", "before", 3),
    ("settle", "after", 3),
]


@pytest.fixture
def worker(
    bootstrap_servers: str, redis_url: str, namespace: str, source: str, tmp_path: Path
) -> Iterator[Start]:
    """Makes a worker of a policy."""
    made: list[PlainWorker] = []

    def make(policy: str, **settings: object) -> PlainWorker:
        given = quick(bootstrap_servers, redis_url, namespace, in_doubt=policy, **settings)
        diary, effects = tmp_path / "diary", tmp_path / "effects"
        made.append(PlainWorker(given, source, "", diary, effects=effects))
        return made[-1]

    yield make
    for each in made:
        each.__exit__(None, None, None)


def finish(worker: PlainWorker, cluster: Cluster) -> None:
    """Start the worker again, and let it do what is left."""
    worker.start()
    cluster.await_settled(worker.settings["group"], worker.source)
    worker.drain()


def dies(worker: PlainWorker) -> None:
    """See that it died at its crash point, in the middle of its work."""
    assert worker.exit_code() == -9, worker.told()
    assert len(worker.notes("fault")) == 1
    assert worker.took_place(), "it died before it had any effect"


def assert_kept(
    policy: str, inputs: list[Input], worker: PlainWorker, letters: list[Message]
) -> None:
    """See that the policy's promise is kept, after one death."""
    effects = worker.took_place()
    missing = lost(inputs, effects)
    assert unflagged(effects) == {}
    if policy == "retry":
        assert missing == set()
    elif policy == "reconcile":
        assert (missing, repeated(effects)) == (set(), {})
    elif policy == "skip":
        assert repeated(effects) == {}
        assert len(missing) <= 1, missing
    else:
        assert repeated(effects) == {}
        assert missing <= set(ids(letters)), "lost, and no dead letter"
        assert {dict(m.headers() or [])["eos-reason"] for m in letters} <= {b"in_doubt"}
    if policy != "dead_letter":
        assert letters == []


@pytest.mark.parametrize(
    ("port", "method", "when", "call"), rows([POINTS[1], POINTS[2], POINTS[5]], POINTS)
)
def test_a_worker_that_dies_at_any_call_repeats_only_what_it_flags(
    worker: Start,
    cluster: Cluster,
    read_committed: Read,
    port: str,
    method: str,
    when: str,
    call: int,
) -> None:
    one = worker("retry")
    inputs = with_copies(call, DISTINCT)
    cluster.send(one.source, inputs)

    one.start(fault(port, method, when, call))
    dies(one)
    finish(one, cluster)

    letters = read_committed(f"{one.settings['group']}.dead-letters")
    assert_kept("retry", inputs, one, letters)


@pytest.mark.parametrize(
    ("policy", "die"),
    rows(
        [
            ("retry", "after the effect"),
            ("skip", "before the effect"),
            ("dead_letter", "before the effect"),
            ("reconcile", "after the effect"),
        ],
        product(POLICIES, EFFECTS),
    ),
)
def test_a_worker_that_dies_in_its_handler_keeps_the_promise_of_its_policy(
    worker: Start, cluster: Cluster, read_committed: Read, policy: str, die: str
) -> None:
    one = worker(policy)
    inputs = with_copies(1, DISTINCT)
    cluster.send(one.source, inputs)

    one.start(die=EFFECTS[die])
    dies(one)
    finish(one, cluster)

    letters = read_committed(f"{one.settings['group']}.dead-letters")
    assert_kept(policy, inputs, one, letters)


@pytest.mark.parametrize(
    ("policy", "point"),
    rows(
        [
            ("skip", MARKS[0]),
            ("dead_letter", MARKS[1]),
            ("reconcile", SETTLES[0]),
            ("skip", SETTLES[1]),
        ],
        product(POLICIES[1:], [*MARKS, *SETTLES]),
    ),
)
def test_a_worker_that_dies_around_its_marks_keeps_the_promise_of_its_policy(
    worker: Start,
    cluster: Cluster,
    read_committed: Read,
    policy: str,
    point: tuple[str, str, str, int],
) -> None:
    one = worker(policy)
    inputs = with_copies(2, DISTINCT)
    cluster.send(one.source, inputs)

    one.start(fault(*point))
    dies(one)
    finish(one, cluster)

    letters = read_committed(f"{one.settings['group']}.dead-letters")
    assert_kept(policy, inputs, one, letters)


def test_killed_at_record_3_of_a_batch_of_500_with_policy_skip_at_most_one_record_is_skipped(
    worker: Start, cluster: Cluster, read_committed: Read
) -> None:
    one = worker("skip", batch_records=500)
    inputs = [Input(f"id-{n}", 0) for n in range(2000)]
    cluster.send(one.source, inputs)

    one.start(die={"when": "before", "batch": 500, "call": 3})
    dies(one)
    (death,) = one.notes("fault")
    assert death["batch"] == 500
    finish(one, cluster)

    letters = read_committed(f"{one.settings['group']}.dead-letters")
    assert_kept("skip", inputs, one, letters)
    assert len(lost(inputs, one.took_place())) == 1  # the one that it died in, before its effect


@pytest.mark.parametrize(("method", "when", "call"), rows([FLUSHES[1], FLUSHES[2]], FLUSHES))
def test_a_flush_at_any_point_repeats_only_what_it_flags(
    worker: Start,
    cluster: Cluster,
    read_committed: Read,
    method: str,
    when: str,
    call: int,
) -> None:
    one = worker("retry")
    inputs = with_copies(call, DISTINCT, across=False)
    cluster.send(one.source, inputs)

    one.start(fault("ledger", method, when, call, action="flush"))
    cluster.await_settled(one.settings["group"], one.source)
    one.drain()

    assert len(one.notes("fault")) == 1
    letters = read_committed(f"{one.settings['group']}.dead-letters")
    assert_kept("retry", inputs, one, letters)


def test_a_first_start_puts_nothing_in_doubt(worker: Start, cluster: Cluster) -> None:
    one = worker("skip")
    inputs = [Input(f"id-{n}", n % 2) for n in range(50)]
    cluster.send(one.source, inputs)
    finish(one, cluster)
    assert lost(inputs, one.took_place()) == set()
    assert not any(effect.in_doubt for effect in one.took_place())


def test_another_worker_takes_over_with_a_larger_token(
    worker: Start, cluster: Cluster, tmp_path: Path
) -> None:
    one = worker("retry")
    inputs = [Input(f"id-{n}", 0) for n in range(60)]
    cluster.send(one.source, inputs)

    one.start(die={"when": "after", "call": 33})
    dies(one)
    other = worker("retry")
    other.slot, other.diary = 1, tmp_path / "other"
    finish(other, cluster)

    effects = one.took_place()
    assert (lost(inputs, effects), unflagged(effects)) == (set(), {})
    tokens = [effect.token for effect in effects]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) > 1


def test_a_ledger_that_does_not_note_what_begins_lets_effects_come_twice_unflagged(
    worker: Start, cluster: Cluster
) -> None:
    one = worker("retry")
    one.broken = "no marks"
    inputs = with_copies(1, DISTINCT)
    cluster.send(one.source, inputs)

    one.start(die=EFFECTS["after the effect"])
    dies(one)
    finish(one, cluster)

    assert unflagged(one.took_place())


def test_a_worker_that_is_stopped_and_replaced_begins_nothing_when_it_wakes_up(
    worker: Start, cluster: Cluster, read_committed: Read, tmp_path: Path
) -> None:
    # 1. It stops right before it would mark its next record. The group takes it for dead.
    # 2. Another one takes over, and does what is left.
    # 3. It wakes up: its epoch is an older one, so it may not begin.
    one, other = worker("skip"), worker("skip")
    other.slot, other.diary = 1, tmp_path / "other"
    inputs = with_copies(3, DISTINCT)
    cluster.send(one.source, inputs)

    one.start(fault("ledger", "begin", "before", 33, action="stop"))
    one.await_note("fault")
    other.start()
    cluster.await_settled(one.settings["group"], one.source)
    one.go_on()
    one.await_note("Aborted")
    one.drain()
    other.drain()

    letters = read_committed(f"{one.settings['group']}.dead-letters")
    assert_kept("skip", inputs, one, letters)
    assert lost(inputs, one.took_place()) == set()
