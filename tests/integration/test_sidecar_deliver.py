"""What a sidecar hands to an app, and what becomes of it."""

import json
import threading
from collections import Counter
from typing import Any
from unittest.mock import ANY

import pytest

from eos.core.events import Event, Pushed
from eos.core.record import Record
from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Target
from eos.doors.sidecar.deliver.calls import Calls
from eos.doors.sidecar.deliver.delivery import Delivery
from eos.doors.sidecar.sidecar import looping
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.sidecar_kit import App, Door, Push, Reply, ask, await_ready, deliver, event

IDS = [f"id-{n}" for n in range(12)]


@pytest.fixture
def door(settings: Settings) -> Door:
    return Door(settings)


def letters(cluster: Cluster, settings: Settings) -> list[tuple[str, str]]:
    """Give the dead letters: value and reason."""
    found = []
    for message in cluster.read_committed(settings.dead_letters):
        headers: dict[str, Any] = dict(message.headers() or [])
        found.append(((message.value() or b"").decode(), headers["eos-reason"].decode()))
    return found


def send(cluster: Cluster, source: str, names: list[str], key: bytes | None = None) -> None:
    cluster.send(source, [Input(name, n % 2, key=key) for n, name in enumerate(names)])


@pytest.mark.parametrize("tier", ["transaction", "plain"])
def test_each_event_is_handed_over_once_and_copies_are_not(
    door: Door, cluster: Cluster, source: str, to: str, tier: str
) -> None:
    with App(lambda push: event(push.key, push.body)) as app:
        out = to if tier == "transaction" else None
        with door.running(door.config(app, deliver(source, out, path="/in?x=1"))):
            send(cluster, source, IDS)
            cluster.await_settled(door.settings.group, source)
            cluster.send(source, [Input(name, 1 - n % 2) for n, name in enumerate(IDS)])
            cluster.await_settled(door.settings.group, source)
    assert sorted(app.keys()) == sorted(IDS)
    assert {push.path for push in app.pushes} == {"/in?x=1"}
    assert sorted(ids(cluster.read_committed(to))) == (sorted(IDS) if out else [])


def test_the_app_is_told_what_it_needs(door: Door, cluster: Cluster, source: str) -> None:
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = (("content-type", b"application/json"), ("traceparent", trace))
    with App(lambda _: Reply()) as app, door.running(door.config(app, deliver(source))):
        cluster.send(source, [Input('Ümlaut "1"', 1, b'{"a": 1}', "schlüssel".encode(), headers)])
        cluster.await_settled(door.settings.group, source)
    (push,) = app.pushes
    told = push.headers
    assert push.body == b'{"a": 1}'
    assert told["idempotency-key"] == '"%C3%9Cmlaut %221%22"'
    assert told["content-type"] == "application/json"
    assert told["traceparent"] == trace.decode()
    assert (told["eos-topic"], told["eos-attempt"], told["eos-in-doubt"]) == (source, "1", "false")
    assert told["eos-position"].endswith("/1/0")
    assert told["eos-key"] == "schl%C3%BCssel"
    assert int(told["eos-fencing-token"]) > 0


def test_a_header_of_a_record_ends_no_header_of_a_push(
    door: Door, cluster: Cluster, source: str
) -> None:
    evil = b"text/plain\r\nx-evil: 1"
    with App(lambda _: Reply()) as app, door.running(door.config(app, deliver(source))):
        cluster.send(
            source,
            [
                Input(
                    "a\r\nx-evil: 1",
                    0,
                    b"v",
                    b"k\r\n",
                    (("content-type", evil), ("traceparent", evil)),
                )
            ],
        )
        cluster.await_settled(door.settings.group, source)
    (push,) = app.pushes
    assert "x-evil" not in push.headers
    assert "traceparent" not in push.headers
    assert push.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("status", "reason", "tries"),
    [(400, "rejected", 1), (500, "handler_failed", 3), (307, "handler_failed", 3)],
)
def test_what_the_app_cannot_handle_is_a_dead_letter_and_the_rest_goes_on(
    door: Door, cluster: Cluster, source: str, to: str, status: int, reason: str, tries: int
) -> None:
    elsewhere = {"location": "/elsewhere"}

    def answer(push: Push) -> Reply:
        return Reply(status, b"no", elsewhere) if push.key == "id-4" else event(push.key, push.body)

    door = door.with_settings(retries=2, backoff="10ms")
    with App(answer) as app, door.running(door.config(app, deliver(source, to))):
        send(cluster, source, IDS)
        cluster.await_settled(door.settings.group, source)
    want = Counter(IDS)
    want["id-4"] = tries
    assert Counter(app.keys()) == want
    assert [push.attempt for push in app.pushes if push.key == "id-4"] == [*range(1, tries + 1)]
    assert letters(cluster, door.settings) == [("id-4", reason)]
    assert sorted(ids(cluster.read_committed(to))) == sorted(set(IDS) - {"id-4"})
    assert {push.path for push in app.pushes} == {"/"}


def test_what_stands_behind_a_failure_is_not_pushed_twice_and_its_own_key_waits(
    door: Door, cluster: Cluster, source: str, to: str
) -> None:
    refused: list[str] = []

    def answer(push: Push) -> Reply:
        if push.key == "bad-1" and len(refused) < 3:
            refused.append(push.key)
            return Reply(500)
        return event(push.key, push.body)

    door = door.with_settings(backoff="10ms", commit_interval=0)
    with App(answer) as app:
        names = [
            ("bad-1", b"k"),
            ("other-1", b"o"),
            ("bad-2", b"k"),
            ("other-2", b"o"),
            ("bad-3", b"k"),
        ]
        cluster.send(source, [Input(name, 0, key=key) for name, key in names])
        with door.running(door.config(app, deliver(source, to))):
            cluster.await_settled(door.settings.group, source)
    counted = Counter(app.keys())
    assert counted == Counter({"bad-1": 4, "bad-2": 1, "bad-3": 1, "other-1": 1, "other-2": 1})
    pushed = app.keys()
    assert [key for key in pushed if key.startswith("bad")][-3:] == ["bad-1", "bad-2", "bad-3"]
    assert [key for key in pushed if key.startswith("other")] == ["other-1", "other-2"]
    assert ids(cluster.read_committed(to)) == [name for name, _ in names]


def test_an_app_that_is_busy_is_waited_for_and_no_try_counts(
    door: Door, cluster: Cluster, source: str
) -> None:
    busy = [Reply(429, headers={"retry-after": "1"}), Reply(503), Reply(503), Reply(429)]

    def answer(_: Push) -> Reply:
        return busy.pop(0) if busy else Reply()

    door = door.with_settings(retries=0, backoff="10ms")
    with App(answer) as app, door.running(door.config(app, deliver(source))):
        cluster.send(source, [Input("a", 0)])
        cluster.await_settled(door.settings.group, source)
    assert [push.attempt for push in app.pushes] == [1] * 5


def test_different_keys_go_at_the_same_time_and_one_key_one_after_the_other(
    door: Door, cluster: Cluster, source: str
) -> None:
    both = threading.Barrier(2)

    def answer(push: Push) -> Reply:
        if push.key.startswith("at-once"):
            both.wait(SECONDS)  # for the other key, or it breaks
        return Reply()

    with App(answer) as app:
        # Both are there before the first is read, so that they are read together.
        cluster.send(source, [Input(f"at-once-{key}", 0, key=b"%d" % key) for key in (1, 2)])
        with door.running(door.config(app, deliver(source))):
            cluster.await_settled(door.settings.group, source)
            assert app.most == 2
            app.most = 0
            cluster.send(source, [Input(f"one-{n}", 0, key=b"k") for n in range(20)])
            cluster.await_settled(door.settings.group, source)
    assert app.most == 1
    assert app.keys()[2:] == [f"one-{n}" for n in range(20)]


def test_a_partition_does_not_wait_for_another_one() -> None:
    both = threading.Barrier(2)

    def answer(_: Push) -> Reply:
        both.wait(SECONDS)
        return Reply()

    told: list[Event] = []
    with App(answer) as app, looping() as loop:
        calls: Calls = loop.run(made(Target(url=app.url))).result(SECONDS)
        delivery = Delivery(deliver("in"), calls, loop.run, told.append)
        records = [Record("in", "id", number, 0, None, b"", [], 0, 1) for number in (0, 1)]
        for record in records:
            delivery.ahead([record])
        assert [delivery([record]) for record in records] == [[[]], [[]]]
        loop.run(calls.close()).result(SECONDS)
    assert told == [Pushed("in", Counter(handled=1), ANY, away=False)] * 2


async def made(target: Target) -> Calls:
    return Calls(target, 1 << 20)


def test_an_app_that_is_away_is_waited_for(
    door: Door, cluster: Cluster, source: str, to: str
) -> None:
    app = App(lambda push: event(push.key, push.body))
    with door.running(door.config(app, deliver(source, to))) as url:
        await_ready(url)
        send(cluster, source, IDS)
        assert wait_until(lambda: "app" in told(url)["waiting"], seconds=SECONDS)
        assert told(url)["pushed"].keys() == {"away"}
        with app:
            cluster.await_settled(door.settings.group, source)
            assert wait_until(lambda: "app" not in told(url)["waiting"], seconds=SECONDS)
    assert Counter(app.keys()) == Counter(IDS)
    assert sorted(ids(cluster.read_committed(to))) == sorted(IDS)
    assert letters(cluster, door.settings) == []


def told(url: str) -> dict[str, dict[str, str]]:
    return ask(f"{url}/v1/status")[1]  # type: ignore[no-any-return]


GARBAGE = {
    "no HTTP": Reply(0, b"\x00\xff nonsense\r\n\r\n"),
    "nothing": Reply(0, b""),
    "too long": Reply(200, b"x" * (2 << 20)),
    "no event": Reply(200, b"{", {"content-type": "application/cloudevents+json"}),
    "half an event": Reply(200, b"", {"ce-specversion": "1.0", "ce-id": "1"}),
    "a batch of nonsense": Reply(
        200, b"[1]", {"content-type": "application/cloudevents-batch+json"}
    ),
    "too large to publish": event("x", b"x" * 1_000_000),
}


def test_garbage_for_an_answer_makes_a_dead_letter_and_nothing_is_lost(
    door: Door, cluster: Cluster, source: str, to: str
) -> None:
    door = door.with_settings(retries=1, backoff="10ms")
    good = [f"good-{n}" for n in range(4)]

    def answer(push: Push) -> Reply:
        return GARBAGE.get(push.key) or event(push.key, push.body)

    with App(answer) as app, door.running(door.config(app, deliver(source, to))):
        send(cluster, source, [*good[:2], *GARBAGE, *good[2:]])
        cluster.await_settled(door.settings.group, source)
    found = dict(letters(cluster, door.settings))
    assert found.keys() == GARBAGE.keys()
    assert set(found.values()) == {"handler_failed", "unsendable"}
    assert sorted(ids(cluster.read_committed(to))) == good


def test_an_app_that_never_answers_is_given_up_after_its_tries(
    door: Door, cluster: Cluster, source: str, to: str
) -> None:
    never = threading.Event()

    def answer(push: Push) -> Reply:
        if push.key == "stuck":
            never.wait(SECONDS)
        return event(push.key, push.body)

    door = door.with_settings(retries=1, backoff="10ms")
    with App(answer) as app, door.running(door.config(app, deliver(source, to), timeout=0.3)):
        cluster.send(source, [Input("a", 0), Input("stuck", 0), Input("b", 0)])
        cluster.await_settled(door.settings.group, source)
    never.set()
    assert letters(cluster, door.settings) == [("stuck", "handler_failed")]
    assert ids(cluster.read_committed(to)) == ["a", "b"]


def test_batches_are_pushed_whole_and_divided_where_one_of_them_fails(
    door: Door, cluster: Cluster, source: str, to: str
) -> None:
    sizes: list[int] = []
    handled: Counter[str] = Counter()

    def answer(push: Push) -> Reply:
        found = json.loads(push.body)
        sizes.append(len(found))
        if any(each["idempotencykey"] == "bad" for each in found):
            return Reply(422)
        handled.update(each["idempotencykey"] for each in found)
        done = [
            {"specversion": "1.0", "id": each["id"], "source": "/app", "type": "t", "data": "x"}
            for each in found
        ]
        body = json.dumps(done).encode()
        return Reply(200, body, {"content-type": "application/cloudevents-batch+json"})

    names = [*IDS[:6], "bad", *IDS[6:]]
    with App(answer) as app:
        cluster.send(source, [Input(name, 0) for name in names])
        with door.running(door.config(app, deliver(source, to, mode="batched", batch=5))):
            cluster.await_settled(door.settings.group, source)
    assert (max(sizes), handled) == (5, Counter(IDS))
    assert letters(cluster, door.settings) == [("bad", "rejected")]
    assert len(cluster.read_committed(to)) == len(IDS)


def test_the_answers_events_carry_a_key_and_their_attributes(
    door: Door, cluster: Cluster, source: str, to: str
) -> None:
    reply = event("1", b"paid", partitionkey="customer-7", subject="Ümlaut")
    reply.headers = {**reply.headers, "ce-subject": "%C3%9Cmlaut"}
    with App(lambda _: reply) as app, door.running(door.config(app, deliver(source, to))):
        cluster.send(source, [Input("a", 0, key=b"k")])
        cluster.await_settled(door.settings.group, source)
    (message,) = cluster.read_committed(to)
    headers = dict(message.headers() or [])
    assert (message.key(), message.value()) == (b"customer-7", b"paid")
    assert headers["ce_id"] == b"re-1"
    assert headers["ce_subject"] == "Ümlaut".encode()
    assert headers["content-type"] == b"text/plain"
    assert "message-id" in headers


def test_what_a_policy_asks_about_goes_one_by_one(
    door: Door, cluster: Cluster, source: str
) -> None:
    door = door.with_settings(in_doubt="skip")
    with App(lambda _: Reply()) as app:
        send(cluster, source, IDS)
        with door.running(door.config(app, deliver(source))):
            cluster.await_settled(door.settings.group, source)
    assert Counter(app.keys()) == Counter(IDS)
    assert app.most == 1
