"""Messages that are written down in the transaction of what they tell of."""

from eos.doors.outbox.outbox import Outbox

__all__ = ["Outbox"]
