"""Clients made for a trial: whether the settings are taken, and a transactional id may be used."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from eos.core.errors import EosError, FatalError
from eos.core.ports import Partition
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import is_denied, translated, translating

LONGEST_MS = 2_147_000_000  # the most that a broker knows, less what the client adds to it
_POLL = 0.2


def client_faults(*configurations: Mapping[str, Any]) -> list[str]:
    """Say what the client does not take of configurations; no server is asked."""
    faults = []
    for conf in configurations:
        kind = Consumer if "group.id" in conf else Producer
        try:
            kind({**conf, "bootstrap.servers": ""}, logger=CLIENT_LOG)
        except (KafkaException, TypeError, ValueError) as error:
            told = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            if told not in faults:
                faults.append(told)
    return faults


def transact(conf: Mapping[str, Any], seconds: float) -> None:
    """See that a transactional id may be used, without using it: its worker is not fenced.

    It is asked for with the longest time-out that there can be. The brokers look at our rights
    first, then at the time-out, and only then at the id: "too long" says that we may.

    Args:
        conf: The producer's configuration. The brokers' `transaction.max.timeout.ms` must be
            known to be shorter than `LONGEST_MS`.
        seconds: How long the brokers may take.

    Raises:
        FatalError: We may not.
        RetriableError: Nobody coordinates transactions.
    """
    name = conf["transactional.id"]
    with translating("make a transactional producer"):
        producer = Producer({**conf, "transaction.timeout.ms": LONGEST_MS}, logger=CLIENT_LOG)
    try:
        producer.init_transactions(seconds)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.INVALID_TRANSACTION_TIMEOUT:
            if is_denied(error.args[0]):
                raise FatalError("transactional id authorization failed") from error
            raise translated(error.args[0], f"use transactional id {name!r}") from error


def time_of(conf: Mapping[str, Any], place: Partition, offset: int, seconds: float) -> int | None:
    """Give the time stamp, in milliseconds, of the first record from an offset on.

    Args:
        conf: A consumer's configuration; it joins no group.
        place: The partition.
        offset: Where to look; the record may be one of an open transaction.
        seconds: How long that may take.

    Returns:
        None if there was no record in time.
    """
    topic, partition = place
    with translating(f"read {topic}[{partition}]"):
        consumer = Consumer({**conf, "isolation.level": "read_uncommitted"}, logger=CLIENT_LOG)
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                message = consumer.poll(_POLL)
                if message is None:
                    continue
                if (error := message.error()) is not None and not error.retriable():
                    raise translated(error, f"read {topic}[{partition}]")
                return int(message.timestamp()[1])
        except EosError:
            return None
        finally:
            consumer.close()
    return None
