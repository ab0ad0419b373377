"""What a sidecar answers itself: health, readiness, metrics, status."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from eos.core.errors import ConfigError
from eos.doors.sidecar.config import Listen
from eos.doors.sidecar.listen.callers import Admission, callers_of
from eos.doors.sidecar.listen.openapi import PUBLISH, document
from eos.doors.sidecar.listen.problems import problem
from eos.doors.sidecar.listen.protocol import IDLE_SECONDS, Protocol, Server
from eos.doors.sidecar.listen.status import Health
from eos.doors.sidecar.listen.tls import context_of
from eos.doors.sidecar.publish.endpoint import Publishing
from eos.observe.shared import exposition

_BACKLOG = 512
_CONNECTIONS = 1000


def application(listen: Listen, health: Health, publishing: Publishing | None = None) -> Starlette:
    """Make what answers requests.

    Args:
        listen: Says who may ask: about health and readiness, everyone.
        health: How the sidecar fares.
        publishing: Answers who wants something published; None: nothing is.
    """
    callers = callers_of(listen.token_file) if listen.token_file else ()
    certificates = listen.client_ca_file is not None

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        waits = health.waits()
        ready = not waits and not health.draining
        told = {"ready": ready, "draining": health.draining, "waiting": waits}
        return JSONResponse(told, 200 if ready else 503)

    async def metrics(_: Request) -> Response:
        body, media_type = await asyncio.to_thread(exposition)
        return Response(body, media_type=media_type)

    async def show(_: Request) -> Response:
        return JSONResponse(health.told())

    told = document(publishing.topics if publishing else ())

    async def openapi(_: Request) -> Response:
        return JSONResponse(told)

    routes = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/v1/status", show),
        Route("/v1/openapi.json", openapi),
    ]
    if publishing is not None:
        routes.append(Route(PUBLISH, publishing.answer, methods=["POST"]))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Admission, callers=callers, certificates=certificates)],
        exception_handlers={HTTPException: _failed, 500: _broken},
    )


async def _failed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = {404: f"there is no {request.url.path!r}", 405: f"not with {request.method}"}
    answer = problem(status, detail.get(status, str(error)))
    answer.headers.update(getattr(error, "headers", None) or {})  # such as Allow
    return answer


async def _broken(_request: Request, error: Exception) -> Response:
    return problem(500, f"a fault of the sidecar's own: {type(error).__name__}")


def bound(address: str) -> socket.socket:
    """Open the socket to listen on.

    Args:
        address: `host:port`, `[host]:port`, or `unix:/path`.

    Raises:
        ConfigError: It cannot be had.
    """
    try:
        if address.startswith("unix:"):
            return _unix(Path(address.removeprefix("unix:")))
        at = urlsplit(f"//{address}")
        family = socket.AF_INET6 if ":" in (at.hostname or "") else socket.AF_INET
        opened = socket.create_server((at.hostname or "", at.port or 0), family=family)
        # asyncio does so only for sockets that name their protocol. An answer goes out in two
        # parts, and the second would wait for 40 ms until the client acknowledges the first.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise ConfigError([f"[listen] address={address!r}: {error.strerror or error}"]) from error
    return opened


def _unix(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    with suppress(FileNotFoundError):
        if path.is_socket():  # of one that was killed; whoever listens there loses it
            path.unlink()
    opened.bind(str(path))
    path.chmod(0o660)
    opened.listen(_BACKLOG)
    return opened


def server(app: Starlette, listen: Listen) -> uvicorn.Server:
    """Make a server for it; it logs nothing by itself.

    Args:
        app: What answers.
        listen: Says what TLS needs, and for how long a client is waited for.

    Raises:
        ConfigError: TLS cannot be had.
    """
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=5,
    )
    context = context_of(listen.cert_file, listen.key_file, listen.client_ca_file)
    return Server(config, listen.timeout, context)
