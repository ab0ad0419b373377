"""A confluent-kafka configuration → the settings of a loop."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from eos.core.errors import ConfigError
from eos.core.settings import KeyOf, Settings

_TRUE = (True, "true", "True", "1", 1)
_OURS = frozenset(
    {
        "group.id",
        "bootstrap.servers",
        "metadata.broker.list",
        "enable.auto.commit",
        "auto.commit.enable",
        "auto.commit.interval.ms",
        "enable.auto.offset.store",
        "logger",
    }
)
_FIRST = {"smallest": "earliest", "beginning": "earliest", "largest": "latest", "end": "latest"}
_AUTO_COMMIT_MS = 5000
_BATCH_RECORDS = 2000  # a loop's own batches may be of any size; ours are claimed in one call
_ASSIGNORS = "range,roundrobin"


@dataclass(frozen=True, slots=True)
class Conf:
    """What a consumer's configuration says.

    Attributes:
        settings: The settings of the line below the loop.
        auto_commit: Whether what the loop came back from is settled by itself.
        auto_store: Whether that is all that was handed out, or what the user stores.
        interval: How far Kafka's offsets may fall behind then, in seconds.
        callbacks: What only the client itself may be given.
        producer: The producer's settings and its transactional id; None: the plain tier.
    """

    settings: Settings
    auto_commit: bool
    auto_store: bool
    interval: float
    callbacks: dict[str, Any]
    producer: tuple[Settings, str] | None


def read(
    conf: Mapping[str, Any],
    *,
    ledger: str,
    key: KeyOf | None,
    producer: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> Conf:
    """Read a configuration; what it leaves out is as in confluent-kafka.

    Raises:
        ConfigError: With every fault.
    """
    known = {field.name for field in fields(Settings)} - {"group", "brokers", "kafka"}
    faults = [
        f"{name}: there is no such setting; see eos.Settings"
        for name in sorted(settings.keys() - known)
    ]
    if not conf.get("group.id"):
        faults.append("group.id: give a group; its offsets are what eos settles")
    kafka = {k: v for k, v in conf.items() if k not in _OURS and not _is_callback(k, v)}
    kafka["auto.offset.reset"] = _first(conf)
    if kafka.get("group.protocol") != "consumer":
        kafka.setdefault("partition.assignment.strategy", _ASSIGNORS)
    given = {
        "batch_records": _BATCH_RECORDS,
        **{name: value for name, value in settings.items() if name in known},
        "group": str(conf.get("group.id") or "none"),
        "brokers": str(conf.get("bootstrap.servers") or conf.get("metadata.broker.list") or ""),
        "ledger": ledger,
        "key": key,
    }
    made = _checked(faults, given, kafka)
    producing = _producer(faults, given, producer)
    if faults or made is None:
        raise ConfigError(faults)
    made.check_servers("ledger")
    return Conf(
        settings=made,
        auto_commit=conf.get("enable.auto.commit", conf.get("auto.commit.enable", True)) in _TRUE,
        auto_store=conf.get("enable.auto.offset.store", True) in _TRUE,
        interval=_seconds(conf.get("auto.commit.interval.ms", _AUTO_COMMIT_MS)),
        callbacks={k: v for k, v in conf.items() if _is_callback(k, v) or k == "logger"},
        producer=(producing, _transactional_id(made, producer)) if producing else None,
    )


def check_made(conf: Mapping[str, Any]) -> None:
    """See that a consumer that somebody else made leaves the offsets to us.

    Raises:
        ConfigError: If it settles records that nobody handled, by itself.
    """
    faults = [
        f"{name} must be False in the configuration of a consumer that is wrapped: it settles "
        "what nobody handled, and nobody can switch that off later"
        for name in ("enable.auto.commit", "enable.auto.offset.store")
        if conf.get(name, True) in _TRUE
    ]
    if conf.get("isolation.level", "read_committed") != "read_committed":
        faults.append("isolation.level=read_uncommitted: aborted records would be handled")
    if faults:
        raise ConfigError(faults)


def stores_by_itself(consumer: Any) -> bool:
    """Tell whether a consumer stores offsets by itself: then it refuses to be told any.

    Args:
        consumer: A `confluent_kafka.Consumer`.
    """
    try:
        consumer.store_offsets(offsets=[])
    except Exception:  # noqa: BLE001 whatever it raises, it does not let us
        return True
    return False


def _first(conf: Mapping[str, Any]) -> str:
    topics = conf.get("default.topic.config") or {}  # the old way to write it
    said = conf.get("auto.offset.reset") or conf.get("topic.auto.offset.reset")
    said = str(said or topics.get("auto.offset.reset") or "latest")
    return _FIRST.get(said, said)


def _seconds(milliseconds: Any) -> float:
    return float(milliseconds) / 1000 or float("inf")  # 0 is never, as in librdkafka


def _is_callback(name: str, value: object) -> bool:
    return callable(value) and name != "oauth_cb"


def _producer(
    faults: list[str], given: dict[str, Any], conf: Mapping[str, Any] | None
) -> Settings | None:
    if conf is None:
        return None
    leave = ("bootstrap.servers", "metadata.broker.list", "transactional.id", "logger")
    kafka = {k: v for k, v in conf.items() if k not in leave and not callable(v)}
    brokers = conf.get("bootstrap.servers") or conf.get("metadata.broker.list")
    return _checked(faults, {**given, **({"brokers": brokers} if brokers else {})}, kafka)


def _checked(faults: list[str], given: dict[str, Any], kafka: dict[str, Any]) -> Settings | None:
    try:
        return Settings(**given, kafka=kafka)
    except ConfigError as error:
        faults += [fault for fault in error.faults if fault not in faults]
        return None


def _transactional_id(settings: Settings, conf: Mapping[str, Any] | None) -> str:
    return str((conf or {}).get("transactional.id") or settings.transactional_id(0))
