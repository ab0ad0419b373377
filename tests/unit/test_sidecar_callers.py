"""Who may call a sidecar: what the file of tokens may hold, and what a request needs."""

import asyncio
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from eos.core.errors import ConfigError
from eos.doors.sidecar.listen.callers import CERTIFICATE, Admission, Caller, callers_of

SECRET = "very-secret"  # noqa: S105 a test's own


def written(folder: Path, text: str) -> str:
    (folder / "tokens").write_text(text, encoding="utf-8")
    return str(folder / "tokens")


def faults(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        callers_of(written(folder, text))
    return caught.value.faults


@pytest.mark.parametrize("text", ["word", "word\n", " word \r\n", "# für uns\n\nword\n"])
def test_a_word_alone_is_a_token_without_a_name(tmp_path: Path, text: str) -> None:
    assert callers_of(written(tmp_path, text)) == (Caller("", "word"),)


def test_each_line_is_a_caller_and_a_name_may_stand_twice(tmp_path: Path) -> None:
    text = "# für Bestellungen\norders one\r\n\n  orders \t two\n" + "x" * 64 + " three"
    assert callers_of(written(tmp_path, text)) == (
        Caller("orders", "one"),
        Caller("orders", "two"),
        Caller("x" * 64, "three"),
    )
    assert callers_of(written(tmp_path, "orders one")) == (Caller("orders", "one"),)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", "it must hold a token"),
        ("# nothing\n\n", "it must hold a token"),
        (f"#{SECRET}", "it must hold a token"),
        (f"{SECRET}\n{SECRET}x", "line 1: write one word"),
        (f"a one\n{SECRET}", "line 2: write one word"),
        (f"a {SECRET} b", "line 1: write one word"),
        (f"{SECRET}é", "line 1: write one word"),
        (f"a {SECRET}\x00", "line 1: write one word"),
        (f"a\u00a0{SECRET}", "line 1: write one word"),
        (f"{SECRET}! a", "line 1: a name is"),
        (f"{'x' * 65} {SECRET}", "line 1: a name is"),
        (f"a {SECRET}\nb {SECRET}", "line 2: its token stands in line 1, too"),
        (f"a {SECRET}\na {SECRET}", "line 2: its token stands in line 1, too"),
    ],
)
def test_a_fault_is_named_by_its_line_and_no_token_is_told(
    tmp_path: Path, text: str, want: str
) -> None:
    found = faults(tmp_path, text)
    assert any(want in fault for fault in found), found
    assert SECRET not in str(found)
    assert SECRET not in repr(Caller("a", SECRET))


def test_all_lines_at_fault_are_told_at_once(tmp_path: Path) -> None:
    found = faults(tmp_path, "one\na two\nb two\n! three\n")
    assert [fault.split(": ")[0].rpartition("line ")[2] for fault in found] == ["1", "3", "4"]


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read: UnicodeDecodeError"):
        callers_of(str(tmp_path / "tokens"))


CALLERS = (Caller("a", "one"), Caller("b", "two"), Caller("a", "three"))


def asked(
    callers: tuple[Caller, ...],
    *authorization: bytes,
    certificates: bool = False,
    path: str = "/x",
    certificate: str | None = None,
) -> str | int:
    """Ask; gives the caller's name, or the status of the refusal."""
    answered: list[str | int] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        answered.append(scope["state"]["caller"])

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request"}

    state = {} if certificate is None else {CERTIFICATE: certificate}
    headers = [(b"authorization", value) for value in authorization]
    scope = {"type": "http", "path": path, "headers": headers, "method": "GET", "state": state}
    asyncio.run(Admission(app, callers, certificates=certificates)(scope, receive, send))
    (answer,) = answered
    return answer


def test_a_token_says_who_calls() -> None:
    sent = (b"Bearer one", b"Bearer two", b"Bearer three")
    assert [asked(CALLERS, each) for each in sent] == ["a", "b", "a"]
    assert asked((Caller("", "one"),), b"Bearer one") == ""
    assert asked(()) == ""


@pytest.mark.parametrize(
    "sent", [b"", b"Bearer ", b"Bearer on", b"Bearer onee", b"one", b"Basic one", b"\xff"]
)
def test_who_has_no_token_is_refused(sent: bytes) -> None:
    assert asked(CALLERS, sent) == 401
    assert asked(CALLERS, sent, b"Bearer one") == 401
    assert asked(CALLERS, sent, certificates=True, certificate="a") == 401


def test_without_tokens_the_certificate_says_who_calls() -> None:
    assert asked((), certificates=True, certificate="orders") == "orders"
    assert asked((), certificates=True, certificate="") == 401
    assert asked((), certificates=True) == 401
    assert asked((), certificate="orders") == ""


def test_health_is_everyone_s_and_what_looks_like_it_is_not() -> None:
    assert [asked(CALLERS, path=path) for path in ("/healthz", "/readyz")] == ["", ""]
    for path in ("/healthz/", "//healthz", "/HEALTHZ", "/healthz/../x", ""):
        assert asked(CALLERS, path=path) == 401
