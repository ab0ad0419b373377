"""The first step: records out of the log, from partitions whose frontier is known."""

from eos.consume.step import Consume, Lane, Slice

__all__ = ["Consume", "Lane", "Slice"]
