"""The demo on real servers: Apache Kafka and Redis, effects in Kafka."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from eos.demo.charges import Charge
from eos.demo.names import Names
from eos.demo.tally import read_charges
from eos.devstack import running

_LOOK_SECONDS = 1.0


class Servers:
    """Implements `eos.demo.ground.Ground`."""

    eos_app = "eos.demo.eos_app:app"
    plain_app = "eos.demo.plain_app:app"
    workers = 4
    partitions = 8
    commits: int | None = 2
    hidden: tuple[str, ...] = ()

    def __init__(self, names: Names) -> None:
        self.names = names
        topics = (names.orders, names.charges, names.plain_charges)
        admin = self._admin()
        for made in admin.create_topics([NewTopic(t, self.partitions) for t in topics]).values():
            made.result(30)

    def gathered(self) -> bool:
        """Ask the coordinator."""
        admin = self._admin()
        asked = admin.describe_consumer_groups(
            list(self.names.groups), request_timeout=_LOOK_SECONDS
        )
        with suppress(KafkaException, TimeoutError):  # the coordinator may be starting
            groups = [group.result(_LOOK_SECONDS * 2) for group in asked.values()]
            return all(len(g.members) == self.workers and g.state.name == "STABLE" for g in groups)
        return False

    def _admin(self) -> AdminClient:
        """Make a client that does not outlive the servers: its end would wait for them."""
        return AdminClient({"bootstrap.servers": self.names.bootstrap_servers})

    def effects(self) -> tuple[Iterable[Charge], Iterable[Charge]]:
        """Read the topics of charges."""
        servers = self.names.bootstrap_servers
        return (
            read_charges(servers, self.names.charges, self.partitions),
            read_charges(servers, self.names.plain_charges, self.partitions),
        )


@contextmanager
def servers(run: str, folder: Path) -> Iterator[Servers]:
    """Start them.

    Raises:
        DevStackError: If programs are missing.
    """
    with running(folder / "servers") as stack:
        yield Servers(Names(run, stack.bootstrap_servers, stack.redis_url, str(folder)))
