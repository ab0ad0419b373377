"""Starting Kafka: one or three nodes, each broker and controller (KRaft, combined mode)."""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from eos.devstack.errors import DevStackError
from eos.devstack.group import ServerGroup
from eos.devstack.ports import HOST, free_ports, is_open
from eos.devstack.programs import Programs, kafka_version
from eos.devstack.server import Server

LOG4J = Path(__file__).with_name("log4j2.xml")
ANSWER_SECONDS = 2
JVM = ["-Xms256m", "-Xmx512m", "-Djava.awt.headless=true"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """The numbers of one broker."""

    id: int
    port: int
    controller_port: int
    proxied_port: int
    proxy_port: int
    secured_port: int


@dataclass(frozen=True)
class Cluster:
    """The brokers, not yet started, and their numbers, in the same order."""

    brokers: tuple[Server, ...]
    nodes: tuple[Node, ...]

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    @property
    def proxied_servers(self) -> str:
        """Where clients connect to go through the fault proxies."""
        return ",".join(f"{HOST}:{node.proxy_port}" for node in self.nodes)

    @property
    def secured_servers(self) -> str:
        """Where clients connect that log in."""
        return ",".join(f"{HOST}:{node.secured_port}" for node in self.nodes)


def describe(
    programs: Programs,
    folder: Path,
    group: ServerGroup,
    *,
    brokers: int,
    proxy_ports: Sequence[int] | None,
    users: Mapping[str, str],
) -> Cluster:
    """Describe a cluster on free ports, its data folders formatted if they are new.

    Raises:
        DevStackError: The folder holds data of another version or of another number of brokers.
    """
    cluster_id = _claim_folder(folder / "kafka", kafka_version(programs.kafka_libs), brokers)
    nodes = _nodes(brokers, proxy_ports)
    for node in nodes:
        _settings_file(folder, node).write_text(_settings(folder, node, nodes, users))
    _format(programs, folder, group, nodes, cluster_id)
    return Cluster(
        tuple(_broker(programs, folder, group, node, cluster_id) for node in nodes), nodes
    )


def metadata(bootstrap_servers: str) -> ClusterMetadata | None:
    """Ask a cluster about itself; None when it does not answer."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        return admin.list_topics(timeout=ANSWER_SECONDS)
    except KafkaException:
        return None


def _claim_folder(data: Path, version: str, brokers: int) -> str:
    """Note in the folder what its data is of, or compare with the note; return the cluster's id."""
    note = data / "cluster.json"
    if note.exists():
        found = json.loads(note.read_text())
        if (found["version"], found["brokers"]) != (version, brokers):
            raise DevStackError(
                f"{data} holds data of Kafka {found['version']} with {found['brokers']} broker(s), "
                f"not of {version} with {brokers}: remove it, or name another folder"
            )
        return str(found["id"])
    data.mkdir(parents=True, exist_ok=True)
    cluster_id = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    note.write_text(json.dumps({"version": version, "brokers": brokers, "id": cluster_id}))
    return cluster_id


def _nodes(brokers: int, proxy_ports: Sequence[int] | None) -> tuple[Node, ...]:
    free = iter(free_ports(5 * brokers))
    proxies = iter(proxy_ports) if proxy_ports else free
    return tuple(
        Node(
            id=number,
            port=next(free),
            controller_port=next(free),
            proxied_port=next(free),
            proxy_port=next(proxies),
            secured_port=next(free),
        )
        for number in range(1, brokers + 1)
    )


def _settings(folder: Path, node: Node, nodes: Sequence[Node], users: Mapping[str, str]) -> str:
    """Write a node's server.properties: quick to start, to rebalance and to notice a failure."""
    copies, in_sync = (1, 1) if len(nodes) == 1 else (3, 2)
    voters = ",".join(f"{each.id}@{HOST}:{each.controller_port}" for each in nodes)
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": f"PLAINTEXT://{HOST}:{node.port},PROXIED://{HOST}:{node.proxied_port},"
        f"CONTROLLER://{HOST}:{node.controller_port}",
        # Who asks through a fault proxy is told the proxy's port, and stays behind the proxy.
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port},PROXIED://{HOST}:{node.proxy_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,"
        "CONTROLLER:PLAINTEXT",
        "log.dirs": _data(folder, node),
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "share.coordinator.state.topic.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        # A killed broker may come back only when its old session is over (9 s by default).
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "group.consumer.assignment.interval.ms": 0,
        "group.consumer.session.timeout.ms": 6000,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.heartbeat.interval.ms": 500,
        "group.consumer.min.heartbeat.interval.ms": 100,
    }
    if users:
        _secure(settings, node, users)
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _secure(settings: dict[str, object], node: Node, users: Mapping[str, str]) -> None:
    """Add a listener with log-in, behind which nobody may do anything without an ACL."""
    known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    for name, value in {
        "listeners": f"SECURED://{HOST}:{node.secured_port}",
        "advertised.listeners": f"SECURED://{HOST}:{node.secured_port}",
        "listener.security.protocol.map": "SECURED:SASL_PLAINTEXT",
    }.items():
        settings[name] = f"{settings[name]},{value}"
    settings |= {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # Whoever comes through the other listeners, the brokers themselves among them.
        "super.users": "User:ANONYMOUS",
        "listener.name.secured.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secured.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain."
        f"PlainLoginModule required {known};",
    }


def _settings_file(folder: Path, node: Node) -> Path:
    return folder / "kafka" / f"broker-{node.id}.properties"


def _data(folder: Path, node: Node) -> Path:
    return folder / "kafka" / f"broker-{node.id}"


def _format(
    programs: Programs, folder: Path, group: ServerGroup, nodes: Sequence[Node], cluster_id: str
) -> None:
    """Format the data folders that are new, all at once: each needs a Java of its own.

    `meta.properties` is the last file that formatting writes: a folder that has it is complete.
    """
    tool = [programs.java, "-cp", f"{programs.kafka_libs}/*", "kafka.tools.StorageTool", "format"]
    output = folder / "logs" / "format.out"
    runs = [
        group.spawn(
            [*tool, f"--cluster-id={cluster_id}", "--config", str(_settings_file(folder, node))],
            output,
        )
        for node in nodes
        if not (_data(folder, node) / "meta.properties").exists()
    ]
    exit_codes = [run.wait() for run in runs]
    if any(exit_codes):
        raise DevStackError(f"Kafka's data could not be formatted:\n{output.read_text()}")


def _broker(
    programs: Programs, folder: Path, group: ServerGroup, node: Node, cluster_id: str
) -> Server:
    log = folder / "logs" / f"broker-{node.id}.log"

    def answers(_pid: int) -> bool:
        """Say whether it is our broker that answers, and not one that took its port."""
        found = metadata(f"{HOST}:{node.port}") if is_open(node.port) else None
        if found is None:
            return False
        return str(found.cluster_id) == cluster_id and node.id in found.brokers

    return Server(
        f"Kafka broker {node.id}",
        [
            programs.java,
            *JVM,
            f"-Dlog4j2.configurationFile={LOG4J}",
            f"-Deos.log={log}",
            "-cp",
            f"{programs.kafka_libs}/*",
            "kafka.Kafka",
            str(_settings_file(folder, node)),
        ],
        group=group,
        logs=[log.with_suffix(".out"), log],
        answers=answers,
    )
