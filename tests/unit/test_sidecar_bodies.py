"""Bodies that are too long, or come too slowly."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from eos.doors.sidecar.listen.bodies import TooLongError, TooSlowError, body_of

LONG = 60.0


class Sent:
    """What a client sends.

    Args:
        parts: Of the body; after the last, the client says nothing any more.
        length: What its header says; None: it says nothing.
        end: Whether the last part says that it is the last.
        gone: Whether the client goes away after the last.
    """

    def __init__(
        self,
        parts: Iterable[bytes],
        length: str | None = None,
        *,
        end: bool = True,
        gone: bool = False,
    ) -> None:
        parts = list(parts)
        self._messages: list[Message] = [
            {"type": "http.request", "body": part, "more_body": not end or number < len(parts)}
            for number, part in enumerate(parts, 1)
        ]
        self._messages += [{"type": "http.disconnect"}] if gone else []
        self._length = length
        self.left = self._messages

    def read(self, most_bytes: int, seconds: float = LONG) -> bytes:
        async def all_of_it() -> bytes:
            return await body_of(self._request(), most_bytes, seconds)

        return asyncio.run(all_of_it())

    def _request(self) -> Request:
        headers = [] if self._length is None else [(b"content-length", self._length.encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        return Request(scope, self._receive)

    async def _receive(self) -> Message:
        if not self._messages:
            await asyncio.Event().wait()  # for ever
        return self._messages.pop(0)


def test_a_body_is_read_to_its_end() -> None:
    assert Sent([b"ab", b"", b"cd"], "4").read(4) == b"abcd"
    assert Sent([b"ab", b"cd"]).read(4) == b"abcd"
    assert Sent([b""], "0").read(1) == b""


@pytest.mark.parametrize("length", ["5", "005", "9" * 5000, "1" * 18])
def test_a_body_that_says_it_is_too_long_is_not_read(length: str) -> None:
    sent = Sent([b"abcde"], length)
    with pytest.raises(TooLongError, match="4 bytes"):
        sent.read(4)
    assert len(sent.left) == 1


@pytest.mark.parametrize("length", [None, "1", "-1", "many", "", "²"])
def test_a_body_that_does_not_say_so_is_read_no_further_than_it_may_be_long(
    length: str | None,
) -> None:
    sent = Sent([b"abc", b"de", b"fg"], length)
    with pytest.raises(TooLongError):
        sent.read(4)
    assert len(sent.left) == 1


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    with pytest.raises(TooSlowError, match=r"within 0\.05 s"):
        Sent([b"abc"], "9", end=False).read(9, 0.05)


def test_a_client_that_goes_away_is_told_as_such() -> None:
    with pytest.raises(ClientDisconnect):
        Sent([b"abc"], "9", end=False, gone=True).read(9)
