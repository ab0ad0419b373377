"""What the commands of operators share: the settings of a group, and errors on one line."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import typer

from eos.core.errors import ConfigError, EosError, FatalError
from eos.core.settings import Settings
from eos.doors.environment import client_settings, from_environment
from eos.workers.contract import one_line

BAD_INPUT = 2
_NO_LOG = logging.NullHandler()


def group_settings(
    group: str, brokers: str, ledger: str, namespace: str | None, kafka: str | None
) -> Settings:
    """Give the settings of a group, as its workers have them in their environment.

    Args:
        group: The group.
        brokers: Bootstrap servers.
        ledger: URL of its ledger.
        namespace: Its namespace; the group's name by default.
        kafka: Path of a file with settings of the client.

    Raises:
        ConfigError: They are wrong, or no address is given.
    """
    found, faults = from_environment(os.environ)
    if faults:
        raise ConfigError(faults)
    given = {"brokers": brokers, "ledger": ledger, "namespace": namespace or group}
    settings = Settings(group=group, **{**found, **given})
    if kafka is not None:
        settings = replace(settings, kafka=client_settings(kafka))
    settings.check_servers("ledger")
    return settings


@contextmanager
def clear_errors() -> Iterator[None]:
    """Say what went wrong on one line; exit 2 where the question was wrong, else 1."""
    # The client tells of each connection that fails, many a second: one line at the end will do.
    logging.getLogger("eos").addHandler(_NO_LOG)
    try:
        yield
    except (ConfigError, FatalError) as error:
        print(f"eos: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from error
    except EosError as error:
        print(f"eos: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(1) from error
