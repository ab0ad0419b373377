"""What the demo decides without servers: what is sent, how effects count, what is a failure."""

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from eos.core.errors import ConfigError
from eos.demo import Options
from eos.demo.charges import Charge, charge, read
from eos.demo.kills import Kill
from eos.demo.orders import COPIES, plan
from eos.demo.report import Report
from eos.demo.run import MOST_EMBEDDED
from eos.demo.tally import Tally, tally

GOOD = Tally(effects=100, distinct=100, redelivered=0, resent=0, lost=0)
KILLS = tuple(Kill(float(n), 0, 5, committing=n < 2) for n in range(8))
REPORT = Report(
    seed=1,
    sent=106,
    orders=100,
    seconds=10.0,
    eos=GOOD,
    plain=replace(GOOD, redelivered=7),
    suppressed={"redelivery": 0, "resend_same_partition": 6},
    rolled_back=40,
    kills=KILLS,
    kills_wanted=8,
    commits_wanted=2,
)


def test_a_seed_repeats_what_is_sent() -> None:
    assert list(plan(1000, 7, 4)) == list(plan(1000, 7, 4)) != list(plan(1000, 8, 4))


@pytest.mark.parametrize("partitions", [2, 4, 8])
def test_each_order_is_sent_once_and_some_once_more_later_here_or_elsewhere(
    partitions: int,
) -> None:
    sendings = list(plan(10_000, 7, partitions))
    first = {each.number: each for each in sendings if not each.copy}
    copies = [each for each in sendings if each.copy]
    assert sorted(first) == list(range(10_000))
    assert all(a.at <= b.at for a, b in itertools.pairwise(sendings))
    assert {each.partition for each in sendings} == set(range(partitions))
    assert len(copies) == pytest.approx(10_000 * COPIES, rel=0.15)
    assert all(first[copy.number].at <= copy.at for copy in copies)
    elsewhere = Counter(first[copy.number].partition != copy.partition for copy in copies)
    assert elsewhere[True] == pytest.approx(elsewhere[False], rel=0.25)


def test_a_charge_says_in_a_topic_which_record_it_is_for() -> None:
    made = charge(b'{"order": "order-7", "cents": 350}', 3, 12)
    assert read(made.to_bytes()) == made == Charge("order-7", 350, 3, 12)


def test_effects_are_counted_by_what_doubled_them() -> None:
    once, again = Charge("a", 1, 0, 1), Charge("a", 1, 0, 1)
    resent, other = Charge("a", 1, 2, 9), Charge("b", 1, 0, 2)
    assert tally([once, again, resent, other], orders=4) == Tally(
        effects=4, distinct=2, redelivered=1, resent=1, lost=2
    )


def test_a_run_that_kept_its_promise_under_fire_has_no_faults() -> None:
    assert REPORT.faults() == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"eos": replace(GOOD, redelivered=1, resent=2)}, "eos shows 3 duplicates"),
        ({"eos": replace(GOOD, lost=1)}, "eos lost 1 orders"),
        ({"plain": GOOD}, "the plain loop shows no duplicate by redelivery: nothing was tested"),
        ({"suppressed": {}}, "eos suppressed no duplicate: nothing was tested"),
        ({"kills": KILLS[:7]}, "only 7 of 8 kills counted"),
        ({"kills": KILLS[1:] * 2}, "only 2 of 3 kills fell into a commit"),
    ],
)
def test_a_broken_promise_or_a_run_that_tested_nothing_is_a_fault(
    change: dict[str, Any], fault: str
) -> None:
    wanted = 3 if "commit" in fault else 2
    assert replace(REPORT, commits_wanted=wanted, **change).faults()[:1] == [fault]


def test_a_worker_that_does_not_tell_when_it_commits_is_not_said_to_be_between_commits() -> None:
    assert "killed between commits, holding 5 claimed" in str(KILLS[7])
    assert "killed during a commit, holding 5 claimed" in str(KILLS[0])
    assert "worker 0 killed, holding 5 claimed" in str(replace(KILLS[0], committing=None))


def test_what_is_not_given_fits_the_form() -> None:
    assert Options.fitting(embedded=False, records=None, kills=3, seed=1) == Options(
        kills=3, seed=1
    )
    embedded = Options.fitting(embedded=True, records=500, duration=None, seed=1)
    assert (embedded.records, embedded.embedded) == (500, True)
    assert embedded.duration < Options(seed=1).duration


def test_more_orders_than_the_mock_broker_keeps_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most"):
        Options.fitting(embedded=True, records=MOST_EMBEDDED + 1, seed=1)
