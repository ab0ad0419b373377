"""The stack: what runs, and the context that starts it and leaves nothing behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from eos.devstack import kafka_cluster, postgres_server, redis_server
from eos.devstack.errors import DevStackError, PortTakenError
from eos.devstack.folder import DevStack, held
from eos.devstack.group import ServerGroup
from eos.devstack.programs import find_programs
from eos.devstack.server import READY_SECONDS, Server
from eos.devstack.waiting import wait_until

PORT_TRIES = 3
GIVEN_SECONDS = 10
# Nodes that stop together may lose the quorum that an orderly stop needs; Kafka is crash-safe.
CLOSE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Stack(DevStack):
    """The servers of an open `running(...)`, with handles on those that it started itself.

    Attributes:
        brokers: The Kafka brokers; empty when EOS_BOOTSTRAP_SERVERS named running ones.
        proxied_servers: Where clients connect to go through the fault proxies.
        proxy_ports: Where each broker's fault proxy must listen, in the order of `brokers`.
        broker_proxied_ports: Where each broker's fault proxy must connect to, in that order.
        secured_servers: Where the users of the stack log in, if it has any.
    """

    brokers: tuple[Server, ...] = ()
    proxied_servers: str = ""
    proxy_ports: tuple[int, ...] = ()
    broker_proxied_ports: tuple[int, ...] = ()
    secured_servers: str = ""
    own_redis: Server | None = None
    own_postgres: Server | None = None

    @property
    def redis(self) -> Server:
        """The Redis that this stack started.

        Raises:
            DevStackError: It started none.
        """
        if self.own_redis is None:
            raise DevStackError("this stack did not start a Redis")
        return self.own_redis

    @property
    def postgres(self) -> Server:
        """The PostgreSQL that this stack started.

        Raises:
            DevStackError: It started none.
        """
        if self.own_postgres is None:
            raise DevStackError("this stack did not start a PostgreSQL")
        return self.own_postgres

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers that this stack started."""
        stores = (self.own_redis, self.own_postgres)
        return (*self.brokers, *(each for each in stores if each))


@contextmanager
def running(
    folder: Path | None = None,
    *,
    brokers: int = 1,
    redis: bool = True,
    postgres: bool = False,
    proxy_ports: Sequence[int] | None = None,
    users: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Start real servers on free ports, and stop them at the end.

    EOS_BOOTSTRAP_SERVERS, EOS_REDIS_URL and EOS_POSTGRES_URL, each on its own, name a running
    server that is used instead of starting one. What is started does not outlive this process,
    however that ends.

    Args:
        folder: Where data and logs are kept; without it a temporary folder, removed at the end.
        brokers: How many Kafka brokers to start, 1 or 3; 0 where no Kafka is wanted.
        redis: Whether a Redis is wanted at all.
        postgres: Whether a PostgreSQL is wanted.
        proxy_ports: Where the fault proxies will listen, one a broker; free ports by default.
        users: Names and passwords (SASL/PLAIN) of users who may do what ACLs allow them, through
            `secured_servers`; whoever comes through the other addresses may do everything.

    Raises:
        DevStackError: Something is missing or did not start; one clear line for each reason.
    """
    if brokers not in (0, 1, 3):
        raise DevStackError(f"a stack has 1 or 3 brokers, or none, not {brokers}")
    if proxy_ports and len(proxy_ports) != brokers:
        raise DevStackError(f"{brokers} broker(s) need as many proxy ports, not {proxy_ports}")
    with ExitStack() as opened:
        kept = folder is not None
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="eos-"))
            opened.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.chmod(0o711)  # where we are root, PostgreSQL runs as somebody else
        folder = folder.expanduser().resolve()
        opened.enter_context(held(folder))
        group = opened.enter_context(ServerGroup())
        stack = _start(
            folder,
            group,
            brokers=brokers,
            redis=redis,
            postgres=postgres,
            proxy_ports=proxy_ports,
            users=users or {},
        )
        try:
            yield stack
        finally:
            if kept:
                _stop(stack.servers)


def _start(
    folder: Path,
    group: ServerGroup,
    *,
    brokers: int,
    redis: bool,
    postgres: bool,
    proxy_ports: Sequence[int] | None,
    users: Mapping[str, str],
) -> Stack:
    """Start what no running server stands in for; choose new ports when one was lost."""
    given_kafka = os.environ.get("EOS_BOOTSTRAP_SERVERS", "") if brokers else ""
    given_redis = os.environ.get("EOS_REDIS_URL", "") if redis else ""
    given_postgres = os.environ.get("EOS_POSTGRES_URL", "") if postgres else ""
    _check_given(given_kafka, given_redis, given_postgres)
    programs = find_programs(
        kafka=bool(brokers) and not given_kafka,
        redis=redis and not given_redis,
        postgres=postgres and not given_postgres,
    )

    def describe() -> Stack:
        stack = Stack(
            bootstrap_servers=given_kafka,
            redis_url=given_redis,
            postgres_url=given_postgres,
            folder=folder,
        )
        if brokers and not given_kafka:
            cluster = kafka_cluster.describe(
                programs, folder, group, brokers=brokers, proxy_ports=proxy_ports, users=users
            )
            stack = replace(
                stack,
                bootstrap_servers=cluster.bootstrap_servers,
                brokers=cluster.brokers,
                proxied_servers=cluster.proxied_servers,
                proxy_ports=tuple(node.proxy_port for node in cluster.nodes),
                broker_proxied_ports=tuple(node.proxied_port for node in cluster.nodes),
                secured_servers=cluster.secured_servers if users else "",
            )
        if redis and not given_redis:
            server, url = redis_server.describe(programs.redis, folder, group)
            stack = replace(stack, redis_url=url, own_redis=server)
        if postgres and not given_postgres:
            database, url = postgres_server.describe(programs.postgres, folder, group)
            stack = replace(stack, postgres_url=url, own_postgres=database)
        return stack

    for attempt in range(1, PORT_TRIES + 1):
        stack = describe()
        try:
            _launch(stack)
        except PortTakenError:
            for server in stack.servers:
                server.kill()
            if attempt == PORT_TRIES:
                raise
        else:
            break
    return stack


def _launch(stack: Stack) -> None:
    for server in stack.servers:
        server.launch()
    for server in stack.servers:
        server.wait_ready()
    # Each broker knows itself; a topic can have its copies when all know all.
    wanted = len(stack.brokers)
    addresses = stack.bootstrap_servers.split(",") if stack.brokers else []

    def all_know_all() -> bool:
        found = [kafka_cluster.metadata(each) for each in addresses]
        return all(each and len(each.brokers) == wanted for each in found)

    if not wait_until(all_know_all, seconds=READY_SECONDS):
        raise DevStackError(f"the {wanted} brokers did not find each other")


def _stop(servers: Sequence[Server]) -> None:
    """Stop all together: one after the other, the last ones would wait for a lost quorum.

    What has not stopped in time is killed with the group.
    """
    for server in servers:
        server.terminate()
    wait_until(lambda: not any(server.alive for server in servers), seconds=CLOSE_SECONDS)


def _check_given(kafka: str, redis: str, postgres: str) -> None:
    """See that the servers named by the environment answer; report all that do not."""
    silent = []
    if kafka and not wait_until(lambda: bool(kafka_cluster.metadata(kafka)), seconds=GIVEN_SECONDS):
        silent.append(f"EOS_BOOTSTRAP_SERVERS={kafka} does not answer: unset it to start a broker")
    if redis and not wait_until(lambda: redis_server.answers(redis), seconds=GIVEN_SECONDS):
        silent.append(f"EOS_REDIS_URL={redis} does not answer: unset it to start a Redis")
    if postgres and not wait_until(
        lambda: postgres_server.answers(postgres), seconds=GIVEN_SECONDS
    ):
        place = postgres.rpartition("@")[2]  # without the password
        silent.append(f"EOS_POSTGRES_URL ({place}) does not answer: unset it to start a PostgreSQL")
    if silent:
        raise DevStackError("\n".join(silent))
