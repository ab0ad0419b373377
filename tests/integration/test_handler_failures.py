"""A handler that raises: its partition waits, the others go on, and no try is forgotten."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

import eos
from eos.core.events import Retried
from eos.core.frontier import Frontier
from eos.core.record import Record, Send
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.kafka import config
from eos.kafka.log import KafkaLog
from eos.kafka.topics import KafkaTopics
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.lines import Running, step
from tests.integration.plain import PlainWorker
from tests.integration.processes import quick

Read = Callable[[str], list[Message]]


def headers(message: Message) -> dict[str, str]:
    found: Any = message.headers() or []
    return {name: (value or b"").decode() for name, value in found}


def fails_on(*poison: str) -> Callable[[Record], Send]:
    def handler(record: Record) -> Send:
        if (record.value or b"").decode() in poison:
            raise ValueError("no")
        return Send(record.value)

    return handler


def frontiers(settings: Settings, source: str) -> dict[int, Frontier | None]:
    log = KafkaLog(config.consumer(settings), KafkaTopics(config.client(settings)))
    try:
        return log.frontiers(source)
    finally:
        log.close()


def numbered(count: int, partition: int) -> list[Input]:
    return [Input(f"{partition}-{n}", partition) for n in range(count)]


def test_a_record_that_fails_holds_up_its_partition_and_no_other_and_nothing_is_reordered(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    held, release = numbered(20, 0), threading.Event()
    patient = replace(settings, backoff="50ms", retries=1000)

    def handler(record: Record) -> Send:
        if record.value == b"0-7" and not release.is_set():
            raise ConnectionError("the shop is closed")
        return Send(record.value)

    cluster.send(source, [*held, *numbered(20, 1)])
    with Running(patient, [step(source, to, handler)]) as line:
        line.until(lambda line: len(line.saw(Retried)) >= 3, "three failures")
        cluster.send(source, [Input(f"late-{n}", 1) for n in range(50)])
        all_of_1 = {*(f"1-{n}" for n in range(20)), *(f"late-{n}" for n in range(50))}
        assert wait_until(lambda: all_of_1 <= set(ids(read_committed(to))), seconds=SECONDS)
        assert "0-8" not in ids(read_committed(to))
        assert cluster.committed(settings.group, source)[0] == 7
        release.set()
        cluster.await_settled(settings.group, source)

    found = ids(read_committed(to))
    assert [value for value in found if value.startswith("0-")] == [str(i.id) for i in held]
    assert len(found) == len(set(found)) == 90


def test_a_dead_letter_says_what_why_how_often_and_where(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    given = replace(settings, backoff="5ms", retries=2)
    poison = Input("poison", 1, key=b"\xffkey", headers=[("trace", b"t"), ("null", None)])
    cluster.send(source, [Input("a", 1), poison, Input("b", 1)])
    with Running(given, [step(source, to, fails_on("poison"))]):
        cluster.await_settled(settings.group, source)

    assert ids(read_committed(to)) == ["a", "b"]
    (letter,) = read_committed(given.dead_letters)
    told = headers(letter)
    assert (letter.key(), letter.value()) == (b"\xffkey", b"poison")
    assert told["trace"] == "t"
    assert told["eos-reason"] == "handler_failed"
    assert told["eos-attempts"] == "3"
    assert told["eos-topic"] == source
    assert told["eos-position"].endswith("/1/1")
    assert told["eos-idempotency-key"] == "poison"
    assert told["eos-error"] == "ValueError: no"
    assert len(told["eos-traceback-digest"]) == 16


def test_a_worker_that_is_killed_between_two_tries_has_a_successor_that_goes_on_counting(
    bootstrap_servers: str,
    redis_url: str,
    namespace: str,
    source: str,
    tmp_path: Path,
    cluster: Cluster,
    read_committed: Read,
) -> None:
    given = quick(bootstrap_servers, redis_url, namespace, retries=2, backoff="1s")
    cluster.send(source, [Input("a", 0), Input("poison", 0), Input("b", 0), Input("c", 1)])
    settings = Settings(**given)

    def has(attempts: int) -> bool:
        found = frontiers(settings, source).get(0)
        return found is not None and found[:2] == (1, attempts)

    with PlainWorker(given, source, "", tmp_path / "diary", effects=tmp_path / "effects") as worker:
        for attempts in (1, 2):
            worker.start()
            assert wait_until(lambda n=attempts: has(n), seconds=SECONDS), worker.told()  # type: ignore[misc]
            assert worker.process is not None
            worker.process.kill()
            worker.exit_code()
        worker.start()
        cluster.await_settled(namespace, source)
        worker.drain()

        tries = [e.attempt for e in worker.took_place() if e.id == "poison"]
        others = sorted(e.id for e in worker.took_place() if e.id != "poison")
    assert tries == [1, 2, 3]
    assert others == ["a", "b", "c"]
    (letter,) = read_committed(settings.dead_letters)
    assert headers(letter)["eos-attempts"] == "3"


def test_what_is_away_is_waited_for_and_costs_no_try(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    given = replace(settings, backoff="5ms", retries=0)
    attempts: list[int] = []

    def handler(record: Record) -> Send:
        attempts.append(record.attempt)
        if len(attempts) < 6:
            raise eos.RetriableError("the shop is closed")
        return Send(record.value)

    cluster.send(source, [Input("a", 0)])
    with Running(given, [step(source, to, handler)]):
        cluster.await_settled(settings.group, source)
    assert attempts == [1] * 6
    assert ids(read_committed(to)) == ["a"]


def test_exceptions_are_told_apart_by_their_types(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    def handler(record: Record) -> Send:
        if record.value == b"flaky" and record.attempt == 1:
            raise ConnectionResetError
        if record.value == b"wrong":
            raise ValueError("never")
        return Send(record.value)

    given = step(source, to, handler)
    cluster.send(source, [Input("flaky", 0), Input("wrong", 0), Input("right", 0)])
    with Running(replace(settings, backoff="5ms"), [replace(given, retry_on=(OSError,))]):
        cluster.await_settled(settings.group, source)
    assert ids(read_committed(to)) == ["flaky", "right"]
    (letter,) = read_committed(settings.dead_letters)
    assert headers(letter)["eos-reason"] == "not_retryable"
    assert headers(letter)["eos-attempts"] == "1"


def test_a_fatal_exception_stops_the_worker_and_the_record_is_there_for_the_next(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    class OutOfInkError(Exception):
        pass

    def handler(_record: Record) -> None:
        raise OutOfInkError

    given = replace(step(source, to, handler), fatal=(OutOfInkError,))
    cluster.send(source, [Input("a", 0)])
    with Running(settings, [given]) as line:
        assert isinstance(line.failed(), OutOfInkError)
    with Running(settings, [step(source, to)]):
        cluster.await_settled(settings.group, source)
    assert ids(read_committed(to)) == ["a"]
    assert read_committed(settings.dead_letters) == []


@pytest.mark.parametrize("batch", [False, True])
def test_what_cannot_be_decoded_is_a_dead_letter_as_it_came(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read, *, batch: bool
) -> None:
    def plus_one(record: Record) -> Send:
        value: Any = record.value
        return Send(value + 1)

    def handler(given: Any) -> Any:
        return [plus_one(each) for each in given] if batch else plus_one(given)

    inputs = [Input("a", 0, b"1"), Input("b", 0, b"\xff\x00 no number"), Input("c", 0, b"3")]
    cluster.send(source, [*inputs, inputs[1], inputs[0]])
    codecs = replace(step(source, to, handler, batch=batch), decode=int, encode=str)
    with Running(settings, [codecs]) as line:
        cluster.await_settled(settings.group, source)
        assert line.saw(Retried) == []
    assert ids(read_committed(to)) == ["2", "4"]
    (letter,) = read_committed(settings.dead_letters)  # its copy is recognised by its raw bytes
    assert letter.value() == b"\xff\x00 no number"
    assert headers(letter)["eos-reason"] == "undecodable"
    assert headers(letter)["eos-attempts"] == "0"


def test_a_dead_letter_without_a_transaction_of_its_own_settles_with_its_offset(
    settings: Settings, source: str, cluster: Cluster, read_committed: Read, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"

    def handler(record: Record) -> None:
        fails_on("poison")(record)
        with effects.open("a") as file:
            file.write(f"{(record.value or b'').decode()}\n")

    cluster.send(source, [Input("a", 0), Input("poison", 0), Input("b", 0)])
    with Running(replace(settings, backoff="5ms", retries=1), [step(source, None, handler)]):
        cluster.await_settled(settings.group, source)
    assert effects.read_text().splitlines() == ["a", "b"]
    (letter,) = read_committed(settings.dead_letters)
    assert headers(letter)["eos-attempts"] == "2"
