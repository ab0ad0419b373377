"""What an operator does dead letters with."""

import uuid

from eos.core.events import Event
from eos.core.settings import Settings
from eos.kafka import config
from eos.kafka.log import KafkaLog
from eos.kafka.topics import KafkaTopics
from eos.kafka.transactions import KafkaTransactions
from eos.operate.letters import Letters
from eos.operate.redrive import Redrive


def letters(settings: Settings) -> Letters:
    """Make what looks at the dead letters of a namespace; nothing is asked yet.

    Args:
        settings: Namespace and brokers, and how to reach them. The group is never joined.
    """
    topics = KafkaTopics(config.client(settings))
    reading = config.consumer(settings)
    return Letters(
        log=KafkaLog(reading, topics),
        originals=lambda: KafkaLog(reading, topics),
        topics=topics,
        topic=settings.dead_letters,
    )


def redrive(settings: Settings) -> Redrive:
    """Make what publishes them again; the settings are as above."""
    # One id for all commands of a namespace: the next one ends what a killed one left open.
    producing = config.producer(settings, f"{settings.namespace}.dlq")
    renewals: list[Event] = []
    return Redrive(
        letters(settings),
        KafkaTransactions(producing, renewals.append),
        renewals=lambda: len(renewals),
        max_bytes=config.max_message_bytes(settings),
        run=uuid.uuid4().hex,
    )
