"""`eos check`: whether all that an application uses is as it must be."""

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from eos.cli.check_report import Report
from eos.cli.relay import KAFKA
from eos.core.errors import ConfigError
from eos.doors import checked
from eos.operate import checks
from eos.workers.contract import one_line

SECONDS = 25.0
"""How long a check may take. The slowest wait for open transactions, of 10 s."""
BAD_INPUT = 2


def check(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE:APP", help="Where your eos.App is; without it, what the options name."
        ),
    ] = None,
    brokers: Annotated[
        str | None, typer.Option(envvar="EOS_BROKERS", help="host:port,host:port")
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(envvar="EOS_LEDGER", help="redis://host:port/0, …")
    ] = None,
    db: Annotated[
        str | None,
        typer.Option(envvar="EOS_DB", metavar="URL", help="A database of an eos.Inbox."),
    ] = None,
    outbox: Annotated[
        str | None,
        typer.Option(envvar="EOS_OUTBOX", metavar="URL", help="One that `eos relay` publishes."),
    ] = None,
    group: Annotated[str | None, typer.Option(envvar="EOS_GROUP", help="Who consumes.")] = None,
    namespace: Annotated[
        str | None, typer.Option(envvar="EOS_NAMESPACE", help="Default: the group.")
    ] = None,
    kafka: Annotated[str | None, KAFKA] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="A topic that is read; can be given several times.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(help="One that is published to; can be given several times.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the topics that are missing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """See that servers, topics, rights and settings are as an application needs them.

    With MODULE:APP everything that the app uses is checked. Without, what the options, or the
    environment, name: for a loop around eos.Consumer, an inbox, a relay.

    The exit code is 1 if there is a fault, 2 if it is not clear what to check.
    """
    logging.getLogger("eos").setLevel(logging.CRITICAL)  # what matters stands in the report
    report = Report(as_json=as_json)
    try:
        if target is not None:
            _only(context, "target", "create", "as_json")
            found = _app(target)
        else:
            named = {
                "brokers": brokers,
                "ledger": ledger,
                "group": group,
                "namespace": namespace,
                "kafka": kafka,
            }
            found = checked.of_options(named, db=db, outbox=outbox, topics=topic or [], to=to or [])
    except ConfigError as error:
        print(f"eos: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from error
    _run(found, report, create=create)
    _leave(1 if report.faults else 0)


def _leave(code: int) -> NoReturn:
    """End the process, though a check may hang in a library: Python's own end could crash there."""
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def _app(target: str) -> checked.Checked | ConfigError:
    """Import an app as a worker does; its wrong settings are a finding, not bad input."""
    sys.path.insert(0, str(Path.cwd()))
    return checked.of_app(target)


def _run(found: checked.Checked | ConfigError, report: Report, *, create: bool) -> None:
    from eos import build  # noqa: PLC0415 the servers' libraries take a while

    began = time.monotonic()
    if isinstance(found, ConfigError):
        report.section("settings", checks.of_error("settings", found))
    else:
        sections = build.checks(found.subject, found.databases, create=create)
        for name, findings in checks.run(sections, SECONDS):
            report.section(name, findings)
    report.end(time.monotonic() - began)


def _only(context: typer.Context, *names: str) -> None:
    """Refuse options that an app makes meaningless; the environment may hold what it likes."""
    given = [
        f"--{name}"
        for name in context.params
        if name not in names
        and (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise ConfigError([f"the app itself says what it uses: leave {', '.join(given)} out"])
