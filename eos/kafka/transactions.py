"""The transactional producer, supervised."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from eos.core.errors import AbortableError, EosError, FencedError, RetriableError
from eos.core.events import Emit, ProducerRecreated
from eos.core.frontier import Frontier
from eos.core.ports import Partition
from eos.core.record import Headers
from eos.core.supervisor import Seen, State, Supervisor
from eos.kafka.config import CLIENT_LOG
from eos.kafka.errors import FENCED, is_denied, is_indefinite, is_rejected, translated, translating
from eos.kafka.forms import offsets
from eos.kafka.signs import Statistics, Watch
from eos.kafka.vigil import Vigil

_INIT_TIMEOUT = 5.0
_CALL_TIMEOUT = 10.0
_FULL_FLUSH = 0.1
_FIRST_DELIVERY = 2.0
_IDLE_SECONDS = 1.0


class KafkaTransactions:
    """Implements `eos.core.ports.Transactions`.

    A producer is made when the next transaction begins and the supervisor says that the one at
    hand will not do. Making it initialises the transactional id, which ends whatever an earlier
    producer left open, and fences it.

    Args:
        conf: librdkafka's producer configuration, with its `transactional.id`.
        emit: Told when a producer is replaced.
        make: Makes the producer; `Producer` itself but in tests of this class.
    """

    def __init__(
        self, conf: dict[str, Any], emit: Emit, make: Callable[..., Any] = Producer
    ) -> None:
        self._conf = conf
        self._emit = emit
        self._make = make
        self._supervisor = Supervisor()
        self._producer: Any = None
        self._open = False
        self._closed = False
        self._began = 0.0
        self._produced = 0
        self._failures = 0
        self._undelivered = ""
        self._rejected = False  # whether what was not delivered never will be
        self._topics: set[str] = set()  # that the transaction publishes to
        self._offsets_sent = False
        self._statistics = Statistics(self._supervisor)
        self._id = conf["transactional.id"]
        self._timeout = conf["transaction.timeout.ms"] / 1000
        self._slow = conf["socket.timeout.ms"] / 2000
        # librdkafka mends a disconnect by itself and tells nobody but its log.
        self._log = logging.Logger("eos.kafka.producer", logging.INFO)  # noqa: LOG001 one each
        self._log.parent = CLIENT_LOG
        self._log.addHandler(Watch(self._supervisor))
        self._lock = threading.Lock()
        self._idle = Vigil(_IDLE_SECONDS, self._lock, self._attend)

    def prepare(self) -> None:
        """Have a producer that may begin; ends what a predecessor left open."""
        if self._closed:
            raise AbortableError("the producer was given up", "transaction")
        if self._supervisor.state is not State.READY:
            self._create()

    def begin(self) -> None:
        """Begin a transaction, with a new producer if the last one is tainted."""
        with self._lock:
            if self._producer is not None and self._supervisor.state is State.READY:
                # Its log, its statistics and the reports of what an abort purged belong to what
                # is over, and may say that it is not.
                self._serve(0)
            self.prepare()
            self._began = time.monotonic()
            self._produced = self._failures = 0
            self._undelivered, self._rejected, self._offsets_sent = "", False, False
            self._topics.clear()
            self._call("begin", self._producer.begin_transaction)
            self._open = True

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        partition: int = -1,
    ) -> None:
        """Add a message; a full queue is waited for."""
        while True:
            try:
                # A failure here does not poison the transaction by itself: whoever calls must
                # abort, or the commit would succeed without this message.
                self._producer.produce(topic, value, key, partition, headers=headers)
            except BufferError as error:
                if time.monotonic() - self._began > self._timeout:
                    raise AbortableError("the send queue stays full", "transaction") from error
                self._serve(_FULL_FLUSH)
            except KafkaException as error:
                self._check_allowed()
                cause = self._cause(error.args[0])
                raise AbortableError(f"produce to {topic}: {error}", cause) from error
            else:
                self._produced += 1
                self._topics.add(topic)
                return

    def send_offsets(self, frontiers: Mapping[Partition, Frontier], group_metadata: object) -> None:
        """Add the frontiers, fenced by the group's generation."""
        producer = self._producer
        self._call(
            "send offsets",
            producer.send_offsets_to_transaction,
            offsets(frontiers),
            group_metadata,
            _CALL_TIMEOUT,
        )
        if producer is self._producer:
            self._offsets_sent = True

    def commit(self) -> bool:
        """Commit; False if nobody can say yet whether it is committed."""
        # Whatever was not delivered must show before EndTxn, not behind it.
        left = self._serve(self._timeout + 1)  # a message is given up after the time-out
        if left or self._undelivered:
            self._check_allowed()
            failed = self._undelivered or f"{left} messages are still under way"
            cause = "rejected" if self._rejected else "transaction"
            raise AbortableError(f"a message was not delivered: {failed}", cause)
        asked = time.monotonic()
        self._statistics.ended += 1
        try:
            # With its default time-out it would wait for an answer that was lost, for ever.
            self._producer.commit_transaction(self._timeout)
        except KafkaException as error:
            known = self._failed(error.args[0], "commit")
            if isinstance(known, AbortableError | FencedError):
                raise known from error
            self._supervisor.see(Seen.INDEFINITE)
            self._open = False
            return False
        self._open = False
        if time.monotonic() - asked > self._slow:
            self._supervisor.see(Seen.SLOW)
        return True

    def _check_allowed(self) -> None:
        """See that a transaction has not failed because we may not do what is in it.

        On the way, learn whether it failed for a message that is refused.

        What was produced in it is purged then, which says nothing. The client tells the reason to
        each call into the transaction: also to this one, which in an open one is always wrong.

        Raises:
            FatalError: We may not.
        """
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            if is_denied(error.args[0]):
                raise self._failed(error.args[0], "publish") from error
            self._rejected |= is_rejected(error.args[0])

    def abort(self) -> None:
        """Abort what was begun. If that fails, the next producer's start will do it."""
        if not self._open:
            return
        self._open = False
        # A tainted producer is replaced anyway, and its successor aborts.
        if self._supervisor.state is not State.READY:
            return
        try:
            if not self._has_reached():
                self._supervisor.see(Seen.UNREACHED)
                return
            self._statistics.ended += 1
            self._producer.abort_transaction(_CALL_TIMEOUT)
        except KafkaException:
            # Not even a fenced one proves a twin: the transaction may have expired.
            self._supervisor.see(Seen.INDEFINITE)

    def abandon(self) -> None:
        """Let go of a producer that another thread hangs in; the next one fences it."""
        self._supervisor.see(Seen.INDEFINITE)
        self._drop()

    def settle_unknown(self) -> None:
        """Make every earlier outcome final, by a new producer under the same id."""
        self._supervisor.see(Seen.INDEFINITE)
        self._create()

    def close(self) -> None:
        """Give the producer up."""
        self._closed = True
        self._idle.stop()
        if self._producer is not None:
            self.abort()
            self._drop()

    def _has_reached(self) -> bool:
        """Wait a while until the coordinator knows of the transaction, if there is one to know of.

        Before the first message is delivered it may not, and the client takes its answer to an
        abort for fatal (librdkafka#4849).
        """
        deadline = time.monotonic() + _FIRST_DELIVERY
        while not self._offsets_sent:
            left = self._producer.flush(_FULL_FLUSH)
            if not left or left < self._produced - self._failures:
                return True
            if time.monotonic() > deadline:
                return False
        return True

    def _create(self) -> None:
        if self._supervisor.state is State.DEAD:
            raise self._twin("begin")
        again, reason = self._producer is not None, self._supervisor.reason
        if again:
            self._drop()
        with translating("make a Kafka producer"):
            self._statistics = Statistics(self._supervisor)
            self._producer = self._make(
                self._conf,
                logger=self._log,
                on_delivery=self._delivered,
                error_cb=_errored,
                stats_cb=self._statistics,
            )
        self._idle.start()
        self._supervisor.see(Seen.CREATED)
        try:
            self._call(
                f"initialise transactions of {self._id!r}",
                self._producer.init_transactions,
                _INIT_TIMEOUT,
            )
        except (AbortableError, RetriableError):
            self._supervisor.see(Seen.INDEFINITE)
            raise
        if again:
            self._emit(ProducerRecreated(reason))

    def _attend(self) -> None:
        """Serve what a producer tells between transactions, or it would pile up in the client."""
        producer = self._producer
        if producer is not None and not self._open:
            # What is fatal shows in the next call, too; see `_serve` for the second.
            with suppress(KafkaException, SystemError):
                producer.poll(0)

    def _drop(self) -> None:
        # Without a flush: what is still queued belongs to a transaction that is over.
        # It may be gone: who abandons a producer does so beside a thread that may be closing it.
        producer, self._producer = self._producer, None
        self._open = False
        if producer is not None:
            producer.purge()

    def _serve(self, seconds: float) -> int:
        """Serve reports and the log until nothing is under way; give how much still is."""
        try:
            return int(self._producer.flush(seconds))
        except KafkaException as error:
            # Fatal errors come out of here, too, whatever callback there is.
            raise self._failed(error.args[0], "serve the producer") from error
        except SystemError as error:
            # The client raises such an error, and goes on calling back while it is being raised:
            # what `_delivered` calls then fails.
            if not isinstance(error.__cause__, KafkaException):
                raise
            raise self._failed(error.__cause__.args[0], "serve the producer") from error

    def _call(self, doing: str, function: Callable[..., Any], *arguments: Any) -> None:
        producer = self._producer
        try:
            function(*arguments)
        except KafkaException as error:
            abandoned = producer is not self._producer
            # The error keeps this frame. It must not keep a client whose start timed out: that goes
            # on by itself, takes the transactional id some day, and fences a successor.
            del function, producer
            if abandoned:  # what it says is of one that was abandoned
                raise AbortableError(f"{doing}: {error}", "transaction") from error
            raise self._failed(error.args[0], doing) from error

    def _failed(self, error: KafkaError, doing: str) -> EosError:
        """Translate, and tell the supervisor what was seen."""
        known = translated(error, doing)
        if is_indefinite(error):
            self._supervisor.see(Seen.INDEFINITE)
        if error.code() in FENCED:
            if self._open and time.monotonic() - self._began > self._timeout / 2:
                # The broker moves the epoch on as well when it aborts a transaction that was
                # open for too long, as after a pause of the process. Then nobody took over.
                self._supervisor.see(Seen.EXPIRED)
                return AbortableError(f"{doing}: the transaction expired", "transaction")
            self._supervisor.see(Seen.FENCED)
            return self._twin(doing)
        if is_denied(error):
            if error.fatal():
                self._supervisor.see(Seen.INDEFINITE)
            return translated(error, doing + self._denied(error))
        if not isinstance(known, AbortableError | RetriableError):
            # Fatal for this producer, not for its successor.
            self._supervisor.see(Seen.INDEFINITE)
            return AbortableError(f"{doing}: {error.str()}", "transaction")
        return known

    def _cause(self, error: KafkaError) -> str:
        """Name the cause of a failed call to `produce`: it may fail for a message before."""
        return "rejected" if self._rejected or is_rejected(error) else "transaction"

    def _denied(self, error: KafkaError) -> str:
        """Name what is denied: the error itself does not."""
        if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return f" (as {self._id})"
        topics = ", ".join(sorted(self._topics))
        return f" (messages to {topics})" if self._open and topics else ""

    def _twin(self, doing: str) -> FencedError:
        return FencedError(
            f"{doing}: another process has taken over the transactional id {self._id!r}. Two "
            "workers run with the same namespace, instance and slot: stop one of them, or give "
            "each process an instance of its own (EOS_INSTANCE)"
        )

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            return
        self._failures += 1
        if is_indefinite(error):
            self._supervisor.see(Seen.INDEFINITE)
        # A message that is refused takes others with it, which tell of nothing but that.
        if not self._undelivered or (is_rejected(error) and not self._rejected):
            self._rejected = is_rejected(error)
            self._undelivered = f"to topic {message.topic()!r}: {error.str()}"


def _errored(error: KafkaError) -> None:
    """Log what the client tells unasked. Without this, `poll` and `flush` would raise it.

    What it means for a transaction shows in the call that it concerns.
    """
    CLIENT_LOG.info("producer: %s", error.str())
