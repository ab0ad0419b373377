"""What the audit topic holds: each record that was suppressed, in whose favour, and why."""

import json
from typing import NamedTuple

from eos.core.ports.audit import Suppressed
from eos.core.record import Shard
from eos.core.rules import Owner, Verdict


class Entry(NamedTuple):
    """One entry of the audit.

    Attributes:
        group: The consumer group in which the record was suppressed.
        topic: The record's topic, by name.
        topic_id: The same by id.
        suppressed: The record, and in whose favour it was suppressed.
    """

    group: str
    topic: str
    topic_id: str
    suppressed: Suppressed


def write(shard: Shard, topic: str, suppressed: Suppressed) -> bytes:
    """Write an entry as JSON."""
    owner = suppressed.owner
    return json.dumps(
        {
            "group": shard.group,
            "topic": topic,
            "topic_id": shard.topic_id,
            "partition": suppressed.partition,
            "offset": suppressed.offset,
            "digest": suppressed.digest.hex(),
            "owner": [owner.partition, owner.offset],
            "fingerprint": owner.fingerprint,
            "verdict": suppressed.verdict.value,
            "log_time": suppressed.log_time,
            "source": suppressed.source,
        },
        separators=(",", ":"),
    ).encode()


def read(value: bytes | None) -> Entry | None:
    """Read what `write` wrote; None if it is something else, which somebody else put there."""
    try:
        told = json.loads(value or b"")
        partition, offset = told["owner"]
        return Entry(
            told["group"],
            told["topic"],
            told["topic_id"],
            Suppressed(
                int(told["partition"]),
                int(told["offset"]),
                bytes.fromhex(told["digest"]),
                Owner(int(partition), int(offset), int(told["fingerprint"])),
                Verdict(told["verdict"]),
                int(told["log_time"]),
                told["source"],
            ),
        )
    except (ValueError, TypeError, KeyError):
        return None
