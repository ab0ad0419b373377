"""The third step: the user's function, with retries, and what it wants sent."""

from eos.handle.handled import Handled
from eos.handle.step import Handle
from eos.handle.steps import Step

__all__ = ["Handle", "Handled", "Step"]
