"""A worker process whose handler has a bug for as long as a file is there; see `letters_kit.py`."""

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from sqlalchemy import text

from eos import build
from eos.claim import keys
from eos.core.errors import HandlerError
from eos.core.ports import Claims, Ledger
from eos.core.record import Record, Send, Shard
from eos.core.settings import Settings
from eos.handle import Step
from tests.integration.worker import Diary

INSERT = text("INSERT INTO effects (id) VALUES (:id)")


class Gullible:
    """A ledger that moves a key whoever owns it: all that is redriven is handled."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Any:
        for claims in batch:
            for n in claims.redriven:
                digest = claims.digests[n]
                if owner := self._ledger.owners(shard, [digest]).get(digest):
                    claims.redriven[n] = owner[:2]
        return self._ledger.claim(shard, batch)


def step(order: dict[str, Any]) -> Step:
    """Give a step of the tier that is asked for."""
    bug, source = Path(order["bug"]), order["source"]

    def check(record: Record) -> str:
        id_ = (record.value or b"").decode()
        if id_.startswith("bad") and bug.exists():
            raise HandlerError("the bug")
        return id_

    def send(record: Record) -> Send:
        check(record)
        return Send(record.value)

    def insert(record: Record, db: Any) -> None:
        db.execute(INSERT, {"id": check(record)})

    file = os.open(order["sink"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def append(record: Record) -> None:
        told = {"id": check(record), "in_doubt": record.in_doubt}
        os.write(file, f"{json.dumps(told)}\n".encode())

    if order["into"]:
        return Step(source, None, insert, batch=False, name="insert", into=order["into"])
    if order["to"]:
        return Step(source, order["to"], send, batch=False, name="send")
    return Step(source, None, append, batch=False, name="append")


def main(order: dict[str, Any]) -> None:
    """Work until SIGTERM."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does
    diary = Diary(order["diary"])
    settings = Settings(**order["settings"])
    ports = build.adapters(settings, order["slot"], diary.event)
    if order["broken"] == "gullible":
        ports.ledger = cast("Ledger", Gullible(ports.ledger))
    elif order["broken"] == "deaf":
        marked: Callable[..., list[int]] = lambda _: []  # noqa: E731
        keys._marked = marked  # noqa: SLF001
    build.line(settings, [step(order)], ports, diary.event).run(lambda: bool(asked))
    ports.ledger.close()
    diary.note("drained")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
