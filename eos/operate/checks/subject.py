"""What is to be checked: settings, and what an application, or a loop, uses."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from eos.core.outbox import SHARDS
from eos.core.settings import Settings

CLUSTER_DEFAULT = -1
"""As many partitions as the cluster gives a topic by default."""


class Role(StrEnum):
    """What a topic is for."""

    SOURCE = "read"
    TARGET = "published to"
    LETTERS = "dead letters"
    AUDIT = "audit"
    POSITIONS = "positions of relays"

    @property
    def purpose(self) -> str:
        """Say it of a topic that is not there."""
        verb = "to be" if self in (Role.SOURCE, Role.TARGET) else "for the"
        return f"it is {verb} {self}"


class OwnTopic(NamedTuple):
    """A topic that eos makes for itself.

    Attributes:
        name: Its name.
        role: What it is for: says which rights it takes, and how long it is to be kept.
        partitions: How many it gets.
        retention: How long it keeps records, in seconds; 0: what the cluster gives.
    """

    name: str
    role: Role
    partitions: int = CLUSTER_DEFAULT
    retention: int = 0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is to be checked.

    Attributes:
        settings: As the line has them; the addresses of servers that are not to be checked are
            empty.
        grouped: Whether it is known which group consumes.
        sources: The topics that are read.
        targets: The topics that are published to.
        unrecovered: Those of the sources whose owners stand beside the effects, in one database:
            nothing of them is ever read again.
        transactional: Whether Kafka's transactions are used by those who consume.
        audits: Whether suppressed records are written down in a topic.
        relays: Whether an outbox is relayed, in the namespace of the settings.
        whole: Whether this is all that an application needs: then what has no address is missing.
        instance_is_host: Whether `instance` is the default, the name of this host.
    """

    settings: Settings
    grouped: bool = True
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    unrecovered: frozenset[str] = frozenset()
    transactional: bool = True
    audits: bool = True
    relays: bool = False
    whole: bool = True
    instance_is_host: bool = False

    @property
    def consumes(self) -> bool:
        """Whether anything is read; where the topics are not known, a group says so."""
        return bool(self.sources) or self.grouped

    def own_topics(self) -> list[OwnTopic]:
        """Give the topics that eos needs for itself here. A new one is one more line."""
        settings = self.settings
        audit = OwnTopic(settings.audit, Role.AUDIT, retention=settings.audit_retention)
        needed = [
            (self.consumes, OwnTopic(settings.dead_letters, Role.LETTERS)),
            (self.consumes and self.audits, audit),
            (self.relays, OwnTopic(f"{settings.namespace}.positions", Role.POSITIONS, SHARDS)),
        ]
        return [topic for needs, topic in needed if needs]

    def topics(self) -> dict[str, Role]:
        """Give all topics, and what each is for; what is read and published to counts as read."""
        roles = {topic.name: topic.role for topic in self.own_topics()}
        roles |= dict.fromkeys(self.targets, Role.TARGET)
        return roles | dict.fromkeys(self.sources, Role.SOURCE)

    def groups(self) -> list[str]:
        """Give the groups whose members are workers, or relays, of this subject."""
        groups = [self.settings.group] if self.consumes else []
        return [*groups, f"{self.settings.namespace}.relay"] if self.relays else groups
