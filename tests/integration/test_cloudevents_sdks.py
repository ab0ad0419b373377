"""The CloudEvents SDKs of Python and JavaScript read what we write, and we read what they write."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from eos.core.cloudevents import (
    Event,
    Mode,
    batch_to_http,
    of_http,
    of_record,
    to_http,
    to_record,
)
from eos.core.settings import Settings
from eos.devstack.ports import free_ports
from eos.doors.sidecar.config import Config, Listen, Publish
from tests.integration.cluster import Cluster
from tests.integration.sidecar_kit import Door, await_ready, post

EVENT = {
    "specversion": "1.0",
    "id": "1-%41",
    "source": "/shop?a=1",
    "type": "order.placed",
    "time": "2026-01-02T03:04:05.678Z",
    "subject": "order/1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
UNICODE = {"id": "grün €", "source": "/😀", "subject": 'a "b" 100%'}
FORMAT = JSONFormat()

# Reads {"headers", "body"} or {"make", "mode"}, a line each; writes a line of JSON for each.
SCRIPT = """
const { CloudEvent, HTTP } = require("cloudevents");
const plain = (event) => ({
  ...event,
  data: event.data instanceof Uint8Array || event.data instanceof Uint32Array
    ? { bytes: Array.from(event.data) } : event.data,
  data_base64: undefined,
});
const answer = (asked) => {
  if (!asked.make) {
    const found = HTTP.toEvent(asked);
    return Array.isArray(found) ? found.map(plain) : [plain(found)];
  }
  const { bytes, ...given } = asked.make;
  const event = new CloudEvent(bytes ? { ...given, data: Uint8Array.from(bytes) } : given);
  const { headers, body } = HTTP[asked.mode](event);
  return { headers, body: Buffer.from(body ?? "").toString("base64") };
};
const lines = require("fs").readFileSync(0, "utf8").split("\\n").filter(Boolean);
for (const line of lines) console.log(JSON.stringify(answer(JSON.parse(line))));
"""

PAYLOADS = [
    ("application/json", b'{"a": [1, "gr\xc3\xbcn"]}', {"a": [1, "grün"]}),
    ("text/plain", "grün".encode(), "grün"),
]


class Node:
    """Node.js with the SDK, one process a question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self, **question: Any) -> Any:
        done = subprocess.run(
            ["node", "-e", SCRIPT],
            cwd=self._folder,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def made(self, mode: str, **event: Any) -> tuple[list[tuple[str, str]], bytes]:
        """Give headers and body that the SDK makes of an event."""
        made = self.ask(make=event, mode=mode)
        return list(made["headers"].items()), base64.b64decode(made["body"])

    def read(self, headers: list[tuple[str, str]], body: bytes) -> list[dict[str, Any]]:
        """Give the events that the SDK reads."""
        events: list[dict[str, Any]] = self.ask(headers=dict(headers), body=body.decode())
        return events


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The SDK from npm. What is missing fails the test: nothing is skipped."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.fail("npm or node is missing: install Node.js 20 or later, with npm, on the PATH")
    folder = tmp_path_factory.mktemp("node")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "cloudevents@10"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if done.returncode:
        pytest.fail(f"npm install cloudevents failed: let npm reach its registry\n{done.stderr}")
    return Node(folder)


def attributes(event: CloudEvent) -> dict[str, str]:
    """Give the attributes that the Python SDK has read; it makes a datetime of the time."""
    found = dict(event.get_attributes())
    time = found["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return found | {"time": time}


def read_by_sdk(headers: list[tuple[str, str]], body: bytes) -> CloudEvent:
    found = http.from_http_event(http.HTTPMessage(dict(headers), body), FORMAT)
    assert isinstance(found, CloudEvent)
    return found


def made_by_sdk(kind: str | None, data: Any, **changed: str) -> CloudEvent:
    given: dict[str, Any] = {**EVENT, **changed}
    del given["time"]
    return CloudEvent(given | ({"datacontenttype": kind} if kind else {}), data)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("kind", "data", "meant"), PAYLOADS)
def test_the_python_sdk_reads_what_is_sent(mode: Mode, kind: str, data: bytes, meant: Any) -> None:
    given = EVENT | UNICODE | {"datacontenttype": kind}
    found = read_by_sdk(*to_http(Event(given, data), mode))
    assert attributes(found) == given
    assert found.get_data() == meant


@pytest.mark.parametrize("mode", Mode)
def test_the_python_sdk_reads_bytes_and_no_payload(mode: Mode) -> None:
    binary = {**EVENT, "datacontenttype": "application/octet-stream"}
    assert read_by_sdk(*to_http(Event(binary, b"\xff\x00"), mode)).get_data() == b"\xff\x00"
    assert read_by_sdk(*to_http(Event(EVENT, None), mode)).get_data() is None


def test_the_python_sdk_reads_each_event_of_a_batch() -> None:
    # The SDK knows no batches: each element has to be an event in its JSON format.
    events = [
        Event({**EVENT, "id": str(n), "datacontenttype": kind}, data)
        for n, (kind, data, _) in enumerate(PAYLOADS)
    ]
    _, body = batch_to_http(events)
    found = [FORMAT.read(CloudEvent, json.dumps(element)) for element in json.loads(body)]
    assert [one.get_id() for one in found] == ["0", "1"]
    assert [one.get_data() for one in found] == [meant for _, _, meant in PAYLOADS]


@pytest.mark.parametrize("write", [http.to_binary, http.to_structured])
@pytest.mark.parametrize(
    ("kind", "data", "meant"),
    [
        ("application/json", {"a": 1}, b'{"a": 1}'),
        ("text/plain", "grün", "grün".encode()),
        ("application/avro", b"\xff\x00", b"\xff\x00"),
        ("application/json", None, None),
    ],
)
def test_what_the_python_sdk_sends_is_read(write: Any, kind: str, data: Any, meant: Any) -> None:
    event = made_by_sdk(kind, data, **UNICODE)
    message = write(event, FORMAT)
    found = of_http(list(message.headers.items()), message.body)
    assert found is not None
    assert found[0].data == meant
    wanted = EVENT | UNICODE | {"datacontenttype": kind}
    assert {**found[0].attributes, "time": EVENT["time"]} == wanted


@pytest.mark.parametrize("write", [kafka.to_binary, kafka.to_structured])
def test_records_of_the_python_sdk_are_read(write: Any) -> None:
    message = write(made_by_sdk("application/json", {"a": 1}), FORMAT)
    found = of_record(list(message.headers.items()), message.value)
    assert found is not None
    assert {**found.attributes, "time": EVENT["time"]} == {
        **EVENT,
        "datacontenttype": "application/json",
    }
    assert found.data == b'{"a": 1}'


def test_the_python_sdk_reads_records_that_are_written() -> None:
    given = {**EVENT, "datacontenttype": "application/json"}
    headers, value = to_record(Event(given, b'{"a": 1}'))
    found = kafka.from_kafka_event(kafka.KafkaMessage(dict(headers), None, value or b""), FORMAT)
    assert isinstance(found, CloudEvent)
    assert attributes(found) == given
    assert found.get_data() == {"a": 1}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("kind", "data", "meant"), PAYLOADS)
def test_the_javascript_sdk_reads_what_is_sent(
    node: Node, mode: Mode, kind: str, data: bytes, meant: Any
) -> None:
    # It undoes no percent-encoding in binary mode: what needs none is compared.
    given = EVENT | {"id": "1", "datacontenttype": kind}
    if mode is Mode.STRUCTURED:
        given |= UNICODE
    assert node.read(*to_http(Event(given, data), mode)) == [given | {"data": meant}]


def test_the_javascript_sdk_reads_a_batch_and_bytes_in_base64(node: Node) -> None:
    binary = {**EVENT, "datacontenttype": "application/avro"}
    # In a batch it refuses a source that is no URI reference, so this one stays as it is.
    text = {**EVENT, **UNICODE, "source": "/b", "datacontenttype": "text/plain"}
    found = node.read(*batch_to_http([Event(binary, b"\xff\x00"), Event(text, b"x")]))
    assert found == [binary | {"data": {"bytes": [255, 0]}}, text | {"data": "x"}]
    single = node.read(*to_http(Event(binary, b"\xff\x00"), Mode.STRUCTURED))
    assert single == [binary | {"data": {"bytes": [255, 0]}}]


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize(
    ("kind", "data", "meant"),
    [
        ("application/json", {"data": {"a": [1, "grün"]}}, '{"a":[1,"grün"]}'.encode()),
        ("text/plain", {"data": "grün"}, "grün".encode()),
        ("application/avro", {"bytes": [255, 0]}, b"\xff\x00"),
        ("application/json", {}, None),
    ],
)
def test_what_the_javascript_sdk_sends_is_read(
    node: Node, mode: str, kind: str, data: Any, meant: Any
) -> None:
    # It percent-encodes nothing in binary mode: a space is read as it is.
    given = EVENT | {"id": "1", "subject": "a b", "datacontenttype": kind}
    found = of_http(*node.made(mode, **given, **data))
    assert found == [Event(given, meant)]


def test_integers_and_booleans_of_the_javascript_sdk_are_read(node: Node) -> None:
    made = node.made("structured", **{**EVENT, "count": 5, "last": True, "data": 1})
    found = of_http(*made)
    assert found is not None
    assert (found[0].attributes["count"], found[0].attributes["last"]) == ("5", "true")
    assert found[0].attributes["datacontenttype"] == "application/json"


def test_the_sidecar_publishes_what_both_sdks_post(
    node: Node, settings: Settings, cluster: Cluster, topic: Callable[..., str]
) -> None:
    out, (port,) = topic("out"), free_ports(1)
    config = Config(
        settings=settings,
        listen=Listen(address=f"127.0.0.1:{port}"),
        publish=Publish(topics=(out,)),
    )
    posts: list[tuple[dict[str, str], bytes]] = []
    for n, write in enumerate((http.to_binary_event, http.to_structured_event)):
        made = write(made_by_sdk("application/json", {"n": n}, id=str(n)), FORMAT)
        posts.append((dict(made.headers), bytes(made.body)))
    for n, mode in enumerate(Mode, len(posts)):
        given = {**EVENT, "id": str(n), "datacontenttype": "application/json", "data": {"n": n}}
        pairs, body = node.made(mode, **given)
        posts.append((dict(pairs), body))
    with Door(settings).running(config) as url:
        await_ready(url)
        for headers, content in posts * 2:
            lower = {name.lower(): value for name, value in headers.items()}
            assert post(f"{url}/v1/topics/{out}", content, lower)[0] == 200
    found = cluster.read_committed(out)
    assert [json.loads(message.value() or b"") for message in found] == [
        {"n": n} for n in range(len(posts))
    ]
    for n, message in enumerate(found):
        found_headers: Any = message.headers()
        event = of_record(found_headers, message.value())
        assert event is not None
        assert (event.attributes["id"], event.attributes["source"]) == (str(n), EVENT["source"])
