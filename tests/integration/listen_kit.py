"""A listener without a line behind it, and clients that do not behave."""

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from eos.devstack.ports import free_ports
from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Listen
from eos.doors.sidecar.listen.bodies import body_of
from eos.doors.sidecar.listen.callers import Admission, callers_of
from eos.doors.sidecar.listen.http import bound, server
from eos.doors.sidecar.sidecar import looping
from tests.integration.cluster import SECONDS


def application(listen: Listen) -> Starlette:
    """Make an app that answers who the caller is and what was sent; `/deaf` reads no body."""

    async def told(request: Request) -> PlainTextResponse:
        body = await body_of(request, 1 << 20, SECONDS)
        return PlainTextResponse(f"{request.state.caller}:{len(body)}")

    async def deaf(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.caller)

    methods = ["GET", "POST"]
    routes = [Route("/", told, methods=methods), Route("/deaf", deaf, methods=methods)]
    callers = callers_of(listen.token_file) if listen.token_file else ()
    certificates = listen.client_ca_file is not None
    return Starlette(
        routes=routes,
        middleware=[Middleware(Admission, callers=callers, certificates=certificates)],
    )


@contextmanager
def serving(listen: Listen, app: Starlette | None = None) -> Iterator[int]:
    """Serve an app on a port of its own; gives the port."""
    (port,) = free_ports(1)
    listen = replace(listen, address=f"127.0.0.1:{port}")
    it = server(app or application(listen), listen)
    with bound(listen.address) as listening, looping() as loop:
        done = loop.run(it.serve([listening]))
        try:
            assert wait_until(lambda: it.started or done.done(), seconds=SECONDS)
            yield port
        finally:
            it.should_exit = True
            done.result(SECONDS)


def get(
    port: int, path: str = "/", token: str = "", tls: ssl.SSLContext | None = None
) -> tuple[int, str]:
    """Ask once; gives status and body."""
    line: HTTPConnection
    if tls is None:
        line = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    else:
        line = HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=tls)
    try:
        line.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
        answer = line.getresponse()
        return answer.status, answer.read().decode()
    finally:
        line.close()


def opened(port: int) -> socket.socket:
    """Connect, and say nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def answer_on(raw: socket.socket) -> tuple[int, bytes]:
    """Read one answer, and nothing of the next; gives status and body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _taken(raw, 1)
    length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
    assert length is not None, head
    return int(head.split(b" ")[1]), _taken(raw, int(length[1]))


def _taken(raw: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = raw.recv(length - len(found))
        assert part, "the connection ended"
        found += part
    return found


def is_cut_off(raw: socket.socket) -> bool:
    """Read to the end of the connection; False: there is none in time."""
    try:
        while raw.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def drip(raw: socket.socket, byte: bytes, pause: float = 0.02) -> bytes:
    """Send a byte again and again until there is an answer; gives what came of it first."""
    until = time.monotonic() + SECONDS
    raw.settimeout(pause)
    while time.monotonic() < until:
        try:
            raw.sendall(byte)
            return raw.recv(1 << 16)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    raise AssertionError("it may drip for ever")


class Authority:
    """Signs certificates, with the program `openssl`.

    Args:
        folder: Where they lie.
        name: Of the authority, and of its files.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name

    @cached_property
    def file(self) -> str:
        """Its own certificate."""
        _openssl("req", "-x509", *self._new(self._name, f"/CN={self._name}"), "-days", "2")
        return self._path(f"{self._name}.pem")

    def signed(self, name: str, subject: str | None = None) -> tuple[str, str]:
        """Give the files of a certificate for 127.0.0.1 and of its key.

        Args:
            name: Of the files.
            subject: Such as `/CN=orders`; None: the name.
        """
        _openssl("req", *self._new(name, subject or f"/CN={name}", "csr"))
        more = Path(self._path(f"{name}.ext"))
        more.write_text("subjectAltName=IP:127.0.0.1\n", encoding="ascii")
        signer = ["-CA", self.file, "-CAkey", self._path(f"{self._name}.key"), "-CAcreateserial"]
        made, asked = self._path(f"{name}.pem"), self._path(f"{name}.csr")
        _openssl(
            *("x509", "-req", "-in", asked, "-out", made, *signer),
            *("-days", "2", "-extfile", str(more)),
        )
        return made, self._path(f"{name}.key")

    def locked(self, key: str) -> str:
        """Give the file of the same key with a pass phrase."""
        _openssl("pkcs8", "-topk8", "-in", key, "-out", f"{key}.locked", "-passout", "pass:word")
        return f"{key}.locked"

    def client(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        """Give what a client uses that trusts this authority."""
        context = ssl.create_default_context(cafile=self.file)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def _new(self, name: str, subject: str, kind: str = "pem") -> list[str]:
        return [
            *("-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", self._path(f"{name}.key"), "-out", self._path(f"{name}.{kind}")),
            *("-subj", subject),
        ]

    def _path(self, name: str) -> str:
        return str(self._folder / name)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
