"""The second step: a verdict for each record, before anything is done with it."""

from eos.claim.step import Claim

__all__ = ["Claim"]
