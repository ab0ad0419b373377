"""What `docs/how-to/testing.md` shows is run as it stands there."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"


def test_every_example_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "eos.testing.plugin")
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) > 7
    pytester.makepyfile("\n\n".join(examples))
    outcomes = pytester.runpytest_subprocess().parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] >= len(re.findall(r"^def test_", "\n".join(examples), re.MULTILINE))
