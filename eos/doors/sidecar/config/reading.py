"""Reads the configuration of a sidecar: a file, and the environment, which wins."""

import socket
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from eos.core.errors import ConfigError
from eos.core.settings import Settings, duration
from eos.doors.environment import client_settings, from_environment
from eos.doors.sidecar.config.listening import listen_of
from eos.doors.sidecar.config.outgoing import outbox_of, publish_of
from eos.doors.sidecar.config.told import (
    MODES,
    Config,
    Deliver,
    Listen,
    Outbox,
    Publish,
    Target,
    key_of,
    token_of,
)
from eos.doors.sidecar.config.values import flat, is_url, whole

_MOST_CALLS = 10_000

# Where each of the line's settings stands in the file: section and key, by the setting's name.
SETTINGS = {
    "group": ("kafka", "group"),
    "brokers": ("kafka", "brokers"),
    "namespace": ("kafka", "namespace"),
    "instance": ("kafka", "instance"),
    "batch_records": ("kafka", "batch_records"),
    "batch_wait": ("kafka", "batch_wait"),
    "commit_interval": ("kafka", "commit_interval"),
    "offsets_reset": ("kafka", "offsets_reset"),
    "ledger": ("ledger", "url"),
    "window": ("ledger", "window"),
    "scope": ("ledger", "scope"),
    "ledger_down": ("ledger", "down"),
    "missing_key": ("ledger", "missing_key"),
    "conflict": ("ledger", "conflict"),
    "retries": ("app", "retries"),
    "backoff": ("app", "backoff"),
    "in_doubt": ("app", "in_doubt"),
}
_OTHERS = {
    "kafka": {"settings", "settings_file"},
    "ledger": {"secret_file"},
    "app": {"url", "timeout", "concurrency", "token_file"},
    "listen": {field.name for field in fields(Listen)},
    "publish": {field.name for field in fields(Publish)},
    "outbox": {field.name for field in fields(Outbox)},
}
_DELIVER = ("topic", "to", "mode", "key", "path", "batch")
_NOTHING = (
    "nothing to do: [[deliver]] a topic (or set EOS_DELIVER_TOPIC), name [publish] topics, or an "
    "[outbox] database"
)
_NEEDED = {
    "group": "name the consumer group",
    "brokers": "write host:port,host:port",
    "ledger": "write redis://host:port/0, postgresql://user@host/name or sqlite:///file",
}


def read(path: str | None, environment: Mapping[str, str]) -> Config:
    """Read the configuration.

    Args:
        path: A TOML file; None: all stands in the environment.
        environment: `EOS_GROUP`, `EOS_BROKERS` and the like, as for every app; `EOS_APP_URL`,
            `EOS_LISTEN_ADDRESS` and the like; `EOS_DELIVER_TOPIC` and the like for one topic.

    Raises:
        ConfigError: With a sentence for each fault.
    """
    reading = _Reading(_document(path) if path else {}, environment)
    config = reading.config()
    if reading.faults or config is None:
        raise ConfigError(reading.faults)
    return config


def _document(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path!r} cannot be read: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path!r} is no TOML: {error}"]) from error


class _Reading:
    """Reads a document, and notes each fault.

    Attributes:
        faults: Those found so far.
    """

    def __init__(self, document: dict[str, Any], environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self.faults: list[str] = []

    def config(self) -> Config | None:
        """Give the configuration; None where a fault stands in the way."""
        self._look_for_unknown()
        settings = self._settings()
        listen, before = self._listen(), len(self.faults)
        deliver = self._deliver()
        publish = publish_of(self._value, self.faults)
        outbox = outbox_of(self._value, self.faults)
        if not (deliver or publish or outbox) and len(self.faults) == before:
            self.faults.append(_NOTHING)
        # Who says nothing of what is to be done, most likely wants to deliver.
        app = self._app() if deliver or not (publish or outbox) else None
        if settings is not None and not self.faults:
            return Config(
                settings=settings,
                listen=listen,
                app=app,
                deliver=deliver,
                publish=publish,
                outbox=outbox,
            )
        return None

    def _look_for_unknown(self) -> None:
        known: dict[str, set[str]] = {name: set(keys_) for name, keys_ in _OTHERS.items()}
        for section, key in SETTINGS.values():
            known[section].add(key)
        for section, found in self._document.items():
            if section == "deliver":
                continue
            if section not in known:
                self._fault(f"[{section}]: there is no such section", section, known)
            elif not isinstance(found, dict):
                self.faults.append(f"{section}: write [{section}] and its keys below it")
            else:
                for key in found.keys() - known[section]:
                    self._fault(f"[{section}] {key}: there is no such key", key, known[section])

    def _fault(self, text: str, name: str, known: Any) -> None:
        near = get_close_matches(name, sorted(known), 1)
        self.faults.append(f"{text}; do you mean {near[0]}?" if near else text)

    def _section(self, name: str) -> dict[str, Any]:
        found = self._document.get(name)
        return found if isinstance(found, dict) else {}

    def _settings(self) -> Settings | None:
        given = {
            name: self._section(section)[key]
            for name, (section, key) in SETTINGS.items()
            if key in self._section(section)
        }
        given |= self._client()
        if (secret := self._section("ledger").get("secret_file")) is not None:
            given["secret"] = self._token("[ledger] secret_file", secret) or ""
        found, wrong = from_environment(self._environment)
        self.faults += wrong
        if group := self._environment.get("EOS_GROUP"):
            found["group"] = group
        given |= found
        for name, advice in _NEEDED.items():
            if not given.get(name):
                section, key = SETTINGS[name]
                self.faults.append(f"[{section}] {key}: {advice}, or set EOS_{name.upper()}")
        if given.get("in_doubt") == "reconcile":  # that is a function, of Python
            self.faults.append("[app] in_doubt='reconcile': choose retry, skip or dead_letter")
            del given["in_doubt"]
        try:
            return Settings(**{"group": "nobody", "instance": socket.gethostname(), **given})
        except ConfigError as error:
            self.faults += [self._named(fault) for fault in error.faults]
            return None

    def _client(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        kafka = self._section("kafka")
        try:
            if "settings_file" in kafka:
                found |= client_settings(str(kafka["settings_file"]))
        except ConfigError as error:
            self.faults += [f"[kafka] settings_file: {fault}" for fault in error.faults]
        settings = kafka.get("settings", {})
        if not isinstance(settings, dict):
            self.faults.append("[kafka] settings: write a table of librdkafka's names and values")
            return {}
        return {"kafka": found | flat(settings)} if found or settings else {}

    def _named(self, fault: str) -> str:
        """Say where in the file a setting stands that is wrong."""
        name = fault.partition("=")[0].partition(":")[0]
        section, key = SETTINGS.get(name, ("", ""))
        return (
            f"[{section}] {fault}"
            if section and key == name
            else (f"[{section}] {key}: {fault}" if section else fault)
        )

    def _value(self, section: str, key: str, default: Any) -> Any:
        variable = f"EOS_{section.upper()}_{key.upper()}"
        return self._environment.get(variable, self._section(section).get(key, default))

    def _app(self) -> Target:
        url = self._value("app", "url", "")
        if not isinstance(url, str) or not is_url(url):
            told = f"={url!r}" if isinstance(url, str) and "@" not in url else ""
            self.faults.append(
                f"[app] url{told}: write http://host:port/path or unix:///path, without a "
                "password or a fragment, or set EOS_APP_URL"
            )
        timeout = self._value("app", "timeout", "30s")
        try:
            seconds = duration(timeout)
        except (ValueError, TypeError, AttributeError):
            seconds = -1.0
        if not 0 < seconds <= 3600:  # noqa: PLR2004 an hour
            self.faults.append(
                f"[app] timeout={timeout!r}: write a duration up to 1h, such as '30s'"
            )
        return Target(
            url=str(url),
            timeout=seconds,
            concurrency=self._whole("app", "concurrency", 32, _MOST_CALLS),
            token_file=self._file(),
        )

    def _listen(self) -> Listen:
        listen, faults = listen_of(lambda key, default: self._value("listen", key, default))
        self.faults += faults
        return listen

    def _deliver(self) -> tuple[Deliver, ...]:
        found = self._document.get("deliver", [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.faults.append("deliver: write [[deliver]], once for each topic")
            return ()
        alone = {
            key: self._environment[f"EOS_DELIVER_{key.upper()}"]
            for key in _DELIVER
            if f"EOS_DELIVER_{key.upper()}" in self._environment
        }
        if alone and len(found) > 1:
            self.faults.append("EOS_DELIVER_…: the file has several [[deliver]]; change it there")
        elif alone:
            found = [{**(found[0] if found else {}), **alone}]
        made = tuple(self._one(each) for each in found)
        topics = [each.topic for each in made]
        for topic in sorted({topic for topic in topics if topics.count(topic) > 1}):
            self.faults.append(f"[[deliver]] topic={topic!r}: one of them delivers a topic")
        return made

    def _one(self, given: dict[str, Any]) -> Deliver:
        for key in given.keys() - set(_DELIVER):
            self._fault(f"[[deliver]] {key}: there is no such key", key, _DELIVER)
        texts = {}
        for key in ("topic", "to", "mode", "key", "path"):
            value = given.get(key)
            if value is not None and not isinstance(value, str):
                self.faults.append(f"[[deliver]] {key}={value!r}: write a text")
                value = None
            texts[key] = value or None
        topic, mode, path = texts["topic"] or "", texts["mode"] or "binary", texts["path"] or ""
        if not topic:
            self.faults.append("[[deliver]] topic: name the topic")
        if mode not in MODES:
            self.faults.append(f"[[deliver]] mode={mode!r}: choose one of {', '.join(MODES)}")
        if path and not (path.isascii() and path.isprintable() and path[0] in "/?"):
            self.faults.append(f"[[deliver]] path={path!r}: begin with /, or ?")
        try:
            key_of(texts["key"])
        except ConfigError as error:
            self.faults += [f"[[deliver]] {fault}" for fault in error.faults]
        batch = whole(given.get("batch", 100))
        if batch is None or not 1 <= batch <= 10_000:  # noqa: PLR2004
            self.faults.append(f"[[deliver]] batch={given['batch']!r}: write 1 to 10000")
        return Deliver(
            topic=topic, to=texts["to"], mode=mode, key=texts["key"], path=path, batch=batch or 1
        )

    def _whole(self, section: str, key: str, default: int, most: int) -> int:
        value = self._value(section, key, default)
        number = whole(value)
        if number is None or not 1 <= number <= most:
            self.faults.append(f"[{section}] {key}={value!r}: write a number from 1 to {most}")
            return default
        return number

    def _file(self) -> str | None:
        path = self._value("app", "token_file", None)
        if path is not None:
            self._token("[app]", path)
        return path if isinstance(path, str) else None

    def _token(self, where: str, path: object) -> str | None:
        try:
            return token_of(str(path))
        except ConfigError as error:
            self.faults += [f"{where} {fault}" for fault in error.faults]
            return None
