"""`ledger close`: a month is closed, with evidence for outsiders."""

from __future__ import annotations

from pathlib import Path

import click

from ledger.accounting.closing import close as close_month
from ledger.accounting.evidence import write_month
from ledger.cli.context import Context, json_option, say_json, this_user
from ledger.files import require_writable


@click.command()
@click.argument("month", metavar="MONTH")
@click.option("--evidence", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.option("--by", "actor", metavar="NAME", help="Who closes it, if not this system's user.")
@json_option
@click.pass_obj
def close(
    context: Context, month: str, evidence: Path | None, actor: str | None, as_json: bool
) -> None:
    """Close a MONTH (as 2026-10): record its balances and metrics as an event.

    What is learnt of it later is booked after its end and listed by `ledger report late`. With
    --evidence FILE.zip an outsider can verify the month offline: `python3 FILE.zip`. A month that
    is closed already stays as it is.
    """
    if evidence:
        require_writable(evidence)
    with context.ledger(writes=True) as ledger:
        closing, is_new = close_month(ledger, month, actor=actor or this_user())
        events = write_month(ledger, closing.data, closing.position, evidence) if evidence else None
    if as_json:
        say_json({"position": closing.position, "closed_now": is_new, **closing.data})
        return
    if is_new:
        click.secho(f"{month} is closed, as known at {closing.closed_until}.", fg="green")
    else:
        click.echo(f"{month} was closed already, as known at {closing.closed_until}.")
    if evidence:
        click.echo(
            f"{events} events prove it in {evidence}: `python3 {evidence}` checks them anywhere."
        )


COMMANDS = (close,)
