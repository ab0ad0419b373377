"""The pytest plugin: fixtures that run apps without servers.

Every pytest run where eos is installed loads it, so nothing that it imports may be slow: the
servers' libraries are loaded when a line is made.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from eos.testing import Clock, Run, run


@pytest.fixture
def eos_clock() -> Clock:
    """A clock that the test turns: `eos_run(app, clock=eos_clock)`. See `eos.testing.Clock`."""
    return Clock()


@pytest.fixture
def eos_run() -> Iterator[Callable[..., Run]]:
    """Run apps until the test is over; takes what `eos.testing.run` takes."""
    with ExitStack() as runs:
        yield lambda app, **given: runs.enter_context(run(app, **given))
