"""A loop that dies loses nothing and repeats nothing unflagged; with a producer, nothing at all."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Message

from tests.fault.rows import rows
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.consumer_processes import LoopWorker
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.plain import lost, repeated, unflagged
from tests.integration.processes import fault

DISTINCT = 70
Start = Callable[..., LoopWorker]
Read = Callable[[str], list[Message]]

# How the loop reads, whether it commits by itself, and where it dies.
DEATHS = [
    ("poll", True, None, {"when": "after", "call": 33}),
    ("consume", True, None, {"when": "before", "call": 33}),
    ("consume", False, fault("ledger", "claim", "before", 6), None),
    ("poll", False, fault("ledger", "settle", "before", 3), None),
    ("consume", True, fault("ledger", "settle", "after", 1), None),
]
TRANSACTIONS = [
    ("consume", False, "produce", "after", 25),
    ("poll", False, "send_offsets", "after", 3),
    ("consume", True, "commit", "before", 2),
    ("poll", True, "commit", "after", 2),
]


@pytest.fixture
def worker(
    bootstrap_servers: str, redis_url: str, namespace: str, source: str, tmp_path: Path
) -> Iterator[Start]:
    """Makes a process with a loop."""
    made: list[LoopWorker] = []

    def make(loop: str, *, auto: bool, to: str = "", **settings: object) -> LoopWorker:
        conf = {
            "bootstrap.servers": bootstrap_servers,
            "group.id": namespace,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": auto,
            "auto.commit.interval.ms": 100,
            "session.timeout.ms": 1500,
            "heartbeat.interval.ms": 300,
        }
        given = {"ledger": redis_url, "batch_records": 10, "instance": f"i{len(made)}", **settings}
        diary, effects = tmp_path / f"diary-{len(made)}", tmp_path / "effects"
        made.append(LoopWorker(given, source, to, diary, effects=effects, conf=conf, loop=loop))
        return made[-1]

    yield make
    for each in made:
        each.__exit__(None, None, None)


def joins(worker: LoopWorker) -> None:
    """Start a process, and wait until it is a member of the group."""
    seen = len(worker.notes("Assigned"))
    worker.start()
    worker.await_note("Assigned", seen + 1)


def finish(worker: LoopWorker, cluster: Cluster) -> None:
    """Start a process again, and let it do what is left."""
    joins(worker)
    try:
        cluster.await_settled(worker.conf["group.id"], worker.source)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{worker.told()}") from None
    worker.drain()


def dies(worker: LoopWorker) -> None:
    assert worker.exit_code() == -9, worker.told()


@pytest.mark.parametrize(
    ("loop", "auto", "at", "die"), rows([DEATHS[0], DEATHS[2], DEATHS[4]], DEATHS)
)
def test_a_loop_that_dies_repeats_only_what_is_flagged_and_loses_nothing(
    worker: Start,
    cluster: Cluster,
    loop: str,
    auto: bool,
    at: dict[str, object] | None,
    die: dict[str, object] | None,
) -> None:
    # An idle loop's offsets go to Kafka without a call to the ledger, and a claim tells it in the
    # same call: only a loop that is back when the interval is over settles by a call of its own.
    own_call = {"commit_interval": 0} if auto and at else {}
    one = worker(loop, auto=auto, **own_call)
    inputs = with_copies(1, DISTINCT)
    cluster.send(one.source, inputs)

    one.start(*([at] if at else []), die=die)
    dies(one)
    finish(one, cluster)

    effects = one.took_place()
    assert lost(inputs, effects) == set()
    assert unflagged(effects) == {}


@pytest.mark.parametrize(
    ("policy", "loop"), [("skip", "consume"), ("dead_letter", "poll"), ("reconcile", "consume")]
)
def test_a_loop_that_dies_in_an_effect_keeps_the_promise_of_its_policy(
    worker: Start, cluster: Cluster, read_committed: Read, policy: str, loop: str
) -> None:
    one = worker(loop, auto=loop == "poll", in_doubt=policy, batch_records=500)
    inputs = with_copies(2, 600)
    cluster.send(one.source, inputs)

    # Record 3 of what may be a batch of 500, so that 497 never began.
    when = "before" if policy == "reconcile" else "after"
    one.start(die={"when": when, "call": 303})
    dies(one)
    finish(one, cluster)

    effects = one.took_place()
    letters = read_committed(f"{one.conf['group.id']}.dead-letters")
    assert repeated(effects) == {}
    missing = lost(inputs, effects)
    assert len(missing) <= int(policy != "reconcile"), missing
    if policy == "dead_letter":
        assert missing <= set(ids(letters))
        # What was settled when it died is no news; the rest of 100 ms is in doubt.
        assert set(ids(letters)) <= {str(each.id) for each in inputs}
    else:
        assert letters == []


def test_killed_before_record_3_of_500_with_policy_skip_one_record_is_skipped(
    worker: Start, cluster: Cluster
) -> None:
    one = worker("consume", auto=True, in_doubt="skip", batch_records=500)
    inputs = [Input(f"id-{n}", 0) for n in range(700)]
    cluster.send(one.source, inputs)
    one.start(die={"when": "before", "call": 3})
    dies(one)
    finish(one, cluster)
    assert len(lost(inputs, one.took_place())) == 1


@pytest.mark.parametrize(
    ("loop", "auto", "method", "when", "call"), rows(TRANSACTIONS[1:3], TRANSACTIONS)
)
def test_with_a_producer_a_loop_that_dies_anywhere_publishes_each_record_once(
    worker: Start,
    cluster: Cluster,
    to: str,
    read_committed: Read,
    loop: str,
    auto: bool,
    method: str,
    when: str,
    call: int,
) -> None:
    one = worker(loop, auto=auto, to=to)
    inputs = with_copies(3, DISTINCT)
    cluster.send(one.source, inputs)

    one.start(fault("transactions", method, when, call))
    dies(one)
    finish(one, cluster)

    assert_exactly_once(inputs, read_committed(to))


@pytest.mark.parametrize("transactional", [True, False], ids=["producer", "effects"])
def test_processes_that_come_and_go_and_are_killed_lose_nothing_and_repeat_nothing_unflagged(
    worker: Start,
    cluster: Cluster,
    to: str,
    read_committed: Read,
    transactional: bool,
) -> None:
    target = to if transactional else ""
    workers = [worker("poll", auto=False, to=target), worker("consume", auto=True, to=target)]
    inputs = with_copies(4, 300)
    rounds, source, group = 4, workers[0].source, workers[0].conf["group.id"]
    for each in workers:
        joins(each)
    for n in range(rounds):
        cluster.send(source, inputs[n * len(inputs) // rounds : (n + 1) * len(inputs) // rounds])
        leaving = workers[n % 2]
        if n % 3:
            assert leaving.process is not None
            leaving.process.kill()
            leaving.exit_code()
        else:
            leaving.drain()
        joins(leaving)
    cluster.await_settled(group, source)
    for each in workers:
        each.drain()

    if transactional:
        assert_exactly_once(inputs, read_committed(to))
        return
    effects = workers[0].took_place()
    assert lost(inputs, effects) == set()
    assert unflagged(effects) == {}
