"""`ledger events`, `show`, `diff`, `explain`: what is in the log, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from ledger import history
from ledger.application import Ledger
from ledger.causes import Causes, causes_of
from ledger.cli.context import ID, Context, json_option, say_json, say_table
from ledger.errors import RequestInvalid
from ledger.files import replacing
from ledger.log import Log, RecordedEvent
from ledger.log.evidence import write_evidence
from ledger.log.log import prepare
from ledger.log.seals import seal
from ledger.moments import Moment, moment_of
from ledger.projections.crm.explain import MODELS
from ledger.projections.crm.explain import explain as explain_row
from ledger.streams import Change, changes_between, stream_at
from ledger.stripe_objects.readers import view_of

as_of_option = click.option(
    "--as-of", metavar="T", help="What was true then: 2026-03-31, an instant, or unix seconds."
)
known_at_option = click.option(
    "--known-at", metavar="T|POSITION", help="What was known then: an instant, or a position."
)
_COLUMNS = ["position", "occurred_at", "stream", "type", "stripe_type", "stripe_event_id"]


@click.command()
@click.option("--stream", type=ID, help="Only of this stream (sub_…, cus_…, account).")
@click.option("--customer", type=ID, help="Only about this customer.")
@click.option("--type", "type_", type=ID, help="A Stripe type or a topic of ours.")
@click.option("--stripe-event-id", type=ID, help="Only this evt_….")
@click.option("--actor", help="Only what this person or program did or was told.")
@as_of_option
@known_at_option
@click.option(
    "--causes", type=ID, metavar="EVENT", help="What led to this event, and to what it led."
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option(
    "--export",
    "export_to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all that match, with proof for outsiders (see `ledger verify FILE`).",
)
@json_option
@click.pass_obj
def events(
    context: Context,
    stream: str | None,
    customer: str | None,
    type_: str | None,
    stripe_event_id: str | None,
    actor: str | None,
    as_of: str | None,
    known_at: str | None,
    causes: str | None,
    limit: int,
    export_to: Path | None,
    as_json: bool,
) -> None:
    """Show the log, newest first; or the chain of causes around one event; or export events."""
    if causes and any(
        (stream, customer, type_, stripe_event_id, actor, export_to, as_of, known_at)
    ):
        raise RequestInvalid(
            "--causes is about one event; it takes no filters and exports nothing."
        )
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        prepare(connection)
        if causes:
            _tell_causes(causes_of(connection, causes), as_json=as_json)
            return
        moment = moment_of(connection, as_of, known_at, ledger.clock.now())
        chosen = history.Filter(stream, customer, type_, stripe_event_id, moment, actor)
        if export_to:
            _export(ledger, connection, chosen, export_to, as_json=as_json)
            return
        found, has_more = history.select(connection, chosen, limit=limit)
    if as_json:
        say_json([history.as_json(event) for event in found])
        return
    say_table([_row(event) for event in found], _COLUMNS)
    if has_more:
        click.echo(f"… older ones exist; --limit shows more than {limit}.")


def _row(event: RecordedEvent) -> dict[str, Any]:
    return {**history.as_json(event), "occurred_at": event.occurred_at}


def _tell_causes(found: Causes, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "event": history.as_json(found.event),
                "request": found.request,
                "caused_by": [history.as_json(one) for one in found.caused_by],
                "same_request": [history.as_json(one) for one in found.same_request],
                "led_to": [{"steps": s, "event": history.as_json(one)} for s, one in found.led_to],
            }
        )
        return
    rows = [("caused by", one) for one in reversed(found.caused_by)]
    rows.append(("this event", found.event))
    rows += [("same request", one) for one in found.same_request]
    rows += [(f"led to{' ·' * (steps - 1)}", one) for steps, one in found.led_to]
    say_table([{"": what, **_row(one)} for what, one in rows], ["", *_COLUMNS])
    if found.request:
        click.echo(f"Stripe's request {found.request} made it.")
    elif found.event.stripe_event_id:
        click.echo("No request of anybody's made it: Stripe did, by itself.")


def _export(
    ledger: Ledger, connection: Any, chosen: history.Filter, to: Path, *, as_json: bool
) -> None:
    seal(connection)
    positions: list[int] = []
    before: int | None = None
    while True:
        found, has_more = history.select(connection, chosen, limit=1000, before=before)
        positions += [event.position for event in found]
        if not has_more:
            break
        before = found[-1].position
    with replacing(to) as out:
        written = write_evidence(connection, positions, ledger.name, out)
    if as_json:
        say_json({"exported": written, "file": str(to)})
        return
    click.echo(f"{written} events with their seals written to {to}; personal parts are not in it.")


@click.command()
@click.argument("stream", type=ID)
@as_of_option
@known_at_option
@json_option
@click.pass_obj
def show(
    context: Context, stream: str, as_of: str | None, known_at: str | None, as_json: bool
) -> None:
    """Show a stream: its state as it follows from its events, then the events."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        prepare(connection)
        moment = moment_of(connection, as_of, known_at, ledger.clock.now())
        found = stream_at(connection, stream, moment)
    told = [
        {
            "id": state.object_id,
            "object": state.kind,
            "as_of": state.occurred_at,
            "mark": state.settled.mark,
            "deleted": state.settled.is_deleted,
            "state": view_of(dict(state.settled.winner.snapshot)),
        }
        for state in found.objects
    ]
    if as_json:
        say_json(
            {
                "stream": stream,
                "as_of": moment.as_of,
                "known_at": moment.known_at,
                "objects": [{**one, "state": msgspec.to_builtins(one["state"])} for one in told],
                "events": [history.as_json(event) for event in found.events],
            }
        )
        return
    click.secho(f"{stream}{_when(moment)}", bold=True)
    for one in told:
        state: Any = one["state"]
        is_ = f" is {state.status}" if state.status else " is deleted" if one["deleted"] else ""
        sure = "" if one["mark"] != "assumed" else " (assumed)"
        click.echo(f"  {one['object']} {one['id']}{is_}{sure}, as of {one['as_of']:%F %T} UTC")
    click.echo()
    rows = [_row(event) for event in found.events]
    say_table(rows, ["position", "occurred_at", "type", "stripe_type", "stripe_event_id"])


def _when(moment: Moment) -> str:
    told = f", as it was at {moment.as_of:%F %T} UTC" if moment.as_of else ""
    known = moment.known_at is not None
    return told + (f", as known at position {moment.known_at}" if known else "")


@click.command()
@click.argument("stream", type=ID)
@click.option("--from", "from_", metavar="P", default=0, type=click.IntRange(0), show_default=True)
@click.option("--to", metavar="P", type=click.IntRange(0), help="Default: the log's end.")
@json_option
@click.pass_obj
def diff(context: Context, stream: str, from_: int, to: int | None, as_json: bool) -> None:
    """Show what each event recorded after --from, up to --to, changed in a stream's objects."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        prepare(connection)
        until = Log(connection).last_position() if to is None else to
        if from_ > until:
            raise RequestInvalid(f"--from {from_} is after {until}, where the changes end.")
        changed = list(changes_between(connection, stream, from_, until))
    if as_json:
        say_json(
            [
                {**history.as_json(event), "changes": [msgspec.to_builtins(one) for one in changes]}
                for event, changes in changed
            ]
        )
        return
    if not changed:
        click.echo(f"Nothing of {stream} was recorded after {from_}, up to {until}.")
    for event, changes in changed:
        what = history.as_json(event)["stripe_type"] or event.topic
        click.secho(f"{event.position}  {event.occurred_at:%F %T}  {what}", bold=True)
        for change in changes:
            click.echo(f"    {_change(change)}")
        if not changes:
            click.echo("    changes nothing that is known by then")


def _change(change: Change) -> str:
    name = f"{change.object_id} {change.leaf}"
    if change.before is None:
        return f"{name} = {change.after}"
    if change.after is None:
        return f"{name}: {change.before} → none"
    return f"{name}: {change.before} → {change.after}"


@click.command()
@click.argument("model", type=click.Choice(MODELS))
@click.argument("key", type=ID)
@json_option
@click.pass_obj
def explain(context: Context, model: str, key: str, as_json: bool) -> None:
    """Show the events that a row of a read model follows from, and what each gave."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        reasons = explain_row(connection, model, key)
        found = Log(connection).at([position for position, _ in reasons])
    if as_json:
        say_json(
            [{"gives": why, "event": history.as_json(found[position])} for position, why in reasons]
        )
        return
    say_table(
        [{**_row(found[position]), "gives": why} for position, why in reasons],
        ["position", "occurred_at", "stripe_type", "stripe_event_id", "gives"],
    )


COMMANDS = (events, show, diff, explain)
