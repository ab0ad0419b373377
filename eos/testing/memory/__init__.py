"""Kafka in lists: the ports of a line without any server, to test steps and what they send.

    kafka = MemoryKafka({"orders": 2, "receipts": 1})
    kafka.send("orders", b"1", headers=[("message-id", b"a")])
    line = eos.build.line(settings, steps, kafka.ports(MemoryLedger(60)), emit)
    line.run(stopping=lambda: kafka.settled())
    assert [message.value() for message in kafka.messages("receipts")] == [...]

It has one consumer group, whose members share the partitions, and keeps what the guarantees rest
on: outputs and offsets of a transaction become visible together; offsets that a transaction holds
are not readable before it ends; offsets of an older generation are refused; a second producer
under one transactional id ends and fences the first. It is no broker: nothing here can show that
a guarantee holds on a real one.

This is the ground floor, for tests of eos itself. To test a handler, see `eos.testing.run`.
"""

from eos.testing.memory.kafka import MemoryKafka
from eos.testing.memory.log import MemoryLog, MemoryTopics, topic_id_of
from eos.testing.memory.message import MemoryMessage
from eos.testing.memory.reader import MemoryReader
from eos.testing.memory.transactions import MemoryTransactions

__all__ = [
    "MemoryKafka",
    "MemoryLog",
    "MemoryMessage",
    "MemoryReader",
    "MemoryTopics",
    "MemoryTransactions",
    "topic_id_of",
]
