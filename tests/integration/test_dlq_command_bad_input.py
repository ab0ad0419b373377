"""`eos dlq` with wrong arguments: one clear line, exit 2, nothing changed; brokers away: exit 1."""

from pathlib import Path

import pytest

from eos.cli.moments import _ADVICE
from eos.core.settings import Settings
from tests.integration.cluster import Cluster
from tests.integration.dlq_kit import Desk, dlq

WHICH = (
    "say which: ids, or a selection (--reason, --topic, --key, --since, --until), or --all",
    [
        [],
        ["0:0", "--all"],
        ["0:0", "--reason", "conflict"],
        ["--key", "a", "--all"],
        ["--since", "1h", "--all"],
        ["--dry-run"],
    ],
)
CHANGING = ["redrive", "discard"]


@pytest.fixture
def desk(cluster: Cluster, settings: Settings, source: str, to: str) -> Desk:
    made = Desk(cluster, settings, source, to)
    cluster.create_named(made.letters)
    made.put(b"value", "a")
    made.put(b"value", "b")
    return made


def assert_refused(desk: Desk, arguments: list[str], told: str) -> None:
    before = desk.ends()
    done = desk.dlq(*arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"eos: {told}\n")
    assert desk.ends() == before
    assert desk.rows() == ["0:0", "0:1"]


@pytest.mark.parametrize("command", CHANGING)
def test_one_must_say_which_and_in_one_way(desk: Desk, command: str) -> None:
    told, wrong = WHICH
    for arguments in wrong:
        assert_refused(desk, [command, *arguments], told)


@pytest.mark.parametrize("command", ["show", *CHANGING])
@pytest.mark.parametrize(
    "id_", ["17", "0", "a:b", "0:-1", "0:1:2", "", "\u0660:0", "0:99999999999999999999"]
)
def test_a_malformed_id_is_named(desk: Desk, command: str, id_: str) -> None:
    advice = "write partition:offset, such as 0:17"
    # What begins with a dash would be an option.
    assert_refused(desk, [command, id_], f"{id_!r} is no id of a dead letter: {advice}")


@pytest.mark.parametrize("command", CHANGING)
def test_ids_that_are_not_there_are_named_and_the_others_are_not_done(
    desk: Desk, command: str
) -> None:
    told = "0:7 is no dead letter; 3:0 is no dead letter"
    assert_refused(desk, [command, "3:0", "0:0", "0:7"], told)
    assert_refused(desk, [command, "3:0", "0:0", "0:7", "--dry-run"], told)


def test_an_id_that_is_not_there_cannot_be_shown(desk: Desk) -> None:
    assert_refused(desk, ["show", "0:2"], "0:2 is no dead letter")


@pytest.mark.parametrize("command", ["list", *CHANGING])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--since", "2999-01-01"], "since='2999-01-01' lies in the future"),
        (["--until", "2999-01-01"], "until='2999-01-01' lies in the future"),
        (
            ["--since", "yesterday"],
            f"since='yesterday' is no time: {_ADVICE}",
        ),
        (["--since", "1h", "--until", "2h"], "since='1h' is not before until='2h'"),
        (
            ["--since", "2020-01-01", "--until", "2020-01-01"],
            "since='2020-01-01' is not before until='2020-01-01'",
        ),
        (
            ["--topic", "misspelt"],
            "topic 'misspelt' does not exist, and no dead letter came from it",
        ),
        (
            ["--topic", "no topic\udcff"],
            "topic 'no topic\\udcff' does not exist, and no dead letter came from it",
        ),
    ],
)
def test_a_selection_that_cannot_be_meant_is_named(
    desk: Desk, command: str, arguments: list[str], told: str
) -> None:
    assert_refused(desk, [command, *arguments], told)


@pytest.mark.parametrize(
    "command", [["list"], ["show", "0:0"], ["redrive", "--all"], ["discard", "0:0"]]
)
def test_servers_and_namespace_must_be_given_and_right(
    desk: Desk, command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("EOS_BROKERS", "EOS_NAMESPACE", "EOS_KAFKA"):
        monkeypatch.delenv(variable, raising=False)
    brokers, namespace = ["--brokers", desk.settings.brokers], ["--namespace", "nobody-s"]
    file = tmp_path / "client"
    file.write_text("enable.idempotence=false\n")
    for arguments, told in (
        (namespace, "brokers are missing: write --brokers host:port,host:port or set EOS_BROKERS"),
        (brokers, "the namespace is missing: write --namespace NAME or set EOS_NAMESPACE"),
        ([*namespace, "--brokers", "kafka"], "brokers='kafka': write host:port,host:port or set"),
        ([*brokers, "--namespace", "a b"], "namespace='a b': write 1 to 100 letters, digits, "),
        ([*brokers, *namespace, "--kafka", "/none"], "'/none' cannot be read: "),
        ([*brokers, *namespace, "--kafka", str(file)], "kafka['enable.idempotence']='false': "),
        (
            [*brokers, *namespace],
            "topic 'nobody-s.dead-letters' does not exist: no worker ran under that namespace",
        ),
    ):
        done = dlq(*command, *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        [line] = done.stderr.splitlines()
        assert line.startswith(f"eos: {told}")


def test_servers_and_namespace_may_stand_in_the_environment(desk: Desk) -> None:
    env = {"EOS_BROKERS": desk.settings.brokers, "EOS_NAMESPACE": desk.settings.namespace}
    done = dlq("list", env=env)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "2 dead letters")


@pytest.mark.parametrize("command", [["list"], ["redrive", "--all"]])
def test_brokers_that_are_away_are_waited_for_and_told_in_one_line(
    command: list[str], namespace: str, capfd: pytest.CaptureFixture[str]
) -> None:
    done = dlq(*command, "--namespace", namespace, "--brokers", "127.0.0.1:1")
    assert (done.exit_code, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("eos: Kafka is away or busy, ")
    out, err = capfd.readouterr()
    assert (out, [each for each in err.splitlines() if each[0] != "%"]) == ("", [])
