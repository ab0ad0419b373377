"""Calls to the app. The one door to aiohttp."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import aiohttp

from eos.doors.sidecar.config import Target, token_of
from eos.doors.sidecar.deliver.answers import Answer, Fate, fate_of
from eos.doors.sidecar.deliver.breaker import Breaker
from eos.doors.sidecar.deliver.requests import Request

_NOTHING: Mapping[str, str] = MappingProxyType({})
_KEEP_ALIVE_SECONDS = 30.0


class Calls:
    """Calls one app, so many times at once at most. Belongs to the loop that makes it.

    Args:
        target: The app.
        most_bytes: How long an answer may be.

    Attributes:
        breaker: Whether the app is taken to be away.
    """

    def __init__(self, target: Target, most_bytes: int) -> None:
        self._target = target
        self._most_bytes = most_bytes
        self._free = asyncio.Semaphore(target.concurrency)
        self._base, connector = _connector(target)
        headers = {"user-agent": "eos-sidecar"}
        if target.token_file:
            headers["authorization"] = f"Bearer {token_of(target.token_file)}"
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=target.timeout),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=["accept-encoding"],
        )
        self.breaker = Breaker()

    async def post(
        self, path: str, request: Request, *, probing: bool = False
    ) -> tuple[Fate, Answer, float]:
        """Make a call, unless the app is taken to be away.

        Args:
            path: Appended to the app's URL.
            request: What to send.
            probing: Make the call all the same.

        Returns:
            What becomes of what was sent, the answer (status 0 if there is none, and why in its
            body), and how many seconds it took.
        """
        headers, body = request
        async with self._free:
            began = time.monotonic()
            if self.breaker.open and not probing:
                return Fate.AWAY, _without("it did not answer others"), 0.0
            try:
                async with self._session.post(
                    self._base + path, data=body, headers=headers, allow_redirects=False
                ) as response:
                    answer = await self._read(response)
                fate = fate_of(answer.status)
                self.breaker.answered()
            except TimeoutError:
                told = f"no answer within {self._target.timeout:g} s"
                fate, answer = Fate.TIMED_OUT, _without(told)
                self.breaker.timed_out()
            except aiohttp.ClientConnectorError as error:
                fate, answer = Fate.AWAY, _without(f"{type(error).__name__}: {error}")
                self.breaker.refused()
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # It died over it, or what it answers is no HTTP, or is too long.
                fate, answer = Fate.FAILED, _without(f"{type(error).__name__}: {error}")
                self.breaker.answered()
            return fate, answer, time.monotonic() - began

    async def _read(self, response: aiohttp.ClientResponse) -> Answer:
        body = await response.content.read(self._most_bytes + 1)
        while len(body) <= self._most_bytes and (more := await response.content.readany()):
            body += more
        if len(body) > self._most_bytes:
            raise ValueError(f"its answer is longer than {self._most_bytes} bytes")
        headers: dict[str, str] = {}
        for name, value in response.headers.items():
            headers.setdefault(name.lower(), value)
        return Answer(response.status, headers, body)

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()


def _without(told: str) -> Answer:
    return Answer(0, _NOTHING, told.encode("utf-8", "replace"))


def _connector(target: Target) -> tuple[str, aiohttp.BaseConnector]:
    """Give the URL that paths are put behind, and what connects."""
    url, most = urlsplit(target.url), target.concurrency
    if url.scheme == "unix":
        unix = aiohttp.UnixConnector(url.path, limit=most, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        return "http://localhost", unix
    tcp = aiohttp.TCPConnector(limit=most, keepalive_timeout=_KEEP_ALIVE_SECONDS)
    return target.url.rstrip("/"), tcp
