"""`ledger rebuild`: read models made anew from the log, beside those that are read meanwhile."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ledger.cli.context import Context, json_option, say_json
from ledger.cli.progress import Bar
from ledger.errors import RequestInvalid
from ledger.projections import PROJECTIONS
from ledger.projections.projection import Projection
from ledger.projections.rebuild import Rebuild, Rebuilt
from ledger.projections.rebuild.versions import roll_back

BY_NAME = {projection.name: projection for projection in PROJECTIONS}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every projection.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; default one per core.")
@click.option("--check", is_flag=True, help="Compare only: what is read stays as it is.")
@click.option("--rollback", is_flag=True, help="Go back to the tables before the last rebuild.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what it would take, do nothing.")
@json_option
@click.pass_obj
def rebuild(
    context: Context,
    names: tuple[str, ...],
    every: bool,
    workers: int | None,
    check: bool,
    rollback: bool,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Make read models anew from the log: those NAMEd, or --all.

    They are read as before until the new ones are complete and have been compared with them.
    With --check exits 1 if they differ. A rebuild that was killed goes on where it was.
    """
    if rollback and (check or only_plan):
        raise RequestInvalid("--rollback goes back at once: it takes neither --check nor --plan.")
    chosen = _chosen(names, every=every)
    plans: list[dict[str, Any]] = []
    done: list[Rebuilt] = []
    with context.ledger(writes=True) as ledger:
        if rollback:
            for projection in chosen:
                roll_back(ledger, projection)
            _say_rolled_back(chosen, as_json=as_json)
            return
        for projection in chosen:
            work = Rebuild(context.settings, ledger, projection, workers)
            planned = work.plan()
            if not as_json:
                click.echo(
                    f"{projection.name}: {planned.target:,} events, about {planned.seconds:.0f} s,"
                    f" {planned.needed_bytes / 1e6:,.0f} MB of disk for a while"
                    + (
                        f" ({planned.free_bytes / 1e6:,.0f} MB free)."
                        if planned.free_bytes
                        else "."
                    ),
                    err=True,
                )
            plans.append(
                {
                    "projection": projection.name,
                    **asdict(planned),
                    "needed_bytes": planned.needed_bytes,
                }
            )
            if only_plan:
                continue
            done.append(_run(work, check=check, quiet=as_json))
    if as_json:
        say_json(plans if only_plan else [asdict(one) for one in done])
    else:
        for one in done:
            _tell(one)
    if check and any(one.differences for one in done):
        raise click.exceptions.Exit(1)


def _chosen(names: tuple[str, ...], *, every: bool) -> list[type[Projection]]:
    if every == bool(names):
        raise RequestInvalid(
            f"Name what to rebuild, or say --all. There are: {', '.join(BY_NAME)}."
        )
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise RequestInvalid(f"There is no {unknown[0]!r}; there are: {', '.join(BY_NAME)}.")
    return [BY_NAME[name] for name in dict.fromkeys(names)] if names else list(PROJECTIONS)


def _run(work: Rebuild, *, check: bool, quiet: bool) -> Rebuilt:
    bar = Bar("events", quiet=quiet)
    try:
        return work.run(bar, swap=not check)
    finally:
        bar.end()


def _tell(one: Rebuilt) -> None:
    how = "rebuilt" if one.swapped else "made beside, compared and dropped"
    resumed = ", going on where an earlier run ended" if one.resumed else ""
    click.echo(f"{one.projection}: {how} from {one.events:,} events{resumed}.")
    if not one.compared:
        click.echo("  Not compared: the tables before were empty or of another version.")
    elif not one.differences:
        click.secho("  Every row is as it was.", fg="green")
    for table in one.differences:
        click.secho(
            f"  {table.table} differs: {table.old_rows:,} rows before, {table.new_rows:,} now.",
            fg="red",
        )
        for example in table.examples:
            click.echo(f"    {example}")
    if one.swapped:
        click.echo(f"  `ledger rebuild {one.projection} --rollback` goes back.")


def _say_rolled_back(chosen: list[type[Projection]], *, as_json: bool) -> None:
    if as_json:
        say_json({"rolled_back": [projection.name for projection in chosen]})
        return
    for projection in chosen:
        click.echo(
            f"{projection.name}: the former tables are read again; they catch up by themselves."
        )


COMMANDS = (rebuild,)
