"""`ledger effects`: what may go out, what did, and what could not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import click
from psycopg.rows import dict_row

from ledger.aggregates.sending import KINDS, Caps, Sending
from ledger.bootstrap import site_of, tools_of
from ledger.cli.context import Context, json_option, say_json, say_table, this_user
from ledger.cli.preview import preview
from ledger.clock import midnight
from ledger.errors import RequestInvalid
from ledger.orders import claim_sending, decide, effect_in, sending_to_change
from ledger.policies.desk import Desk, Site, log_desk
from ledger.projections.crm import queries as lists
from ledger.projections.reactions import queries

COLUMNS = ["asked_at", "kind", "what", "customer_id", "campaign", "state", "because", "sent_at"]

_REPORT = """
SELECT kind, what, coalesce(campaign, '–') AS campaign, state, count(*) AS effects,
    count(DISTINCT customer_id) AS customers, min(asked_at) AS first, max(asked_at) AS last
FROM effects WHERE asked_at >= %(start)s AND asked_at < %(end)s
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_WHO = """
SELECT e.asked_at, e.kind, e.what, e.customer_id, e.campaign, e.state, e.because, e.sent_at,
    c.status AS customer_is
FROM effects AS e LEFT JOIN customers AS c ON c.id = e.customer_id
WHERE e.asked_at >= %(start)s AND e.asked_at < %(end)s ORDER BY e.asked_at, e.key LIMIT %(limit)s
"""


@click.group()
def effects() -> None:
    """What reaches the outside: off until it is switched on here."""


# What keeps a kind from going out though it is switched on.
OBSTACLES = {
    "stopped": "everything is stopped (`ledger effects resume`)",
    "not_claimed": "sending does not belong to this installation (`ledger effects claim`)",
    "not_configured": "its setting is missing (LEDGER_SMTP_URL for mail, STRIPE_API_KEY for stripe,"
    " LEDGER_SMS_URL for sms, LEDGER_ALERT_URLS for alerts)",
}


def order(context: Context, change: Callable[[Desk], Any]) -> Any:
    """Carry out what the person at the keyboard orders."""
    with context.installation(writes=True) as opened:
        ledger = opened.ledger(context.name)
        return decide(ledger, site_of(opened.settings, ledger), change)


@effects.command()
@json_option
@click.pass_obj
def status(context: Context, as_json: bool) -> None:
    """Tell what may go out now, and why the rest may not."""
    with context.installation() as opened:
        ledger = opened.ledger(context.name)
        tools = tools_of(opened.settings, ledger)
        with ledger.pool.connection() as connection:
            desk, _ = log_desk(connection, ledger.keys, tools.site, ledger.clock.now())
            sending, site = desk.sending, tools.site
            obstacles = {
                kind: sending.obstacle(kind, site.installation, site.public_url)
                or (None if kind in tools.performers else "not_configured")
                for kind in KINDS
            }
            counts: dict[str, int] = dict(
                connection.execute("SELECT state, count(*) FROM effects GROUP BY 1").fetchall()
            )
    kinds = [
        {
            "kind": kind,
            "switched": "on" if kind in sending.kinds else "off",
            "configured": "yes" if kind in tools.performers else "no",
            "goes_out": obstacles[kind] is None,
            "because": obstacles[kind],
        }
        for kind in KINDS
    ]
    caps = sending.caps
    told = {
        "installation": site.installation,
        "public_url": site.public_url,
        "claimed_by": sending.installation,
        "stopped": sending.is_stopped,
        "caps": {"per_hour": caps.per_hour, "per_person": caps.per_person,
                 "per_person_days": caps.per_person_days},
        "kinds": kinds,
        "effects": counts,
    }  # fmt: skip
    if as_json:
        say_json(told)
        return
    say_table(kinds, ["kind", "switched", "configured", "goes_out", "because"])
    own = sending.is_of(site.installation, site.public_url)
    click.echo(
        f"\nThis installation is {site.installation or 'a demo'}; sending "
        + ("belongs to it." if own else f"belongs to {_owner(sending)}.")
    )
    if sending.is_stopped:
        click.echo("Everything is stopped: `ledger effects resume` lets it go on.")
    click.echo(
        f"At most {caps.per_hour} an hour, {caps.per_person} to one person in"
        f" {caps.per_person_days} days."
    )


def _owner(sending: Sending) -> str:
    if sending.installation is None:
        return "nobody: `ledger effects claim`"
    return f"{sending.installation} at {sending.public_url}"


def _switch(context: Context, kind: str, *, on: bool) -> None:
    def change(desk: Desk) -> str | None:
        sending_to_change(desk).switch(kind, on=on, actor=this_user(), now=desk.now)
        return desk.obstacle(kind)

    obstacle = order(context, change)
    click.echo(f"{kind} is {'on' if on else 'off'}.")
    if on and obstacle is not None:
        click.secho(
            f"! Still nothing of it goes out: {OBSTACLES[obstacle]}.", fg="yellow", err=True
        )


@effects.command("on")
@click.argument("kind", type=click.Choice(KINDS))
@click.pass_obj
def switch_on(context: Context, kind: str) -> None:
    """Let effects of a kind go out from now on."""
    _switch(context, kind, on=True)


@effects.command("off")
@click.argument("kind", type=click.Choice(KINDS))
@click.pass_obj
def switch_off(context: Context, kind: str) -> None:
    """Let nothing of a kind go out any more."""
    _switch(context, kind, on=False)


@effects.command()
@click.pass_obj
def claim(context: Context) -> None:
    """Let sending belong to this installation; what others were asked for is not done here."""

    def change(desk: Desk) -> Site:
        claim_sending(desk, this_user())
        return desk.site

    site: Site = order(context, change)
    click.echo(f"Sending belongs to {site.installation} at {site.public_url}.")


@effects.command()
@click.option("--reason", default="by hand", show_default=True)
@click.pass_obj
def stop(context: Context, reason: str) -> None:
    """Stop everything at once, on all workers."""

    def change(desk: Desk) -> None:
        sending_to_change(desk).stop(reason, actor=this_user(), now=desk.now)

    order(context, change)
    click.echo(
        "Nothing goes out any more; what is under way ends. What is decided meanwhile is never"
        " sent, what was asked for before waits. `ledger effects resume` ends it."
    )


@effects.command()
@click.pass_obj
def resume(context: Context) -> None:
    """Let what is switched on go out again."""
    order(context, lambda desk: sending_to_change(desk).resume(actor=this_user(), now=desk.now))
    click.echo("What is switched on goes out again.")


@effects.command()
@click.option("--per-hour", type=click.IntRange(1))
@click.option("--per-person", type=click.IntRange(1))
@click.option("--per-person-days", type=click.IntRange(1))
@click.pass_obj
def caps(
    context: Context, per_hour: int | None, per_person: int | None, per_person_days: int | None
) -> None:
    """Set how much may go out at most."""

    def change(desk: Desk) -> Caps:
        sending = sending_to_change(desk)
        known = sending.caps
        new = Caps(
            per_hour or known.per_hour,
            per_person or known.per_person,
            per_person_days or known.per_person_days,
        )
        sending.set_caps(new, actor=this_user(), now=desk.now)
        return new

    new: Caps = order(context, change)
    click.echo(
        f"At most {new.per_hour} an hour, {new.per_person} to one person in"
        f" {new.per_person_days} days."
    )


@effects.command("list")
@click.option("--state", help="requested, failed, dead, sent, suppressed, shadowed, …")
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--customer")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@json_option
@click.pass_obj
def list_(
    context: Context,
    state: str | None,
    kind: str | None,
    customer: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List effects, newest first; `--state dead` are those that were given up."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        page = lists.page(
            connection, queries.EFFECTS, limit=limit, state=state, kind=kind, customer=customer
        )
    if as_json:
        say_json(page.rows)
    else:
        say_table(page.rows, ["id", *COLUMNS])


@effects.command()
@click.argument("effect")
@click.pass_obj
def retry(context: Context, effect: str) -> None:
    """Let an effect be tried again that was given up; EFFECT is its id in the list."""
    stream, _, key = effect.partition("|")

    def change(desk: Desk) -> None:
        effect_in(desk, stream, key).retry(key, actor=this_user(), now=desk.now)

    order(context, change)
    click.echo(f"{effect} is tried again.")


@effects.command()
@click.argument("effect")
@click.option("--reason", default="by hand", show_default=True)
@click.pass_obj
def drop(context: Context, effect: str, reason: str) -> None:
    """Give an effect up."""
    stream, _, key = effect.partition("|")

    def change(desk: Desk) -> None:
        effect_in(desk, stream, key).drop(key, reason, actor=this_user(), now=desk.now)

    order(context, change)
    click.echo(f"{effect} is given up.")


@effects.command()
@click.option("--from", "start", required=True, metavar="DAY")
@click.option("--to", "end", required=True, metavar="DAY", help="Included.")
@click.option("--who", is_flag=True, help="Each one, with how the customer stands.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, 100_000))
@json_option
@click.pass_obj
def report(context: Context, start: str, end: str, who: bool, limit: int, as_json: bool) -> None:
    """Tell who got what between two days (UTC)."""
    first, last = _day(start, "--from"), _day(end, "--to") + timedelta(days=1)
    asked = {"start": midnight(first), "end": midnight(last), "limit": limit}
    with (
        context.ledger() as ledger,
        ledger.pool.connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        rows = cursor.execute((_WHO if who else _REPORT).encode(), asked).fetchall()
    if as_json:
        say_json(rows)
    elif who:
        say_table(rows, [*COLUMNS, "customer_is"])
    else:
        say_table(
            rows,
            ["kind", "what", "campaign", "state", "effects", "customers", "first", "last"],
        )


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise RequestInvalid(f"{name} {text!r} is no day (as 2026-11-28).") from error


effects.add_command(preview)

COMMANDS = (effects,)
