"""`ledger privacy`: what is corrected, who is kept for how long, what a breach has touched."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import click

from ledger.aggregates.sending import Brand, Sending
from ledger.bootstrap import site_of
from ledger.cli.context import ID, Context, json_option, say_json, say_table, this_user
from ledger.decisions import Decisions
from ledger.errors import RequestInvalid
from ledger.orders import decide
from ledger.people.reads import note_command
from ledger.subjects.breach import breach as find_breach
from ledger.subjects.breach import letters
from ledger.subjects.requests import rectify
from ledger.subjects.schedule import YEARS_MIN, due, schedule_of, set_schedule

_INSTANT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"])


@click.group()
def privacy() -> None:
    """Correct what is known of people; how long they are kept; what a breach has touched."""


@privacy.command()
@click.argument("years", required=False, type=click.IntRange(YEARS_MIN, 100))
@click.option("--never", is_flag=True, help="Erase nobody by age.")
@json_option
@click.pass_obj
def schedule(context: Context, years: int | None, never: bool, as_json: bool) -> None:
    """Erase customers who have been gone for so many YEARS; without them, tell how it is set."""
    changes = years is not None or never
    with context.ledger(writes=changes) as ledger:
        if changes:
            set_schedule(ledger, years, actor=this_user())
        with ledger.pool.connection() as connection:
            now = schedule_of(Decisions(connection, ledger.keys))
    if as_json:
        say_json({"erase_after_years": now})
    elif now is None:
        click.echo("Nobody is erased by age.")
    else:
        click.echo(f"Who has been gone for {now} years is erased, once a day.")


@privacy.command()
@click.option("--years", type=click.IntRange(YEARS_MIN, 100), help="As if it were set to that.")
@json_option
@click.pass_obj
def preview(context: Context, years: int | None, as_json: bool) -> None:
    """Say who would be erased by age today."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        asked = years or schedule_of(Decisions(connection, ledger.keys))
        if asked is None:
            raise RequestInvalid("Nobody is erased by age: --years N says what if.")
        rows = due(connection, ledger.clock.now(), asked)
    told = [{"customer": customer, "gone_since": at} for customer, at in rows]
    if as_json:
        say_json(told)
    else:
        say_table(told, ["customer", "gone_since"])
        click.echo(f"{len(told)} customers have been gone for {asked} years.")


@privacy.command()
@click.argument("customer", type=ID)
@click.argument("changes", nargs=-1, required=True, metavar="FIELD=VALUE…")
@json_option
@click.pass_obj
def correct(context: Context, customer: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Let what is wrong of a CUSTOMER be corrected at Stripe, whose event then corrects it here.

    Fields: name, email, phone, address.line1, address.city, address.postal_code, …
    """
    wanted = dict(one.partition("=")[::2] for one in changes)
    with context.ledger(writes=True) as ledger:
        site = site_of(context.settings, ledger)
        state = decide(
            ledger, site, lambda desk: rectify(desk, customer, wanted, actor=this_user())
        )
    if as_json:
        say_json({"customer": customer, "state": state})
    else:
        click.echo(f"{customer}: {state}; it shows here once Stripe has told of it.")


@privacy.command()
@click.option("--from", "start", type=_INSTANT, required=True, help="UTC.")
@click.option("--to", "end", type=_INSTANT, required=True, help="UTC, not included.")
@click.option("--aware", type=_INSTANT, help="When it was noticed (UTC); now, if not said.")
@click.option("--actor", help="Only what this user or token did.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
@json_option
@click.pass_obj
def breach(
    context: Context,
    start: datetime,
    end: datetime,
    aware: datetime | None,
    actor: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Write what was touched between two times, and drafts of the letters that are due.

    The folder then holds customers.csv, report.txt and four letters (authority and customers, in
    English and Indonesian).
    """
    if start >= end:
        raise RequestInvalid("`--from` is not before `--to`.")
    output.mkdir(parents=True, exist_ok=True, mode=0o700)
    with context.ledger(writes=True) as ledger:
        with ledger.pool.connection() as connection:
            aware_at = aware.replace(tzinfo=UTC) if aware else ledger.clock.now()
            found = find_breach(
                connection, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), aware_at, actor
            )
            sending = Decisions(connection, ledger.keys).find(Sending, Sending.STREAM)
        note_command(ledger, this_user(), "privacy breach", found.customers)
    brand = Brand(**sending.brand) if sending is not None else Brand()
    with (output / "customers.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["customer"])
        writer.writerows([one] for one in found.customers)
    contact = brand.support_mail or brand.reply_to or "[contact]"
    for name, text in letters(found, brand.name, contact).items():
        (output / name).write_text(text, encoding="utf-8")
    told = {
        "from": found.start.isoformat(),
        "to": found.end.isoformat(),
        "aware_at": found.aware_at.isoformat(),
        "deadline": found.deadline.isoformat(),
        "customers": len(found.customers),
        "by_actor": found.by_actor,
        "by_request": found.by_request,
        "entrances": [
            {"user": stream.removeprefix("user:"), "what": topic, "at": at.isoformat()}
            for stream, topic, at in found.entrances
        ],
        "decided": [
            {"actor": who, "what": topic, "times": times} for who, topic, times in found.decided
        ],
    }
    (output / "report.txt").write_text(_report(told), encoding="utf-8")
    if as_json:
        say_json({**told, "output": str(output)})
    else:
        click.echo(_report(told))
        click.echo(f"Written to {output}, with drafts of the letters.")


def _report(told: dict[str, object]) -> str:
    lines = [
        f"Between {told['from']} and {told['to']}",
        f"personal data of {told['customers']} customers were opened (customers.csv).",
        f"Noticed {told['aware_at']}; the authority is to be told by {told['deadline']}"
        " (72 hours; in Indonesia the customers, too).",
    ]
    for title, name in (("By whom", "by_actor"), ("By what", "by_request")):
        rows = told[name]
        assert isinstance(rows, dict)
        lines += ["", f"{title}:", *(f"  {times:>6}  {what}" for what, times in rows.items())]
    for title, name in (("Who came in or tried", "entrances"), ("What was decided", "decided")):
        found = told[name]
        assert isinstance(found, list)
        lines += ["", f"{title}:", *("  " + "  ".join(map(str, one.values())) for one in found)]
    return "\n".join(lines) + "\n"


COMMANDS = (privacy,)
