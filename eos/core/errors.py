"""Errors, sorted by what the caller must do.

Normal answers are values, never exceptions. An adapter translates what its library raises
into one of these at its door, always with `raise … from`.
"""

from collections.abc import Mapping, Sequence


class EosError(Exception):
    """The root of all that eos raises."""


class ConfigError(EosError):
    """Fix the settings. Lists every fault at once.

    Attributes:
        faults: One sentence per fault: what is wrong and what to write instead.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("wrong settings:\n" + "\n".join(f"  - {fault}" for fault in faults))


class RetriableError(EosError):
    """Call again later: a server is away or busy. Nothing was lost.

    Attributes:
        on: Whom we wait for: `kafka`, `ledger`, `app`, or `recovery` by another worker.
        after: At least so many seconds later, as whoever is busy says; 0: it does not say.
    """

    def __init__(self, message: str, on: str = "kafka", after: float = 0.0) -> None:
        self.on = on
        self.after = after
        super().__init__(message)


class AbortableError(EosError):
    """Abort, rewind to the frontier and begin again.

    Attributes:
        cause: A word from a closed set, for the metrics: `rebalance`, `ledger_closed`,
            `ledger_gap`, `ledger_resealed`, `ledger_fenced`, `ledger_mark`, `transaction`,
            `unknown_outcome`, `inbox_fenced`, `outbox_fenced`, `database`, `replay`,
            `position_gone`, `gap`; `rejected`: a message is refused for what it is, by the client,
            a broker or its topic, and always will be. In a loop of the user's: `pause`, `seek`.
            What a `RetriableError` ends is counted as `server_away`.
    """

    def __init__(self, message: str, cause: str) -> None:
        self.cause = cause
        super().__init__(message)


class PositionGoneError(AbortableError):
    """The log no longer holds the position from which partitions are read.

    Attributes:
        partitions: Topic and number of each, and what the client says of it.
    """

    def __init__(self, partitions: Mapping[tuple[str, int], str]) -> None:
        self.partitions = dict(partitions)
        names = ", ".join(f"{topic}[{number}]" for topic, number in self.partitions)
        super().__init__(f"the log no longer holds the position of {names}", "position_gone")


class FatalError(EosError):
    """Stop: going on could lose or repeat a record."""


class FencedError(FatalError):
    """Another process has taken over this transactional id."""


class HungError(EosError):
    """Begin again in a new process: the Kafka client cannot go on in this one."""


class HandlerError(EosError):
    """The user's code failed for good, or what it returned cannot be sent.

    Attributes:
        reason: Why there is a dead letter: `unsendable`, or `rejected` by the user's code.
    """

    def __init__(self, message: str, reason: str = "unsendable") -> None:
        self.reason = reason
        super().__init__(message)
