import signal
from pathlib import Path

import pytest

from eos.core.errors import ConfigError, EosError, FatalError, FencedError, RetriableError
from eos.workers import Pool
from eos.workers.child import Stop
from eos.workers.contract import HOPELESS, exit_code, load, one_line
from eos.workers.pool import _Worker

MODULE = """
class App:
    def work(self, *, slot, stopping):
        pass

app = App()
nothing = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def faults(target: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(target)
    return one_line(caught.value)


def test_an_application_is_found_by_module_and_name(folder: Path) -> None:
    (folder / "found_app.py").write_text(MODULE)
    app = load("found_app:app")
    app.work(slot=0, stopping=lambda: True)


@pytest.mark.parametrize("target", ["orders", "orders:", ":app", ""])
def test_a_target_of_another_form_is_refused(target: str) -> None:
    assert "write module:app" in faults(target)
    with pytest.raises(ConfigError):
        Pool(target, 1)


def test_a_module_that_does_not_exist_is_named(folder: Path) -> None:
    assert folder.exists()
    assert "there is no module 'no_such_module'" in faults("no_such_module:app")
    assert "there is no module 'no_such_package'" in faults("no_such_package.module:app")


def test_a_name_that_the_module_lacks_is_named(folder: Path) -> None:
    (folder / "lacking_app.py").write_text(MODULE)
    assert faults("lacking_app:ap") == "module 'lacking_app' has no 'ap'"


@pytest.mark.parametrize("name", ["nothing", "App"])
def test_what_is_no_application_is_refused(folder: Path, name: str) -> None:
    (folder / "wrong_app.py").write_text(MODULE)
    assert "is not an eos.App" in faults(f"wrong_app:{name}")


def test_a_module_that_fails_to_be_imported_says_how(folder: Path) -> None:
    (folder / "broken_app.py").write_text("1 / 0")
    (folder / "hungry_app.py").write_text("import not_installed_here")
    assert "importing broken_app failed: ZeroDivisionError" in faults("broken_app:app")
    assert "importing hungry_app failed: ModuleNotFoundError" in faults("hungry_app:app")


def test_faults_of_the_settings_found_in_the_module_stay_what_they_are(folder: Path) -> None:
    (folder / "faulty_app.py").write_text(
        "from eos.core.errors import ConfigError\nraise ConfigError(['brokers: x', 'ledger: y'])"
    )
    assert faults("faulty_app:app") == "brokers: x; ledger: y"


def test_an_error_is_said_on_one_line() -> None:
    assert one_line(FatalError("first\n  second")) == "first second"
    assert one_line(FencedError()) == "FencedError"


@pytest.mark.parametrize(
    ("error", "hopeless"),
    [
        (ConfigError(["x"]), True),
        (FatalError("x"), True),
        (FencedError("x"), True),
        (RetriableError("x"), False),
    ],
)
def test_only_what_a_restart_cannot_help_is_hopeless(error: EosError, *, hopeless: bool) -> None:
    assert (exit_code(error) in HOPELESS) == hopeless
    assert exit_code(error) != 0


def test_a_pool_has_at_least_one_worker() -> None:
    with pytest.raises(ConfigError, match="workers=0"):
        Pool("orders:app", 0)


def test_a_worker_that_dies_once_is_due_at_once() -> None:
    worker = _Worker(0, started=100.0)
    worker.wait_for_turn(100.5)
    assert worker.due == 100.5


def test_a_worker_that_keeps_dying_waits_ever_longer_up_to_a_bound() -> None:
    worker = _Worker(0)
    pauses = []
    for _ in range(2000):
        worker.started = worker.due
        died = worker.started + 0.1
        worker.wait_for_turn(died)
        pauses.append(worker.due - died)
    assert pauses[:4] == pytest.approx([0.0, 0.1, 0.2, 0.4])
    assert pauses[-1] == pytest.approx(5.0)


def test_a_worker_that_was_steady_is_forgiven() -> None:
    worker = _Worker(0, started=100.0, early_deaths=7)
    worker.wait_for_turn(103.0)
    assert worker.due == 103.0


def test_a_signal_only_sets_the_flag() -> None:
    stop = Stop()
    before = signal.signal(signal.SIGTERM, stop.ask)
    try:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop()
    finally:
        signal.signal(signal.SIGTERM, before)
