"""A fault proxy for Kafka's wire protocol: it knows each request by its API key.

Clients reach a broker's PROXIED listener only through the proxy, because the broker advertises the
proxy's address there (see `eos.devstack`). So nothing in a frame has to be rewritten: the proxy
reads a request's header, remembers which correlation id asked for what, and lets bytes pass.

    with running() as stack, KafkaProxy(stack.proxy_ports[0], stack.broker_proxied_ports[0]) as p:
        producer = Producer({"bootstrap.servers": stack.proxied_servers, ...})
        p.drop_responses(ApiKey.END_TXN)

Each connection has two threads, one a direction, so a delay holds back what comes behind it on the
same connection, in order, and nothing else.
"""

import math
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

HOST = "127.0.0.1"
SIZE = struct.Struct(">i")
REQUEST_HEADER = struct.Struct(">hhi")  # API key, API version, correlation id
CORRELATION_ID = struct.Struct(">i")
ACCEPT_SECONDS = 0.1
CONNECT_SECONDS = 5


class ApiKey(IntEnum):
    """The requests that a fault test names."""

    PRODUCE = 0
    FETCH = 1
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


@dataclass
class _Fault(Generic[T]):
    """What to do to the next so many requests of an API key."""

    what: T
    left: float


class _Connection:
    """A client's socket and the broker's, with what was promised for this pair."""

    def __init__(self, client: socket.socket, broker: socket.socket) -> None:
        self.client = client
        self.broker = broker
        self.closed = threading.Event()
        # correlation id → whether to close the connection instead of answering
        self.dropped: dict[int, bool] = {}
        for each in (client, broker):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """End both directions; both threads see the end of their file."""
        self.closed.set()
        for each in (self.client, self.broker):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class KafkaProxy:
    """Forwards a port to a broker's PROXIED port, with the faults that a test asked for.

    Faults may be set at any time, from any thread; they hold for requests that pass afterwards.
    """

    def __init__(self, listen_port: int, target_port: int) -> None:
        self._address = (HOST, listen_port)
        self._target = (HOST, target_port)
        self._leaving = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._counts: Counter[int] = Counter()
        self._drops: dict[int, _Fault[bool]] = {}
        self._delays: dict[int, _Fault[float]] = {}
        self._calls: dict[int, Callable[[], None]] = {}

    def __enter__(self) -> Self:
        self._listener = socket.create_server(self._address)
        self._listener.settimeout(ACCEPT_SECONDS)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and close all connections."""
        self._leaving.set()
        self._acceptor.join()
        self._listener.close()
        self.close_connections()

    def drop_responses(self, api_key: ApiKey, count: int = 1, *, close: bool = True) -> None:
        """Drop the responses of the next requests of an API key.

        The broker does what they ask; the client does not learn of it.

        Args:
            api_key: Which requests.
            count: How many of them.
            close: Whether the connection is closed instead of answering; otherwise the response
                is swallowed and the client waits until its own time-out.
        """
        with self._lock:
            self._drops[api_key] = _Fault(close, count)

    def delay_requests(self, api_key: ApiKey, seconds: float, count: float = math.inf) -> None:
        """Hold back the next requests of an API key, and what comes behind them.

        Order is kept within a connection; other connections are not held back.

        A client that gave up meanwhile does not take its request back: it reaches the broker late.
        """
        with self._lock:
            self._delays[api_key] = _Fault(seconds, count)

    def on_request(self, api_key: ApiKey, call: Callable[[], None]) -> None:
        """Call a function each time a request of an API key comes by, before it goes on."""
        with self._lock:
            self._calls[api_key] = call

    def heal(self) -> None:
        """Forget all faults and calls; what is held back already stays so."""
        with self._lock:
            self._drops.clear()
            self._delays.clear()
            self._calls.clear()

    def close_connections(self) -> None:
        """Close all connections; requests that are held back are lost."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()

    def count(self, api_key: ApiKey) -> int:
        """Return how many requests of an API key came by."""
        with self._lock:
            return self._counts[api_key]

    def _accept(self) -> None:
        while not self._leaving.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Carry one connection from its first byte to its last."""
        with client:
            try:
                broker = socket.create_connection(self._target, CONNECT_SECONDS)
            except OSError:
                return  # the broker is down: so is whoever speaks for it
            broker.settimeout(None)
            connection = _Connection(client, broker)
            with self._lock:
                self._connections.add(connection)
            answers = threading.Thread(
                target=self._carry_responses, args=(connection,), daemon=True
            )
            answers.start()
            try:
                self._carry_requests(connection)
            finally:
                # Only our half: the broker still does and answers what it has, then closes its own.
                with suppress(OSError):
                    broker.shutdown(socket.SHUT_WR)
                answers.join()
                broker.close()
                with self._lock:
                    self._connections.discard(connection)

    def _carry_requests(self, connection: _Connection) -> None:
        for frame in _frames(connection.client):
            api_key, _, correlation_id = REQUEST_HEADER.unpack_from(frame, SIZE.size)
            with self._lock:
                self._counts[api_key] += 1
                call = self._calls.get(api_key)
            if call:
                call()
            delay = self._next(self._delays, api_key)
            if delay and connection.closed.wait(delay):
                return
            close = self._next(self._drops, api_key)
            if close is not None:  # noted before the broker can answer
                connection.dropped[correlation_id] = close
            with suppress(OSError):  # the broker has gone: the other thread ends the connection
                connection.broker.sendall(frame)

    def _next(self, faults: dict[int, _Fault[T]], api_key: int) -> T | None:
        """Take one request's share of a fault, if there is one left."""
        with self._lock:
            fault = faults.get(api_key)
            if fault is None or fault.left <= 0:
                return None
            fault.left -= 1
            return fault.what

    def _carry_responses(self, connection: _Connection) -> None:
        for frame in _frames(connection.broker):
            (correlation_id,) = CORRELATION_ID.unpack_from(frame, SIZE.size)
            close = connection.dropped.pop(correlation_id, None)
            if close:
                break
            if close is None:
                # The client may have gone while a request of its is held back: read on, so that
                # the request still reaches the broker.
                with suppress(OSError):
                    connection.client.sendall(frame)
        connection.close()


def _frames(stream: socket.socket) -> Iterator[bytes]:
    """Read whole frames, each with its size in front, until the stream ends."""
    with suppress(OSError), stream.makefile("rb") as reader:
        while len(size := reader.read(SIZE.size)) == SIZE.size:
            (length,) = SIZE.unpack(size)
            body = reader.read(length)
            if len(body) < length:
                return
            yield size + body
