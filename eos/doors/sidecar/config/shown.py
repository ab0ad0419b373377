"""A configuration as it is shown: all of it, secrets hidden."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from urllib.parse import urlsplit

from eos.doors.sidecar.config.reading import SETTINGS
from eos.doors.sidecar.config.told import Config, Listen, Outbox, Publish, Target

HIDDEN = "***"
_SECRET = re.compile(r"password|secret|key\.pem|oauthbearer\.config|token")


def shown(config: Config) -> str:
    """Give a configuration as a TOML document that `config.read` takes, but for what is hidden."""
    sections: dict[str, dict[str, object]] = {"kafka": {}, "ledger": {}, "app": {}, "listen": {}}
    for name, (section, key) in SETTINGS.items():
        sections[section][key] = getattr(config.settings, name)
    sections["ledger"]["url"] = _without_password(config.settings.ledger)
    for section, given in _sections(config):
        found = {field.name: getattr(given, field.name) for field in fields(given)}
        sections[section] = sections.get(section, {}) | found
    if config.outbox is not None:
        sections["outbox"]["database"] = _without_password(config.outbox.database)
    lines = []
    for section, table in sections.items():
        lines += [f"[{section}]", *_lines(table)]
        if section == "ledger" and config.settings.secret:
            lines.append(f'# secret = "{HIDDEN}"')
        if section == "kafka" and config.settings.kafka:
            lines += ["", "[kafka.settings]", *_lines(_hidden(config.settings.kafka))]
        lines.append("")
    for deliver in config.deliver:
        told = {field.name: getattr(deliver, field.name) for field in fields(deliver)}
        lines += ["[[deliver]]", *_lines(told), ""]
    return "\n".join(lines)


def _sections(config: Config) -> Iterator[tuple[str, Target | Listen | Publish | Outbox]]:
    yield "listen", config.listen
    if config.app is not None:
        yield "app", config.app
    if config.publish is not None:
        yield "publish", config.publish
    if config.outbox is not None:
        yield "outbox", config.outbox


def _lines(table: dict[str, object]) -> list[str]:
    # What JSON writes of texts and numbers is TOML.
    return [
        f"{_name(name)} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in table.items()
        if value is not None
    ]


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _hidden(settings: object) -> dict[str, object]:
    found = dict(settings) if isinstance(settings, dict) else {}
    return {name: HIDDEN if _SECRET.search(name) else value for name, value in found.items()}


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if not parts.password:
        return url
    user = f"{parts.username or ''}:{HIDDEN}@"
    return parts._replace(netloc=user + parts.netloc.rpartition("@")[2]).geturl()
