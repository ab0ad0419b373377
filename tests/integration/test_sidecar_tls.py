"""Who may ask a sidecar: those with a certificate, and those with a token."""

import http.client
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eos.core.settings import Settings
from eos.devstack.waiting import wait_until
from eos.doors.sidecar.config import Listen
from eos.doors.sidecar.config.listening import listen_of
from eos.doors.sidecar.listen.http import application as whole
from eos.doors.sidecar.listen.status import Health
from eos.doors.sidecar.listen.tls import context_of
from tests.integration.cluster import SECONDS
from tests.integration.listen_kit import (
    Authority,
    answer_on,
    drip,
    get,
    is_cut_off,
    opened,
    serving,
)
from tests.integration.sidecar_kit import App, Door, Reply, deliver

TIMEOUT = 2.0
ENDED = (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)

HEALTHY = Health(deliver=True, publish=False, outbox=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> tuple[str, str]:
    return authority.signed("listener")


@pytest.fixture
def mutual(authority: Authority, pair: tuple[str, str]) -> Listen:
    cert, key = pair
    return Listen(cert_file=cert, key_file=key, client_ca_file=authority.file)


@pytest.fixture
def tokens(tmp_path: Path) -> Callable[[str], str]:
    def written(text: str) -> str:
        (tmp_path / "tokens").write_text(text, encoding="utf-8")
        return str(tmp_path / "tokens")

    return written


def test_without_a_client_authority_everyone_may_ask_by_tls(
    authority: Authority, pair: tuple[str, str]
) -> None:
    with serving(Listen(cert_file=pair[0], key_file=pair[1])) as port:
        assert get(port, tls=authority.client()) == (200, ":0")
        with pytest.raises(ENDED):
            get(port)


def test_the_certificate_says_who_calls(authority: Authority, mutual: Listen) -> None:
    with serving(mutual) as port:
        for name in ("orders", "receipts"):
            assert get(port, tls=authority.client(authority.signed(name))) == (200, f"{name}:0")


def test_who_has_no_certificate_or_a_stranger_s_learns_not_even_the_health(
    authority: Authority, mutual: Listen, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").signed("orders")
    right = authority.client(authority.signed("right"))
    with serving(mutual, whole(mutual, HEALTHY)) as port:
        for path in ("/healthz", "/readyz", "/v1/status"):
            for client in (authority.client(), authority.client(stranger)):
                with pytest.raises(ENDED):
                    get(port, path, tls=client)
        assert get(port, "/healthz", tls=right)[0] == 200
        assert get(port, "/v1/status", tls=right)[0] == 200


@pytest.mark.parametrize("subject", ["/O=nobody", "/CN=orders/CN=receipts"])
def test_a_certificate_that_names_nobody_is_good_for_health_alone(
    authority: Authority, mutual: Listen, subject: str
) -> None:
    client = authority.client(authority.signed("nobody", subject))
    with serving(mutual, whole(mutual, HEALTHY)) as port:
        status, told = get(port, "/v1/status", tls=client)
        assert (status, "common name" in told) == (401, True)
        assert get(port, "/healthz", tls=client)[0] == 200


def test_with_tokens_beside_certificates_both_are_needed_and_the_token_says_who_calls(
    authority: Authority, mutual: Listen, tokens: Callable[[str], str]
) -> None:
    client = authority.client(authority.signed("orders"))
    with serving(replace(mutual, token_file=tokens("billing one\n"))) as port:
        assert get(port, tls=client)[0] == 401
        assert get(port, token="one", tls=client) == (200, "billing:0")  # noqa: S106
        with pytest.raises(ENDED):
            get(port, token="one", tls=authority.client())  # noqa: S106


def test_each_caller_has_its_token_and_during_rotation_two(tokens: Callable[[str], str]) -> None:
    text = "# who may call\norders one\n\nreceipts\ttwo\norders three\n"
    with serving(Listen(token_file=tokens(text))) as port:
        names = [get(port, token=token)[1] for token in ("one", "two", "three")]
        assert names == ["orders:0", "receipts:0", "orders:0"]
        for token in ("", "four", "on", "onee", "orders one", "orders"):
            assert get(port, token=token)[0] == 401


def test_one_token_alone_and_none_name_nobody(tokens: Callable[[str], str]) -> None:
    with serving(Listen(token_file=tokens("# ours\nword\n"))) as port:
        assert get(port, token="word") == (200, ":0")  # noqa: S106
        assert get(port)[0] == 401
    with serving(Listen()) as port:
        assert get(port) == (200, ":0")


def test_a_header_host_opens_no_door(tokens: Callable[[str], str]) -> None:
    listen = Listen(token_file=tokens("word"))
    with serving(listen, whole(listen, HEALTHY)) as port, opened(port) as raw:
        for host in (b"x/healthz?", b"x/healthz#", b"/healthz"):
            raw.sendall(b"GET /v1/status HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
            assert answer_on(raw)[0] == 401


def test_a_head_that_drips_through_tls_is_cut_off_and_told(
    authority: Authority, mutual: Listen
) -> None:
    client = authority.client(authority.signed("slow"))
    with (
        serving(replace(mutual, timeout=TIMEOUT)) as port,
        opened(port) as raw,
        client.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped,
    ):
        wrapped.sendall(b"GET /")
        assert drip(wrapped, b"x").startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a part"])
def test_a_handshake_that_does_not_end_is_cut_off(mutual: Listen, hello: bytes) -> None:
    with serving(replace(mutual, timeout=TIMEOUT)) as port, opened(port) as raw:
        raw.sendall(hello)
        assert is_cut_off(raw)


def test_files_that_are_of_no_use_are_named(
    authority: Authority, pair: tuple[str, str], tmp_path: Path
) -> None:
    cert, key = pair
    locked = authority.locked(key)
    garbage = tmp_path / "garbage.pem"
    begin = "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"
    garbage.write_text(begin + begin.replace("CERTIFICATE", "PRIVATE KEY"), encoding="ascii")
    bad, other = str(garbage), authority.signed("other")[1]
    for given, want in (
        ((cert, other, None), "are no pair: key values mismatch"),
        ((bad, key, None), f"cert_file={bad!r} and key_file={key!r} are no pair"),
        ((cert, bad, None), f"cert_file={cert!r} and key_file={bad!r} are no pair"),
        ((key, cert, None), f"cert_file={key!r}: it holds no certificate as PEM"),
        ((key, cert, None), f"key_file={cert!r}: it holds no private key as PEM"),
        ((cert, locked, None), f"key_file={locked!r}: give a key without a pass phrase"),
        ((cert, key, key), f"client_ca_file={key!r}: it holds no certificate as PEM"),
        ((cert, key, bad), f"client_ca_file={bad!r} holds no certificates"),
        ((cert, key, str(tmp_path)), f"client_ca_file={str(tmp_path)!r} cannot be read"),
    ):
        table = dict(zip(("cert_file", "key_file", "client_ca_file"), given, strict=True))
        _, faults = listen_of(table.get)
        assert any(fault.startswith("[listen] ") and want in fault for fault in faults), faults


def test_a_client_authority_makes_more_than_loopback_good(mutual: Listen) -> None:
    def given(key: str, default: object) -> object:
        return "0.0.0.0:7070" if key == "address" else getattr(mutual, key) or default

    listen, faults = listen_of(given)
    assert faults == []
    assert replace(listen, address=mutual.address) == mutual


def test_nothing_older_than_tls_1_2_is_spoken(mutual: Listen) -> None:
    context = context_of(mutual.cert_file, mutual.key_file, mutual.client_ca_file)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_a_sidecar_listens_with_tls(
    settings: Settings, source: str, authority: Authority, mutual: Listen
) -> None:
    door, client = Door(settings), authority.client(authority.signed("probe"))
    with App(lambda _: Reply()) as app:
        config = door.config(app, deliver(source))
        config = replace(config, listen=replace(mutual, address=config.listen.address))
        port = int(config.listen.address.rpartition(":")[2])

        def ready() -> bool:
            try:
                return get(port, "/readyz", tls=client)[0] == 200
            except OSError:
                return False

        with door.running(config):
            assert wait_until(ready, seconds=2 * SECONDS)
