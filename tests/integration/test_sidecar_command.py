"""`eos sidecar` as a newcomer runs it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from eos.core.settings import Settings
from eos.devstack.ports import free_ports
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.sidecar_kit import App, Reply, ask, await_ready

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "sidecar" / "eos.toml"


def command(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run `eos sidecar …` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "eos", "sidecar", *arguments],
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("EOS_")}
    return {**ours, "PYTHONPATH": str(ROOT), **variables}


def test_the_example_s_configuration_is_shown_and_can_be_read_again(tmp_path: Path) -> None:
    code, told = command("--config", str(EXAMPLE), "config")
    assert code == 0, told
    again = tmp_path / "again.toml"
    again.write_text(told, encoding="utf-8")
    assert command("--config", str(again), "config") == (0, told)
    assert 'topic = "orders"' in told


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "eos.toml"
    text = EXAMPLE.read_text(encoding="utf-8")
    text = text.replace("redis://127", "redis://me:very-secret@127")
    file.write_text(text + '[kafka.settings]\n"sasl.password" = "very-secret"\n', encoding="utf-8")
    code, told = command("--config", str(file), "config", EOS_SECRET="very-secret")  # noqa: S106
    assert code == 0, told
    assert "very-secret" not in told
    assert '"sasl.password" = "***"' in told


def test_all_faults_are_told_at_once_and_nothing_is_started(tmp_path: Path) -> None:
    file = tmp_path / "eos.toml"
    file.write_text('[kafak]\ngroup = "g"\n[app]\nurl = "ftp://x"\n', encoding="utf-8")
    for arguments in (("--config", str(file)), ("--config", str(file), "config")):
        code, told = command(*arguments)
        assert code == 2, told
        lines = told.splitlines()
        assert all(line.startswith("eos: ") for line in lines), told
        for want in (
            "do you mean kafka?",
            "[app] url",
            "[kafka] group",
            "[kafka] brokers",
            "[[deliver]]",
        ):
            assert any(want in line for line in lines), (want, told)


def test_a_certificate_that_is_missing_is_one_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    variables = {"EOS_LISTEN_CERT_FILE": missing, "EOS_LISTEN_KEY_FILE": str(EXAMPLE)}
    code, told = command("--config", str(EXAMPLE), **variables)
    assert code == 2, told
    assert told.splitlines() == [
        f"eos: [listen] cert_file={missing!r} cannot be read: FileNotFoundError",
        f"eos: [listen] key_file={str(EXAMPLE)!r}: it holds no private key as PEM",
    ]


@pytest.mark.parametrize("text", ["[kafka", "\xff", None])
def test_a_file_that_is_none_is_one_line(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "eos.toml"
    if text is not None:
        file.write_bytes(text.encode("latin-1"))
    code, told = command("--config", str(file))
    assert (code, told.count("\n")) == (2, 1), told
    assert str(file) in told


def test_it_runs_from_the_environment_alone_and_leaves_in_order(
    settings: Settings, cluster: Cluster, source: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    with App(lambda _: Reply()) as app:
        variables = {
            "EOS_GROUP": settings.group,
            "EOS_BROKERS": settings.brokers,
            "EOS_LEDGER": settings.ledger,
            "EOS_APP_URL": app.url,
            "EOS_LISTEN_ADDRESS": f"127.0.0.1:{port}",
            "EOS_DELIVER_TOPIC": source,
            "EOS_DELIVER_KEY": "header:message-id",
        }
        with (tmp_path / "output").open("wb") as output:
            running = subprocess.Popen(
                [sys.executable, "-m", "eos", "sidecar"],
                env=environment(variables),
                stdout=output,
                stderr=output,
            )
        try:
            await_ready(f"http://127.0.0.1:{port}")
            cluster.send(source, [Input("a", 0), Input("a", 1)])
            cluster.await_settled(settings.group, source)
            _, metrics, _ = ask(f"http://127.0.0.1:{port}/metrics")
            running.terminate()
            assert running.wait(2 * SECONDS) == 0, (tmp_path / "output").read_text("utf-8")
        finally:
            running.kill()
            running.wait()
    assert app.keys() == ["a"]
    assert "eos_pushes_total" in metrics
