"""`eos dlq` on a cluster that asks who one is: what it needs, and what it says without."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]
from typer.testing import Result

from eos.core.record import Position
from eos.core.settings import Settings
from eos.devstack import Stack, running
from tests.integration.cluster import Cluster
from tests.integration.dlq_kit import Desk, dlq
from tests.integration.test_acls import PASSWORD, USER, Acls, Grant, login


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A broker of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)
        with running(users={USER: PASSWORD}) as started:
            yield started


@pytest.fixture
def cluster(stack: Stack) -> Cluster:
    return Cluster(stack.bootstrap_servers)


def test_each_right_that_is_lacking_is_named_and_with_all_of_them_it_works(
    stack: Stack, cluster: Cluster, settings: Settings, source: str, to: str, tmp_path: Path
) -> None:
    desk = Desk(cluster, settings, source, to)
    cluster.create_named(desk.letters)
    desk.put(b"value", "a")
    cluster.send(source, [])
    desk.put(b"x" * 2000, "large", at=Position(desk.topic_id(), 0, 0), max_bytes=1000)
    file = tmp_path / "client"
    file.write_text("".join(f"{name}={value}\n" for name, value in login().items()))
    acls = Acls(stack.bootstrap_servers)

    def run(*arguments: str) -> Result:
        where = ("--namespace", settings.namespace, "--brokers", stack.secured_servers)
        return dlq(*arguments, *where, "--kafka", str(file))

    def denied(*arguments: str) -> str:
        done = run(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        [line] = done.stderr.splitlines()
        return line

    topic, id_ = ResourceType.TOPIC, ResourceType.TRANSACTIONAL_ID
    for grant in (
        Grant(AclOperation.READ, topic, desk.letters),
        Grant(AclOperation.READ, ResourceType.GROUP, settings.namespace),
    ):
        assert "needs an ACL: READ on " in denied("list")
        acls.grant(grant)
    done = run("list")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "2 dead letters"
    for grant in (
        Grant(AclOperation.WRITE, id_, f"{settings.namespace}.dlq"),
        Grant(AclOperation.WRITE, topic, source),
        Grant(AclOperation.WRITE, topic, desk.letters),
    ):
        assert "needs an ACL: " in denied("redrive", "--key", "a")
        acls.grant(grant)
    done = run("redrive", "--key", "a")
    assert (done.exit_code, done.output) == (0, "1 dead letter redriven\n")
    done = run("discard", "--all")
    assert (done.exit_code, done.output) == (0, "1 dead letter discarded\n")
