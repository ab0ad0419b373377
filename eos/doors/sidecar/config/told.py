"""What a sidecar is told, as values; `reading` reads them from a file and the environment."""

from dataclasses import dataclass
from pathlib import Path

from eos.core import keys
from eos.core.errors import ConfigError
from eos.core.settings import KeyOf, Settings

MODES = ("binary", "structured", "batched", "plain")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The app.

    Attributes:
        url: Where it listens: `http://…`, `https://…`, or `unix:///path/of/a/socket`.
        timeout: For how many seconds an answer is waited for; default 30.
        concurrency: At most so many calls are made at once; default 32.
        token_file: A file with what is sent as `Authorization: Bearer …`; None: nothing is.
    """

    url: str
    timeout: float = 30.0
    concurrency: int = 32
    token_file: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deliver:
    """A topic that is delivered.

    Attributes:
        topic: Its name.
        to: Where what the app answers with is published: the transaction tier; None: the plain
            tier.
        mode: `binary` (default), `structured` or `batched`: as CloudEvents; `plain`: the payload.
        key: How the idempotency key is read, as `key_of` takes it; None: as by default.
        path: Appended to the app's URL.
        batch: In mode `batched`, at most so many events in a call; default 100.
    """

    topic: str
    to: str | None = None
    mode: str = "binary"
    key: str | None = None
    path: str = ""
    batch: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Listen:
    """Where the sidecar itself listens.

    Attributes:
        address: `host:port`, `[host]:port` or `unix:/path`; default 127.0.0.1:7070.
        token_file: A file with the token that requests must carry, or a line `name token` for
            each caller; None: none is asked for.
        cert_file: The certificate for TLS, as PEM; None: no TLS.
        key_file: Its private key.
        client_ca_file: Who signs clients' certificates, which each must have; None: none is
            asked for.
        timeout: For how many seconds a request's head is waited for; default 10.
        max_body: How large an app's answer may be, in bytes; default 1 MiB.
    """

    address: str = "127.0.0.1:7070"
    token_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None
    timeout: float = 10.0
    max_body: int = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Publish:
    """What is published for callers.

    Attributes:
        topics: Where to; nowhere else.
        timeout: For how many seconds a call waits until it is published; default 10.
    """

    topics: tuple[str, ...]
    timeout: float = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbox:
    """An outbox that is relayed.

    Attributes:
        database: Its URL.
        poll: Rows are looked for at least this often, in seconds; default 1.
        keep: For how many seconds published rows are kept; default 0.
    """

    database: str
    poll: float = 1.0
    keep: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All that a sidecar is told.

    Attributes:
        settings: Of the lines.
        listen: Where it listens.
        app: Whom it delivers to; None: nobody.
        deliver: What.
        publish: What it publishes for callers; None: nothing.
        outbox: What it relays; None: nothing.
    """

    settings: Settings
    listen: Listen
    app: Target | None = None
    deliver: tuple[Deliver, ...] = ()
    publish: Publish | None = None
    outbox: Outbox | None = None


def key_of(text: str | None) -> KeyOf | None:
    """Give what reads the idempotency key.

    Args:
        text: `header:NAME`, `json:PATH`, `cloudevent` or `payload-hash`; None: the default.

    Raises:
        ConfigError: It is none of these.
    """
    if text is None:
        return None
    kind, _, rest = text.partition(":")
    if kind == "header" and rest:
        return keys.header(rest)
    if kind == "json" and rest:
        return keys.json_path(rest)
    if text == "cloudevent":
        return keys.cloudevent()
    if text == "payload-hash":
        return keys.payload_hash()
    raise ConfigError([f"key={text!r}: write header:NAME, json:PATH, cloudevent or payload-hash"])


def token_of(path: str) -> str:
    """Read a token from its file.

    Raises:
        ConfigError: It cannot be read, or is not one line of printable ASCII; says not what it is.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            [f"token_file={path!r} cannot be read: {type(error).__name__}"]
        ) from error
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError([f"token_file={path!r}: it must hold one word of printable ASCII"])
    return text
