"""`eos ledger`: how a ledger stands, and why a record was suppressed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from eos.cli.patience import patiently
from eos.cli.relay import KAFKA
from eos.core.errors import ConfigError, EosError, FatalError
from eos.core.settings import Settings
from eos.doors.environment import client_settings, from_environment
from eos.operate.ledger import Explanation, Inspect
from eos.operate.ledger import Status as LedgerStatus
from eos.workers.contract import one_line

BAD_INPUT = 2
PATIENCE_SECONDS = 8.0

Topic = Annotated[str, typer.Argument(help="The topic that the group reads.")]
Brokers = Annotated[str, typer.Option(envvar="EOS_BROKERS", help="host:port,host:port")]
Url = Annotated[str, typer.Option(envvar="EOS_LEDGER", help="redis://host:port/0, …")]
Group = Annotated[str, typer.Option(envvar="EOS_GROUP", help="Who consumes.")]
Namespace = Annotated[str | None, typer.Option(envvar="EOS_NAMESPACE", help="Default: the group.")]

ledger = typer.Typer(
    help="Look at a ledger. EOS_SECRET, EOS_SCOPE and EOS_WINDOW must be those of the workers."
)


@ledger.command()
def status(
    topic: Topic,
    brokers: Brokers,
    ledger: Url,
    group: Group,
    namespace: Namespace = None,
    kafka: Annotated[str | None, KAFKA] = None,
) -> None:
    """Say whether it is open, how far each partition is, and how many keys it has."""
    with _clear_errors():
        look = _inspect(brokers, ledger, group, namespace, kafka)
        found = patiently(lambda: look.status(topic), PATIENCE_SECONDS)
    _show(topic, found)


@ledger.command()
def explain(
    key: Annotated[str, typer.Argument(metavar="ID", help="An idempotency key.")],
    topic: Topic,
    brokers: Brokers,
    ledger: Url,
    group: Group,
    namespace: Namespace = None,
    kafka: Annotated[str | None, KAFKA] = None,
) -> None:
    """Say which record owns an idempotency key, and what was suppressed in favour of it."""
    with _clear_errors():
        look = _inspect(brokers, ledger, group, namespace, kafka)
        found = patiently(lambda: look.explain(topic, key), PATIENCE_SECONDS)
    _tell(topic, key, found)


@ledger.command()
def sources(
    topic: Topic,
    brokers: Brokers,
    ledger: Url,
    group: Group,
    namespace: Namespace = None,
    kafka: Annotated[str | None, KAFKA] = None,
    top: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
) -> None:
    """Say who sends the most duplicates, by the header that names the sender."""
    with _clear_errors():
        look = _inspect(brokers, ledger, group, namespace, kafka)
        found = patiently(lambda: look.sources(topic, top), PATIENCE_SECONDS)
    for name, count in found:
        typer.echo(f"{count:12,}  {name}")
    if not found:
        typer.echo(f"No record of {topic} was suppressed, as far as the audit goes back.")


def _show(topic: str, found: LedgerStatus) -> None:
    state = found.ledger
    if state.recovering:
        stands = "being recovered"
    else:
        stands = "open" if state.sealed else "closed: the next worker that claims recovers it"
    typer.echo(f"{topic}  {stands}")
    typer.echo(f"topic id      {found.topic_id}")
    for generation in state.generations:
        typer.echo(f"keys          {generation.owners:,} that end with {_when(generation.ends)}")
    typer.echo("partition     frontier         end       floor     claimed  epoch")
    for number, frontier, end, known in found.partitions:
        settled = "-" if frontier is None else f"{frontier:,}"
        told = f"{settled:>12} {end:11,} {known.floor:11,} {known.claimed:11,}  {known.epoch}"
        typer.echo(f"{number:9} {told}")


def _tell(topic: str, key: str, found: Explanation) -> None:
    if not found.claimants:
        typer.echo(
            f"{key!r} has no owner in {topic}: nobody claimed it within the window, or EOS_SECRET, "
            "EOS_SCOPE or the namespace are not those of the workers."
        )
    for owner, settled, log_time in found.claimants:
        state = "settled" if settled else "not settled: it is being handled, or is to be"
        sent = "no longer in the log" if log_time is None else f"of {_when(log_time)}"
        typer.echo(f"owner      {topic}[{owner.partition}]@{owner.offset}  {sent}, {state}")
    for entry in found.entries:
        copy = entry.suppressed
        by = f", from {copy.source}" if copy.source else ""
        place = f"{topic}[{copy.partition}]@{copy.offset}"
        favour = f"{topic}[{copy.owner.partition}]@{copy.owner.offset}"
        sent = _when(copy.log_time)
        typer.echo(f"{copy.verdict:9}  {place}  of {sent}{by}: suppressed in favour of {favour}")
    if found.claimants and not found.entries:
        typer.echo("No copy of it was suppressed, as far as the audit goes back.")


def _when(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"


def _inspect(
    brokers: str, url: str, group: str, namespace: str | None, kafka: str | None
) -> Inspect:
    from eos import build  # noqa: PLC0415 the servers' libraries take a while

    found, faults = from_environment(os.environ)
    if faults:
        raise ConfigError(faults)
    given = {"brokers": brokers, "ledger": url, "namespace": namespace or group}
    settings = Settings(group=group, **{**found, **given})
    if kafka is not None:
        settings = replace(settings, kafka=client_settings(kafka))
    settings.check_servers()
    return build.inspect(settings)


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except (ConfigError, FatalError) as error:
        print(f"eos: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(BAD_INPUT) from error
    except EosError as error:
        print(f"eos: {one_line(error)}", file=sys.stderr)
        raise typer.Exit(1) from error
