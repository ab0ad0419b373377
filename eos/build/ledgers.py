"""What looks at a ledger."""

from typing import cast

from eos.build.parts import identify_of
from eos.build.servers import ledger
from eos.core.ports.inspection import Inspection, Surgery
from eos.core.record import Shard
from eos.core.settings import Settings
from eos.kafka import config
from eos.kafka.log import KafkaLog
from eos.kafka.topics import KafkaTopics
from eos.operate.ledger import Inspect


def inspect(settings: Settings) -> Inspect:
    """Make what looks at a group's ledger; nothing is asked yet.

    Args:
        settings: Group, namespace, brokers and ledger; secret and scope as the workers have them.
    """
    topics = KafkaTopics(config.client(settings))
    found = ledger(settings)
    return Inspect(
        ledger=cast("Inspection", found),
        surgery=cast("Surgery", found),
        topics=topics,
        log=KafkaLog(config.consumer(settings), topics),
        shard=lambda topic_id: Shard(settings.namespace, settings.group, topic_id),
        audit=settings.audit,
        digests=identify_of(settings).digests,
        window=settings.window_seconds,
    )
