"""HTTP/1.1 with a client that may be slow, or endless, on purpose."""

import asyncio
import socket
import ssl
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from eos.doors.sidecar.listen.callers import CERTIFICATE
from eos.doors.sidecar.listen.problems import problem

MOST_HEAD = 64 << 10
"""How long a request's head may be, in bytes."""
IDLE_SECONDS = 75
"""For how long a connection is kept on which nothing is sent after an answer."""
_LINGER_SECONDS = 2.0
"""For how long what still comes in is thrown away, so that the client can read why."""


class Server(uvicorn.Server):
    """A server whose clients have so much time for the handshake of TLS, and for a head each.

    Args:
        config: Of uvicorn, without TLS.
        seconds: How much.
        context: Of TLS; None: without.
    """

    def __init__(
        self, config: uvicorn.Config, seconds: float, context: ssl.SSLContext | None
    ) -> None:
        super().__init__(config)
        self._seconds = seconds
        self._context = context

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; uvicorn's own leaves the handshake a minute, and knows one time for all."""
        await self.lifespan.startup()
        self.servers = [
            await asyncio.get_running_loop().create_server(
                self._connected,
                sock=each,
                ssl=self._context,
                backlog=self.config.backlog,
                ssl_handshake_timeout=self._seconds if self._context else None,
            )
            for each in sockets or []
        ]
        self.started = True

    def _connected(self) -> asyncio.Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state, self._seconds)


class Protocol(HttpToolsProtocol):
    """A connection of which neither a head nor anything else can be waited for without end.

    While an answer is under way, whoever gives it says how long it waits for the body. At all
    other times one of two clocks runs: `seconds` for a head, or for the rest of a body that
    nobody wants any more; `IDLE_SECONDS` for the next request to begin.

    Args:
        config: Of the server.
        server_state: Of the server.
        app_state: What each request's state begins with.
        seconds: For how long a head is waited for: from the connection, the end of the answer
            before it, or its first byte, whichever is the latest.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        seconds: float,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._seconds = seconds
        self._clock: asyncio.TimerHandle | None = None
        self._begun = True  # a head is waited for, in part or from the start
        self._in_body = False
        self._taken = 0  # bytes since a message began, or since the last of its body
        self._over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, CERTIFICATE: common_name(transport)}
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._over = True
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, no more at once than a head may have."""
        while data and not self._over and not self.transport.is_closing():
            room = MOST_HEAD - self._taken
            part, data = data[:room], data[room:]
            self._taken += len(part)
            self._begun = True  # by an empty line, too, which the parser is silent about
            super().data_received(part)
            if self._taken >= MOST_HEAD:
                self._refuse(431, f"a request's head may have {MOST_HEAD} bytes")
        self._watch()

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        self._begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one after a body would change the head that was let through."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Have the request answered."""
        super().on_headers_complete()
        self._in_body, self._taken = True, 0

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._taken = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._begun, self._in_body, self._taken = False, False, 0
        self._stop_clock()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _watch(self) -> None:
        """See that a clock runs whenever it is the client that is waited for."""
        if self._over or self.transport.is_closing() or self._answering():
            self._stop_clock()
        elif self._begun:
            self._unset_keepalive_if_required()
            if self._clock is None:
                self._clock = self.loop.call_later(self._seconds, self._too_slow)
        elif self.timeout_keep_alive_task is None:  # uvicorn's runs not after a late body
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        self._clock = None
        self._refuse(408, f"a request's head must come within {self._seconds:g} s")

    def _refuse(self, status: int, detail: str) -> None:
        """Take no more from this client; say why, unless that would stand within an answer."""
        if self._over or self.transport.is_closing():
            return
        self._over = True
        self._stop_clock()
        self._unset_keepalive_if_required()
        if self._answering():
            self.cycle.keep_alive = False
            if self._in_body:  # whoever reads it would wait for the rest
                self.transport.close()
            return
        if not self._in_body:
            self.transport.write(self._answer(status, detail))
        self._hang_up()

    def _answer(self, status: int, detail: str) -> bytes:
        told = problem(status, detail)
        headers = [*self.server_state.default_headers, *told.raw_headers, (b"connection", b"close")]
        lines = [b"%s: %s" % header for header in headers]
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
        return b"\r\n".join([first, *lines, b"", bytes(told.body)])

    def _hang_up(self) -> None:
        # Closed at once with something unread, the answer would be lost with the connection.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


def common_name(transport: asyncio.BaseTransport) -> str:
    """Give the name that the client's certificate gives it; empty: none, or more than one."""
    certificate = transport.get_extra_info("peercert") or {}
    subject = [pair for pairs in certificate.get("subject", ()) for pair in pairs]
    names = [str(value) for key, value in subject if key == "commonName"]
    return names[0] if len(names) == 1 and names[0].isprintable() else ""
