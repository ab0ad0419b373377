"""The states of a transactional producer, as a table.

librdkafka has no KIP-890 (librdkafka#5423): a late EndTxn may hit the next transaction of the
same epoch. So a producer that has seen anything indefinite does not begin another transaction:
it is replaced under the same transactional id, which moves the epoch on.
"""

from enum import Enum


class State(Enum):
    """What a producer is fit for."""

    ABSENT = "absent"
    """There is none yet, or it was given up: make one before the next transaction."""
    READY = "ready"
    """It may begin a transaction."""
    TAINTED = "tainted"
    """A request's fate is unknown: replace it before the next transaction."""
    DEAD = "dead"
    """Another process has its transactional id: stop."""


class Seen(Enum):
    """What can be seen of a producer."""

    CREATED = "created"
    """A producer was made and its id initialised; earlier transactions are final."""
    INDEFINITE = "indefinite_error"
    """A call failed in a way that does not tell what the broker did."""
    DISCONNECTED = "disconnected"
    """The client's log told of a disconnect or a request that timed out."""
    COUNTED = "counted"
    """The client's statistics count a disconnect, a request that timed out or one sent again."""
    SLOW = "slow_commit"
    """A commit took so long that a request may have been sent twice."""
    EXPIRED = "expired"
    """The broker aborted the transaction because it was open for too long."""
    UNREACHED = "unreached"
    """A transaction is to be aborted of which the coordinator may not know yet."""
    FENCED = "fenced"
    """Another producer initialised the same transactional id."""


_TAINT = {
    Seen.INDEFINITE: State.TAINTED,
    Seen.DISCONNECTED: State.TAINTED,
    Seen.COUNTED: State.TAINTED,
    Seen.SLOW: State.TAINTED,
    Seen.EXPIRED: State.TAINTED,
    Seen.UNREACHED: State.TAINTED,
    Seen.FENCED: State.DEAD,
}

TABLE: dict[State, dict[Seen, State]] = {
    State.ABSENT: {Seen.CREATED: State.READY, Seen.FENCED: State.DEAD},
    State.READY: {**_TAINT},
    State.TAINTED: {**_TAINT, Seen.CREATED: State.READY},
    State.DEAD: {},
}


class Supervisor:
    """Remembers the state of one producer, and why it is so."""

    def __init__(self) -> None:
        self.state = State.ABSENT
        self.reason = "start"

    def see(self, seen: Seen) -> None:
        """Move on; what the table does not name changes nothing."""
        state = TABLE[self.state].get(seen)
        if state is None:
            return
        if state is not self.state:
            self.reason = seen.value
        self.state = state
