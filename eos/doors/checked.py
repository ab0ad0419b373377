"""What `eos check` is to look at: everything that an app uses, or what options name."""

import importlib
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from eos.core.errors import ConfigError
from eos.core.settings import Settings
from eos.doors.app import App
from eos.doors.environment import client_settings, from_environment
from eos.operate.checks import Subject
from eos.workers.contract import load, split

_NAMELESS = "eos-check"


@dataclass(frozen=True, slots=True)
class Checked:
    """What to check.

    Attributes:
        subject: Settings and topics.
        databases: URLs or engines, by what the report calls them.
    """

    subject: Subject
    databases: Mapping[str, Any] = field(default_factory=dict)


def of_app(target: str) -> Checked | ConfigError:
    """Import an app, and see what it uses.

    Returns:
        The error instead, if the app's settings are wrong: a finding among others.

    Raises:
        ConfigError: There is no such app, or it is none.
    """
    module, _ = split(target)
    with suppress(Exception):  # `load` says what is wrong with a module, in words
        try:
            importlib.import_module(module)
        except ConfigError as error:
            return error
    app = load(target)
    if not isinstance(app, App):
        raise ConfigError([f"{target} is not an eos.App, but {app!r:.100}"])
    if not app.steps and app.relayed is None:
        raise ConfigError([f"{target} has no steps: write a handler with @app.step(topic)"])
    return _of_app(app)


def _of_app(app: App) -> Checked:
    from eos.stores.sql.connections import same_database  # noqa: PLC0415 as in the app itself

    settings, engines = app.settings, _engines(app)
    subject = Subject(
        settings=settings,
        grouped=False,
        sources=tuple(step.source for step in app.steps),
        targets=tuple(dict.fromkeys(step.to for step in app.steps if step.to is not None)),
        unrecovered=frozenset(
            step.source
            for step in app.steps
            if step.into is not None and same_database(engines[step.source].url, settings.ledger)
        ),
        audits=any(not step.plain and step.into is None for step in app.steps),
        relays=app.relayed is not None,
        instance_is_host=_is_host(settings),
    )
    distinct = {engine.url: engine for engine in [*engines.values(), app.relayed] if engine}
    return Checked(subject, _named(list(distinct.values())))


def of_options(
    named: Mapping[str, str | None],
    *,
    db: str | None,
    outbox: str | None,
    topics: Sequence[str],
    to: Sequence[str],
) -> Checked:
    """Give what options name; what they leave out stands in the environment, or is not checked.

    Raises:
        ConfigError: Nothing is named; or something that is cannot be.
    """
    if not any((named["brokers"], named["ledger"], db, outbox)):
        raise ConfigError(
            ["say what to check: module:app, or --brokers, --ledger, --db or --outbox"]
        )
    found, faults = from_environment(os.environ)
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if "kafka" in given:
        given["kafka"] = client_settings(given["kafka"])
    group = given.pop("group", None)
    if (topics or to) and not group:
        faults.append("group='': give --group beside --topic and --to")
    if outbox and not given.get("namespace"):
        faults.append("namespace='': give --namespace beside --outbox, as for `eos relay`")
    if faults:
        raise ConfigError(faults)
    name = group or given.get("namespace") or _NAMELESS
    settings = Settings(**{"group": name, "instance": socket.gethostname(), **found, **given})
    subject = Subject(
        settings=settings,
        grouped=group is not None,
        sources=tuple(dict.fromkeys(topics)),
        targets=tuple(dict.fromkeys(to)),
        transactional=bool(to),
        audits=bool(to),
        whole=False,
        relays=outbox is not None,
        instance_is_host=_is_host(settings),
    )
    databases = {"database": db, "outbox": outbox}
    return Checked(subject, {name: url for name, url in databases.items() if url})


def _engines(app: App) -> dict[str, Any]:
    """Give the databases that steps write to, by the topic that is read."""
    from eos.stores.sql.connections import engine_of  # noqa: PLC0415

    return {step.source: engine_of(step.into) for step in app.steps if step.into is not None}


def _named(engines: Sequence[Any]) -> dict[str, Any]:
    if len(engines) == 1:
        return {"database": engines[0]}
    return {f"database {number}": engine for number, engine in enumerate(engines, 1)}


def _is_host(settings: Settings) -> bool:
    return settings.instance == socket.gethostname() and "EOS_INSTANCE" not in os.environ
