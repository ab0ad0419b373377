"""`eos demo --embedded` as a newcomer runs it, and whether it can fail."""

import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from eos.demo import Demo, Options
from eos.demo.embedded import HIDDEN

ORDERS = 5000
KILLS = 4
SHORT = {"records": ORDERS, "duration": 12.0, "kills": KILLS}
PATIENCE = 240.0
Row = tuple[str, int, int, int]


def rows(folder: Path, whose: str) -> list[Row]:
    (file,) = folder.glob(f"*-{whose}.db")
    with closing(sqlite3.connect(file)) as database:
        found: list[Row] = database.execute("SELECT * FROM charges").fetchall()
    return found


def told(output: str, name: str) -> list[int]:
    """Read a row of the table that the demo shows: eos, plain loop."""
    (line,) = (line for line in output.splitlines() if f"│ {name} " in line)
    return [int(number.replace(",", "")) for number in re.findall(r"│ +([\d,]+) ", line)]


@pytest.mark.timeout(PATIENCE + 10)
def test_with_nothing_but_this_package_each_order_has_one_effect_under_kills(
    tmp_path: Path,
) -> None:
    options = [f"--{name}={value}" for name, value in SHORT.items()]
    command = [sys.executable, "-m", "eos", "demo", "--embedded", *options, "--seed", "7"]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={"PATH": "", "PYTHONPATH": str(Path.cwd()), "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"worker \d killed, holding [1-9]\d* ", done.stdout)) == KILLS

    ours, plain = rows(tmp_path, "eos"), rows(tmp_path, "plain")
    expected = {f"order-{n:09d}": 100 + n % 9900 for n in range(ORDERS)}
    assert dict(row[:2] for row in ours) == expected == dict(row[:2] for row in plain)
    assert len(ours) == ORDERS
    redelivered = len(plain) - len(set(plain))
    assert redelivered > 0
    assert max(Counter(row[0] for row in set(plain)).values()) == 2  # sent twice

    assert told(done.stdout, "effects") == [len(ours), len(plain)]
    assert told(done.stdout, "DUPLICATES") == [0, len(plain) - ORDERS]
    assert told(done.stdout, "  by redelivery") == [0, redelivered]
    assert told(done.stdout, "LOST") == [0, 0]
    assert all(line in done.stdout for line in HIDDEN)


@pytest.mark.timeout(PATIENCE)
def test_the_demo_fails_where_effect_and_frontier_are_two_transactions(tmp_path: Path) -> None:
    options = Options.fitting(embedded=True, seed=7, keep=tmp_path, **SHORT)
    broken = "tests.integration.demo_broken:app"
    report = Demo(options, lambda _line: None, lambda _progress: None, broken).run()

    ours = rows(tmp_path, "eos")
    twice = len(ours) - ORDERS
    assert twice > 0
    assert len(set(ours)) == ORDERS
    assert report.eos.duplicates == report.eos.redelivered == twice
    assert f"eos shows {twice} duplicates" in report.faults()
