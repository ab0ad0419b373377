import pytest

from eos.core import rules
from eos.core.rules import HANDLED, Admission, Owner, Verdict

SELF = Owner(0, 7, 1)
COPY = Owner(0, 3, 1)
ELSEWHERE = Owner(1, 7, 1)
OTHER_PAYLOAD = Owner(0, 3, 2)


@pytest.mark.parametrize(
    ("settled_below", "keyed", "owner", "expected"),
    [
        pytest.param(8, True, None, Verdict.SETTLED, id="below the frontier"),
        pytest.param(8, True, SELF, Verdict.SETTLED, id="below the frontier, its own"),
        pytest.param(8, True, OTHER_PAYLOAD, Verdict.SETTLED, id="below the frontier, a conflict"),
        pytest.param(8, False, None, Verdict.SETTLED, id="below the frontier, no key"),
        pytest.param(7, False, None, Verdict.FRESH, id="no key"),
        pytest.param(7, True, None, Verdict.FRESH, id="no owner"),
        pytest.param(7, True, SELF, Verdict.AGAIN, id="its own"),
        pytest.param(7, True, SELF._replace(fingerprint=9), Verdict.AGAIN, id="its own, compacted"),
        pytest.param(7, True, COPY, Verdict.DUPLICATE, id="a copy"),
        pytest.param(
            7, True, Owner(0, 9, 1), Verdict.DUPLICATE, id="a copy that was claimed first"
        ),
        pytest.param(7, True, ELSEWHERE, Verdict.DUPLICATE, id="a copy on another partition"),
        pytest.param(7, True, OTHER_PAYLOAD, Verdict.CONFLICT, id="another payload"),
    ],
)
def test_a_claim_follows_the_sentences_of_the_rule_in_their_order(
    settled_below: int, *, keyed: bool, owner: Owner | None, expected: Verdict
) -> None:
    found = rules.verdict(
        partition=0, offset=7, settled_below=settled_below, keyed=keyed, fingerprint=1, owner=owner
    )
    assert found is expected


def test_what_is_handled_is_what_nobody_else_owns() -> None:
    assert {Verdict.FRESH, Verdict.AGAIN} == HANDLED


@pytest.mark.parametrize(
    ("sealed", "epoch", "start", "expected"),
    [
        pytest.param(False, 1, 99, Admission.CLOSED, id="no seal goes before all else"),
        pytest.param(True, 4, 99, Admission.FENCED, id="an older epoch goes before a gap"),
        pytest.param(True, 5, 11, Admission.GAP, id="above what was claimed"),
        pytest.param(True, 5, 10, Admission.OPEN, id="right behind what was claimed"),
        pytest.param(True, 5, 3, Admission.OPEN, id="below what was claimed"),
        pytest.param(True, 6, 10, Admission.OPEN, id="an epoch that the ledger has lost"),
    ],
)
def test_a_batch_is_admitted_by_seal_then_epoch_then_place(
    epoch: int, start: int, expected: Admission, *, sealed: bool
) -> None:
    found = rules.admit(sealed=sealed, epoch=epoch, newest_epoch=5, start=start, claimed=10)
    assert found is expected


@pytest.mark.parametrize(
    ("verdict", "offset", "hearsay", "expected"),
    [
        pytest.param(Verdict.AGAIN, 7, False, False, id="did not begin"),
        pytest.param(Verdict.FRESH, 6, False, True, id="may have begun, and the claim was lost"),
        pytest.param(Verdict.AGAIN, 6, False, True, id="may have begun"),
        pytest.param(Verdict.SETTLED, 6, True, False, id="is settled"),
        pytest.param(Verdict.DUPLICATE, 6, False, False, id="its owner is known"),
        pytest.param(Verdict.DUPLICATE, 6, True, True, id="its owner may have been suppressed"),
        pytest.param(Verdict.CONFLICT, 6, True, True, id="its owner, a conflict, is hearsay"),
        pytest.param(Verdict.DUPLICATE, 7, True, False, id="is a copy, and did not begin"),
    ],
)
def test_what_may_have_begun_is_in_doubt_unless_it_is_known_to_be_settled(
    verdict: Verdict, offset: int, *, hearsay: bool, expected: bool
) -> None:
    found = rules.in_doubt(verdict=verdict, offset=offset, begun=7, hearsay=hearsay)
    assert found is expected


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [(0, 100, 100), (99, 100, 100), (100, 100, 101), (500, 100, 501)],
)
def test_an_epoch_never_comes_again_not_even_after_the_counter_was_lost(
    last: int, now: int, expected: int
) -> None:
    assert rules.next_epoch(last, now) == expected
    assert rules.next_epoch(last, now) > last


@pytest.mark.parametrize(
    ("claimed", "frontier", "window_start", "expected"),
    [
        pytest.param(0, 10, 0, range(10), id="all was lost"),
        pytest.param(4, 10, 0, range(4, 10), id="a tail was lost"),
        pytest.param(0, 10, 6, range(6, 10), id="the window begins later"),
        pytest.param(4, 10, 6, range(6, 10), id="the window begins behind what is left"),
        pytest.param(10, 10, 0, range(0), id="nothing was lost"),
        pytest.param(15, 10, 0, range(0), id="claims ahead of the frontier"),
        pytest.param(0, 10, 12, range(0), id="all is older than the window"),
        pytest.param(0, 0, 0, range(0), id="nothing was settled"),
    ],
)
def test_recovery_reads_from_what_is_lost_or_the_window_to_the_frontier(
    claimed: int, frontier: int, window_start: int, expected: range
) -> None:
    assert rules.reread(claimed, frontier, window_start) == expected


@pytest.mark.parametrize(
    ("audited", "owner", "expected"),
    [(False, None, True), (True, None, False), (False, COPY, False), (True, COPY, False)],
)
def test_recovery_gives_a_key_to_a_settled_position_unless_it_was_suppressed_or_has_an_owner(
    owner: Owner | None, *, audited: bool, expected: bool
) -> None:
    assert rules.reasserts(audited=audited, owner=owner) is expected


@pytest.mark.parametrize(
    ("audited", "owner", "expected"),
    [
        pytest.param(False, None, SELF, id="handled, and nobody owns the key"),
        pytest.param(False, COPY, SELF, id="handled: a fact, whatever the ledger says"),
        pytest.param(True, None, None, id="suppressed, and nobody owns the key"),
        pytest.param(True, COPY, COPY, id="suppressed in favour of the owner"),
        pytest.param(True, SELF, None, id="suppressed, and yet the owner: void"),
    ],
)
def test_what_the_log_settled_overrules_what_the_ledger_remembers(
    owner: Owner | None, expected: Owner | None, *, audited: bool
) -> None:
    assert rules.restored(settled=SELF, audited=audited, owner=owner) == expected


@pytest.mark.parametrize(
    ("stamp", "last", "expected"),
    [
        pytest.param(50, 40, 50, id="its own time"),
        pytest.param(30, 40, 40, id="never before the record in front of it"),
        pytest.param(500, 40, 100, id="never after the server's clock"),
        pytest.param(500, 120, 120, id="not even when the clock was set back"),
        pytest.param(0, 0, 0, id="no time stamp"),
    ],
)
def test_log_time_is_the_record_s_own_between_its_predecessor_s_and_now(
    stamp: int, last: int, expected: int
) -> None:
    assert rules.log_time(stamp, last, 100) == expected


@pytest.mark.parametrize(
    ("times", "expected"),
    [([160], True), ([159], False), ([500, 160], True), ([500, 159], False)],
)
def test_a_generation_may_go_when_every_frontier_has_passed_its_end_by_the_window(
    times: list[int], *, expected: bool
) -> None:
    assert rules.droppable(100, 60, times) is expected
