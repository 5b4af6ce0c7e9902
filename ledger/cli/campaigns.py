"""`ledger campaigns`, `ledger brand`, `ledger backtest`: what is said, in whose name, and tried."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from ledger.aggregates.sending import Brand
from ledger.backtest import Tried
from ledger.backtest import backtest as try_campaign
from ledger.bootstrap import renderer_of, site_of
from ledger.cli.context import Context, json_option, say_json, say_table, this_user
from ledger.cli.effects import OBSTACLES, order
from ledger.cli.progress import Bar
from ledger.clock import midnight
from ledger.errors import RequestInvalid
from ledger.metrics.question import now_of, period_of
from ledger.money import written
from ledger.orders import (
    FINAL_ACTIONS,
    READERS,
    SHIPPED,
    add_campaign,
    find_campaign,
    set_brand,
    switch_campaign,
)
from ledger.policies.desk import Desk, log_desk
from ledger.policies.dunning.campaign import DunningCampaign, read_campaign

_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def campaigns() -> None:
    """Campaigns: dunning, retention, life cycle, and which features plans have."""


@campaigns.command("list")
@json_option
@click.pass_obj
def list_(context: Context, as_json: bool) -> None:
    """List the newest version of each campaign and whether it is off, in shadow or on."""
    with context.installation() as opened:
        ledger = opened.ledger(context.name)
        site = site_of(opened.settings, ledger)
        with ledger.pool.connection() as connection:
            desk, _ = log_desk(connection, ledger.keys, site, ledger.clock.now())
            rows = []
            for shipped in SHIPPED:
                for one, state in desk.campaigns(shipped(), READERS[shipped().kind]):
                    rows.append({"kind": one.kind, "name": one.name, "version": one.version,
                                 "state": state})  # fmt: skip
    say_json(rows) if as_json else say_table(rows, ["kind", "name", "version", "state"])


@campaigns.command()
@click.argument("name")
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Print a campaign as JSON; its file may be TOML of the same members."""
    with context.installation() as opened:
        ledger = opened.ledger(context.name)
        site = site_of(opened.settings, ledger)
        with ledger.pool.connection() as connection:
            desk, _ = log_desk(connection, ledger.keys, site, ledger.clock.now())
            say_json(msgspec.to_builtins(find_campaign(desk, name)))


@campaigns.command()
@_FILE
@click.option("--check", is_flag=True, help="Only say whether it can be used.")
@click.pass_obj
def add(context: Context, file: Path, check: bool) -> None:
    """Add a campaign, or another version of one; running cases keep theirs."""
    given = read_toml(file)
    _check_templates(context, file, given)
    if check:
        reader = READERS.get(str(given.get("kind")))
        if reader is None:
            raise RequestInvalid(f"{file}: the kind of a campaign is one of {', '.join(READERS)}.")
        found = reader(given)
        click.echo(f"{file} can be used: {found.kind} {found.name} version {found.version}.")
        return
    added = order(context, lambda desk: add_campaign(desk, given, this_user()))
    click.echo(f"{added.kind} {added.name} version {added.version} was added.")


def _check_templates(context: Context, file: Path, given: dict[str, Any]) -> None:
    """Raise RequestInvalid for a step or rule whose message there is not, in every language."""
    renderer = renderer_of(context.settings)
    for part in [*(given.get("steps") or []), *(given.get("rules") or [])]:
        named = part.get("template") if isinstance(part, dict) else None
        if isinstance(named, str) and (missing := renderer.missing(named)):
            raise RequestInvalid(
                f"{file}: there is no template {named}.{missing}; `ledger effects preview` lists"
                " those there are, others lie in LEDGER_HOME/templates."
            )


@campaigns.command("on")
@click.argument("name")
@click.option("--stripe-mails-off", is_flag=True, help="Stripe's own mails to customers are off.")
@click.option("--retry-window-days", type=int, help="For how long Stripe retries.")
@click.option("--final-action", type=click.Choice(FINAL_ACTIONS), help="What Stripe does then.")
@click.pass_obj
def switch_on(
    context: Context,
    name: str,
    stripe_mails_off: bool,
    retry_window_days: int | None,
    final_action: str | None,
) -> None:
    """Switch a campaign on; a dunning campaign asks what Stripe is set to, which no API tells."""
    answers = {
        "stripe_mails_off": stripe_mails_off,
        "retry_window_days": retry_window_days,
        "final_action": final_action,
    }

    def change(desk: Desk) -> dict[str, str | None]:
        switch_campaign(desk, name, "on", answers, this_user())
        return {kind: desk.obstacle(kind) for kind in ("mail", "stripe", "alerts")}

    obstacles = order(context, change)
    click.echo(f"{name} is on.")
    for kind, obstacle in obstacles.items():
        if obstacle is not None:
            told = OBSTACLES.get(obstacle, f"it is off (`ledger effects on {kind}`)")
            click.secho(f"! Nothing of {kind} goes out: {told}.", fg="yellow", err=True)


def _switch(context: Context, name: str, state: str) -> None:
    order(context, lambda desk: switch_campaign(desk, name, state, {}, this_user()))
    click.echo(f"{name} is {'in shadow' if state == 'shadow' else state}.")


@campaigns.command()
@click.argument("name")
@click.pass_obj
def shadow(context: Context, name: str) -> None:
    """Let a campaign decide and record, but send nothing."""
    _switch(context, name, "shadow")


@campaigns.command("off")
@click.argument("name")
@click.pass_obj
def switch_off(context: Context, name: str) -> None:
    """Switch a campaign off: it begins nothing, and what runs sends nothing more."""
    _switch(context, name, "off")


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a file says; raise RequestInvalid saying where it cannot be read."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestInvalid(f"{file} is no TOML: {error}.") from error


@click.group()
def brand() -> None:
    """In whose name messages go out."""


@brand.command("show")
@click.pass_obj
def show_brand(context: Context) -> None:
    """Print it."""
    with context.installation() as opened:
        ledger = opened.ledger(context.name)
        site = site_of(opened.settings, ledger)
        with ledger.pool.connection() as connection:
            desk, _ = log_desk(connection, ledger.keys, site, ledger.clock.now())
            say_json(msgspec.to_builtins(desk.brand))


@brand.command("set")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE…")
@click.pass_obj
def set_(context: Context, changes: tuple[str, ...]) -> None:
    """Change some of it: name, sender, reply_to, support_mail, support_phone, logo_url, …"""
    given: dict[str, Any] = {}
    known = [one.name for one in msgspec.structs.fields(Brand)]
    for change in changes:
        name, is_given, value = change.partition("=")
        if not is_given or name not in known:
            raise RequestInvalid(f"{change!r} is no NAME=VALUE; names are {', '.join(known)}.")
        given[name] = value or None
    say_json(msgspec.to_builtins(order(context, lambda desk: set_brand(desk, given, this_user()))))


@click.command()
@_FILE
@click.option("--from", "start", required=True, metavar="PERIOD")
@click.option("--to", "end", required=True, metavar="PERIOD", help="Included.")
@click.option("--contacts", is_flag=True, help="List each contact.")
@json_option
@click.pass_obj
def backtest(
    context: Context, file: Path, start: str, end: str, contacts: bool, as_json: bool
) -> None:
    """Try a dunning campaign on the recorded past: nothing is recorded, nobody is written to."""
    campaign = read_campaign(read_toml(file))
    first, last = period_of(start, "--from")[0], period_of(end, "--to")[1]
    bar = Bar("customers", quiet=as_json)
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        tried = try_campaign(
            connection,
            campaign,
            midnight(first),
            midnight(last),
            now=now_of(ledger, connection),
            progress=bar,
        )
    bar.end()
    if as_json:
        say_json(_as_json(campaign, tried, contacts=contacts))
    else:
        _say(campaign, tried, contacts=contacts)


def _steps(tried: Tried) -> list[dict[str, Any]]:
    times = Counter((one.step, one.kind, one.state) for one in tried.contacts)
    return [
        {"step": step, "kind": kind, "state": state, "times": count}
        for (step, kind, state), count in sorted(times.items())
    ]


def _as_json(campaign: DunningCampaign, tried: Tried, *, contacts: bool) -> dict[str, Any]:
    return {
        "campaign": campaign.name,
        "version": campaign.version,
        "cases": tried.cases,
        "steps": _steps(tried),
        "left_out": dict(tried.skipped),
        "after_paying": tried.after_paying,
        "retry_budget_violations": tried.budget_violations,
        "happened": {
            "recovered": tried.recovered,
            "failed_minor": dict(tried.failed_minor),
            "recovered_minor": dict(tried.recovered_minor),
        },
        "modelled": {
            "expected_recovered_share": tried.expected_share,
            "because": tried.expected_because,
        },
        "contacts": [msgspec.to_builtins(one) for one in tried.contacts] if contacts else None,
    }


def _say(campaign: DunningCampaign, tried: Tried, *, contacts: bool) -> None:
    click.echo(f"{campaign.name} version {campaign.version}: {tried.cases} cases")
    say_table(_steps(tried), ["step", "kind", "state", "times"])
    if contacts:
        click.echo()
        say_table(
            [asdict(one) for one in tried.contacts],
            ["at", "customer_id", "invoice", "step", "kind", "what", "state"],
        )
    click.echo(f"\nWritten to after paying: {tried.after_paying}")
    click.echo(f"Retry limits exceeded:   {len(tried.budget_violations)}")
    click.echo(f"\nWhat happened: {tried.recovered} of {tried.cases} were paid in the end")
    for currency, amount in sorted(tried.failed_minor.items()):
        got = tried.recovered_minor[currency]
        click.echo(f"  {written(got, currency)} of {written(amount, currency)}")
    if tried.expected_share is None:
        click.echo(f"Modelled: nothing can be expected ({tried.expected_because}).")
    else:
        click.echo(
            f"Modelled: {tried.expected_share:.0%} would be paid if customers did as those before"
            " them, whatever they are told."
        )


COMMANDS = (campaigns, brand, backtest)
