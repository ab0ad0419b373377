"""The sidecar's OpenAPI document, and a client that calls whatever stands in it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eos.core.settings import Settings
from eos.devstack.ports import free_ports
from eos.doors.sidecar.config import Config, Listen, Publish
from eos.doors.sidecar.listen.openapi import document
from tests.integration.cluster import SECONDS, Cluster
from tests.integration.sidecar_kit import Door, ask, await_ready, post

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


@pytest.fixture
def config(settings: Settings, topic: Callable[..., str]) -> Config:
    (port,) = free_ports(1)
    listen = Listen(address=f"127.0.0.1:{port}")
    publish = Publish(topics=(topic("out"), topic("other")))
    return Config(settings=settings, listen=listen, publish=publish)


def test_schemathesis_finds_no_server_error_and_no_breach_of_the_schema(config: Config) -> None:
    with Door(config.settings).running(config) as url:
        await_ready(url)
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run"),
                *(f"{url}/v1/openapi.json", "--checks", ",".join(CHECKS)),
                *("--max-examples", "60", "--phases", "examples,coverage,fuzzing"),
                *("--generation-database", "none", "--request-timeout", "10"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=8 * SECONDS,
        )
        answered = ask(f"{url}/v1/status")[1]["publish"]["answered"]
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert answered["200"] > 20, "nothing that it sent was right"
    assert answered["400"] > 20, "nothing that it sent was wrong"


def test_the_document_tells_what_this_sidecar_can_do(config: Config) -> None:
    with Door(config.settings).running(config) as url:
        await_ready(url)
        status, told, _ = ask(f"{url}/v1/openapi.json")
    assert config.publish is not None
    assert (status, told) == (200, document(config.publish.topics))
    assert "/v1/topics/{topic}" not in document()["paths"]


def test_a_key_is_one_call_whatever_the_topic(config: Config, cluster: Cluster) -> None:
    assert config.publish is not None
    one, other = config.publish.topics
    with Door(config.settings).running(config) as url:
        await_ready(url)
        found = [
            post(f"{url}/v1/topics/{to}", b"x", {"idempotency-key": "k"}) for to in (one, other)
        ]
    assert [status for status, _, _ in found] == [200, 422]
    assert [len(cluster.read_committed(to)) for to in (one, other)] == [1, 0]
