"""A real PostgreSQL: it starts when asked for, is hurt and heals, and leaves nothing behind."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from eos.cli.dev import dev
from eos.devstack import DevStackError, Stack, running
from eos.devstack.ports import free_ports
from eos.devstack.postgres_server import answers, children
from eos.devstack.programs import find_programs
from eos.devstack.waiting import wait_until

SECONDS = 30

OPENER = """
import sys, time
from pathlib import Path
import psycopg
from eos.devstack import running
from eos.devstack.postgres_server import children
with running(Path(sys.argv[1]), brokers=0, redis=False, postgres=True) as stack:
    with psycopg.connect(stack.postgres_url) as busy:
        busy.execute("CREATE TABLE open (id int)")
        if sys.argv[2] == "paused":
            stack.postgres.pause()
        print(stack.postgres.pid, *children(stack.postgres.pid), flush=True)
        time.sleep(600)
"""


@pytest.fixture(autouse=True, scope="module")
def own_servers() -> Iterator[None]:
    """These tests start servers even where the environment names running ones."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_POSTGRES_URL", raising=False)
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter, unlike pytest's own where we are root."""
    with tempfile.TemporaryDirectory(prefix="eos-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running(brokers=0, redis=False, postgres=True) as opened:
        yield opened


def gone(pid: int) -> bool:
    """Whether nothing runs under the pid; a dead process that nobody has reaped is gone too."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return not state or state.startswith("Z")


def ask(stack: Stack, query: str) -> object:
    with psycopg.connect(stack.postgres_url, connect_timeout=SECONDS) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def test_it_serves_only_this_machine_and_is_run_by_no_root(stack: Stack) -> None:
    owner = subprocess.run(
        ["ps", "-o", "user=", "-p", str(stack.postgres.pid)], capture_output=True, check=True
    ).stdout.strip()

    assert ask(stack, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(stack, "SHOW unix_socket_directories") == ""
    assert ask(stack, "SHOW fsync") == "on"
    assert owner != b"root"
    assert not stack.bootstrap_servers
    assert not stack.redis_url


@pytest.mark.parametrize("down", ["stop", "kill"])
def test_it_comes_back_with_what_was_committed(stack: Stack, down: str) -> None:
    idle = psycopg.connect(stack.postgres_url, autocommit=True)
    idle.execute("DROP TABLE IF EXISTS kept")
    idle.execute("CREATE TABLE kept AS SELECT 1 AS id")
    busy = psycopg.connect(stack.postgres_url)
    busy.execute("INSERT INTO kept VALUES (2)")
    family = [stack.postgres.pid, *children(stack.postgres.pid)]

    getattr(stack.postgres, down)()  # neither waits for the open transaction
    assert wait_until(lambda: all(map(gone, family)), seconds=SECONDS)
    with pytest.raises(psycopg.OperationalError):
        idle.execute("SELECT 1")
    idle.close()
    busy.close()
    stack.postgres.start()

    assert ask(stack, "SELECT array_agg(id) FROM kept") == [1]


def test_a_paused_one_freezes_its_open_connections_too(stack: Stack) -> None:
    with psycopg.connect(stack.postgres_url, autocommit=True) as connection:
        stack.postgres.pause()
        states = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(connection.info.backend_pid)],
            capture_output=True,
            check=True,
        ).stdout
        assert states.startswith(b"T")
        assert not answers(stack.postgres_url)
        stack.postgres.resume()
        assert answers(stack.postgres_url)


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_killed_opener_leaves_nothing_behind(folder: Path, state: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OPENER, str(folder), state], stdout=subprocess.PIPE, text=True
    ) as opener:
        assert opener.stdout
        servers = [int(pid) for pid in opener.stdout.readline().split()]
        guardian = os.getpgid(servers[0])
        assert len(servers) > 2

        opener.kill()

        assert wait_until(lambda: all(map(gone, [*servers, guardian])), seconds=SECONDS)


def test_the_folder_keeps_the_data(folder: Path) -> None:
    with (
        running(folder, brokers=0, redis=False, postgres=True) as first,
        psycopg.connect(first.postgres_url) as connection,
    ):
        connection.execute("CREATE TABLE kept AS SELECT 7 AS id")
        connection.commit()
        connection.close()
    with running(folder, brokers=0, redis=False, postgres=True) as second:
        assert ask(second, "SELECT id FROM kept") == 7


def test_what_a_killed_first_start_left_half_made_is_made_anew(folder: Path) -> None:
    draft = folder / "postgres" / "draft"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("15")

    with running(folder, brokers=0, redis=False, postgres=True) as opened:
        assert ask(opened, "SELECT 1") == 1
    assert not draft.exists()


def test_data_of_another_version_is_refused(folder: Path) -> None:
    data = folder / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")

    with pytest.raises(DevStackError, match=r"holds data of PostgreSQL 9, not of \d+: remove it"):
        running(folder, brokers=0, redis=False, postgres=True).__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_a_folder_that_its_user_may_not_enter_is_named(folder: Path) -> None:
    folder.chmod(0o700)

    with pytest.raises(DevStackError, match=f"may not enter {folder}: name another folder"):
        running(folder, brokers=0, redis=False, postgres=True).__enter__()


def test_a_missing_one_is_named_only_when_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("eos.devstack.programs.POSTGRES_FOLDERS", tmp_path)

    find_programs(kafka=False, redis=False)
    with pytest.raises(DevStackError, match=r"^PostgreSQL is missing: install it"):
        find_programs(kafka=False, redis=False, postgres=True)


def test_the_programs_are_found_outside_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("9.6", "10", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("eos.devstack.programs.POSTGRES_FOLDERS", tmp_path)

    found = find_programs(kafka=False, redis=False, postgres=True)

    assert found.postgres == tmp_path / "15" / "bin"


def test_one_named_by_the_environment_is_used_and_not_started(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EOS_POSTGRES_URL", stack.postgres_url)

    with running(brokers=0, redis=False, postgres=True) as opened:
        assert opened.postgres_url == stack.postgres_url
        with pytest.raises(DevStackError, match="did not start a PostgreSQL"):
            _ = opened.postgres


def test_a_named_one_that_does_not_answer_is_an_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eos.devstack.stack.GIVEN_SECONDS", 0.1)
    monkeypatch.setenv("EOS_POSTGRES_URL", "postgresql://me:hidden@127.0.0.1:1/mine")

    with pytest.raises(DevStackError, match=r"127\.0\.0\.1:1/mine. does not answer") as raised:
        running(brokers=0, redis=False, postgres=True).__enter__()
    assert "hidden" not in str(raised.value)


def test_a_lost_port_is_replaced(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = int(stack.postgres_url.rpartition(":")[2].partition("/")[0])
    choices = iter([[taken], free_ports(1)])
    monkeypatch.setattr("eos.devstack.postgres_server.free_ports", lambda _count: next(choices))

    with running(brokers=0, redis=False, postgres=True) as opened:
        assert opened.postgres_url != stack.postgres_url
        assert ask(opened, "SELECT 1") == 1


def test_dev_runs_it_when_asked_and_status_shows_it(folder: Path) -> None:
    def eos_dev(*command: str) -> tuple[int, str]:
        answer = CliRunner().invoke(dev, [*command, "--folder", str(folder / "dev")])
        return answer.exit_code, answer.output

    code, shown = eos_dev("up", "--postgres")
    assert code == 0
    try:
        _, status = eos_dev("status")
        assert status == shown.partition("...\n")[2]
        url = status.partition("SQL ")[2].split()[0]
        assert f"EOS_POSTGRES_URL={url}" in status
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        assert eos_dev("down") == (0, "Stopped.\n")
    assert not answers(url)


def test_dev_says_when_what_runs_already_has_none(folder: Path) -> None:
    def eos_dev(*command: str) -> tuple[int, str]:
        answer = CliRunner().invoke(dev, [*command, "--folder", str(folder / "dev")])
        return answer.exit_code, answer.output

    assert eos_dev("up")[0] == 0
    try:
        assert eos_dev("up", "--postgres") == (
            1,
            "It runs already, without PostgreSQL: eos dev down comes first\n",
        )
    finally:
        assert eos_dev("down")[0] == 0


def test_each_test_has_an_empty_database_of_its_own(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()
    assert tables == (0,)
