"""An address that leads to one server, and to another one when it is told to."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_ACCEPT_SECONDS = 0.1
_CONNECT_SECONDS = 5.0
_CHUNK = 1 << 16

_Pair = tuple[socket.socket, socket.socket]


class Door:
    """Forwards a port of its own, byte by byte, as the address of a fail-over pair does.

    Two servers never answer through it at once: all connections are closed before it leads
    elsewhere.
    """

    def __init__(self) -> None:
        self._leads_to: int | None = None
        self._leaving = threading.Event()
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(_ACCEPT_SECONDS)
        self.port: int = self._listener.getsockname()[1]
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
        self.lead(None)

    def lead(self, port: int | None) -> None:
        """Lead to the server on this port from now on; to none: who comes is sent away."""
        with self._lock:
            self._leads_to = port
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _close(pair)

    def _accept(self) -> None:
        while not self._leaving.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            pair = self._connect(client)
            if pair is None:
                return
            with pair[1]:
                answers = threading.Thread(target=_carry, args=(pair[1], pair[0]), daemon=True)
                answers.start()
                _carry(*pair)
                _close(pair)
                answers.join()
            with self._lock:
                self._pairs.discard(pair)

    def _connect(self, client: socket.socket) -> _Pair | None:
        # Under the lock: else one that connects now would come through to the old server later.
        with self._lock:
            if self._leads_to is None:
                return None
            server = socket.create_connection((HOST, self._leads_to), _CONNECT_SECONDS)
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.add((client, server))
            return client, server


def _carry(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            to.sendall(chunk)
    _close((source, to))


def _close(pair: _Pair) -> None:
    for each in pair:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
