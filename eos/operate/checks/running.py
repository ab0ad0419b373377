"""Runs checks: each within its time, and none of them hides another."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from eos.core.errors import EosError
from eos.operate.checks.finding import Finding, fault, of_error, warning


class Check(NamedTuple):
    """One check.

    Attributes:
        what: What it looks at.
        run: Looks, and gives what it found. What it raises is a finding, too.
    """

    what: str
    run: Callable[[], Iterable[Finding]]


class Section(NamedTuple):
    """Checks that ask one server.

    Attributes:
        name: Which server.
        checks: Looked at side by side, if the server is there.
        reach: Finds out whether it is there; None if there is nothing to reach.
    """

    name: str
    checks: Sequence[Check]
    reach: Check | None = None


def run(sections: Iterable[Section], seconds: float) -> Iterator[tuple[str, list[Finding]]]:
    """Run all checks.

    Args:
        sections: One after the other, each with its server.
        seconds: How long a check may take.

    Yields:
        The name of each section, and what was found in it.
    """
    for section in sections:
        yield section.name, _of_section(section, seconds)


def _of_section(section: Section, seconds: float) -> list[Finding]:
    found: list[Finding] = []
    if section.reach is not None:
        ((reached, found),) = _side_by_side([section.reach], seconds)
        if not reached:
            if left := ", ".join(check.what for check in section.checks):
                advice = "run it again once this is mended"
                found = [*found, warning(section.name, f"not checked: {left}", advice)]
            return found
    for _, findings in _side_by_side(section.checks, seconds):
        found += findings
    return found


def _side_by_side(checks: Sequence[Check], seconds: float) -> list[tuple[bool, list[Finding]]]:
    """Give of each check whether it came to its end, and what it found.

    They run in daemon threads: one that hangs in a library keeps nobody from leaving.
    """
    found: list[tuple[bool, list[Finding]]] = [(False, [_late(check, seconds)]) for check in checks]

    def look(number: int, check: Check) -> None:
        findings: list[Finding] = []
        done = False
        try:
            for each in check.run():
                findings.append(each)  # noqa: PERF402 what was found before an error counts
            done = True
        except EosError as error:
            findings += of_error(check.what, error)
        except Exception as error:  # noqa: BLE001 the others are shown all the same
            findings.append(_broken(check, error))
        found[number] = (done, findings)

    threads = [
        threading.Thread(target=look, args=each, name=each[1].what, daemon=True)
        for each in enumerate(checks)
    ]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(found)


def _late(check: Check, seconds: float) -> Finding:
    advice = "check the server's load and the network to it, and run it again"
    return fault(check.what, f"no answer within {seconds:g} s", advice)


def _broken(check: Check, error: Exception) -> Finding:
    advice = "this is a bug of eos: please report it with this line"
    return fault(check.what, f"the check failed: {type(error).__name__}: {error}", advice)
