"""Effects in a SQL database, settled in their own transaction, in somebody's own loop."""

from eos.doors.inbox.inbox import ConflictError, Inbox

__all__ = ["ConflictError", "Inbox"]
