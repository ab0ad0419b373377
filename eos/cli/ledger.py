"""`eos ledger`: how a ledger stands, and why a record was suppressed."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from eos.cli.operators import clear_errors, group_settings
from eos.cli.patience import patiently
from eos.cli.relay import KAFKA
from eos.core.errors import ConfigError, RetriableError
from eos.core.rules import HANDLED
from eos.operate.ledger import Explanation, Inspect
from eos.operate.ledger import Status as LedgerStatus

PATIENCE_SECONDS = 8.0

Topic = Annotated[str, typer.Argument(help="The topic that the group reads.")]
Brokers = Annotated[str, typer.Option(envvar="EOS_BROKERS", help="host:port,host:port")]
Url = Annotated[str, typer.Option(envvar="EOS_LEDGER", help="redis://host:port/0, …")]
Group = Annotated[str, typer.Option(envvar="EOS_GROUP", help="Who consumes.")]
Namespace = Annotated[str | None, typer.Option(envvar="EOS_NAMESPACE", help="Default: the group.")]

ledger = typer.Typer(
    help="Look after a ledger. EOS_SECRET, EOS_SCOPE and EOS_WINDOW must be those of the workers."
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
    with clear_errors():
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
    with clear_errors():
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
    with clear_errors():
        look = _inspect(brokers, ledger, group, namespace, kafka)
        found = patiently(lambda: look.sources(topic, top), PATIENCE_SECONDS)
    for name, count in found:
        typer.echo(f"{count:12,}  {name}")
    if not found:
        typer.echo(f"No record of {topic} was suppressed, as far as the audit goes back.")


@ledger.command()
def recover(
    topic: Topic,
    brokers: Brokers,
    ledger: Url,
    group: Group,
    namespace: Namespace = None,
    kafka: Annotated[str | None, KAFKA] = None,
) -> None:
    """Break the seal: the next worker that claims rebuilds the ledger from the log.

    Workers may run meanwhile: what they have in hand is aborted and handled again.
    """
    with clear_errors():
        look = _inspect(brokers, ledger, group, namespace, kafka)
        patiently(lambda: look.unseal(topic), PATIENCE_SECONDS)
    typer.echo(f"The ledger of {topic} is closed: the next worker that claims recovers it.")


@ledger.command()
def purge(
    brokers: Brokers,
    ledger: Url,
    group: Group,
    topic: Annotated[str | None, typer.Argument(help="The topic that the group reads.")] = None,
    topic_id: Annotated[
        str | None, typer.Option(help="Of a topic that was deleted: its id, in place of its name.")
    ] = None,
    namespace: Namespace = None,
    kafka: Annotated[str | None, KAFKA] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False,
) -> None:
    """Delete all that the ledger knows of a topic, and break the seal.

    If the group goes on with it, that is recovered from the log, as after any loss: then nothing
    but memory is gained, and steps without `to=` find what was in flight in doubt.
    """
    with clear_errors():
        if (topic is None) == (topic_id is None):
            raise ConfigError(["say which: a topic, or --topic-id of one that was deleted"])
        if topic_id is not None and not re.fullmatch(r"[A-Za-z0-9_-]{22}", topic_id):
            raise ConfigError([f"topic-id={topic_id!r} is none: it has 22 letters and digits"])
        if not yes:
            raise ConfigError([f"this deletes the keys of {topic or topic_id!r}: add --yes"])
        look = _inspect(brokers, ledger, group, namespace, kafka)
        if not patiently(lambda: look.purge(topic, topic_id), PATIENCE_SECONDS):
            raise RetriableError(f"a worker recovers {topic or topic_id} now: run it again later")
    typer.echo(f"The ledger knows nothing of {topic or topic_id} any more.")


def _show(topic: str, found: LedgerStatus) -> None:
    state = found.ledger
    if state.recovering:
        done = len(state.done)
        stands = "being recovered" + (f": {done} of {len(found.partitions)} done" if done else "")
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
    for owner, settled, log_time, until, void in found.claimants:
        state = "settled" if settled else "not settled: it is being handled, or is to be"
        if void:
            state = "void: the log lost it before it was handled, and the next copy will be"
        sent = "no longer in the log" if log_time is None else f"of {_when(log_time)}"
        typer.echo(f"owner      {topic}[{owner.partition}]@{owner.offset}  {sent}, {state}")
        if until is not None:
            typer.echo(f"kept       until all partitions have come to {_when(until)}")
    for entry in found.entries:
        copy = entry.suppressed
        by = f", from {copy.source}" if copy.source else ""
        place = f"{topic}[{copy.partition}]@{copy.offset}"
        favour = f"{topic}[{copy.owner.partition}]@{copy.owner.offset}"
        sent = _when(copy.log_time)
        if copy.verdict in HANDLED:
            typer.echo(f"redriven   {place}: published again, and {favour} has taken its key over")
            continue
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

    return build.inspect(group_settings(group, brokers, url, namespace, kafka))
