"""Checks of everything that an application, or a loop, uses: adapters bring facts, rules judge."""

from collections.abc import Mapping
from typing import Any

from eos.build.check_brokers import brokers
from eos.build.check_stores import database, ledger
from eos.kafka import config, trial
from eos.operate.checks import Check, Finding, Section, Subject, fault, ok
from eos.operate.checks import preferences as rules


def checks(
    subject: Subject, databases: Mapping[str, Any], *, create: bool = False
) -> list[Section]:
    """Give the checks, server by server; nothing is asked before they run.

    Args:
        subject: What is to be checked.
        databases: Databases that effects go into, or an outbox is in, by what they are called.
        create: Whether topics that are missing are made first.
    """
    sections, settings = [_settings(subject)], subject.settings
    topic_ids: dict[str, str] = {}
    if settings.brokers:
        sections.append(brokers(subject, topic_ids, create=create))
    if settings.ledger and not settings.ledger.startswith("memory:"):
        sections.append(ledger(subject, topic_ids))
    for name, found in databases.items():
        sections.append(database(name, found, subject, topic_ids))
    return sections


def _settings(subject: Subject) -> Section:
    return Section(
        "settings",
        [
            Check("addresses", lambda: rules.servers(subject)),
            Check("secret", lambda: rules.secret(subject)),
            Check("instance", lambda: rules.instance(subject)),
            Check("time-outs", lambda: rules.time_outs(subject)),
            Check("kafka settings", lambda: _client(subject)),
        ],
    )


def _client(subject: Subject) -> list[Finding]:
    """See that the client takes what it is given."""
    settings = subject.settings
    producer = config.producer(settings, settings.transactional_id(0))
    faults = trial.client_faults(config.consumer(settings), producer)
    advice = "correct it; librdkafka's CONFIGURATION.md lists what there is"
    if faults:
        return [fault("kafka settings", text, advice) for text in faults]
    return [ok("kafka settings", f"{len(settings.kafka)} given, all known to the client")]
