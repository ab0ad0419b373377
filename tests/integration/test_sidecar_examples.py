"""The examples of docs/examples/sidecar that publish, run against a sidecar as they stand."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from eos.core.settings import Settings
from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Config, Listen, Publish, Target
from tests.integration.cluster import SECONDS, Cluster, Input
from tests.integration.sidecar_crew import Process
from tests.integration.sidecar_kit import Door, await_ready, deliver

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "sidecar"


def publishing(settings: Settings, *topics: str) -> Config:
    (port,) = free_ports(1)
    listen = Listen(address=f"127.0.0.1:{port}")
    return Config(settings=settings, listen=listen, publish=Publish(topics=topics))


@pytest.mark.parametrize("command", [["sh", "publish.sh"], ["node", "publish.mjs"]])
def test_an_order_that_is_published_again_is_published_once(
    command: list[str], settings: Settings, cluster: Cluster, topic: Callable[..., str]
) -> None:
    assert shutil.which(command[0]), f"{command[0]} is missing"
    out = topic("orders")
    with Door(settings).running(publishing(settings, out)) as url:

        def run(order: str, text: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command, order, text],
                cwd=EXAMPLES,
                env={**os.environ, "EOS_URL": url, "TOPIC": out},
                capture_output=True,
                text=True,
                check=False,
                timeout=2 * SECONDS,
            )

        # The first one asks before the sidecar is ready.
        done = [run("17", "two books"), run("17", "two books"), run("17", "three books")]
    assert [each.returncode for each in done[:2]] == [0, 0], done
    assert done[0].stdout == done[1].stdout
    assert f'"topic":"{out}"' in done[0].stdout
    assert done[2].returncode != 0
    assert "another call was made under this" in done[2].stdout + done[2].stderr
    assert [message.value() for message in cluster.read_committed(out)] == [b"two books"]


def test_the_service_in_go_publishes_a_receipt_for_each_order(
    settings: Settings, cluster: Cluster, topic: Callable[..., str], tmp_path: Path
) -> None:
    source, receipts = topic("orders", partitions=2), topic("receipts")
    config = publishing(settings, receipts)
    (port,) = free_ports(1)
    whole = replace(config, app=Target(url=f"http://127.0.0.1:{port}/"), deliver=(deliver(source),))
    url = f"http://{config.listen.address}"
    with _service(tmp_path, {"PORT": str(port), "TOPIC": receipts, "EOS_URL": url}) as service:
        with Door(settings).running(whole):
            await_ready(url)
            cluster.send(source, [Input(f"o-{n}", n % 2, b"%d" % n) for n in range(40)])
            assert wait_until(lambda: cluster.ends(receipts)[0] > 5, seconds=SECONDS)
            service.kill()
            service.start()
            cluster.await_settled(settings.group, source)
        found = [message.value() for message in cluster.read_committed(receipts)]
    assert sorted(found, key=repr) == sorted((b"charged %d" % n for n in range(40)), key=repr)


@contextmanager
def _service(folder: Path, variables: dict[str, str]) -> Iterator[Process]:
    go = shutil.which("go")
    assert go, "go is missing: apt-get install golang-go"
    subprocess.run(
        [go, "build", "-o", str(folder / "receipts"), "."],
        cwd=EXAMPLES / "go",
        env={**os.environ, "GOFLAGS": "-buildvcs=false", "GOCACHE": str(folder / "cache")},
        check=True,
        timeout=8 * SECONDS,
    )
    service = Process([str(folder / "receipts")], variables, folder / "receipts.out")
    service.start()
    try:
        yield service
    finally:
        service.kill()
