"""Publishes outside of any transaction: dead letters of effects elsewhere, what is redriven."""

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from eos.core.errors import RetriableError
from eos.core.record import Headers
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import translated, translating

_TIMEOUT = 10.0


class KafkaLetters:
    """An idempotent producer, made when the first message is to be published.

    Args:
        conf: librdkafka's producer configuration, without a transactional id.
    """

    def __init__(self, conf: dict[str, Any]) -> None:
        self._conf = conf
        self._producer: Any = None
        self._failed: KafkaError | None = None

    def __call__(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        partition: int = -1,
    ) -> None:
        """Publish one message, and wait until the brokers have it.

        Raises:
            RetriableError: They do not, as far as anybody knows: it may be published twice.
        """
        if self._producer is None:
            with translating("make a Kafka producer"):
                self._producer = Producer(self._conf, logger=CLIENT_LOG)
        self._failed = None
        try:
            self._producer.produce(
                topic, value, key, partition, headers=headers, on_delivery=self._delivered
            )
            left = self._producer.flush(_TIMEOUT)
        except (KafkaException, BufferError) as error:
            raise RetriableError(f"publish to {topic}: {error}") from error
        if self._failed is not None:
            raise translated(self._failed, f"publish to {topic}")
        if left:
            self._producer = None  # what is still queued is given up with it
            raise RetriableError(f"publish to {topic}: no answer")

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed = error
