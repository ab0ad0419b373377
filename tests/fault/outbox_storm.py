"""A storm over relays: they are killed, stopped and joined while rows are written."""

import os
import random
import signal
import time
from collections.abc import Callable

from tests.integration.outbox_kit import RelayProcess, Shop

LONGEST_SECONDS = 1.5


def storm(
    shop: Shop,
    relays: list[RelayProcess],
    rounds: int,
    harm: Callable[[float], None] | None = None,
) -> None:
    """Let all of it come together, then see that all is published; the shop's seed decides."""
    choice = random.Random(shop.seed)
    for each in relays:
        each.relay()
    for _ in range(rounds):
        shop.write(choice.randrange(5, 30))
        strike(choice.choice(relays), choice)
        time.sleep(choice.uniform(0, LONGEST_SECONDS))  # any moment of the rebalance
        if harm and choice.random() < 1 / 2:
            harm(choice.uniform(0, LONGEST_SECONDS))
        for each in relays:
            if not each.alive:
                assert each.exit_code() == -signal.SIGKILL, each.told()
                each.relay()
    for each in relays:  # the step at which one dies may have been still to come
        end(each, signal.SIGKILL)
        each.relay()
    shop.write(10)
    shop.await_published()
    for each in relays:
        each.drain()
    shop.assert_exact()


def end(relay: RelayProcess, number: int) -> None:
    """Send a signal; the process may be dying, or not have got so far as to notice it."""
    os.kill(relay.pid, number)
    assert relay.exit_code() in {0, -signal.SIGKILL, -signal.SIGTERM}, relay.told()


def strike(relay: RelayProcess, choice: random.Random) -> None:
    """Let a relay die, leave or sleep; what is gone has a successor, that may die at a step."""
    what = choice.choice(["dies", "leaves", "sleeps", "dies at a step"])
    print(what, relay.diary.name)  # noqa: T201
    if what == "sleeps":
        os.kill(relay.pid, signal.SIGSTOP)
        time.sleep(choice.uniform(0, 2 * LONGEST_SECONDS))  # some longer than the session
        os.kill(relay.pid, signal.SIGCONT)
        return
    end(relay, signal.SIGTERM if what == "leaves" else signal.SIGKILL)
    relay.relay(choice.randrange(1, 120) if what == "dies at a step" else 0)
