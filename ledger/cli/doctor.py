"""`ledger doctor`: how the ledger does, and what needs a look."""

from __future__ import annotations

from typing import Any

import click

from ledger import health
from ledger.bootstrap import site_of, unusable_settings
from ledger.cli.context import Context, json_option, say_json
from ledger.clock import utc
from ledger.log.log import prepare
from ledger.policies.desk import log_desk
from ledger.regular_checks import late
from ledger.settings import DEFAULT_LEDGER
from ledger.weaknesses import weaknesses


@click.command()
@json_option
@click.pass_obj
def doctor(context: Context, as_json: bool) -> None:
    """Say how the ledger does and what needs a look. Exits 1 if anything does."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        prepare(connection)
        state = health.status(ledger, connection)
        found = health.warnings(context.settings, ledger, connection)
        found += weaknesses(context.settings, ledger, connection)
        found += late(context.settings, ledger, connection)
        desk, _ = log_desk(
            connection, ledger.keys, site_of(context.settings, ledger), ledger.clock.now()
        )
        found += [
            health.Concern("setting_unusable", told)
            for told in unusable_settings(context.settings, ledger)
        ]
        found += [
            health.Concern(
                "not_configured",
                f"`{kind}` is switched on, but its setting is missing: `ledger effects status`.",
            )
            for kind in sorted(desk.sending.kinds - desk.site.configured)
        ]
        if "mail" in desk.sending.kinds and "stripe" not in desk.site.configured:
            told = (
                "Mail is on, but STRIPE_API_KEY is not set: the buttons of its mails lead nowhere."
            )
            found.append(health.Concern("links_lead_nowhere", told))
    if as_json:
        say_json(
            {
                "status": state,
                "warnings": [{"code": one.code, "sentence": one.sentence} for one in found],
            }
        )
    else:
        log = state["log"]
        kind = "DEMO" if state["demo"] else state["mode"]
        click.echo(
            f"Ledger `{state['ledger']}` ({kind}): {log['position']} events, sealed to "
            f"{log['sealed_to']}, views {state['lag_events']} behind."
        )
        for name, count in {**state["counts"], **state["deliveries"]}.items():
            click.echo(f"  {name.replace('_', ' '):24}{count:>10}")
        click.echo(f"  {_completeness(state['completeness'], context.name)}")
        for one in found:
            click.secho(f"! {one.sentence}", fg="yellow")
        if not found:
            click.secho("Nothing needs a look.", fg="green")
    if found:
        raise click.exceptions.Exit(1)


def _completeness(known: dict[str, Any] | None, ledger: str) -> str:
    if known is None:
        how = (
            "STRIPE_API_KEY" if ledger == DEFAULT_LEDGER else f"`ledgers set {ledger} --api-key -`"
        )
        return (
            f"Whether every event arrived is not known: {how}, a restricted key that may read"
            " events, lets the log be compared with Stripe's own list."
        )
    if known["complete_until"] is None:
        return "The log could not be compared with Stripe's own list yet."
    return (
        f"Complete from {utc(known['complete_from']):%F %T} to {utc(known['complete_until']):%F %T}"
        f" UTC by Stripe's own list; {known['filled']} events had to be fetched."
    )


COMMANDS = (doctor,)
