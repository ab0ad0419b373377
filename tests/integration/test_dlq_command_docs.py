"""What `docs/how-to/dead-letters.md` shows is what the command says."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from eos.core.record import Record, Send
from eos.core.settings import Settings
from tests.integration.cluster import Cluster, Input
from tests.integration.dlq_kit import Desk

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "dead-letters.md"
ACCOUNTS = {"ACC-1": 0}


def shown() -> Iterator[tuple[Sequence[str], str]]:
    """Give each command of the page, and what it shows for it."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for command, told in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.MULTILINE):
        if command.startswith("eos dlq "):
            yield shlex.split(command)[2:], told


def leveled(told: str, names: dict[str, str]) -> list[list[str]]:
    """Put words in the place of what differs from run to run."""
    for name, word in names.items():
        told = told.replace(name, word)
    told = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", told)
    told = re.sub(r"^(topic id +)\S{22}$", r"\1ID", told, flags=re.MULTILINE)
    told = re.sub(r"^(traceback +)[0-9a-f]{16}$", r"\1DIGEST", told, flags=re.MULTILINE)
    return [re.split(r"  +", row) for row in told.splitlines()]


def charge(record: Record) -> Send:
    """Find no account of this name."""
    account = re.search(r"ACC-\d", (record.value or b"").decode())
    assert account
    ACCOUNTS[account[0]] += 1
    return Send(b"charged")


def test_the_commands_say_what_the_page_shows(
    cluster: Cluster, settings: Settings, source: str, to: str
) -> None:
    desk = Desk(cluster, replace(settings, backoff="1ms"), source, to)
    cluster.create_named(desk.letters)
    lost = b'{"account": "ACC-9", "cents": 700}'
    with desk.line(charge):
        for each in (
            Input("order-3", 0, b'{"account": "ACC-1", "cents": 300}'),
            Input("order-17", 1, lost),
            Input("order-3", 0, b'{"account": "ACC-1", "cents": 350}'),
            Input("order-18", 0, lost),
        ):
            desk.send(each)
            desk.settled()
    names = {source: "orders", settings.group: "payments"}
    told = []
    for arguments, wanted in shown():
        done = desk.dlq(*arguments)
        assert done.exit_code == 0, done.output
        print(done.output)  # noqa: T201 - what the page is to show
        assert leveled(done.output, names) == leveled(wanted, {}), arguments
        told.append(arguments[0])
    assert told == ["list", "show", "redrive", "redrive", "discard", "list"]
    ACCOUNTS["ACC-9"] = 0
    with desk.line(charge):
        desk.settled()
    assert desk.values() == ["charged"] * 3
