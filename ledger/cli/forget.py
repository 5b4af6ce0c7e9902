"""`ledger forget`: a person's data is made unreadable for good."""

from __future__ import annotations

from pathlib import Path

import click

from ledger.bootstrap import site_of
from ledger.cli.context import ID, Context, json_option, say_json, this_user
from ledger.orders import decide
from ledger.projections import PROJECTIONS, Runner
from ledger.recovery.copies import write_registers
from ledger.recovery.drill import clear_drills
from ledger.subjects.erasure import pending, purge
from ledger.subjects.requests import delete_at_stripe


@click.command()
@click.argument("customer", type=ID, required=False)
@click.option("--reason", default="customer_request", show_default=True, help="One word.")
@click.option("--later", is_flag=True, help="Leave the purge to the nightly job.")
@click.option("--purge", "only_purge", is_flag=True, help="Purge what was erased before.")
@click.option("--at-stripe", is_flag=True, help="Let Stripe delete them, too: subscriptions end.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def forget(
    context: Context,
    customer: str | None,
    reason: str,
    later: bool,
    only_purge: bool,
    at_stripe: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Destroy the keys of a CUSTOMER: nothing personal of them can be read again by anybody.

    What was counted stays: amounts, dates, statuses. It cannot be taken back.
    """
    if (customer is None) != only_purge:
        raise click.UsageError("Give a CUSTOMER, or --purge.")
    if customer is not None and not (yes or as_json):
        click.confirm(f"Forget {customer} for good?", abort=True)
    with context.ledger(writes=True) as ledger:
        position, missed = None, list[Path]()
        if customer is not None:
            if at_stripe:
                site = site_of(context.settings, ledger)
                named, actor = customer, this_user()
                decide(ledger, site, lambda desk: delete_at_stripe(desk, named, actor=actor))
            position = ledger.erase_customer(customer, reason=reason, actor=this_user())
            missed = write_registers(ledger)
            clear_drills(context.settings, ledger.clock.now())
        if not later:
            Runner(ledger, PROJECTIONS).catch_up()  # they trace what is theirs, too
        found = None if later else purge(ledger)
        with ledger.pool.connection() as connection:
            waiting = pending(connection)
    for folder in missed:
        click.secho(
            f"! Keys were copied to {folder}, which is not there now: remove them, or write"
            f" {customer or 'whoever was erased'} into the list of the erased beside them.",
            fg="yellow",
            err=True,
        )
    state = "erased" if found is not None and found.is_complete else "requested"
    lacking = list(found.lacking) if found is not None else []
    if as_json:
        say_json(
            {
                "customer": customer,
                "state": state,
                "event": position,
                "lacking": lacking,
                "waiting": waiting,
            }
        )
        return
    if found is None:
        click.echo(f"{customer}: nothing can be read any more; the purge comes within a day.")
    elif found.is_complete:
        click.echo(f"{customer or 'Everybody who was erased'}: erased, the keys' last copies too.")
    else:
        click.echo("Nothing can be read any more. Copies of the keys may be left in:")
        for what in lacking:
            click.echo(f"  {what}")


COMMANDS = (forget,)
