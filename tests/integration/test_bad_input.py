"""Whatever is sent, and whatever a handler does with it: nothing is lost, and the rest goes on."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from confluent_kafka import Message

from eos.core.errors import AbortableError, ConfigError, FatalError
from eos.core.events import Aborted, Claimed, Committed, Retried
from eos.core.ports import Ports
from eos.core.record import Record, Send
from eos.core.rules import Verdict
from eos.core.settings import Settings
from eos.devstack import Stack
from eos.devstack.waiting import wait_until
from eos.testing.faults import Fault, faulty
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.lines import Running, step

Read = Callable[[str], list[Message]]
ROOMY = 4_000_000  # a topic that takes larger messages than a client sends by default


@pytest.fixture
def source(topic: Callable[..., str]) -> str:
    """One partition: what is read has one order."""
    return topic("orders", partitions=1, max_message_bytes=str(ROOMY))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, backoff="10ms", retries=2)


def orders(*names: str) -> list[Input]:
    return [Input(name, 0) for name in names]


def headers(message: Message) -> dict[str, str]:
    found: Any = message.headers() or []
    return {name: (value or b"").decode() for name, value in found}


def fails(*names: str) -> Callable[[Record], Send]:
    """Make a handler that fails for these records."""

    def handler(record: Record) -> Send:
        if (record.value or b"").decode() in names:
            raise ValueError(f"no such thing as {record.value!r}")
        return Send(record.value)

    return handler


# --- records without a key, and conflicts -------------------------------------------------


def test_a_record_without_a_key_is_handled_once_a_position_by_default(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    unkeyed = [Input(None, 0, b"same"), Input("a", 0), Input(None, 0, b"same")]
    cluster.send(source, unkeyed)

    with Running(settings, [step(source, to)]) as line:
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["same", "a", "same"]
    assert sum(event.unkeyed for event in line.saw(Claimed)) == 2


def test_a_record_without_a_key_becomes_a_dead_letter_where_one_is_demanded(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    cluster.send(source, [Input("a", 0), Input(None, 0, b"nameless"), Input("b", 0)])

    with Running(replace(settings, missing_key="dead_letter"), [step(source, to)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a", "b"]
    (letter,) = read_committed(settings.dead_letters)
    assert letter.value() == b"nameless"
    assert headers(letter)["eos-reason"] == "missing_key"
    assert headers(letter)["eos-position"].endswith("/0/1")


@pytest.mark.parametrize(
    ("policy", "second"),
    [
        ("missing_key", Input(None, 0, b"nameless")),
        ("conflict", Input("a", 0, b"another payload")),
    ],
)
def test_a_line_that_is_told_to_fail_stops_and_names_the_record(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Read,
    policy: str,
    second: Input,
) -> None:
    strict = Settings(**{**vars(settings), policy: "fail"})
    cluster.send(source, [Input("a", 0), second])

    with Running(strict, [step(source, to)]) as line:
        error = line.failed()

    assert isinstance(error, FatalError)
    assert f"{source}[0]@1" in str(error)
    assert policy in str(error)
    assert read_committed(to) == []  # what was in its hands is not settled either
    assert not any(cluster.committed(settings.group, source).values())


def test_another_payload_under_a_known_key_is_never_dropped_in_silence(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    cluster.send(source, [Input("a", 0), Input("a", 0, b"another payload"), Input("a", 0)])

    with Running(settings, [step(source, to)]) as line:
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a"]
    (letter,) = read_committed(settings.dead_letters)
    assert letter.value() == b"another payload"
    assert headers(letter)["eos-reason"] == "conflict"
    tallies = [tally for event in line.saw(Claimed) for tally in event.tallies]
    assert sum(tally.verdicts.get(Verdict.CONFLICT, 0) for tally in tallies) == 1


def test_another_payload_under_a_known_key_is_handled_where_that_is_asked_for(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    cluster.send(source, [Input("a", 0), Input("a", 0, b"another payload"), Input("a", 0)])

    with Running(replace(settings, conflict="handle"), [step(source, to)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a", "another payload"]


def test_a_key_that_cannot_be_read_counts_as_missing_and_stops_nobody(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    def key(record: Record) -> Any:
        text = (record.value or b"").decode()
        if text == "raises":
            raise KeyError(text)
        return {"number": 5, "surrogate": "\ud800"}.get(text, text)

    texts = ["raises", "number", "surrogate", "fine", "fine"]
    cluster.send(source, [Input(None, 0, text.encode()) for text in texts])

    with Running(replace(settings, key=key), [step(source, to)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["raises", "number", "surrogate", "fine"]


def test_headers_and_payloads_that_are_null_stop_nobody(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    nothing = Input(None, 0, None, headers=[("ce_id", None), ("ce_source", b"shop")])
    cluster.send(source, [nothing, Input("a", 0), Input(None, 0, None, b"tombstone"), nothing])

    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)

    sent = read_committed(to)
    assert [message.value() for message in sent] == [None, b"a", None, None]
    assert sent[2].key() == b"tombstone"


# --- handlers that fail ------------------------------------------------------------------


def test_a_record_that_fails_again_and_again_becomes_a_dead_letter_and_the_rest_goes_on_in_order(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    poison = Input("poison", 0, key=b"customer", headers=[("trace", b"t-1")])
    cluster.send(source, [*orders("a", "b"), poison, *orders("c", "d")])

    with Running(settings, [step(source, to, fails("poison"))]) as line:
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a", "b", "c", "d"]
    (letter,) = read_committed(settings.dead_letters)
    assert (letter.value(), letter.key()) == (b"poison", b"customer")
    told = headers(letter)
    assert told["eos-reason"] == "handler_failed"
    assert told["eos-attempts"] == "3"
    assert told["eos-topic"] == source
    assert told["eos-position"].endswith("/0/2")
    assert told["eos-idempotency-key"] == "poison"
    assert told["eos-error"] == "ValueError: no such thing as b'poison'"
    assert told["trace"] == "t-1"
    assert [event.attempt for event in line.saw(Retried)] == [1, 2]
    letters = [letter for event in line.saw(Committed) for letter in event.letters]
    assert [letter.reason for letter in letters] == ["handler_failed"]


def test_a_handler_that_recovers_on_a_retry_leaves_no_dead_letter(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    tries = itertools.count(1)

    def handler(record: Record) -> Send:
        if record.value == b"flaky" and next(tries) <= 2:
            raise TimeoutError
        return Send(f"{record.idempotency_key} at try {record.attempt}")

    cluster.send(source, orders("a", "flaky", "b"))

    with Running(settings, [step(source, to, handler)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a at try 1", "flaky at try 3", "b at try 1"]
    assert read_committed(settings.dead_letters) == []


def test_a_dead_letter_is_in_the_transaction_of_its_offset(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    def give_up() -> None:
        raise AbortableError("for the test", "transaction")

    def wrap(ports: Ports) -> None:
        faults = [Fault("commit", "before", n, give_up) for n in (1, 2)]
        ports.transactions = faulty(ports.transactions, *faults)

    cluster.send(source, orders("a", "poison", "b"))

    with Running(settings, [step(source, to, fails("poison"))], wrap) as line:
        cluster.await_settled(settings.group, source)

    assert [event.cause for event in line.saw(Aborted)].count("transaction") == 2
    assert sum(len(event.letters) for event in line.saw(Committed)) == 1
    assert ids(read_committed(settings.dead_letters)) == ["poison"]
    assert ids(read_committed(to)) == ["a", "b"]


class Unspeakable(Exception):  # noqa: N818 it is no ordinary error
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("unspeakable")


def rubbish() -> dict[str, Callable[[], Any]]:
    """Give what handlers come back with that cannot be sent, or told."""

    def raising(error: Exception) -> Callable[[], Any]:
        def run() -> Any:
            raise error

        return run

    return {
        "text": lambda: "text",
        "bytes": lambda: b"bytes",
        "number": lambda: 7,
        "dict": lambda: {"a": 1},
        "list of text": lambda: ["a", "b"],
        "good and bad": lambda: [Send("good"), "bad"],
        "number as value": lambda: Send(7),
        "dict as value": lambda: Send({"a": 1}),
        "list as key": lambda: Send("v", key=["k"]),  # type: ignore[arg-type]
        "number as header": lambda: Send("v", headers={"n": 5}),  # type: ignore[dict-item]
        "broken pairs": lambda: Send("v", headers=[("n",)]),  # type: ignore[list-item]
        "surrogate": lambda: Send("\ud800"),
        "surrogate header": lambda: Send("v", headers={"\ud800": b"v"}),
        "number as topic": lambda: Send("v", topic=5),  # type: ignore[arg-type]
        "topic with blanks": lambda: Send("v", topic="no such name"),
        "too large": lambda: Send(b"x" * 1_100_000),
        "a little too large": lambda: Send(b"x" * 999_990),
        "large headers": lambda: Send(b"x", headers={"h": b"x" * 1_100_000}),
        "unspeakable": raising(Unspeakable()),
        "surrogate in error": raising(ValueError("\ud800")),
        "abortable": raising(AbortableError("mine", "transaction")),
        "stop iteration": raising(StopIteration()),
        "recursion": raising(RecursionError()),
    }


def test_no_rubbish_that_a_handler_returns_or_raises_stops_the_line(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    kinds = rubbish()

    def handler(record: Record) -> Any:
        name = (record.value or b"").decode()
        return kinds[name]() if name in kinds else Send(record.value)

    names = [name for kind in kinds for name in (kind, f"after {kind}")]
    cluster.send(source, orders(*names))

    with Running(replace(settings, retries=0), [step(source, to, handler)]):
        cluster.await_settled(settings.group, source)

    sent, dead = read_committed(to), read_committed(settings.dead_letters)
    fine = [name for name in ids(sent) if name.startswith("after ")]
    assert fine == [f"after {kind}" for kind in kinds]
    assert sorted(ids(dead)) == sorted(kinds)
    assert len(sent) == len(kinds)


def test_a_letter_that_is_too_large_is_sent_without_its_payload_and_says_where_that_stands(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    larger = ROOMY - 10_000
    large = [
        Input("close to the limit", 0, b"x" * 999_800),
        Input("larger than we may send", 0, b"x" * larger),
        Input("h", 0, b"large headers", headers=[("h", b"x" * 1_500_000)]),
        Input("k" * 1_500_000, 0, b"large key"),
    ]
    cluster.send(source, [*large, *orders("a")], **{"message.max.bytes": ROOMY})

    def handler(record: Record) -> Send:
        if record.value != b"a":
            raise ValueError("no")
        return Send(record.value)

    # It must be able to read what it cannot send.
    roomy = replace(settings, retries=0)
    with Running(roomy, [step(source, to, handler)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a"]
    dead = read_committed(settings.dead_letters)
    assert [headers(letter)["eos-position"].rsplit("/", 1)[1] for letter in dead] == list("0123")
    assert headers(dead[1])["eos-payload-omitted"] == str(larger)
    assert dead[1].value() is None


def test_a_batch_handler_that_fails_is_asked_again_record_by_record(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    sizes: list[int] = []

    def handler(records: list[Record]) -> list[Send]:
        sizes.append(len(records))
        return [fails("poison")(record) for record in records]

    cluster.send(source, orders("a", "b", "poison", "c", "d"))

    with Running(settings, [step(source, to, handler, batch=True)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a", "b", "c", "d"]
    assert ids(read_committed(settings.dead_letters)) == ["poison"]
    assert max(sizes) > 1


def test_a_batch_handler_may_be_a_generator(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    def handler(records: Iterable[Record]) -> Iterator[list[Send] | None]:
        for record in records:
            if record.value == b"poison":
                raise ValueError("no")
            yield None if record.value == b"nothing" else [Send(record.value), Send("twin")]

    cluster.send(source, orders("a", "nothing", "poison", "b"))

    with Running(settings, [step(source, to, handler, batch=True)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a", "twin", "b", "twin"]
    assert ids(read_committed(settings.dead_letters)) == ["poison"]


def test_a_batch_handler_that_returns_too_few_results_loses_nothing(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    def handler(records: list[Record]) -> list[Send]:
        return [Send(record.value) for record in records if record.value != b"forgotten"]

    cluster.send(source, orders("a", "forgotten", "b"))

    with Running(replace(settings, retries=0), [step(source, to, handler, batch=True)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a", "b"]
    assert ids(read_committed(settings.dead_letters)) == ["forgotten"]


def test_a_handler_may_send_nothing_or_several_to_several_topics(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read, topic: Any
) -> None:
    other = topic("other")

    def handler(record: Record) -> list[Send] | None:
        if record.value == b"nothing":
            return None
        return [Send("1"), Send("2", topic=other), Send("3", key="k", headers={"h": "v"})]

    cluster.send(source, [*orders("nothing"), Input("a", 0, key=b"customer")])

    with Running(settings, [step(source, to, handler)]):
        cluster.await_settled(settings.group, source)

    first, third = read_committed(to)
    (second,) = read_committed(other)
    assert [m.value() for m in (first, second, third)] == [b"1", b"2", b"3"]
    assert [m.key() for m in (first, second, third)] == [b"customer", b"customer", b"k"]
    assert headers(third)["h"] == "v"
    assert len({headers(m)["message-id"] for m in (first, second, third)}) == 3


def test_a_handler_so_slow_that_a_batch_would_outlast_the_group_s_patience_makes_progress(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    # 100 records at 0.1 s take longer than the 6 s after which the group gives a member up.
    slow = replace(
        settings,
        batch_records=500,
        kafka={"session.timeout.ms": 6000, "max.poll.interval.ms": 6000},
    )
    pause = itertools.repeat(None)

    def handler(record: Record) -> Send:
        next(pause)
        wait_until(lambda: False, seconds=0.1)
        return Send(record.value)

    names = [f"id-{n}" for n in range(100)]
    cluster.send(source, orders(*names))

    with Running(slow, [step(source, to, handler)]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == names


# --- topics and servers that are not what they should be ----------------------------------


def test_an_input_topic_that_does_not_exist_is_named(settings: Settings, to: str) -> None:
    with Running(settings, [step("no-such-topic", to)]) as line:
        error = line.failed()

    assert isinstance(error, FatalError)
    assert "topic 'no-such-topic' does not exist" in str(error)


def test_an_output_topic_that_does_not_exist_is_named(settings: Settings, source: str) -> None:
    with Running(settings, [step(source, "no-such-topic")]) as line:
        error = line.failed()

    assert isinstance(error, FatalError)
    assert "topic 'no-such-topic' does not exist" in str(error)


def test_a_topic_that_only_a_handler_knows_of_holds_the_line_up_until_it_exists(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    missing = f"late-{settings.namespace}"
    cluster.send(source, orders("a", "b", "a"))

    with Running(settings, [step(source, to, lambda r: Send(r.value, topic=missing))]) as line:
        line.until(
            lambda line: any(missing in event.detail for event in line.saw(Aborted)),
            "a word about the topic that is missing",
        )
        assert not any(cluster.committed(settings.group, source).values())
        cluster.create_named(missing)
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(missing)) == ["a", "b"]


def test_a_redis_that_may_evict_keys_is_refused(
    stack: Stack, settings: Settings, source: str, to: str, cluster: Cluster
) -> None:
    cluster.send(source, orders("a"))
    with redis.Redis.from_url(stack.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with Running(settings, [step(source, to)]) as line:
                error = line.failed()
        finally:
            client.config_set("maxmemory-policy", "noeviction")

    assert isinstance(error, ConfigError)
    assert "allkeys-lru" in str(error)
    assert "noeviction" in str(error)
    assert not any(cluster.committed(settings.group, source).values())
