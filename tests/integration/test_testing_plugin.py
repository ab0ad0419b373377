"""The pytest plugin, in a pytest of its own."""

import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

APP = """
import pytest
import eos

@pytest.fixture
def app():
    app = eos.App(group="payments")

    @app.step("orders", to="receipts")
    def charge(order):
        return eos.Send(b"charged " + order.value)

    return app
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with an app, whose pytest has our plugin and nobody else's."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "eos.testing.plugin")
    pytester.makeconftest(APP)
    return pytester


def test_an_app_runs_until_the_test_is_over(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_receipts(app, eos_run):
            t = eos_run(app, partitions=2)
            t.send("orders", "1", copies=2, partition=(0, 1))
            assert t.values("receipts") == [b"charged 1"]
            assert t.suppressed == 1
    """)
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_test_may_turn_the_clock_of_several_apps(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_windows(app, eos_run, eos_clock):
            runs = [eos_run(app, clock=eos_clock) for _ in range(2)]
            for t in runs:
                t.send("orders", "1", id="1")
            eos_clock.advance("50h")
            for t in runs:
                t.send("orders", "1", id="1")
                assert len(t.sent("receipts")) == 2
    """)
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_crash_that_never_came_fails_the_test(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_crash(app, eos_run):
            eos_run(app).crash(after="ledger.rewind")
    """)
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines("*never came about: the crash after ledger.rewind*")


def test_pytest_begins_without_the_libraries_of_any_server(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import sys

        def test_modules():
            assert "eos.testing.plugin" in sys.modules
            assert not {"confluent_kafka", "redis", "prometheus_client", "rich"} & set(sys.modules)
    """)
    project.makeconftest("")
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_plugin_is_announced_to_pytest() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    announced = tomllib.loads(text)["project"]["entry-points"]["pytest11"]
    assert announced == {"eos": "eos.testing.plugin"}
