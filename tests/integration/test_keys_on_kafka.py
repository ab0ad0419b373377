"""Idempotency keys that stand in headers, payloads or nowhere, on a real broker."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Message

import eos
from eos.core.events import Committed
from eos.core.rules import Verdict
from eos.core.settings import Settings
from tests.integration.cluster import Cluster, Input, ids
from tests.integration.lines import Running, step

Read = Callable[[str], list[Message]]
STRUCTURED = ("content-type", b"application/cloudevents+json")


def run(settings: Settings, source: str, to: str, cluster: Cluster) -> dict[Verdict, int]:
    """Let a line do all that stands in the topic, and count its verdicts."""
    counts: dict[Verdict, int] = {}
    with Running(settings, [step(source, to)]) as line:
        cluster.await_settled(settings.group, source)
    for committed in line.saw(Committed):
        for tally in committed.tallies:
            for verdict, count in tally.verdicts.items():
                counts[verdict] = counts.get(verdict, 0) + count
    return counts


def order(id_: str, **more: Any) -> bytes:
    return json.dumps({"order": {"id": id_}, **more}).encode()


def test_an_event_is_one_in_binary_and_in_structured_mode(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    event = json.dumps({"source": "/shop", "id": "1", "data": 5}).encode()
    binary = [("ce_source", b"/shop"), ("ce_id", b"1")]
    other = [("ce_source", b"/bank"), ("ce_id", b"1")]
    cluster.send(
        source,
        [
            Input(None, 0, event, headers=[STRUCTURED]),
            Input(None, 1, event, headers=[STRUCTURED]),
            Input(None, 0, event, headers=binary),
            Input(None, 0, event, headers=other),
        ],
    )
    verdicts = run(replace(settings, key=eos.cloudevent()), source, to, cluster)
    assert verdicts == {Verdict.FRESH: 2, Verdict.DUPLICATE: 2}
    assert len(read_committed(to)) == 2


def test_the_same_order_with_another_payload_is_a_conflict(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    cluster.send(
        source,
        [
            Input(None, 0, order("1")),
            Input(None, 0, order("2")),
            Input(None, 0, order("1")),
            Input(None, 0, order("2", price=7)),
            Input(None, 0, b"no json"),
            Input(None, 0, None),
        ],
    )
    verdicts = run(replace(settings, key=eos.json_path("order.id")), source, to, cluster)
    assert verdicts == {Verdict.FRESH: 4, Verdict.DUPLICATE: 1, Verdict.CONFLICT: 1}
    assert len(read_committed(to)) == 4
    (letter,) = read_committed(settings.dead_letters)
    assert letter.value() == order("2", price=7)


def test_equal_payloads_are_one_event_and_tombstones_are_not(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    inputs = [Input(None, 0, b"\xff\x00"), Input(None, 1, b"b"), Input(None, 1, b"\xff\x00")]
    tombstones = [Input(None, 0, None, key=b"1"), Input(None, 0, None, key=b"1")]
    cluster.send(source, [*inputs, *tombstones])
    verdicts = run(replace(settings, key=eos.payload_hash()), source, to, cluster)
    assert verdicts == {Verdict.FRESH: 4, Verdict.DUPLICATE: 1}
    assert len(read_committed(to)) == 4


def test_keys_of_any_bytes_and_of_any_length_are_told_apart(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    long = b"k" * 200_000
    keys = [b"\xff\xfe", b"\xff\xff", long, long + b"1", "grün".encode()]
    inputs = [Input(None, 0, b"%d" % n, headers=[("k", key)]) for n, key in enumerate(keys)]
    cluster.send(source, [*inputs, *inputs])
    verdicts = run(replace(settings, key=eos.header("k")), source, to, cluster)
    assert verdicts == {Verdict.FRESH: 5, Verdict.DUPLICATE: 5}
    assert ids(read_committed(to)) == ["0", "1", "2", "3", "4"]


def raising(_record: eos.Record) -> bytes:
    raise KeyError("no such field")


@pytest.mark.parametrize("key", [eos.header("k"), eos.json_path("k"), raising, lambda _: 5])
def test_what_has_no_key_is_handled_each_time_and_lost_by_nobody(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read, key: Any
) -> None:
    cluster.send(source, [Input(None, 0, b"v"), Input(None, 0, b"v"), Input(None, 1, b"v")])
    assert run(replace(settings, key=key), source, to, cluster) == {Verdict.FRESH: 3}
    assert ids(read_committed(to)) == ["v"] * 3


def test_the_first_of_several_headers_wins(
    settings: Settings, source: str, to: str, cluster: Cluster, read_committed: Read
) -> None:
    cluster.send(
        source,
        [
            Input(None, 0, b"v", headers=[("k", b"1"), ("k", b"2")]),
            Input(None, 0, b"v", headers=[("k", b"1"), ("k", b"3")]),
            Input(None, 0, b"v", headers=[("k", b"2"), ("k", b"1")]),
        ],
    )
    verdicts = run(replace(settings, key=eos.header("k")), source, to, cluster)
    assert verdicts == {Verdict.FRESH: 2, Verdict.DUPLICATE: 1}
    assert len(read_committed(to)) == 2
