"""An app behind a sidecar: an ordinary HTTP server that notes what it gets."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from eos.core.events import Event
from eos.core.settings import Settings
from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Config, Deliver, Listen, Target
from eos.doors.sidecar.sidecar import Sidecar
from tests.integration.cluster import SECONDS


@dataclass(frozen=True)
class Push:
    """What the app was sent.

    Attributes:
        path: Where to.
        headers: Names in lower case.
        body: The body.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.headers["idempotency-key"].strip('"')

    @property
    def attempt(self) -> int:
        """Which try it is."""
        return int(self.headers["eos-attempt"])


@dataclass
class Reply:
    """What the app answers."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def event(key: str, data: bytes = b"done", **attributes: str) -> Reply:
    """Answer with a CloudEvent that is to be published."""
    told = {"specversion": "1.0", "id": f"re-{key}", "source": "/app", "type": "done", **attributes}
    return Reply(
        200, data, {"content-type": "text/plain", **{f"ce-{n}": v for n, v in told.items()}}
    )


class App:
    """The app. Each request has a thread of its own.

    Args:
        answer: Gives the answer to a push.

    Attributes:
        pushes: All that it was sent, in order.
        most: How many pushes were under way at once, at most.
    """

    def __init__(self, answer: Callable[[Push], Reply]) -> None:
        self.answer = answer
        self.pushes: list[Push] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        (self.port,) = free_ports(1)
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens, or will."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def take(self, push: Push) -> Reply:
        """Note a push, and answer it."""
        with self._lock:
            self.pushes.append(push)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return self.answer(push)
        finally:
            with self._lock:
                self._now -= 1

    def keys(self) -> list[str]:
        """Give the idempotency keys of all pushes."""
        return [push.key for push in self.pushes]


def _handler(app: App) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = app.take(Push(self.path, headers, body))
            if not reply.status:
                self.wfile.write(reply.body)  # no HTTP at all
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            with suppress(OSError):  # who asked may be gone
                self.end_headers()
                self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None: ...

    return Handler


@dataclass
class Door:
    """What a test does with sidecars of one group.

    Attributes:
        settings: Of the line.
        events: What it told.
    """

    settings: Settings
    events: list[Event] = field(default_factory=list)

    def config(self, app: App, *deliver: Deliver, **target: Any) -> Config:
        """Give the configuration of a sidecar of this app."""
        (port,) = free_ports(1)
        given = {"timeout": 5.0, "concurrency": 16, "token_file": None, **target}
        listen = Listen(address=f"127.0.0.1:{port}", token_file=None, max_body=1 << 20)
        return Config(
            settings=self.settings,
            app=Target(url=app.url, **given),
            deliver=deliver,
            listen=listen,
        )

    @contextmanager
    def running(self, config: Config) -> Iterator[str]:
        """Run a sidecar in a thread; gives where it listens."""
        stop, failed = threading.Event(), []

        def work() -> None:
            try:
                Sidecar(config).work(slot=0, stopping=stop.is_set, emit=self.events.append)
            except BaseException as error:  # noqa: BLE001 raised again below
                failed.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield f"http://{config.listen.address}"
        finally:
            stop.set()
            thread.join(2 * SECONDS)
            assert not thread.is_alive(), "the sidecar does not stop"
            if failed:
                raise failed[0]

    def with_settings(self, **changes: Any) -> "Door":
        """Give the same with other settings."""
        return Door(replace(self.settings, **changes))


def deliver(topic: str, to: str | None = None, **given: Any) -> Deliver:
    """Say what is delivered."""
    defaults = {"mode": "binary", "key": None, "path": "", "batch": 100}
    return Deliver(topic=topic, to=to, **{**defaults, **given})


def ask(url: str, token: str = "") -> tuple[int, Any, Mapping[str, str]]:
    """Ask a sidecar; gives status, body (JSON where it is) and headers."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return _answered(Request(url, headers=headers))  # noqa: S310


def _answered(request: Request) -> tuple[int, Any, Mapping[str, str]]:
    try:
        with urlopen(request, timeout=2 * SECONDS) as answer:  # noqa: S310
            status, body, got = answer.status, answer.read(), dict(answer.headers)
    except HTTPError as error:
        status, body, got = error.code, error.read(), dict(error.headers)
    got = {name.lower(): value for name, value in got.items()}
    kind = got.get("content-type", "")
    return status, json.loads(body) if "json" in kind else body.decode(), got


def await_ready(url: str) -> None:
    """Wait until a sidecar is ready."""

    def ready() -> bool:
        try:
            return ask(f"{url}/readyz")[0] == 200
        except OSError:
            return False

    assert wait_until(ready, seconds=2 * SECONDS), "the sidecar does not become ready"


def post(
    url: str, body: bytes, headers: Mapping[str, str] | None = None
) -> tuple[int, Any, Mapping[str, str]]:
    """Post something to a sidecar; gives status, body (JSON where it is) and headers."""
    given = {"content-type": "text/plain", **(headers or {})}
    return _answered(Request(url, body, given, method="POST"))  # noqa: S310
