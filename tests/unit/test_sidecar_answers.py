"""What an app's answers mean, and when it is taken to be away."""

import pytest

from eos.doors.sidecar.deliver.answers import MOST_SECONDS, Fate, fate_of, retry_after
from eos.doors.sidecar.deliver.breaker import Breaker

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("statuses", "fate"),
    [
        ((200, 201, 202, 204, 299), Fate.HANDLED),
        ((408, 421, 425, 429, 503), Fate.BUSY),
        ((400, 401, 404, 409, 410, 413, 422, 499), Fate.REJECTED),
        ((500, 501, 502, 504, 599, 100, 301, 307, 308, 600, 0), Fate.FAILED),
    ],
)
def test_a_status_says_what_becomes_of_an_event(statuses: tuple[int, ...], fate: Fate) -> None:
    assert {fate_of(status) for status in statuses} == {fate}


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("²", 0.0),
        ("1.5", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("86400", MOST_SECONDS),
        ("9" * 5000, MOST_SECONDS),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("Tue, 14 Nov 2043 22:13:00 GMT", MOST_SECONDS),
        ("Tue, 99 Nov 2023 22:13:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


def test_an_app_is_away_when_nobody_listens_until_it_answers() -> None:
    breaker = Breaker()
    breaker.refused()
    assert breaker.open
    breaker.answered()
    assert not breaker.open


def test_an_app_is_away_after_three_time_outs_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(2):
        breaker.timed_out()
        breaker.timed_out()
        assert not breaker.open
        breaker.answered()
    for _ in range(3):
        breaker.timed_out()
    assert breaker.open
