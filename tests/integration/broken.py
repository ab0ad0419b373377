"""Broken implementations that the suites must reject: a suite that never failed proves nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from confluent_kafka import Consumer

from eos.core.ports import Assertion, Claimed, Claims, Ledger, Ports, Reader, Recovery, Refused
from eos.core.record import Shard
from eos.core.rules import Verdict
from eos.core.settings import Settings


class _Wrapper:
    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)


class SeenSet(_Wrapper):
    """Remembers which keys it has seen, and not who owns them: what everybody builds first."""

    def claim(self, shard: Shard, batch: Sequence[Claims]) -> Claimed | Refused:
        ledger: Ledger = self._port
        answer = ledger.claim(shard, batch)
        if isinstance(answer, Refused):
            return answer
        seen: dict[Verdict, Verdict] = {Verdict.AGAIN: Verdict.DUPLICATE}
        return replace(answer, verdicts=[seen.get(v, v) for v in answer.verdicts])


class Confirming(_Wrapper):
    """A ledger that confirms whatever it is asked."""

    def confirm(self, _shard: Shard, _seal: str) -> bool:
        return True


class Unaudited(_Wrapper):
    """A ledger to which recovery puts back owners as if the audit had nothing to say."""

    def reassert(self, shard: Shard, recovery: Recovery, assertion: Assertion) -> bool:
        ledger: Ledger = self._port
        return ledger.reassert(shard, recovery, replace(assertion, audited=frozenset()))


class Unfenced(_Wrapper):
    """A reader that gives a membership without a generation: Kafka then fences nobody."""

    def __init__(self, port: Any, settings: Settings) -> None:
        super().__init__(port)
        self._never_joined = Consumer(
            {"bootstrap.servers": settings.brokers, "group.id": settings.group}
        )

    def group_metadata(self) -> object:
        return self._never_joined.consumer_group_metadata()


def break_(kind: str, ports: Ports, settings: Settings) -> None:
    """Break one port."""
    if kind == "seen set":
        ports.ledger = cast("Ledger", SeenSet(ports.ledger))
    elif kind == "no confirm":
        ports.ledger = cast("Ledger", Confirming(ports.ledger))
    elif kind == "no audit":
        ports.ledger = cast("Ledger", Unaudited(ports.ledger))
    elif kind == "unfenced":
        ports.reader = cast("Reader", Unfenced(ports.reader, settings))
    else:
        raise ValueError(kind)
