"""Several processes that move a bank's money, and are killed and replaced."""

import random
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eos.devstack.waiting import wait_until
from tests.integration.cluster import SECONDS
from tests.integration.into_kit import Bank, Teller, url

AHEAD = 40


@dataclass
class Crew:
    """Tellers that run as long as the `with` block lasts.

    Attributes:
        bank: Whose money they move.
        tellers: All slots.
        kills: How many processes were killed.
        leaving: Processes that were asked to stop, and that others have replaced.
    """

    bank: Bank
    tellers: list[Teller]
    kills: int = 0
    leaving: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def of(
        cls, count: int, settings: dict[str, Any], bank: Bank, folder: Path, **how: Any
    ) -> "Crew":
        """Describe so many of one kind."""
        return cls(
            bank,
            [
                Teller(
                    settings,
                    bank.source,
                    "",
                    folder / f"teller{slot}",
                    slot=slot,
                    into=url(bank.engine),
                    **how,
                )
                for slot in range(count)
            ],
        )

    def advance(self, count: int) -> None:
        """Send transfers, and wait until so many more are in the journal."""
        bank = self.bank
        until = bank.done() + count
        if (missing := until + AHEAD - len(bank.sent)) > 0:
            bank.send(missing)

        def is_done() -> bool:
            bank.assert_whole()  # at any moment, and not in the end alone
            return bank.done() >= until

        self.wait(is_done)

    def kill(self, choice: random.Random) -> None:
        """Kill one as `kill -9` does, and start its successor."""
        teller = choice.choice(self.tellers)
        assert teller.process
        teller.process.kill()
        assert teller.exit_code() == -signal.SIGKILL, teller.told()
        self.kills += 1
        teller.serve()

    def replace(self, choice: random.Random) -> None:
        """Ask one to stop, and start its successor at once."""
        teller = choice.choice(self.tellers)
        teller.await_up()
        assert teller.process
        teller.process.send_signal(signal.SIGTERM)
        self.leaving.append(teller.process)
        teller.serve()

    def finish(self) -> None:
        """Wait until all is settled, and let all of them stop in order."""
        self.wait(self.bank.is_settled)
        for teller in self.tellers:
            teller.await_up()
            teller.drain()
        codes = [process.wait(SECONDS) for process in self.leaving]
        assert not any(codes), codes

    def wait(self, condition: Callable[[], bool], seconds: float = 2 * SECONDS) -> None:
        """Wait for something that they do; none of them may die of itself meanwhile."""
        met = wait_until(
            lambda: condition() or not all(each.alive for each in self.tellers),
            seconds=seconds,
            every=0.1,
        )
        dead = [each.told() for each in self.tellers if not each.alive]
        assert not dead, "\n".join(dead)
        if not met:
            told = "\n".join(each.told() for each in self.tellers)
            raise AssertionError(f"waited in vain: {self.bank.rows()}\n{told}")

    def __enter__(self) -> Self:
        for teller in self.tellers:
            self._stack.enter_context(teller)
            teller.serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no process behind."""
        for process in self.leaving:
            process.kill()
            process.wait()
        self._stack.close()
