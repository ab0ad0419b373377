"""Times as a command takes and shows them."""

import time
from datetime import UTC, datetime

import pytest

from eos.cli.moments import moment, shown
from eos.core.errors import ConfigError


def milliseconds(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("2023-11-14", milliseconds(2023, 11, 14)),
        ("2023-11-14T08:00", milliseconds(2023, 11, 14, 8)),
        ("2023-11-14 08:00:30", milliseconds(2023, 11, 14, 8, 0, 30)),
        ("2023-11-14T08:00+01:00", milliseconds(2023, 11, 14, 7)),
        ("2023-11-14T08:00Z", milliseconds(2023, 11, 14, 8)),
        (" 2023-11-14 ", milliseconds(2023, 11, 14)),
        ("2023-11-14T08:00:00.250", milliseconds(2023, 11, 14, 8) + 250),
        ("1969-12-31", -86_400_000),
        ("0001-01-01", milliseconds(1, 1, 1)),
    ],
)
def test_a_time_is_one_in_utc_where_it_does_not_say(given: str, told: int) -> None:
    assert moment("since", given) == told


@pytest.mark.parametrize(("given", "seconds"), [("2h", 7200), ("1.5d", 129_600), ("0s", 0)])
def test_a_duration_is_so_long_ago(given: str, seconds: float) -> None:
    before = int((time.time() - seconds) * 1000)
    found = moment("since", given)
    assert found is not None
    assert before <= found <= int((time.time() - seconds) * 1000)


def test_nothing_is_nothing() -> None:
    assert moment("since", None) is None


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "yesterday",
        "2h30m",
        "-2h",
        "2",
        "2 weeks",
        "2023-13-01",
        "2023-02-30",
        "10000-01-01",
        "1700000000",
        "08:00",
        "now",
        "nan",
        "inf",
        "2h\x00",
        "9" * 400 + "d",
    ],
)
def test_what_is_no_time_is_told_with_what_to_write(given: str) -> None:
    with pytest.raises(ConfigError) as raised:
        moment("since", given)
    [fault] = raised.value.faults
    assert fault.startswith(f"since={given!r} is no time: write 2h (two hours ago), 2026-11-23")


def test_a_duration_longer_than_there_was_time_is_from_the_beginning() -> None:
    found = moment("since", "99999999999d")
    assert found is not None
    assert found < 0


def test_a_time_in_the_future_is_refused() -> None:
    for given in ("9999-12-31", "2999-01-01T00:00+05:00"):
        with pytest.raises(ConfigError, match=rf"until='{given[:4]}.*' lies in the future"):
            moment("until", given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (1_700_000_000_000, "2023-11-14 22:13:20 UTC"),
        (0, "1970-01-01 00:00:00 UTC"),
        (-1, "1969-12-31 23:59:59 UTC"),
        (10**17, "100000000000000000 ms"),
        (-(10**17), "-100000000000000000 ms"),
        (10**400, f"{10**400} ms"),
    ],
)
def test_a_time_is_shown_in_utc_or_as_it_is(given: int, told: str) -> None:
    assert shown(given) == told
