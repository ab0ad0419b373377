"""What must be true of what a chaos leaves behind."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from tests.fault.chaos.evidence import EACH, Counts, Effect, Evidence
from tests.fault.chaos.watch import Sample

# --- transaction tier -----------------------------------------------------------------------


def check(evidence: Evidence) -> None:
    """See that every promise of the transaction tier was kept."""
    assert_no_loss_and_no_duplicate(evidence)
    assert_all_outputs_of_a_record_or_none(evidence)
    assert_suppressed_only_what_was_applied(evidence)
    assert_nothing_aborted_was_seen(evidence)
    assert_order_of_each_key(evidence)
    assert_no_effect_under_an_older_epoch(evidence)
    assert_offsets_and_outputs_came_together(evidence)
    assert_all_was_settled(evidence)
    assert_conservation(evidence)


def assert_all_was_settled(evidence: Evidence) -> None:
    """Unseen messages and LSO lag are back to 0, and no worker gave up."""
    assert evidence.failure is None, evidence.failure
    assert evidence.left == {}, f"not settled, or not stable: {evidence.left}"


def assert_no_loss_and_no_duplicate(evidence: Evidence) -> None:
    """The outputs are append-only: what stands there twice happened twice."""
    wanted = {sent.id for sent in evidence.inputs}
    found = Counter((output.id, output.number) for output in evidence.outputs)
    lost = sorted(id_ for id_ in wanted if (id_, 0) not in found)
    twice = {
        id_: [(o.place, o.spot, o.token) for o in evidence.outputs if (o.id, o.number) == (id_, 0)]
        for (id_, number), count in found.items()
        if count > 1 and number == 0
    }
    strange = sorted({id_ for id_, _ in found} - wanted)
    assert (lost, twice, strange) == ([], {}, []), f"{lost=} {twice=} {strange=}"


def assert_all_outputs_of_a_record_or_none(evidence: Evidence) -> None:
    """A transaction is never torn."""
    torn = {
        spot: [output.number for output in outputs]
        for spot, outputs in evidence.applied.items()
        if sorted(output.number for output in outputs) != list(range(EACH))
    }
    assert torn == {}


def assert_suppressed_only_what_was_applied(evidence: Evidence) -> None:
    """Each record is where its effect came from, or a copy of one that had it elsewhere."""
    ids = {sent.spot: sent.id for sent in evidence.inputs}
    wrong = {spot for spot, outputs in evidence.applied.items() if ids.get(spot) != outputs[0].id}
    assert wrong == set()
    unsound = [sent for sent in evidence.suppressed if sent.id not in evidence.applied_ids]
    assert unsound == []


def assert_nothing_aborted_was_seen(evidence: Evidence) -> None:
    """Who read committed messages meanwhile saw those that stand there now, in order, once."""
    committed = {output.place for output in evidence.outputs}
    assert [place for place in evidence.followed if place not in committed] == []
    by_partition: dict[tuple[str, int], list[int]] = defaultdict(list)
    for topic, partition, offset in evidence.followed:
        by_partition[topic, partition].append(offset)
    assert all(_rises(offsets) for offsets in by_partition.values())


def assert_order_of_each_key(evidence: Evidence) -> None:
    """In each output, what came from one partition stands in the order of that partition.

    A key's records stand on one partition, but for copies that were sent to another one.
    """
    rows: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for output in evidence.outputs:
        topic, partition, _ = output.place
        rows[topic, partition, output.spot[0], output.number].append(output.spot[1])
        rows[topic, partition, output.spot[0], output.number, output.key].append(output.spot[1])
    assert [where for where, offsets in rows.items() if not _rises(offsets)] == []


def assert_no_effect_under_an_older_epoch(evidence: Evidence) -> None:
    """In each output, the fencing tokens of a partition never go back."""
    newest: dict[tuple[str, int, int], int] = {}
    for output in evidence.outputs:
        where = (*output.place[:2], output.spot[0])
        assert output.token >= newest.get(where, 0), f"{output} after {newest[where]}"
        newest[where] = output.token


def assert_offsets_and_outputs_came_together(evidence: Evidence) -> None:
    """At every sample, the committed offset was at or below the contiguous applied prefix.

    Outputs that stood in the log when the sample was taken count as applied if they are
    committed by now: their transaction had sent offsets, or was still open.
    """
    assert evidence.samples
    below: dict[int, int] = defaultdict(int)
    spots = {sent.spot for sent in evidence.inputs}
    for sample in evidence.samples:
        for partition, committed in sample.committed.items():
            # What an earlier sample has seen below the committed offset needs no second look.
            for offset in range(below[partition], committed):
                outputs = evidence.applied.get((partition, offset), [])
                late = [o for o in outputs if o.place[2] >= sample.ends[o.place[:2]]]
                assert not late, f"{partition}/{offset} was committed at {sample}, before {late}"
                assert (partition, offset) in spots, "committed beyond the end of the log"
            below[partition] = committed
    assert _never_back(evidence.samples)


def assert_conservation(evidence: Evidence) -> None:
    """Consumed = applied + suppressed + dead letters + given back + in flight; by the metrics too.

    A worker may be killed between a commit and the counting of it: then its records count as
    abandoned. And one that loses its partitions before it learns the outcome of a commit
    counts its records as given back.
    """
    applied, suppressed = len(evidence.applied), len(evidence.suppressed)
    assert applied + suppressed == len(evidence.inputs)
    for counts in (evidence.alive, evidence.counts):
        assert counts.in_flight == counts.letters == counts.redelivered == 0, counts
        assert_adds_up(counts, evidence.killed, evidence.batch)
        uncounted = counts.abandoned + counts.given_back
        assert counts.handled <= applied <= counts.handled + uncounted, (applied, counts)
        assert counts.resent <= suppressed <= counts.resent + uncounted, (suppressed, counts)
        sent = len(evidence.outputs)
        assert counts.outputs <= sent <= counts.outputs + EACH * uncounted, (sent, counts)


def assert_adds_up(counts: Counts, killed: int, batch: int) -> None:
    """Whatever was claimed became something; a worker that is killed may overstate what it held."""
    accounted = counts.settled + counts.given_back + counts.abandoned + counts.in_flight
    assert counts.claimed <= accounted <= counts.claimed + killed * batch, counts


# --- plain tier -----------------------------------------------------------------------------


def check_plain(evidence: Evidence) -> None:
    """See that every promise of the plain tier with policy `retry` was kept."""
    done = {effect.id for effect in evidence.effects}
    assert sorted({sent.id for sent in evidence.inputs} - done) == []
    assert unflagged(evidence.effects) == []
    assert evidence.counts.letters == 0
    assert_all_was_settled(evidence)
    for counts in (evidence.alive, evidence.counts):
        assert counts.in_flight == 0
        assert_adds_up(counts, evidence.killed, evidence.batch)
    assert _never_back(evidence.samples)
    assert_order_under_each_token(evidence.effects)
    ids = {sent.spot: sent.id for sent in evidence.inputs}
    assert [effect for effect in evidence.effects if ids.get(effect.spot) != effect.id] == []


def assert_order_under_each_token(effects: Iterable[Effect]) -> None:
    """Whoever holds a partition goes through it in order, and handles each record once."""
    rows: dict[tuple[int, int], list[int]] = defaultdict(list)
    for effect in sorted(effects, key=lambda each: each.at):
        rows[effect.partition, effect.token].append(effect.offset)
    assert [where for where, offsets in rows.items() if not _rises(offsets)] == []


def unflagged(effects: Iterable[Effect]) -> list[Effect]:
    """Give effects that came again, neither flagged nor under a token older than one seen."""
    seen: set[str] = set()
    newest: dict[int, int] = {}
    found = []
    for effect in sorted(effects, key=lambda each: each.at):
        newest[effect.partition] = max(newest.get(effect.partition, 0), effect.token)
        fenced = effect.token < newest[effect.partition]
        if effect.id in seen and not (effect.in_doubt or fenced):
            found.append(effect)
        seen.add(effect.id)
    return found


def _rises(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(numbers))


def _never_back(samples: Sequence[Sample]) -> bool:
    return all(
        before.committed[partition] <= offset
        for before, after in pairwise(samples)
        for partition, offset in after.committed.items()
    )
