"""`ledger events`, `show`, `verify`, `doctor`: reading the log and proving it."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from ledger import health, history
from ledger.aggregates import BY_TOPIC
from ledger.aggregates.base import fold_objects
from ledger.cli.context import ID, Context, json_option, say_json, say_table
from ledger.errors import NotFound
from ledger.facts import as_fact
from ledger.log import Log, RecordedEvent
from ledger.log.log import prepare
from ledger.log.seals import Verification, export, read_export
from ledger.log.seals import verify as verify_log
from ledger.stripe_objects.readers import view_of


@click.command()
@click.option("--stream", type=ID, help="Only of this stream (sub_…, cus_…, account).")
@click.option("--customer", type=ID, help="Only about this customer.")
@click.option("--type", "type_", type=ID, help="A Stripe type or a topic of ours.")
@click.option("--stripe-event-id", type=ID, help="Only this evt_….")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@click.pass_obj
def events(
    context: Context,
    stream: str | None,
    customer: str | None,
    type_: str | None,
    stripe_event_id: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show the log, newest first."""
    chosen = history.Filter(stream, customer, type_, stripe_event_id)
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        prepare(connection)
        found, has_more = history.select(connection, chosen, limit=limit)
    if as_json:
        say_json([history.as_json(event) for event in found])
        return
    rows = [_row(event) for event in found]
    say_table(rows, ["position", "occurred_at", "stream", "type", "stripe_type", "stripe_event_id"])
    if has_more:
        click.echo(f"… older ones exist; --limit shows more than {limit}.")


def _row(event: RecordedEvent) -> dict[str, Any]:
    return {**history.as_json(event), "occurred_at": event.occurred_at}


@click.command()
@click.argument("stream", type=ID)
@json_option
@click.pass_obj
def show(context: Context, stream: str, as_json: bool) -> None:
    """Show a stream: its state as it follows from its events, then the events."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        recorded = Log(connection).stream(stream)
    if not recorded:
        raise NotFound(
            f"There is no stream {stream!r} in this ledger. Streams are subscriptions (sub_…), "
            "customers (cus_…) and `account`; `ledger events` shows which there are."
        )
    states = fold_objects(as_fact(event) for event in recorded if event.topic in BY_TOPIC)
    told = [
        {
            "id": state.object_id,
            "object": state.kind,
            "as_of": state.occurred_at,
            "mark": state.settled.mark,
            "state": view_of(dict(state.settled.winner.snapshot)),
        }
        for state in sorted(states.values(), key=lambda state: (state.kind, state.object_id))
    ]
    if as_json:
        import msgspec  # noqa: PLC0415

        say_json(
            {
                "stream": stream,
                "objects": [{**one, "state": msgspec.to_builtins(one["state"])} for one in told],
                "events": [history.as_json(event) for event in recorded],
            }
        )
        return
    click.secho(stream, bold=True)
    for one in told:
        state: Any = one["state"]
        status = f" is {state.status}" if state.status else ""
        sure = "" if one["mark"] != "assumed" else " (assumed)"
        click.echo(f"  {one['object']} {one['id']}{status}{sure}, as of {one['as_of']:%F %T} UTC")
    click.echo()
    rows = [_row(event) for event in recorded]
    say_table(rows, ["position", "occurred_at", "type", "stripe_type", "stripe_event_id"])


@click.command()
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Write the seals.")
@click.option("--against", type=click.Path(path_type=Path), help="Check seals written earlier.")
@json_option
@click.pass_obj
def verify(context: Context, export_to: Path | None, against: Path | None, as_json: bool) -> None:
    """Prove that the log is what was sealed, or say where it is not. Exits 1 on a finding."""
    kept = read_export(against) if against else []
    quiet = as_json or not sys.stderr.isatty()
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        bar = (
            nullcontext()
            if quiet
            else click.progressbar(length=1000, label="Verifying", file=sys.stderr)
        )
        with bar as shown:

            def progress(done: int, total: int) -> None:
                if shown is not None and total:
                    shown.update(done * 1000 // total - shown.pos)

            found = verify_log(connection, kept, progress)
        exported = export(connection, export_to) if export_to else None
    if as_json:
        say_json(
            {
                "clean": found.is_clean,
                "sealed_to": found.sealed_to,
                "last_position": found.last_position,
                "unsealed": found.unsealed,
                "head": found.head,
                "findings": [
                    {"kind": one.kind, "position": one.position, "detail": one.detail}
                    for one in found.findings
                ],
                "exported": exported,
            }
        )
    else:
        _tell(found, kept, exported, export_to)
    if not found.is_clean:
        raise click.exceptions.Exit(1)


def _tell(
    found: Verification,
    kept: list[dict[str, Any]],
    exported: int | None,
    export_to: Path | None,
) -> None:
    for one in found.findings:
        click.secho(f"{one.kind} at {one.position}: {one.detail}", fg="red")
    if found.is_clean and found.sealed_to:
        click.secho(f"Sealed and unchanged: 1 to {found.sealed_to}.", fg="green")
        click.echo(f"Chain ends in {found.head}")
    if not found.last_position:
        click.echo("The log is empty: there is nothing to verify yet.")
    if found.is_clean and kept:
        click.echo(f"All {len(kept)} exported seals are those of this log.")
    if found.unsealed:
        click.echo(
            f"Not sealed yet: {found.sealed_to + 1} to {found.last_position} "
            f"({found.unsealed} events); only gaps can be seen there."
        )
    if exported is not None:
        click.echo(f"{exported} seals written to {export_to}; keep them on another machine.")


@click.command()
@json_option
@click.pass_obj
def doctor(context: Context, as_json: bool) -> None:
    """Say how the ledger does and what needs a look. Exits 1 if anything does."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        prepare(connection)
        state = health.status(ledger, connection)
        found = health.warnings(context.settings, ledger, connection)
    if as_json:
        say_json(
            {
                "status": state,
                "warnings": [{"code": one.code, "sentence": one.sentence} for one in found],
            }
        )
    else:
        log = state["log"]
        click.echo(
            f"Ledger `{state['ledger']}` ({state['mode']}): {log['position']} events, sealed to "
            f"{log['sealed_to']}, views {state['lag_events']} behind."
        )
        for name, count in {**state["counts"], **state["deliveries"]}.items():
            click.echo(f"  {name.replace('_', ' '):24}{count:>10}")
        for one in found:
            click.secho(f"! {one.sentence}", fg="yellow")
        if not found:
            click.secho("Nothing needs a look.", fg="green")
    if found:
        raise click.exceptions.Exit(1)


COMMANDS = (events, show, verify, doctor)
