"""Appends records to a log without waiting for each: what callers hand over to be published."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from eos.core.errors import EosError, RetriableError
from eos.core.record import Headers
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import translated, translating

_POLL_SECONDS = 0.1
_LEAVE_SECONDS = 5.0


class KafkaAppender:
    """Implements `eos.core.ports.Append` on an idempotent producer, with a thread of its own.

    Args:
        conf: librdkafka's producer configuration, without a transactional id.
    """

    def __init__(self, conf: dict[str, Any]) -> None:
        with translating("make a Kafka producer"):
            self._producer = Producer(conf, logger=CLIENT_LOG)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="eos appender", daemon=True)
        self._thread.start()

    def __call__(
        self,
        topic: str,
        partition: int,
        value: bytes,
        headers: Headers,
        told: Callable[[int | EosError], None],
    ) -> None:
        """Append a record."""
        try:
            self._producer.produce(
                topic,
                value,
                partition=partition,
                headers=list(headers),
                on_delivery=partial(_tell, told),
            )
        except BufferError as error:
            raise RetriableError("too much waits to be appended", on="kafka") from error
        except KafkaException as error:
            raise translated(error.args[0], f"append to {topic}") from error

    def close(self) -> None:
        """Let go of the producer; what it still held is told first, for some seconds."""
        self._producer.flush(_LEAVE_SECONDS)
        self._closing.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_SECONDS)


def _tell(
    told: Callable[[int | EosError], None], error: KafkaError | None, message: Message
) -> None:
    if error is not None:
        told(translated(error, f"append to {message.topic()}"))
    else:
        told(int(message.offset() or 0))
