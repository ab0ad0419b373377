"""The second, shorter line: rows of a database become messages.

A row's way is **record → publish → mark**. Each shard of the outbox has a line of its own
(`shard.py`), in a thread of its own; relays share the shards as members of a consumer group, whose
partitions the shards are (`relay.py`). What makes it exact are two things that belong to each
other: a batch is recorded in the database before it is published, and its number is committed in
the Kafka transaction that publishes it.
"""

from eos.outbox.relay import Relay
from eos.outbox.shard import ShardLine

__all__ = ["Relay", "ShardLine"]
