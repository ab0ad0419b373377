"""One table of settings, checked together once."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any

from eos.core.errors import ConfigError
from eos.core.record import Record

KeyOf = Callable[[Record], bytes | str | None]
"""Reads a record's idempotency key; None or empty means that it has none."""

Reconcile = Callable[[Record], bool]
"""Tells whether a record that is in doubt had its effect: True, and it is settled unhandled."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LEDGERS = (
    "memory:",
    "redis://",
    "rediss://",
    "sqlite:///",
    "postgresql://",
    "postgresql+psycopg://",
)
_BROKERS_ADVICE = "write host:port,host:port or set EOS_BROKERS"
_LEDGER_ADVICE = (
    "write redis://host:port/0, postgresql://user@host/name or sqlite:///file, or set EOS_LEDGER"
)
_SERVERS = (("brokers", _BROKERS_ADVICE), ("ledger", _LEDGER_ADVICE))
_POLICIES = {
    "missing_key": ("position", "dead_letter", "fail"),
    "conflict": ("dead_letter", "handle", "fail"),
    "ledger_down": ("pause", "pass_through", "fail"),
    "in_doubt": ("retry", "skip", "dead_letter", "reconcile"),
    "offsets_reset": ("halt", "suppress", "replay"),
    "scope": ("topic", "partition"),
}

# What a value may be, by its field's annotation.
_TYPES: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    str | float: (str, int, float),
    Mapping[str, Any]: (Mapping,),
}

_FAULTLESS = {"group": "g", "brokers": "b:1", "ledger": "memory:", "namespace": "n", "kafka": {}}

MIN_WINDOW = 60.0
MAX_BATCH = 10_000

# What a user may not set through `kafka`, and what to do instead. Unsafe settings are refused,
# never mended in silence.
_OURS = {
    "group.id": "give `group`",
    "bootstrap.servers": "give `brokers`",
    "transactional.id": "give `instance`; the id is <namespace>.<instance>.<slot>",
    "enable.auto.offset.store": "leave it out: eos settles offsets itself",
    "transaction.timeout.ms": "leave it out: it is 10 s, so that a dead worker does not hold up",
    "message.timeout.ms": "leave it out: it may not exceed the transaction's time-out",
    "on_delivery": "leave it out: eos watches deliveries itself",
    "delivery.report.only.error": "leave it out: eos sets it",
}
_UNSAFE: dict[str, tuple[frozenset[Any], str]] = {
    "enable.auto.commit": (
        frozenset({True, "true", "True", "1"}),
        "auto-commit settles records that nobody handled: leave it out",
    ),
    "isolation.level": (
        frozenset({"read_uncommitted"}),
        "aborted records would be handled: leave it out",
    ),
    "enable.idempotence": (
        frozenset({False, "false", "False", "0"}),
        "a producer's own retries would be duplicates: leave it out",
    ),
    "acks": (
        frozenset({0, 1, "0", "1"}),
        "a leader change would lose messages: leave it out",
    ),
}


def duration(text: str | float) -> float:
    """Read a duration: a number of seconds, or text such as "20ms", "1.5s", "10m", "24h", "7d".

    Raises:
        ValueError: If the text is not a duration.
    """
    if isinstance(text, int | float):
        return float(text)
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not a duration: write "20ms", "1.5s", "10m", "24h" or "7d"')
    return float(match[1]) * _SECONDS[match[2]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a line runs. Every fault is reported at once.

    Attributes:
        group: The consumer group.
        brokers: Bootstrap servers, `host:port`, comma-separated. Like the ledger's, the address
            may be missing until the first server is needed.
        ledger: Where idempotency keys and their owners are kept: `redis://host:port/db`,
            `rediss://…`, `postgresql://user@host/database` (after `eos db create`),
            `sqlite:///file` (one machine), or `memory:` (one process, nothing outlives it).
        kafka: Further librdkafka settings, for consumer and producer alike.
        key: Reads the idempotency key of a record; None looks for the headers `ce_source` and
            `ce_id` (CloudEvents), then `message-id`, then `idempotency-key`.
        window: How far back in log time a re-send is recognised; at least one minute.
        scope: `topic` recognises copies on every partition, `partition` only on the same one,
            for producers that key their messages.
        namespace: Separates applications that share servers; the group's name if empty.
        instance: Names this process among its likes, stable over restarts; it is part of the
            transactional id.
        secret: Keys the digests, so that nobody can forge a collision; derived from the
            namespace if empty.
        missing_key: What becomes of a record without a key: `position` handles it, protected
            against redelivery alone; `dead_letter`; `fail` stops.
        conflict: What becomes of a record whose key was seen with another payload:
            `dead_letter`, `handle`, or `fail`.
        ledger_down: What happens while the ledger is away: `pause` holds the partitions and stays
            in the group; `pass_through` handles records unchecked, so that re-sends are not
            recognised (redeliveries still are); `fail` stops.
        in_doubt: Plain tier: what becomes of a record whose earlier attempt may have had its
            effect. `retry` hands it out with `in_doubt=True`; `skip` settles it unhandled, which
            is at most once for it; `dead_letter`; `reconcile` asks the function of that name.
            All but `retry` cost a round trip to the ledger for each record. A try that raised may
            have had its effect as well: with `retry` and `reconcile` the record comes again in
            doubt, with the others it is a dead letter at once, unless `retry_on` of its step names
            the exception.
        reconcile: Told a record that is in doubt, says whether it had its effect.
        offsets_reset: What becomes of a partition whose offset another tool has set back, below
            what is settled: `halt` holds it until an operator decides; `suppress` goes on where
            it was; `replay` handles it again from there, as `eos replay` would have it.
        retries: How often a handler that raised is tried again before the record becomes a
            dead letter.
        backoff: The first pause before such a retry; it doubles, to at most 30 s.
        batch_records: At most this many records are read and claimed in one call.
        batch_wait: At most this long is waited for the first of them; what is there beside it
            comes with it.
        commit_interval: A transaction settles what was handled in this time; or at the end of
            a batch, where one batch takes longer.
    """

    group: str
    brokers: str = ""
    ledger: str = ""
    kafka: Mapping[str, Any] = field(default_factory=dict)
    key: KeyOf | None = None
    window: str | float = "24h"
    scope: str = "topic"
    namespace: str = ""
    instance: str = "local"
    secret: str = ""
    missing_key: str = "position"
    conflict: str = "dead_letter"
    ledger_down: str = "pause"
    in_doubt: str = "retry"
    reconcile: Reconcile | None = None
    offsets_reset: str = "halt"
    retries: int = 3
    backoff: str | float = "100ms"
    batch_records: int = 500
    batch_wait: str | float = "20ms"
    commit_interval: str | float = "100ms"

    def __post_init__(self) -> None:
        """Check everything.

        Raises:
            ConfigError: With a sentence for each fault.
        """
        if not self.namespace:
            object.__setattr__(self, "namespace", self.group)
        checked, faults = _typed(self)
        faults += _name_faults(checked)
        faults += _server_faults(checked)
        faults += _policy_faults(checked)
        faults += _number_faults(checked)
        faults += _kafka_faults(checked.kafka)
        if faults:
            raise ConfigError(faults)

    def check_servers(self, *names: str) -> None:
        """See that there is an address for the brokers, and for each further server.

        Args:
            *names: `ledger`, where one is needed.

        Raises:
            ConfigError: If one is missing.
        """
        missing = [
            f"{name}='': {advice}"
            for name, advice in _SERVERS
            if name in {"brokers", *names} and not getattr(self, name)
        ]
        if missing:
            raise ConfigError(missing)

    @property
    def window_seconds(self) -> int:
        """The window in whole seconds."""
        return int(duration(self.window))

    @property
    def dead_letters(self) -> str:
        """The name of the dead letter topic."""
        return f"{self.namespace}.dead-letters"

    @property
    def audit(self) -> str:
        """The name of the topic that the audit of suppressed records is in."""
        return f"{self.namespace}.suppressed"

    @property
    def audit_retention(self) -> int:
        """How long the audit is kept at least, in seconds: a group may stand still for a week."""
        return self.window_seconds + 7 * 86_400

    def transactional_id(self, slot: int) -> str:
        """Give the transactional id of a worker: the same after each restart."""
        return f"{self.namespace}.{self.instance}.{slot}"


def _typed(settings: Settings) -> tuple[SimpleNamespace, list[str]]:
    """Find wrong types; in their place put values without a fault, so that the rest is checked."""
    checked, faults = SimpleNamespace(**vars(settings)), []
    for each in fields(settings):
        value, kinds = getattr(settings, each.name), _TYPES.get(each.type, (object,))
        if isinstance(value, bool) or not isinstance(value, kinds):
            names = " or ".join(kind.__name__.lower() for kind in kinds)
            faults.append(f"{each.name}={value!r}: give {names}, not {type(value).__name__}")
            setattr(checked, each.name, _FAULTLESS.get(each.name, each.default))
    return checked, faults


def _name_faults(settings: SimpleNamespace) -> list[str]:
    return [
        f"{name}={value!r}: write 1 to 100 letters, digits, '.', '_' or '-'"
        for name in ("group", "namespace", "instance")
        if not _NAME.fullmatch(value := str(getattr(settings, name)))
    ]


def _server_faults(settings: SimpleNamespace) -> list[str]:
    faults = []
    if settings.brokers and not all(":" in b for b in settings.brokers.split(",")):
        faults.append(f"brokers={settings.brokers!r}: {_BROKERS_ADVICE}")
    if settings.ledger and not settings.ledger.startswith(_LEDGERS):
        scheme, found, _ = settings.ledger.partition("://")
        told = f"{scheme}://…" if found else "…"  # not all of it: it may hold a password
        faults.append(f"ledger={told!r}: {_LEDGER_ADVICE}")
    return faults


def _policy_faults(settings: SimpleNamespace) -> list[str]:
    faults = [
        f"{name}={value!r}: choose one of {', '.join(allowed)}"
        for name, allowed in _POLICIES.items()
        if (value := getattr(settings, name)) not in allowed
    ]
    key: object = settings.key  # users without a type checker give a header's name
    if key is not None and not callable(key):
        faults.append(f"key={key!r}: give eos.header(…) or a function of the record")
    if settings.in_doubt == "reconcile" and not callable(settings.reconcile):
        faults.append(f"reconcile={settings.reconcile!r}: in_doubt='reconcile' needs a function")
    return faults


def _number_faults(settings: SimpleNamespace) -> list[str]:
    faults = []
    for name, least in (
        ("window", MIN_WINDOW),
        ("backoff", 0.0),
        ("batch_wait", 0.0),
        ("commit_interval", 0.0),
    ):
        try:
            seconds = duration(getattr(settings, name))
        except (ValueError, TypeError) as error:
            faults.append(f"{name}: {error}")
            continue
        if not seconds >= least:  # NaN is caught too
            faults.append(f"{name}={getattr(settings, name)!r}: give at least {least:g} seconds")
    if not 1 <= settings.batch_records <= MAX_BATCH:
        faults.append(f"batch_records={settings.batch_records}: give 1 to {MAX_BATCH}")
    if settings.retries < 0:
        faults.append(f"retries={settings.retries}: give 0 or more")
    return faults


def _kafka_faults(kafka: Mapping[str, Any]) -> list[str]:
    faults = [
        f"kafka[{name!r}] is not yours to set: {advice}"
        for name, advice in _OURS.items()
        if name in kafka
    ]
    faults += [
        f"kafka[{name!r}]={kafka[name]!r}: {why}"
        for name, (values, why) in _UNSAFE.items()
        if name in kafka and any(kafka[name] == value for value in values)
    ]
    return faults
