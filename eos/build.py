"""Settings → a ready line. The only module that knows every adapter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eos.claim import Claim
from eos.claim.digest import Digest
from eos.claim.keys import Identify
from eos.consume import Consume
from eos.core.events import Emit
from eos.core.keys import standard
from eos.core.ports import Ledger, Log, Reader, Topics, Transactions
from eos.core.record import Shard
from eos.core.settings import Settings, duration
from eos.handle import Handle, Step
from eos.kafka import config
from eos.kafka.log import KafkaLog
from eos.kafka.reader import KafkaReader
from eos.kafka.topics import KafkaTopics
from eos.kafka.transactions import KafkaTransactions
from eos.line import Line
from eos.observe import fan_out
from eos.observe.logs import Logs
from eos.observe.metrics import Metrics
from eos.operate.recovery import Recover
from eos.operate.window import Window
from eos.retry import Backoff
from eos.settle import Settle
from eos.settle.beside import Beside
from eos.stores.memory.ledger import MemoryLedger
from eos.stores.redis.ledger import RedisLedger

TRANSACTION_BATCHES = 20
"""At most so many full batches are handled before a transaction settles them."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class Ports:
    """The adapters of one worker."""

    reader: Reader
    topics: Topics
    log: Callable[[], Log]
    ledger: Ledger
    transactions: Transactions


def adapters(settings: Settings, slot: int, emit: Emit) -> Ports:
    """Connect to the servers that the settings name; nothing is asked of them yet."""
    reading = config.consumer(settings)
    topics = KafkaTopics(config.client(settings))
    return Ports(
        reader=KafkaReader(reading, config.first_offset(settings)),
        topics=topics,
        log=lambda: KafkaLog(reading, topics),
        ledger=ledger(settings),
        transactions=KafkaTransactions(
            config.producer(settings, settings.transactional_id(slot)), emit
        ),
    )


def observers(settings: Settings, emit: Emit | None) -> Emit:
    """Make the listeners of a line: metrics, logs, and one more if it is given."""
    standard_ones = (Metrics(settings.group), Logs(settings.group))
    return fan_out(*standard_ones, emit) if emit else fan_out(*standard_ones)


def ledger(settings: Settings) -> Ledger:
    """Make the ledger that the settings name."""
    if settings.ledger.startswith("memory:"):
        return MemoryLedger(settings.window_seconds)
    return RedisLedger(settings.ledger, window=settings.window_seconds)


def line(settings: Settings, steps: Sequence[Step], ports: Ports, emit: Emit) -> Line:
    """Put the four steps together on these ports."""
    secret = settings.secret or f"eos derived secret of {settings.namespace}"
    identify = Identify(
        settings.key or standard,
        Digest(secret.encode()),
        by_partition=settings.scope == "partition",
    )

    def shard(topic_id: str) -> Shard:
        return Shard(settings.namespace, settings.group, topic_id)

    consume = Consume(
        reader=ports.reader,
        topics=ports.topics,
        ledger=ports.ledger,
        shard=shard,
        sources=[step.source for step in steps],
        targets=[step.to for step in steps if step.to is not None],
        own_topics=[settings.dead_letters],
        batch_records=settings.batch_records,
        batch_wait=duration(settings.batch_wait),
        emit=emit,
    )
    recover = Recover(
        ledger=ports.ledger,
        log=ports.log,
        topics=ports.topics,
        shard=shard,
        identify=identify,
        window=settings.window_seconds,
        stay=consume.stay,
        emit=emit,
    )
    claim = Claim(
        ledger=ports.ledger, identify=identify, recover=recover, settings=settings, emit=emit
    )
    handle = Handle(
        steps=steps,
        settings=settings,
        max_bytes=config.max_message_bytes(settings),
        wait=consume.wait,
        emit=emit,
    )
    settle = Settle(
        transactions=ports.transactions,
        consume=consume,
        claim=claim,
        executor=Beside(),
        interval=duration(settings.commit_interval),
        limit=settings.batch_records * TRANSACTION_BATCHES,
        emit=emit,
    )
    window = Window(ports.ledger, consume, emit)
    return Line(consume, claim, handle, settle, window, Backoff(_FIRST_PAUSE, _LONGEST_PAUSE), emit)
