"""`ledger reconcile`: the log against Stripe's own list of events, and what none tells."""

from __future__ import annotations

import click

from ledger.cli.context import Context, json_option, say_json
from ledger.cli.progress import Bar
from ledger.completeness import api_of, compare
from ledger.moments import instant_of
from ledger.observation import observe


@click.command()
@click.option("--since", metavar="T", help="From when on, where that is before the last one's end.")
@json_option
@click.pass_obj
def reconcile(context: Context, since: str | None, as_json: bool) -> None:
    """Compare the log with Stripe's list of events (30 days) and fetch what never arrived.

    What no event tells is fetched too: terms of older coupons and of tiered prices, what Stripe
    kept of each payment, lines of invoices past the tenth. A running worker does both every few
    minutes. Exits 1 if something could not be read.
    """
    bar = Bar("seconds of history", quiet=as_json)
    with context.ledger(writes=True) as ledger:
        now = ledger.clock.now()
        start = None if since is None else instant_of(since, "since", now, day_begins=True)
        try:
            api = api_of(ledger)
            found = compare(ledger, api, since=start, progress=bar)
            observed = observe(ledger, api)
        finally:
            bar.end()
    if as_json:
        say_json(
            {
                "since": found.since,
                "until": found.until,
                "listed": found.listed,
                "in_flight": found.in_flight,
                "missing": found.missing,
                "filled": sorted(found.filled),
                "aside": sorted(found.aside),
                "unfilled": sorted(found.unfilled),
                "observed": observed,
            }
        )
    else:
        click.echo(f"Stripe lists {found.listed} events since {found.since:%F %T} UTC.")
        if found.filled:
            click.secho(f"{len(found.filled)} had never arrived; they are in the log now.")
        elif not (found.missing or found.unfilled or found.in_flight):
            click.secho("Every one of them is in the log.", fg="green")
        if any(observed.values()):
            told = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in observed.items() if n)
            click.echo(f"Fetched, for no event tells them: {told}.")
        if found.aside:
            click.echo(f"{len(found.aside)} are of the other mode; they are in no view.")
        if found.in_flight:
            click.echo(f"{found.in_flight} are so young that they may still be on their way.")
        for id_ in sorted(found.unfilled):
            click.secho(f"{id_} could not be read; it is kept, encrypted.", fg="red")
    if found.unfilled:
        raise click.exceptions.Exit(1)


COMMANDS = (reconcile,)
