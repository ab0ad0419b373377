"""What a sidecar answers itself: health, readiness, metrics, status."""

import asyncio
import hmac
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from eos.core.errors import ConfigError
from eos.doors.sidecar.config import Listen, token_of
from eos.doors.sidecar.openapi import PUBLISH, document
from eos.doors.sidecar.problems import problem
from eos.doors.sidecar.publishing import Publishing
from eos.doors.sidecar.status import Health
from eos.observe.shared import exposition

_OPEN = frozenset({"/healthz", "/readyz"})
_BACKLOG = 512
_CONNECTIONS = 1000

_Next = Callable[[Request], Awaitable[Response]]


def application(listen: Listen, health: Health, publishing: Publishing | None = None) -> Starlette:
    """Make what answers requests.

    Args:
        listen: Says whether a token is needed: for all but health and readiness.
        health: How the sidecar fares.
        publishing: Answers who wants something published; None: nothing is.
    """
    token = token_of(listen.token_file).encode() if listen.token_file else b""

    async def allowed(request: Request, call_next: _Next) -> Response:
        given = request.headers.get("authorization", "").encode()
        right = hmac.compare_digest(given, b"Bearer " + token)
        if token and not right and request.url.path not in _OPEN:
            answer = problem(401, "send the header Authorization: Bearer, with the token")
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        return await call_next(request)

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
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=allowed)],
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
        return socket.create_server((at.hostname or "", at.port or 0), family=family)
    except OSError as error:
        raise ConfigError([f"[listen] address={address!r}: {error.strerror or error}"]) from error


def _unix(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    with suppress(FileNotFoundError):
        if path.is_socket():  # of one that was killed; whoever listens there loses it
            path.unlink()
    opened.bind(str(path))
    path.chmod(0o660)
    opened.listen(_BACKLOG)
    return opened


def server(app: Starlette) -> uvicorn.Server:
    """Make a server for it; it logs nothing by itself."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
    )
