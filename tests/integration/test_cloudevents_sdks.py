"""CloudEvents' own SDKs read what we write, and we read what they write."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.v1.event import CloudEvent

from eos.core.cloudevents import Event, Mode, batch_to_http, of_http, to_http

TOLD = {"specversion": "1.0", "id": "a-1", "source": "/orders", "type": "order.placed"}
EVENTS = {
    "JSON": Event({**TOLD, "datacontenttype": "application/json"}, b'{"a": [1, "\xc3\xbc"]}'),
    "text": Event({**TOLD, "datacontenttype": "text/plain", "subject": "s"}, b"plain"),
    "an extension": Event(
        {**TOLD, "more": "x-y", "datacontenttype": "application/json"}, b'{"n": 1}'
    ),
    "no data": Event(TOLD, None),
}
# Not for JavaScript in binary mode: its SDK does not decode percent signs in headers (version 10).
UNICODE = Event(
    {**TOLD, "subject": 'Ümlaut "1" 100%', "datacontenttype": "application/json"}, b"[]"
)

SCRIPT = """
const { HTTP, CloudEvent } = require("cloudevents");
const told = (event) => { const { data, data_base64, ...attributes } = event.toJSON();
  return { attributes, data: data ?? null, bytes: data_base64 ?? null }; };
let input = ""; process.stdin.on("data", (chunk) => (input += chunk));
process.stdin.on("end", () => {
  const { message, event } = JSON.parse(input);
  if (message) console.log(JSON.stringify([HTTP.toEvent(message)].flat().map(told)));
  else { const made = new CloudEvent(event);
    console.log(JSON.stringify([HTTP.binary(made), HTTP.structured(made)])); }
});
"""


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Any]:
    """Asks the SDK of JavaScript."""
    folder = tmp_path_factory.mktemp("sdk")
    npm = shutil.which("npm")
    assert npm, "npm is missing: apt-get install nodejs npm"
    subprocess.run([npm, "install", "--silent", "cloudevents@10"], cwd=folder, check=True)
    (folder / "ask.cjs").write_text(SCRIPT, encoding="utf-8")

    def ask(question: dict[str, Any]) -> Any:
        done = subprocess.run(
            ["node", "ask.cjs"],
            cwd=folder,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


def data_of(event: Event) -> Any:
    """Give the data as an SDK hands them over."""
    if event.data is None:
        return None
    is_json = event.attributes["datacontenttype"] == "application/json"
    return json.loads(event.data) if is_json else event.data.decode()


def same(found: dict[str, Any], event: Event) -> None:
    attributes = {name: value for name, value in found["attributes"].items() if name != "time"}
    assert attributes == {**event.attributes}
    assert found["data"] == data_of(event)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("event", [*EVENTS.values(), UNICODE], ids=[*EVENTS, "Unicode"])
def test_the_sdk_of_python_reads_what_we_write(event: Event, mode: Mode) -> None:
    headers, body = to_http(event, mode)
    read = sdk.from_http_event(sdk.HTTPMessage(dict(headers), body))
    attributes = {name: str(value) for name, value in read.get_attributes().items()}
    attributes.pop("time")  # each SDK says when it made an event that does not say so
    assert attributes == {**event.attributes}
    data = read.get_data()
    assert (data.decode() if isinstance(data, bytes) else data) in (
        [data_of(event)] if event.data is not None else [None, ""]
    )


@pytest.mark.parametrize("write", [sdk.to_binary_event, sdk.to_structured_event])
@pytest.mark.parametrize(
    ("kind", "data", "want"),
    [
        ("application/json", {"a": [1, "ü"]}, {"a": [1, "ü"]}),
        ("text/plain", "plain ü", "plain ü"),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
    ],
)
def test_we_read_what_the_sdk_of_python_writes(
    write: Callable[[CloudEvent], sdk.HTTPMessage], kind: str, data: Any, want: Any
) -> None:
    told = {**TOLD, "subject": 'Ümlaut "1" 100%', "datacontenttype": kind}
    message = write(CloudEvent({**told}, data))  # it adds to what it is given
    (event,) = of_http(message.headers.items(), message.body) or []
    assert {name: event.attributes[name] for name in told} == told
    assert event.data is not None
    found: Any = event.data if isinstance(want, bytes) else event.data.decode()
    assert (json.loads(found) if kind == "application/json" else found) == want


def message_of(headers: Sequence[tuple[str, str]], body: bytes) -> dict[str, Any]:
    return {"message": {"headers": dict(headers), "body": body.decode()}}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_the_sdk_of_javascript_reads_what_we_write(
    event: Event, mode: Mode, javascript: Callable[[dict[str, Any]], Any]
) -> None:
    (found,) = javascript(message_of(*to_http(event, mode)))
    if event.data is None:  # it reads an empty body as none, in any way
        assert not found["data"]
        found["data"] = None
    same(found, event)


def test_the_sdk_of_javascript_reads_our_batches(
    javascript: Callable[[dict[str, Any]], Any],
) -> None:
    events = [*EVENTS.values(), UNICODE]
    for found, event in zip(javascript(message_of(*batch_to_http(events))), events, strict=True):
        same(found, event)


@pytest.mark.parametrize(
    ("kind", "data"), [("application/json", {"a": [1, "ü"]}), ("text/plain", "plain ü")]
)
def test_we_read_what_the_sdk_of_javascript_writes(
    kind: str, data: Any, javascript: Callable[[dict[str, Any]], Any]
) -> None:
    told = {**TOLD, "subject": "s", "datacontenttype": kind}
    for message in javascript({"event": {**told, "data": data}}):
        body = message["body"]
        text = body if isinstance(body, str) else json.dumps(body)
        (event,) = of_http(message["headers"].items(), text.encode()) or []
        attributes = {**event.attributes}
        assert attributes.pop("time")
        kinds = attributes.pop("datacontenttype").partition(";")[0]
        assert ({**attributes, "datacontenttype": kinds}) == told
        assert event.data is not None
        found = event.data.decode()
        assert (json.loads(found) if kind == "application/json" else found) == data
