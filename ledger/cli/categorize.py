"""`ledger categorize`: in which category of one's own a customer's reason to leave belongs."""

from __future__ import annotations

import click

from ledger.cli.context import ID, Context, this_user
from ledger.metrics.categories import categories, categorize


@click.command("categorize")
@click.argument("subscription", type=ID)
@click.argument("category", type=click.Choice(list(categories().categories)))
@click.option("--by", "actor", metavar="NAME", help="Who says so, if not this system's user.")
@click.pass_obj
def categorize_(context: Context, subscription: str, category: str, actor: str | None) -> None:
    """Say in which CATEGORY the end of a SUBSCRIPTION belongs; what was said last counts.

    `ledger report churn_categories` sums up, `lost_customers` lists whom it is about.
    """
    with context.ledger(writes=True) as ledger:
        categorize(ledger, subscription, category, actor=actor or this_user())
    click.echo(f"{subscription} is counted as {category}.")


COMMANDS = (categorize_,)
