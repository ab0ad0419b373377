"""What has records handled again."""

from typing import Any, cast

from eos.build.letters import redrive
from eos.build.parts import identify_of
from eos.build.servers import ledger
from eos.core.record import Shard
from eos.core.settings import Settings
from eos.kafka import config
from eos.kafka.groups import KafkaGroups
from eos.kafka.letters import KafkaLetters
from eos.kafka.log import KafkaLog
from eos.kafka.topics import KafkaTopics
from eos.operate.replay import Replays
from eos.stores.sql.inbox import SqlInbox


def replays(settings: Settings, into: str | None = None) -> Replays:
    """Make what replays for a group; nothing is asked yet.

    Args:
        settings: Group, namespace, brokers and ledger; secret and scope as the workers have them.
        into: URL of the database that has the frontiers, where one has.

    Raises:
        ConfigError: The URL is none, or its tables are not there.
    """
    topics = KafkaTopics(config.client(settings))
    inbox = SqlInbox(into, settings.ledger) if into else None
    if inbox:
        inbox.check()
    return Replays(
        ledger=cast("Any", ledger(settings)),
        topics=topics,
        log=KafkaLog(config.consumer(settings), topics),
        groups=KafkaGroups(config.client(settings)),
        shard=lambda topic_id: Shard(settings.namespace, settings.group, topic_id),
        audit=settings.audit,
        publish=KafkaLetters(config.idempotent(settings)),
        digests=identify_of(settings).digests,
        redrive=redrive(settings),
        inbox=inbox,
    )
