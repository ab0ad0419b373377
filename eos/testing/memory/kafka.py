"""The broker, and the ports of workers on it."""

from eos.core.ports import Ledger, Ports
from eos.stores.sql.inbox import SqlInbox
from eos.testing.memory.broker import Broker
from eos.testing.memory.log import MemoryLog, MemoryTopics
from eos.testing.memory.reader import MemoryReader
from eos.testing.memory.transactions import MemoryTransactions


class MemoryKafka(Broker):
    """A broker that hands out the ports of workers."""

    def ports(self, ledger: Ledger, transactional_id: str = "memory") -> Ports:
        """Give the ports of one more worker of the group."""
        return Ports(
            reader=MemoryReader(self),
            topics=MemoryTopics(self),
            log=lambda: MemoryLog(self),
            ledger=ledger,
            transactions=MemoryTransactions(self, transactional_id),
            publish=self.publish,
            inbox=SqlInbox,
        )
