"""What the settings name: servers, and who listens."""

from functools import partial

from eos.core.events import Emit
from eos.core.ports import Ledger, Ports
from eos.core.settings import Settings
from eos.kafka import config
from eos.kafka.letters import KafkaLetters
from eos.kafka.log import KafkaLog
from eos.kafka.reader import KafkaReader
from eos.kafka.topics import KafkaTopics
from eos.kafka.transactions import KafkaTransactions
from eos.observe import fan_out
from eos.observe.logs import Logs
from eos.observe.metrics import Metrics
from eos.stores.memory.ledger import MemoryLedger
from eos.stores.redis.ledger import RedisLedger
from eos.stores.sql.inbox import SqlInbox
from eos.stores.sql.ledger import SqlLedger


def adapters(settings: Settings, slot: int, emit: Emit) -> Ports:
    """Connect to the servers that the settings name; nothing is asked of them yet."""
    reading = config.consumer(settings, slot)
    topics = KafkaTopics(config.client(settings))
    return Ports(
        reader=KafkaReader(reading, config.first_offset(settings)),
        topics=topics,
        log=lambda: KafkaLog(reading, topics),
        ledger=ledger(settings),
        transactions=KafkaTransactions(
            config.producer(settings, settings.transactional_id(slot)), emit
        ),
        publish=KafkaLetters(config.idempotent(settings)),
        inbox=partial(SqlInbox, ledger=settings.ledger),
    )


def max_message_bytes(settings: Settings) -> int:
    """How large a message may be, key, value and headers together."""
    return config.max_message_bytes(settings)


def observers(settings: Settings, emit: Emit | None) -> Emit:
    """Make the listeners of a line: metrics, logs, and one more if it is given."""
    standard_ones = (Metrics(settings.group), Logs(settings.group))
    return fan_out(*standard_ones, emit) if emit else fan_out(*standard_ones)


def ledger(settings: Settings) -> Ledger:
    """Make the ledger that the settings name."""
    if settings.ledger.startswith("memory:"):
        return MemoryLedger(settings.window_seconds)
    if settings.ledger.startswith(("sqlite:", "postgresql")):
        return SqlLedger(settings.ledger, window=settings.window_seconds)
    return RedisLedger(settings.ledger, window=settings.window_seconds)
