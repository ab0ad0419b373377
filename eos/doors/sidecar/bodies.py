"""Bodies of requests, within limits."""

import asyncio

from starlette.requests import Request


class TooLongError(ValueError):
    """A body is too long."""


class TooSlowError(ValueError):
    """A body takes too long."""


async def body_of(request: Request, most_bytes: int, seconds: float) -> bytes:
    """Read a body."""
    body = b""
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise TooLongError(f"the body has more than {most_bytes} bytes")
    except TimeoutError as error:
        raise TooSlowError(f"the body did not come within {seconds:g} s") from error
    return body
