"""Around a loop that somebody already has: same calls, duplicates gone."""

from eos.doors.consumer.claim import Claim
from eos.doors.consumer.consumer import Consumer, wrap

__all__ = ["Claim", "Consumer", "wrap"]
