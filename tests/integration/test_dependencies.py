"""What pip installs without extras is enough."""

import subprocess
import sys

import pytest

EXTRAS = ("greenlet", "psycopg", "psycopg2", "django", "aiosqlite")


@pytest.mark.parametrize("module", ["eos", "eos.cli", "eos.build", "eos.db", "eos.demo.embedded"])
def test_a_module_is_imported_without_what_only_extras_bring(module: str) -> None:
    without = "".join(f"sys.modules[{name!r}] = None; " for name in EXTRAS)
    command = [sys.executable, "-c", f"import sys; {without}import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
