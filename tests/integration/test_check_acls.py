"""`eos check` as a user who may not do everything: each right that is lacking is named."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from eos.devstack import Stack, running
from eos.devstack.waiting import wait_until
from tests.integration.check_kit import Checked, check, only, write_app
from tests.integration.cluster import SECONDS, Cluster

USER, PASSWORD = "app", "secret"
TOPIC, GROUP, TRANSACTIONAL_ID = (
    ResourceType.TOPIC,
    ResourceType.GROUP,
    ResourceType.TRANSACTIONAL_ID,
)
READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A broker of its own, which asks who one is."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("EOS_BOOTSTRAP_SERVERS", raising=False)
        with running(users={USER: PASSWORD}) as started:
            yield started


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> Cluster:
    return Cluster(stack.bootstrap_servers)


@pytest.fixture
def grant(stack: Stack) -> Callable[..., None]:
    """Grants, and waits until the broker goes by it."""
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})

    def grant(
        operation: AclOperation,
        kind: ResourceType,
        name: str,
        pattern: ResourcePatternType = ResourcePatternType.LITERAL,
    ) -> None:
        to = (f"User:{USER}", "*", operation, AclPermissionType.ALLOW)
        binding, seen = (
            AclBinding(kind, name, pattern, *to),
            AclBindingFilter(kind, name, pattern, *to),
        )
        admin.create_acls([binding])[binding].result(SECONDS)
        assert wait_until(lambda: bool(admin.describe_acls(seen).result(SECONDS)), seconds=SECONDS)

    return grant


@pytest.fixture
def client(tmp_path: Path) -> Callable[[str], str]:
    """Writes the client's settings into a file."""

    def write(password: str) -> str:
        (tmp_path / "kafka.conf").write_text(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanisms=PLAIN\n"
            f"sasl.username={USER}\nsasl.password={password}\n"
        )
        return "kafka.conf"

    return write


@pytest.fixture
def run(
    tmp_path: Path,
    stack: Stack,
    client: Callable[[str], str],
    namespace: str,
    cluster: Cluster,
) -> Callable[[], Checked]:
    """Runs it on an app whose topics are all there."""
    for name in ("in", "out", "dead-letters", "suppressed"):
        cluster.create_named(f"{namespace}.{name}")
    target = write_app(
        tmp_path,
        group=namespace,
        source=f"{namespace}.in",
        to=f"{namespace}.out",
        brokers=stack.secured_servers,
        ledger=stack.redis_url,
        instance="one",
    )
    return lambda: check(tmp_path, target, "--json", EOS_KAFKA=client(PASSWORD))


def test_each_right_that_is_lacking_is_a_fault_and_none_is_once_all_are_granted(
    run: Callable[[], Checked], grant: Callable[..., None], namespace: str
) -> None:
    nothing = run()
    assert nothing.code == 1
    only(nothing.faults, f"topic {namespace}.in", "no right on it", "READ on it")
    only(nothing.faults, f"topic {namespace}.out", "no right on it", "WRITE on it")
    only(nothing.faults, f"topic {namespace}.dead-letters", "no right on it", "WRITE on it")
    only(nothing.faults, f"topic {namespace}.suppressed", "no right on it", "WRITE and READ")
    only(nothing.faults, f"group {namespace}", "no right on it", "READ on it")
    only(nothing.warnings, "transactional ids", f"{namespace}.one.check", "WRITE on ids that begin")
    only(nothing.warnings, "broker settings", "DESCRIBE_CONFIGS on the cluster")
    only(nothing.fine, "persistence")

    for name in ("in", "out", "dead-letters", "suppressed"):
        grant(DESCRIBE, TOPIC, f"{namespace}.{name}")
    grant(DESCRIBE, GROUP, namespace)
    seen = run()
    assert seen.code == 1
    only(seen.faults, "rights", f"READ on topic {namespace}.in", "(read)")
    only(seen.faults, "rights", f"WRITE on topic {namespace}.out", "(published to)")
    only(seen.faults, "rights", f"WRITE on topic {namespace}.dead-letters")
    only(seen.faults, "rights", f"WRITE on topic {namespace}.suppressed")
    only(seen.faults, "rights", f"READ on topic {namespace}.suppressed")
    only(seen.faults, "rights", f"READ on group {namespace}")
    only(seen.warnings, "topics", "settings may not be read", f"{namespace}.in")

    grant(READ, TOPIC, f"{namespace}.in")
    grant(WRITE, TOPIC, f"{namespace}.out")
    grant(WRITE, TOPIC, f"{namespace}.dead-letters")
    grant(WRITE, TOPIC, f"{namespace}.suppressed")
    grant(READ, TOPIC, f"{namespace}.suppressed")
    grant(READ, GROUP, namespace)
    grant(WRITE, TRANSACTIONAL_ID, f"{namespace}.", ResourcePatternType.PREFIXED)
    granted = run()
    assert (granted.code, granted.faults) == (0, [])
    only(granted.fine, "rights", "topics (4) and groups (1)")
    only(granted.fine, "transactional ids", "may be used")


def test_where_settings_may_be_read_the_workers_own_transactional_id_is_tried(
    run: Callable[[], Checked], grant: Callable[..., None], namespace: str
) -> None:
    grant(AclOperation.DESCRIBE_CONFIGS, ResourceType.BROKER, "kafka-cluster")

    lacking = run()
    grant(WRITE, TRANSACTIONAL_ID, f"{namespace}.one.0")  # by its full name
    granted = run()

    only(lacking.faults, "transactional ids", f"{namespace}.one.0 may not be used")
    only(granted.fine, "transactional ids", f"{namespace}.one.0")
    assert not any("broker settings" in line for line in granted.warnings)


def test_a_topic_of_ours_that_may_not_be_made_is_a_fault(
    tmp_path: Path,
    stack: Stack,
    client: Callable[[str], str],
    grant: Callable[..., None],
    namespace: str,
) -> None:
    grant(WRITE, TOPIC, f"{namespace}.dead-letters")
    grant(READ, GROUP, namespace)
    options = ["--json", "--brokers", stack.secured_servers, "--group", namespace]

    found = check(tmp_path, *options, "--kafka", client(PASSWORD))
    refused = check(tmp_path, *options, "--create", "--kafka", client(PASSWORD))
    grant(AclOperation.CREATE, TOPIC, f"{namespace}.dead-letters")
    granted = check(tmp_path, *options, "--kafka", client(PASSWORD))

    only(found.faults, f"topic {namespace}.dead-letters", "cannot be made", "allow CREATE")
    only(refused.faults, f"topic {namespace}.dead-letters", "was not made", "CREATE")
    only(refused.fine, f"group {namespace}")
    only(granted.warnings, f"topic {namespace}.dead-letters", "does not exist yet")


def test_a_wrong_password_is_told_as_what_it_is(
    tmp_path: Path, stack: Stack, client: Callable[[str], str]
) -> None:
    found = check(
        tmp_path, "--json", "--brokers", stack.secured_servers, "--kafka", client("wrong")
    )

    assert found.code == 1
    only(found.faults, "refuse the login", "Invalid username or password")
    assert "wrong" not in found.out.replace("wrong settings", "")
