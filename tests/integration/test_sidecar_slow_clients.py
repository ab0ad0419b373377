"""Clients of a sidecar's listener that take long, or send without end."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Listen
from eos.doors.sidecar.listen import http
from eos.doors.sidecar.listen.protocol import MOST_HEAD
from tests.integration.cluster import SECONDS
from tests.integration.listen_kit import answer_on, drip, get, is_cut_off, opened, serving

TIMEOUT = 1.0
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def port() -> Iterator[int]:
    with serving(Listen(timeout=TIMEOUT)) as found:
        yield found


@pytest.fixture
def patient() -> Iterator[int]:
    """One that would wait longer than a test does."""
    with serving(Listen(timeout=2 * SECONDS)) as found:
        yield found


def told(answer: bytes) -> tuple[int, str, int]:
    """Read a whole answer with a problem: status, media type, the problem's status."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    found = dict(line.lower().split(": ", 1) for line in headers)
    assert found["connection"] == "close"
    return int(first.split(" ")[1]), found["content-type"], json.loads(body)["status"]


def problem(status: int) -> tuple[int, str, int]:
    return status, "application/problem+json", status


@pytest.mark.parametrize("begin", [b"GET /", GET[:-2] + b"x-slow: "], ids=["line", "header"])
def test_a_head_that_drips_is_cut_off_while_others_are_served(port: int, begin: bytes) -> None:
    served: list[int] = []
    ended = threading.Event()

    def others() -> None:
        while not ended.is_set():
            served.append(get(port)[0])

    asking = threading.Thread(target=others, daemon=True)
    asking.start()
    begun = time.monotonic()
    with opened(port) as raw:
        raw.sendall(begin)
        answer = drip(raw, b"x")
        took = time.monotonic() - begun
        assert is_cut_off(raw)
    ended.set()
    asking.join(SECONDS)
    assert told(answer) == problem(408)
    assert took >= TIMEOUT
    assert set(served) == {200}


@pytest.mark.parametrize("requests", [0, 1])
def test_empty_lines_are_no_way_to_stay(port: int, requests: int) -> None:
    with opened(port) as raw:
        for _ in range(requests):
            raw.sendall(GET)
            assert answer_on(raw) == (200, b":0")
        assert told(drip(raw, b"\r\n")) == problem(408)
        assert is_cut_off(raw)


def test_one_that_says_nothing_is_cut_off(port: int) -> None:
    with opened(port) as raw:
        assert told(raw.recv(1 << 16)) == problem(408)
        assert is_cut_off(raw)
        assert wait_until(lambda: takes_no_more(raw), seconds=SECONDS)


def takes_no_more(raw: socket.socket) -> bool:
    try:
        raw.sendall(b"x")
    except ConnectionError:
        return True
    return False


def test_a_second_request_that_drips_is_cut_off(port: int) -> None:
    with opened(port) as raw:
        raw.sendall(GET)
        assert answer_on(raw) == (200, b":0")
        raw.sendall(b"GET /")
        assert told(drip(raw, b"x")) == problem(408)
        assert is_cut_off(raw)


def test_a_second_request_that_began_before_the_first_answer_is_cut_off(port: int) -> None:
    with opened(port) as raw:
        raw.sendall(GET + GET[:-4])
        assert answer_on(raw) == (200, b":0")
        assert told(raw.recv(1 << 16)) == problem(408)
        assert is_cut_off(raw)


def test_a_connection_may_be_idle_for_longer_than_a_head_may_take(port: int) -> None:
    with opened(port) as raw:
        raw.sendall(GET)
        assert answer_on(raw) == (200, b":0")
        raw.settimeout(3 * TIMEOUT)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        raw.settimeout(SECONDS)
        raw.sendall(GET)
        assert answer_on(raw) == (200, b":0")


@pytest.mark.parametrize("late", [b"", b"body"])
def test_an_idle_connection_is_closed_at_last(monkeypatch: pytest.MonkeyPatch, late: bytes) -> None:
    monkeypatch.setattr(http, "IDLE_SECONDS", TIMEOUT)
    head = f"POST /deaf HTTP/1.1\r\nhost: x\r\ncontent-length: {len(late)}\r\n\r\n"
    with serving(Listen(timeout=2 * SECONDS)) as port, opened(port) as raw:
        raw.sendall(head.encode())
        assert answer_on(raw) == (200, b"")
        raw.sendall(late)
        assert is_cut_off(raw)


def test_a_body_may_take_longer_than_a_head(port: int) -> None:
    with opened(port) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na")
        raw.settimeout(3 * TIMEOUT)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        raw.settimeout(SECONDS)
        raw.sendall(b"b")
        assert answer_on(raw) == (200, b":2")


def test_a_body_that_nobody_wants_is_not_waited_for_without_end(port: int) -> None:
    with opened(port) as raw:
        raw.sendall(b"POST /deaf HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        assert answer_on(raw) == (200, b"")
        assert drip(raw, b"x") == b""


def test_after_the_rest_of_a_body_that_nobody_wanted_the_connection_is_of_use(
    patient: int,
) -> None:
    with opened(patient) as raw:
        raw.sendall(b"POST /deaf HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab")
        assert answer_on(raw) == (200, b"")
        raw.sendall(b"cd" + GET)
        assert answer_on(raw) == (200, b":0")


@pytest.mark.parametrize("least", [b"GET /", b"GET / HTTP/1.1\r\nx-long: "], ids=["url", "header"])
def test_a_head_that_is_too_long_is_cut_off(patient: int, least: bytes) -> None:
    with opened(patient) as raw:
        raw.sendall(least.ljust(MOST_HEAD, b"x"))
        assert told(raw.recv(1 << 16)) == problem(431)
        assert is_cut_off(raw)


def test_one_that_sends_on_without_reading_is_told_all_the_same(patient: int) -> None:
    with opened(patient) as raw:
        raw.sendall(b"GET /".ljust(8 << 20, b"x"))
        assert told(raw.recv(1 << 16)) == problem(431)


def test_many_short_headers_may_be_too_long_together(patient: int) -> None:
    with opened(patient) as raw:
        raw.sendall(GET[:-2] + b"x: y\r\n" * (MOST_HEAD // 6))
        assert told(raw.recv(1 << 16)) == problem(431)
        assert is_cut_off(raw)


def test_a_head_may_be_just_as_long_as_said_and_a_body_longer(patient: int) -> None:
    begin, end = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\nx-long: ", b"\r\n\r\n"
    head = begin.ljust(MOST_HEAD - len(end), b"x") + end
    assert len(head) == MOST_HEAD
    with opened(patient) as raw:
        for _ in range(2):
            raw.sendall(head + 300_000 * b"b")
            assert answer_on(raw) == (200, b":300000")


SENT = 32 << 20


def endless(raw: socket.socket, line: bytes) -> None:
    try:
        for _ in range(SENT // len(line)):
            raw.sendall(line)
    except OSError:
        return
    raise AssertionError("all of it was taken")


@pytest.mark.parametrize(
    ("begin", "line"),
    [(b"0\r\n", b"x: y\r\n" * 100), (b"0\r\nx: ", b"y" * 1000), (b"1;x=", b"y" * 1000)],
    ids=["trailers", "trailer", "extension"],
)
def test_what_surrounds_a_body_is_not_taken_without_end(
    patient: int, begin: bytes, line: bytes
) -> None:
    with opened(patient) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + begin)
        endless(raw, line)


def test_a_header_after_the_body_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("word", encoding="ascii")
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
    token = b"authorization: Bearer word\r\n"
    listen = Listen(token_file=str(tmp_path / "token"))
    with serving(listen) as port, opened(port) as raw:
        raw.sendall(head + b"\r\n0\r\n" + token + b"\r\n")
        assert answer_on(raw)[0] == 401
        raw.sendall(head + token + b"\r\n0\r\n\r\n")
        assert answer_on(raw)[0] == 200


def test_the_second_part_of_an_answer_does_not_wait_for_the_client() -> None:
    with http.bound("127.0.0.1:0") as listening, opened(listening.getsockname()[1]):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_is_no_http_is_told_so_and_requests_before_it_are_answered(patient: int) -> None:
    with opened(patient) as raw:
        raw.sendall(b"\x00 nonsense\r\n\r\n")
        assert told(raw.recv(1 << 16)) == problem(400)
        assert is_cut_off(raw)
    with opened(patient) as raw:
        raw.sendall(GET + b"\x00 nonsense\r\n\r\n")
        assert answer_on(raw) == (200, b":0")
        assert is_cut_off(raw)
