"""Settles effects in a database: with the frontiers, in the transaction that the handler was in.

The frontier rows were locked before the handler was called. The ledger is asked once more before
the commit: a seal that changed since the claim means that claims may have been lost, and that
somebody else may have handled a copy. Whoever recovers the ledger waits for those locks. Claims
that are rows in the same transaction need no such question.
"""

from collections.abc import Sequence
from itertools import groupby

from eos.claim.step import Claim
from eos.core.ports import Effects, Publish
from eos.handle.handled import Handled
from eos.settle.plain import Plain


class Inboxes:
    """Commits database transactions.

    Args:
        claim: Sees that the seals of the claims still hold.
        plain: Moves the frontiers on, and lets Kafka's offsets follow.
        publish: Publishes a dead letter. It is in Kafka before the commit, so that it cannot be
            lost; a crash between publishes it again, under the same position.
    """

    def __init__(self, *, claim: Claim, plain: Plain, publish: Publish) -> None:
        self._claim = claim
        self._plain = plain
        self._publish = publish

    def __call__(self, handled: Sequence[Handled]) -> None:
        """Settle what was handled.

        Raises:
            AbortableError: Nothing was settled of a transaction: rewind.
            RetriableError: A server is away. What was being committed may be, or not.
        """
        together = [(each.effects, each) for each in handled if each.effects is not None]
        batches = [
            (effects, [each for _, each in batch])
            for effects, batch in groupby(together, lambda pair: pair[0])
        ]
        while batches:
            effects, batch = batches.pop(0)
            try:
                self._commit(effects, batch)
            except BaseException:
                for left in (effects, *(other for other, _ in batches)):
                    left.rollback()
                raise
            slices = [each.slice for each in batch]
            letters = [letter for each in batch for letter in each.letters]
            self._plain.settle(slices, tell=False, letters=letters)

    def _commit(self, effects: Effects, batch: Sequence[Handled]) -> None:
        for each in batch:
            for output in each.outputs:
                self._publish(*output)
        for slice_ in (each.slice for each in batch if not each.slice.lane.joined):
            self._claim.confirm({slice_.lane.partition[0]: (slice_.lane.shard, slice_.seal)})
        effects.commit()
