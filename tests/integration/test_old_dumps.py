"""An older dump of the ledger is put back: what the log knows overrules what it says."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from confluent_kafka import Message

from eos.core.events import Committed, Recovered
from eos.core.ports import Assertion, Ledger, Ports, Recovery
from eos.core.record import Shard
from eos.core.settings import Settings
from eos.devstack import Stack, running
from tests.integration.cluster import SECONDS, Cluster, Input, ids
from tests.integration.copies import assert_exactly_once, with_copies
from tests.integration.lines import Running, step
from tests.integration.test_ledger_loss import Story


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A Redis whose files may be exchanged."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_REDIS_URL", raising=False)
        with running(brokers=0) as opened:
            yield opened


class Dumps:
    """Takes dumps of a Redis, and puts them back."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._server, self._folder = stack.redis, folder
        with redis.Redis.from_url(stack.redis_url) as client:
            client.flushall()
            self._data = Path(cast("dict[str, str]", client.config_get("dir"))["dir"])

    def take(self) -> None:
        self._exchange(self._data, self._folder / "dump")

    def put_back(self) -> None:
        self._exchange(self._folder / "dump", self._data)

    def _exchange(self, source: Path, to: Path) -> None:
        self._server.stop()
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(source, to)
        self._server.start()


@pytest.fixture
def dumps(own: Stack, tmp_path: Path) -> Dumps:
    return Dumps(own, tmp_path)


@pytest.fixture
def redis_url(own: Stack) -> str:
    return own.redis_url


class Trusting:
    """A ledger that trusts an old dump: it begins at what was claimed, and overrules nobody."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def lock(
        self, shard: Shard, token: str, seconds: float, partitions: Sequence[int] | None = None
    ) -> Recovery | None:
        found = self._ledger.lock(shard, token, seconds, partitions)
        return found and replace(found, floors=found.claimed)

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        return self._ledger.reassert(shard, recovery, replace(assertion, settled=False))


# 1. A claims its copy: it owns the key. A is held up, and a dump is taken.
# 2. The ledger is lost. B's copy is claimed, handled and settled.
# 3. The dump is put back: there A's copy owns the key.
# 4. A goes on: its copy must be suppressed.


@pytest.mark.parametrize("broken", [False, True], ids=["eos", "trusting the dump"])
def test_an_owner_that_comes_back_with_a_dump_is_overruled_by_what_was_handled_since(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    dumps: Dumps,
    *,
    broken: bool,
) -> None:
    def wrap(ports: Ports) -> None:
        if broken:
            ports.ledger = cast("Ledger", Trusting(ports.ledger))

    class PutBack(Story):
        def play(self, of_b: int) -> None:
            self.cluster.send(self.source, [Input("key", 1 - of_b)])
            assert self.held.wait(SECONDS)
            dumps.take()  # 1
            with redis.Redis.from_url(self.settings.ledger) as client:
                client.flushall()  # 2
            self.send_to_b("key", of_b)
            dumps.put_back()  # 3

    PutBack(settings, source, to, cluster, hold_at="handler", wrap=wrap).tell()  # 4
    assert ids(read_committed(to)).count("key") == (2 if broken else 1)


def test_an_old_dump_loses_and_repeats_nothing(
    settings: Settings,
    source: str,
    to: str,
    cluster: Cluster,
    read_committed: Callable[[str], list[Message]],
    dumps: Dumps,
) -> None:
    inputs = with_copies(41, 300)
    third = len(inputs) // 3
    with Running(settings, [step(source, to)]) as line:
        cluster.send(source, inputs[:third])
        cluster.await_settled(settings.group, source)
        dumps.take()
        cluster.send(source, inputs[third : 2 * third])
        cluster.await_settled(settings.group, source)
        dumps.put_back()
        cluster.send(source, inputs[2 * third :])
        cluster.await_settled(settings.group, source)
    assert_exactly_once(inputs, read_committed(to))
    assert len(line.saw(Recovered)) == 3
    assert line.saw(Committed)
