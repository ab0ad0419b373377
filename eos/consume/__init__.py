"""The first step: records out of the log, from partitions whose frontier is known."""

from eos.consume.lanes import Lane, Slice
from eos.consume.step import Consume

__all__ = ["Consume", "Lane", "Slice"]
