"""`eos dlq`: looks after dead letters."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Annotated

import typer

from eos.cli.dlq_selection import selection_of
from eos.cli.dlq_shown import in_full, line, table
from eos.cli.operators import clear_errors
from eos.cli.patience import patiently
from eos.cli.relay import KAFKA
from eos.core.errors import (
    AbortableError,
    ConfigError,
    FencedError,
    RetriableError,
)
from eos.core.letters import Letter
from eos.core.settings import Settings
from eos.doors.environment import client_settings
from eos.operate.letters import Found, Letters, Selection
from eos.operate.redrive import Outcome, Redrive

Namespace = Annotated[
    str,
    typer.Option(
        envvar="EOS_NAMESPACE",
        help="Of the workers; it is the group by default.",
        show_default=False,
    ),
]
Brokers = Annotated[
    str, typer.Option(envvar="EOS_BROKERS", help="host:port,host:port", show_default=False)
]
Kafka = Annotated[str | None, KAFKA]
Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", help="handler_failed, conflict, …; can be given several times."),
]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Where they came from.")]
Keys = Annotated[list[str] | None, typer.Option("--key", help="Their idempotency keys.")]
Since = Annotated[str | None, typer.Option(help="Since a time, or for so long: 2h, 2026-11-23.")]
Until = Annotated[str | None, typer.Option(help="Before a time, or until so long ago.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As list shows them.")]
Every = Annotated[bool, typer.Option("--all", help="All that are not done with.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]

dlq = typer.Typer(help="Look after dead letters.")


@dlq.command(name="list")
def list_(
    namespace: Namespace = "",
    brokers: Brokers = "",
    kafka: Kafka = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Keys = None,
    since: Since = None,
    until: Until = None,
    done: Annotated[bool, typer.Option("--done", help="Also those that are done with.")] = False,
) -> None:
    """Show which there are, and why."""
    with _clear_errors(namespace):
        selection = selection_of([], reason, topic, key, since, until)
        with closing(_letters(namespace, brokers, kafka)) as letters:
            found = patiently(letters.find)
            _check_topics(letters, found, selection)
    chosen = found.chosen(selection, done=done)
    for row in table(chosen, found.notes):
        typer.echo(row)
    hidden = len(found.chosen(selection, done=True)) - len(chosen)
    more = f", {hidden} more {'is' if hidden == 1 else 'are'} done with" if hidden else ""
    typer.echo(f"{_counted(len(chosen))}{more}")
    if found.strangers == 1:
        typer.echo("1 record of the topic is no dead letter of eos", err=True)
    elif found.strangers:
        typer.echo(f"{found.strangers} records of the topic are no dead letters of eos", err=True)


@dlq.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As list shows it.")],
    namespace: Namespace = "",
    brokers: Brokers = "",
    kafka: Kafka = None,
    payload: Annotated[
        bool, typer.Option("--payload", help="Write out its payload alone, byte by byte.")
    ] = False,
) -> None:
    """Show all that is known of one, and what it holds."""
    with _clear_errors(namespace):
        selection = selection_of([id_], None, None, None, None, None)
        with closing(_letters(namespace, brokers, kafka)) as letters:
            found = patiently(letters.find)
            letter = _named(found, selection)[0]
            place = letter.place
            only = {place.offset: letter}
            read = patiently(lambda: list(letters.payloads(place.partition, only)))
        held = read[0][1] if read else None
        if payload and (held is None or held.value is None):
            raise ConfigError([f"{place} has no payload{' any more' if held is None else ''}"])
    if payload and held is not None:
        sys.stdout.buffer.write(held.value or b"")
        return
    for row in in_full(letter, found.notes.get(place), held):
        typer.echo(row)


@dlq.command()
def redrive(
    namespace: Namespace = "",
    brokers: Brokers = "",
    ids: Ids = None,
    kafka: Kafka = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Keys = None,
    since: Since = None,
    until: Until = None,
    every: Every = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that are done with already.")
    ] = False,
    dry_run: Dry = False,
) -> None:
    """Publish them again where they came from, to be handled once.

    It may be killed and run again. What was handled meanwhile is suppressed by the claim.
    """
    from eos import build  # noqa: PLC0415 the servers' libraries take a while

    with _clear_errors(namespace):
        selection = selection_of(ids, reason, topic, key, since, until, every=every)
        chosen = _looked(namespace, brokers, kafka, selection, done=again)
        outcome = Outcome()
        if chosen and not dry_run:
            settings = _settings(namespace, brokers, kafka)
            with closing(build.redrive(settings)) as doing:
                outcome = _persistently(doing, lambda: doing(selection, again=again))
    if dry_run:
        _tell_dry(chosen, "redriven")
        return
    typer.echo(f"{_counted(outcome.done)} redriven")
    for place, why in outcome.left.items():
        typer.echo(line(f"{place} is left: {why}"), err=True)
    if outcome.left:
        raise typer.Exit(1)


@dlq.command()
def discard(
    namespace: Namespace = "",
    brokers: Brokers = "",
    ids: Ids = None,
    kafka: Kafka = None,
    reason: Reasons = None,
    topic: Topics = None,
    key: Keys = None,
    since: Since = None,
    until: Until = None,
    every: Every = False,
    dry_run: Dry = False,
) -> None:
    """Have list show them no more. They stay in the log for as long as it keeps them."""
    from eos import build  # noqa: PLC0415

    with _clear_errors(namespace):
        selection = selection_of(ids, reason, topic, key, since, until, every=every)
        chosen = _looked(namespace, brokers, kafka, selection, done=False)
        outcome = Outcome()
        if chosen and not dry_run:
            settings = _settings(namespace, brokers, kafka)
            with closing(build.redrive(settings)) as doing:
                outcome = _persistently(doing, lambda: doing.discard(selection))
    if dry_run:
        _tell_dry(chosen, "discarded")
    else:
        typer.echo(f"{_counted(outcome.done)} discarded")


def _looked(
    namespace: str, brokers: str, kafka: str | None, selection: Selection, *, done: bool
) -> list[Letter]:
    """See which letters are meant, before anything is changed."""
    with closing(_letters(namespace, brokers, kafka)) as letters:
        found = patiently(letters.find)
        _check_topics(letters, found, selection)
    for letter in _named(found, selection):
        if (note := found.notes.get(letter.place)) and not done:
            typer.echo(f"{letter.place} was {note.done.value} already", err=True)
    return found.chosen(selection, done=done)


def _persistently(doing: Redrive, do: Callable[[], Outcome]) -> Outcome:
    """Wait for servers that are away, and anew for as long as something is done in between."""
    while True:
        before = doing.committed
        try:
            return patiently(do)
        except (RetriableError, AbortableError):
            if doing.committed == before:
                raise


def _tell_dry(chosen: list[Letter], what: str) -> None:
    for row in table(chosen, {}):
        typer.echo(row)
    typer.echo(f"{_counted(len(chosen))} would be {what}")


def _named(found: Found, selection: Selection) -> list[Letter]:
    """Give the letters whose ids were given."""
    missing = sorted(set(selection.places) - set(found.letters))
    if missing:
        raise ConfigError([f"{place} is no dead letter" for place in missing])
    return [found.letters[place] for place in sorted(set(selection.places))]


def _check_topics(letters: Letters, found: Found, selection: Selection) -> None:
    known = {letter.topic for letter in found.letters.values()}
    for name in sorted(set(selection.topics) - known):
        if patiently(partial(letters.describe, name)) is None:
            raise ConfigError([f"topic {name!r} does not exist, and no dead letter came from it"])


def _counted(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


def _letters(namespace: str, brokers: str, kafka: str | None) -> Letters:
    from eos import build  # noqa: PLC0415

    return build.letters(_settings(namespace, brokers, kafka))


def _settings(namespace: str, brokers: str, kafka: str | None) -> Settings:
    missing = [
        f"{what} missing: write {option} or set {variable}"
        for what, option, variable, given in (
            ("the namespace is", "--namespace NAME", "EOS_NAMESPACE", namespace),
            ("brokers are", "--brokers host:port,host:port", "EOS_BROKERS", brokers),
        )
        if not given
    ]
    if missing:
        raise ConfigError(missing)
    client = client_settings(kafka) if kafka else {}
    try:
        return Settings(group=namespace, namespace=namespace, brokers=brokers, kafka=client)
    except ConfigError as error:  # nobody gave a group
        told = [fault for fault in error.faults if not fault.startswith("group=")]
        raise ConfigError(told) from error


@contextmanager
def _clear_errors(namespace: str) -> Iterator[None]:
    with clear_errors():
        try:
            yield
        except FencedError as error:
            told = f"another eos dlq works on the letters of {namespace!r}"
            print(f"eos: {told}: run this one again after it", file=sys.stderr)
            raise typer.Exit(1) from error
