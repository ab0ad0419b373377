"""The fourth step: effects and frontier become one, in a Kafka transaction."""

from eos.settle.step import Settle

__all__ = ["Settle"]
