"""What publishes for callers: a log of their requests, and the line that reads it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from eos.build.lines import line
from eos.build.servers import adapters
from eos.core.events import Emit
from eos.core.keys import header
from eos.core.ports import Append, Ports
from eos.core.settings import Settings
from eos.handle import Step
from eos.kafka import config
from eos.kafka.appending import KafkaAppender
from eos.kafka.groups import KafkaGroups
from eos.line import Line
from eos.settle.step import Told

REQUESTS = 16
"""How many partitions the requests' topic gets: as many sidecars can publish."""
KEY = "idempotency-key"
"""The header of a request's record that its idempotency key stands in."""

_LINGER_MS = 2
_APPENDED_MS = 5000
_WAIT = "5ms"


def publishing_settings(settings: Settings) -> Settings:
    """Give the settings of the line that publishes for callers.

    Its group and its topic are of the namespace: whoever shares it publishes for the same callers.
    Keys count wherever a request stands, for a caller that tries again may ask another sidecar.
    What waits is published at once: callers wait for it.
    """
    return replace(
        settings,
        group=f"{settings.namespace}.publish",
        instance=f"{settings.instance}.publish",
        key=header(KEY),
        scope="topic",
        missing_key="dead_letter",
        conflict="dead_letter",
        batch_wait=_WAIT,
        commit_interval="0s",
    )


def requests_of(settings: Settings) -> str:
    """Name the topic that requests stand in."""
    return f"{settings.namespace}.requests"


@dataclass(frozen=True, slots=True)
class Publishing:
    """What publishes for callers, put together.

    Attributes:
        line: Reads the requests, and publishes what they ask for.
        ports: Its adapters.
        append: Appends a request.
        requests: The topic that requests stand in.
    """

    line: Line
    ports: Ports
    append: Append
    requests: str
    _groups: KafkaGroups
    _group: str

    def prepare(self, topics: Sequence[str], retention: int) -> None:
        """See that the topics are there, and make that of the requests.

        Args:
            topics: What is published to.
            retention: For how long requests are kept, in seconds.

        Raises:
            FatalError: One does not exist.
            RetriableError: The brokers are away.
        """
        for topic in topics:
            self.ports.topics.describe(topic)
        self.ports.topics.ensure([self.requests], REQUESTS, retention=retention)

    def assigned(self) -> dict[int, int]:
        """Give the partitions of requests that this line reads, and each assignment's number."""
        found = self.ports.reader.assigned()
        return {partition: number for (_, partition), number in found.items()}

    def settled(self) -> Mapping[int, int]:
        """Give below which offset everything is settled, in partitions of others as well.

        Raises:
            RetriableError: The brokers are away.
        """
        found = self._groups.offsets(self._group)
        return {p: offset for (topic, p), offset in found.items() if topic == self.requests}

    def close(self) -> None:
        """Let go of what the line does not close itself."""
        self.append.close()
        self.ports.ledger.close()


def publishing(
    settings: Settings, slot: int, make: Callable[[str], Step], emit: Emit, told: Told
) -> Publishing:
    """Put together what publishes for callers; no server is asked yet.

    Args:
        settings: As `publishing_settings` gives them.
        slot: Numbers the worker among those of this instance.
        make: Makes the step that publishes, for the topic that requests stand in.
        emit: Told what happens.
        told: Told what each transaction settled, in the line's thread.
    """
    requests = requests_of(settings)
    ports = adapters(settings, slot, emit)
    conf = {
        **config.idempotent(settings),
        "linger.ms": _LINGER_MS,
        "message.timeout.ms": _APPENDED_MS,
    }
    return Publishing(
        line(settings, [make(requests)], ports, emit, told=told),
        ports,
        KafkaAppender(conf),
        requests,
        KafkaGroups(config.client(settings)),
        settings.group,
    )
