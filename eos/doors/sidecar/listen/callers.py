"""Who calls: by a token, or by the certificate of the connection."""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from eos.core.errors import ConfigError
from eos.doors.sidecar.listen.problems import problem

CERTIFICATE = "certificate"
"""Where in a request's state the protocol says what name the connection's certificate gives."""

_OPEN = frozenset({"/healthz", "/readyz"})
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WORDS_OF_A_CALLER = 2
_BLANK = " \t"


@dataclass(frozen=True, slots=True)
class Caller:
    """One that may call.

    Attributes:
        name: Its name; empty: the token is the only one, and names nobody.
        token: What it sends as `Authorization: Bearer …`.
    """

    name: str
    token: str = field(repr=False)


def callers_of(path: str) -> tuple[Caller, ...]:
    """Read who may call from a file: one word, or a line `name token` for each.

    Lines that are empty or begin with `#` say nothing. A name may stand twice: while its token is
    replaced by another.

    Raises:
        ConfigError: With a sentence for each fault; none says a token.
    """
    where = f"token_file={path!r}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{where} cannot be read: {type(error).__name__}"]) from error
    lines = {number: line.strip(_BLANK) for number, line in enumerate(text.split("\n"), 1)}
    lines = {number: line for number, line in lines.items() if line and line[0] != "#"}
    if not lines:
        raise ConfigError([f"{where}: it must hold a token"])
    if len(lines) == 1 and all(_printable(line) and " " not in line for line in lines.values()):
        return tuple(Caller("", line) for line in lines.values())
    callers, faults = _named(lines)
    if faults:
        raise ConfigError([f"{where} {fault}" for fault in faults])
    return callers


def _named(lines: dict[int, str]) -> tuple[tuple[Caller, ...], list[str]]:
    callers, faults = [], []
    seen: dict[str, int] = {}
    for number, line in lines.items():
        words = re.split(f"[{_BLANK}]+", line)
        if len(words) != _WORDS_OF_A_CALLER or not all(map(_printable, words)):
            faults.append(
                f"line {number}: write one word of printable ASCII alone in the file, "
                "or a name and a token on each line"
            )
        elif not _NAME.fullmatch(words[0]):  # not told: it may be a token in the wrong place
            faults.append(f"line {number}: a name is 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
        elif words[1] in seen:
            faults.append(f"line {number}: its token stands in line {seen[words[1]]}, too")
        else:
            seen[words[1]] = number
            callers.append(Caller(*words))
    return tuple(callers), faults


def _printable(word: str) -> bool:
    return word.isascii() and word.isprintable()


class Admission:
    """Lets those through that may call, and says in `request.state.caller` who it is.

    That is the name of the token; without tokens the one that the certificate gives; and empty
    where neither names anyone. All tokens are compared, each in constant time, so that the time
    it takes says nothing of them.

    Args:
        app: What answers those that may call. Health and readiness are everyone's.
        callers: Who may call; empty: no token is asked for.
        certificates: Whether each connection has a certificate.
    """

    def __init__(self, app: ASGIApp, callers: Sequence[Caller], *, certificates: bool) -> None:
        self._app = app
        self._callers = [(f"Bearer {each.token}".encode(), each.name) for each in callers]
        self._certificates = certificates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        caller = self._caller(scope)
        # The scope's own path: one that is built with the header Host is as the client likes it.
        if caller is None and scope["path"] not in _OPEN:
            await self._refuse(scope, receive, send)
            return
        state["caller"] = caller or ""
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> str | None:
        """Give its name; None: it may not call."""
        if not self._callers:
            return (scope["state"].get(CERTIFICATE) or None) if self._certificates else ""
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        found = None
        for token, name in self._callers:
            if hmac.compare_digest(given, token):
                found = name
        return found

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._callers:
            answer = problem(401, "send the header Authorization: Bearer, with the token")
            answer.headers["www-authenticate"] = "Bearer"
        else:
            answer = problem(401, "the certificate must have one common name, of printable letters")
        await answer(scope, receive, send)
