"""Reads the body of a request: a client can make it as long, and as slow, as it likes."""

import asyncio

from starlette.requests import Request

_MOST_DIGITS = 18


class TooLongError(Exception):
    """The body is longer than it may be: answer 413."""


class TooSlowError(Exception):
    """The body did not come in time: answer 408."""


async def body_of(request: Request, most_bytes: int, seconds: float) -> bytes:
    """Read a body to its end.

    After a fault the rest of the body is still under way; the protocol closes the connection if
    that takes long.

    Args:
        request: Whose body was not read yet.
        most_bytes: How long it may be, in bytes.
        seconds: For how long it is waited for, all of it.

    Raises:
        TooLongError: It is longer, or says that it will be: then nothing of it was read.
        TooSlowError: It was not there in time.
        ClientDisconnect: The client went away (starlette's own).
    """
    if _length(request) > most_bytes:
        raise TooLongError(f"a body may have {most_bytes} bytes")
    read = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                if len(read) + len(part) > most_bytes:
                    raise TooLongError(f"a body may have {most_bytes} bytes")
                read += part
    except TimeoutError as error:
        raise TooSlowError(f"the body did not come within {seconds:g} s") from error
    return bytes(read)


def _length(request: Request) -> float:
    """Give what the header says; 0 if it says nothing that can be relied on."""
    said = request.headers.get("content-length", "").strip()
    if not (said.isascii() and said.isdigit()):
        return 0
    # Python refuses to read a number of thousands of digits.
    return int(said) if len(said) <= _MOST_DIGITS else float("inf")
