"""`eos replay`: has what a group has settled handled again."""

import re
import uuid
from collections.abc import Mapping
from typing import Annotated

import typer

from eos.cli.moments import moment
from eos.cli.operators import clear_errors, group_settings
from eos.cli.patience import patiently
from eos.cli.relay import KAFKA
from eos.core.errors import ConfigError
from eos.operate.replay_plan import Place, Plan, Wanted

PATIENCE_SECONDS = 20.0


def replay(
    group: Annotated[str, typer.Argument(help="Who consumes; its workers must be stopped.")],
    topic: Annotated[str, typer.Argument(help="The topic that it reads.")],
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="WHERE",
            help="An offset (1500), a time (2026-11-23T08:00), or for how long back (2h).",
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is written into the audit.")],
    brokers: Annotated[str, typer.Option(envvar="EOS_BROKERS", help="host:port,host:port")],
    ledger: Annotated[str, typer.Option(envvar="EOS_LEDGER", help="redis://host:port/0, …")],
    until: Annotated[
        str | None, typer.Option(metavar="WHERE", help="Up to there; default: all that is settled.")
    ] = None,
    partitions: Annotated[
        str | None, typer.Option(metavar="N,N…", help="In these partitions; default: all.")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", help="Only this idempotency key; can be given several times."),
    ] = None,
    outputs: Annotated[
        str, typer.Option(help="Ids of outputs: `same` as in the first run, or `new` ones.")
    ] = "same",
    into: Annotated[
        str | None, typer.Option(metavar="URL", help="Inbox tier: the database of the effects.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(envvar="EOS_NAMESPACE", help="Default: the group.")
    ] = None,
    kafka: Annotated[str | None, KAFKA] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
) -> None:
    """Have records handled again that are settled. What was suppressed as a duplicate stays so.

    EOS_SECRET and EOS_SCOPE must be those of the workers.
    """
    from eos import build  # noqa: PLC0415 the servers' libraries take a while

    with clear_errors():
        wanted = _wanted(topic, begin, until, partitions, keys or [], outputs)
        if not reason.strip():
            raise ConfigError(["--reason is empty: say why, for those who read the audit"])
        settings = group_settings(group, brokers, ledger, namespace, kafka)
        if settings.ledger.startswith("memory:"):
            raise ConfigError(["ledger='memory:' is gone with its process: nothing to replay"])
        replays = build.replays(settings, into)
        plan = patiently(lambda: replays.plan(wanted), PATIENCE_SECONDS)
        if dry_run:
            _show(plan, patiently(lambda: replays.count(plan), PATIENCE_SECONDS))
            return
        patiently(lambda: replays(plan, reason), PATIENCE_SECONDS)
    for number, span in sorted(plan.spans.items()):
        again = f"{span.start:,} to {span.replay.until:,}"
        typer.echo(f"{topic}[{number}]  {again} will be handled again, of {span.replay.peak:,}")
    if plan.letters:
        typer.echo(f"{len(plan.letters)} dead letters are done with: their records are among them")
    typer.echo("Start the workers now.")


def _wanted(
    topic: str,
    begin: str,
    until: str | None,
    partitions: str | None,
    keys: list[str],
    outputs: str,
) -> Wanted:
    if outputs not in {"same", "new"}:
        raise ConfigError([f"outputs={outputs!r}: choose one of same, new"])
    if "" in keys:
        raise ConfigError(["--key is empty"])
    numbers = (partitions or "").replace(" ", "")
    if partitions is not None and not re.fullmatch(r"\d{1,9}(,\d{1,9})*", numbers):
        raise ConfigError([f"partitions={partitions!r}: write numbers, such as 0,3"])
    first, last = _place("from", begin), _place("until", until) if until is not None else None
    if last is not None and (first.offset < 0) == (last.offset < 0) and last <= first:
        raise ConfigError([f"from={begin!r} is not before until={until!r}"])
    run = uuid.uuid4().hex[:12] if outputs == "new" else ""
    where = [int(number) for number in numbers.split(",") if number]
    return Wanted(topic, first, last, where, keys, run)


def _place(option: str, given: str) -> Place:
    if re.fullmatch(r"\d{1,18}", given):
        return Place(int(given))
    found = moment(option, given)
    return Place(-1, (found or 0) // 1000)


def _show(plan: Plan, counted: Mapping[int, tuple[int, int]]) -> None:
    for number, (records, suppressed) in sorted(counted.items()):
        span = plan.spans[number]
        again = f"{span.start:,} to {span.replay.until:,}"
        told = f"{records:,} records, of which {suppressed:,} stay suppressed"
        typer.echo(f"{plan.topic}[{number}]  {again}: {told}")
    total = sum(records - suppressed for records, suppressed in counted.values())
    keys = " whose keys were given" if any(s.replay.keys for s in plan.spans.values()) else ""
    typer.echo(f"At most {total:,} records{keys} would be handled again. Nothing was changed.")
