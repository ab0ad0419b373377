"""`eos replay` that is killed half-way, or asked for what cannot be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest

from eos import build
from eos.consume.resets import move_row
from eos.core.audit import read
from eos.core.errors import FatalError
from eos.core.events import Assigned
from eos.operate import replay as replaying
from tests.fault.rows import rows
from tests.integration.cluster import Cluster, Input
from tests.integration.outbox_door_kit import command
from tests.integration.replays import TIERS, Open, once
from tests.integration.test_replay import IDS, database_kind, first_run, shop

__all__ = ["database_kind", "shop"]

# Each method by which the command changes something.
CHANGES = ("take", "rewind", "_publish", "commit")


class Killed(BaseException):
    """What ends the command in the middle."""


@contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, method: str, when: str) -> Iterator[None]:
    """Let the command die before or after a change."""
    make: Callable[..., Any] = build.replays

    def wrapped(do: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                raise Killed
            do(*args, **kwargs)
            raise Killed

        return call

    def made(*args: Any) -> Any:
        replays = make(*args)
        if method == "_publish":
            replays._publish = wrapped(replays._publish)  # noqa: SLF001
        else:
            owner = replays._groups if method == "commit" else replays._ledger  # noqa: SLF001
            setattr(owner, method, wrapped(getattr(owner, method)))
        return replays

    with monkeypatch.context() as patch:
        patch.setattr(build, "replays", made)
        yield


@pytest.mark.parametrize(
    ("tier", "method", "when"),
    rows(
        [
            *product(("transaction", "plain"), ("rewind", "commit"), ("after",)),
            *product(("inbox",), ("commit", "move_row"), ("before", "after")),
        ],
        [
            *product(TIERS, CHANGES, ("before", "after")),
            *product(("inbox", "joined"), ("move_row",), ("before", "after")),
        ],
    ),
)
def test_a_command_that_was_killed_is_run_again(
    shop: Open, tier: str, method: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = shop(tier)
    first_run(at)
    with killed(monkeypatch, "commit" if method == "move_row" else method, when):
        if method == "move_row":
            monkeypatch.setattr(replaying, "move_row", dying(move_row, when))
        with pytest.raises(Killed):
            at.replay("--from", "1h")
    monkeypatch.undo()
    done = method == "commit" and when == "after"
    if not done and (at.engine is None or method in {"take", "rewind"}):
        at.work()  # nothing is handled again before all is done
        assert at.effects() == once("bug", IDS)
    elif not done and (method != "move_row" or when == "after"):
        with at.running() as line:
            error = line.failed()
        assert isinstance(error, FatalError)
        assert "`eos replay` end half-way? Then run it again" in str(error)
    at.replays("--from", "1h")
    at.work()
    assert at.effects() == once("bug", IDS) + once("mended", IDS)


def dying(do: Callable[..., None], when: str) -> Callable[..., None]:
    """Let a function die before or after it has done something."""

    def call(*args: Any) -> None:
        if when == "after":
            do(*args)
        raise Killed

    return call


def test_it_is_written_into_the_audit_who_wanted_it_and_why(shop: Open, cluster: Cluster) -> None:
    at = shop("transaction")
    first_run(at)
    at.replays("--from", "3", "--partitions", "1", "--key", "id-7")
    values = [m.value() or b"" for m in cluster.read_committed(at.settings.audit)]
    (entry,) = [value for value in values if b'"replay"' in value]
    assert read(entry) is None, "recovery passes over it"
    for told in (b'"reason":"a bug"', b'"partitions":{"1":[3,20,20]}', at.source.encode()):
        assert told in entry


NARROWER = ("--from=2 --partitions=0", "--from=0 --until=2 --partitions=0", "--from=1h --key=id-2")

BAD = {
    "nothing there": (("--from", "30"), "goes from 0 to 20: 30 is outside of it"),
    "nothing settled": (("--from", "20"), "nothing of that is settled in"),
    "another partition": (("--from", "1h", "--partitions", "2"), "has partitions 0 to 1, and no 2"),
    "no partition": (("--from", "1h", "--partitions", "one"), "write numbers, such as 0,3"),
    "no one partition": (("--from", "3"), "an offset needs --partitions with one of them"),
    "the future": (("--from", "2100-01-01"), "lies in the future"),
    "no time": (("--from", "yesterday"), "write 2h (two hours ago)"),
    "backwards": (("--from", "1m", "--until", "1h"), "is not before until="),
    "an end in the future": (("--from", "1h", "--until", "2100-01-01"), "lies in the future"),
    "outputs": (("--from", "1h", "--outputs", "old"), "choose one of same, new"),
    "an empty key": (("--from", "1h", "--key", ""), "--key is empty"),
    "no reason": (("--from", "1h", "--reason", " "), "--reason is empty"),
    "too many keys": (
        ("--from", "1h", *(a for n in range(300) for a in ("--key", str(n)))),
        "300 keys are too many for one replay",
    ),
}


def test_what_cannot_be_is_said_in_a_line_and_changes_nothing(shop: Open) -> None:
    at = shop("transaction")
    first_run(at)
    before = at.offsets()
    for name, (arguments, want) in BAD.items():
        one = ("--partitions", "0") if name in {"nothing there", "nothing settled"} else ()
        code, told = at.replay(*arguments, *one)
        assert (code, want in told, told.count("\n")) == (2, True, 1), (name, told)
        assert told.startswith("eos: ")
    where = ("--brokers", at.settings.brokers, "--ledger", at.settings.ledger, "--reason", "r")
    for group, topic, want in (
        ("nobody", at.source, "group 'nobody' has settled nothing of"),
        (at.settings.group, "nothing-of-that-name", "topic 'nothing-of-that-name' does not exist"),
        (at.settings.group, at.to, "has settled nothing of"),
        ("no/group", at.source, "group='no/group'"),
    ):
        code, told = command("replay", group, topic, "--from", "1h", *where)
        assert (code, want in told, told.count("\n")) == (2, True, 1), told
    assert at.offsets() == before
    at.work()
    assert at.effects() == once("bug", IDS)


@pytest.mark.parametrize("tier", ["transaction", "inbox"])
def test_a_replay_that_is_not_finished_is_not_cut_short_by_another_one(
    shop: Open, tier: str
) -> None:
    at = shop(tier)
    first_run(at)
    at.replays("--from", "1h", "--key", "id-2", "--key", "id-4")
    at.away = "id-2"  # at offset 1 of partition 0, which is held back there
    with at.running(batch_records=1, commit_interval=0) as line:
        line.until(lambda _: at.offsets()[0] == 1 and at.tried, "what cannot be handled")
    before = at.offsets()
    for narrower in NARROWER:
        code, told = at.replay(*narrower.split())
        assert (code, "is not finished, and this one would cut it short" in told) == (2, True), told
    assert at.offsets() == before
    at.away = ""
    at.work()
    assert at.effects() == once("bug", IDS) + once("mended", ["id-2", "id-4"])


def test_a_group_that_works_is_left_alone(shop: Open) -> None:
    at = shop("transaction")
    first_run(at)
    with at.running() as line:
        line.until(lambda line: line.saw(Assigned), "partitions")
        code, told = at.replay("--from", "1h")
        assert (code, "has 1 members: stop its workers" in told) == (2, True), told
        at.cluster.send(at.source, [Input("new", 0)])
        at.await_settled()
    assert at.effects() == once("bug", IDS) + once("mended", ["new"])


def test_workers_that_start_meanwhile_are_left_alone(
    shop: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = shop("transaction")
    first_run(at)
    running = at.running()
    make = build.replays

    def made(*args: Any) -> Any:
        replays = make(*args)
        publish = replays._publish  # noqa: SLF001

        def late(*message: Any) -> None:
            running.__enter__()
            running.until(lambda line: line.saw(Assigned), "partitions")
            publish(*message)

        monkeypatch.setattr(replays, "_publish", late)
        return replays

    monkeypatch.setattr(build, "replays", made)
    code, told = at.replay("--from", "1h")
    monkeypatch.undo()
    assert (code, "has members: stop its workers" in told) == (2, True), told
    at.cluster.send(at.source, [Input("new", 0)])
    at.await_settled()
    running.__exit__(None, None, None)
    assert at.effects() == once("bug", IDS) + once("mended", ["new"])
    at.replays("--from", "1h")
    at.version = "late"
    at.work()
    assert at.effects() == once("bug", IDS) + once("mended", ["new"]) + once("late", [*IDS, "new"])


def test_an_inbox_is_not_forgotten(shop: Open) -> None:
    at = shop("inbox")
    first_run(at)
    where = ("--brokers", at.settings.brokers, "--ledger", at.settings.ledger)
    given = (at.settings.group, at.source, "--reason", "r", "--from", "1h")
    code, told = command("replay", *given, *where)
    assert (code, "are in a database: give --into URL" in told) == (2, True), told
