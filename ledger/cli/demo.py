"""`ledger demo`: a made-up business, told to a ledger of its own."""

from __future__ import annotations

import logging
import os
import secrets
from datetime import UTC, datetime

import click

from ledger.application import Ledger, change_settings, ledger_names
from ledger.bootstrap import Installation, migrate
from ledger.cli.context import Context, json_option, say_json
from ledger.cli.progress import Bar
from ledger.demo import NAME, SEED, Demo, DemoUnheard
from ledger.errors import SettingsInvalid
from ledger.people import tokens
from ledger.processes import Termination, end_with_supervisor

DAYS_PER_MINUTE = 1.0
MONTHS = 24
logger = logging.getLogger("ledger.demo")


@click.command()
@click.option("--url", default="http://127.0.0.1:8100", show_default=True, help="A running server.")
@click.option("--seed", default=SEED, show_default=True, help="Another seed, another business.")
@click.option("--follow/--no-follow", help="Let the business live on after its 24 months.")
@click.option(
    "--days-per-minute", default=DAYS_PER_MINUTE, show_default=True,
    type=click.FloatRange(0.001, 1000), help="How fast it lives on.",
)  # fmt: skip
@json_option
@click.pass_obj
def demo(
    context: Context, url: str, seed: int, follow: bool, days_per_minute: float, as_json: bool
) -> None:
    """Tell the story of a made-up business to the ledger `demo` of a running server.

    `scripts/serve --demo` does this by itself. What the ledger has already is not told again.
    """
    is_supervised = end_with_supervisor(os.environ)
    with context.installation(writes=True) as opened:
        ledger = open_demo(opened)
        start = int(ledger.settings.demo_start or 0)
        telling = Demo(ledger, f"{url.rstrip('/')}/webhooks/stripe/{NAME}", start, seed)
        bar = Bar("seconds of business", quiet=as_json)
        try:
            told = telling.tell_story(int(ledger.clock.now().timestamp()), bar)
        except DemoUnheard:
            if is_supervised:  # the server is starting, or is being started again
                logger.warning("the demo was not heard; it is told again")
                raise click.exceptions.Exit(1) from None
            raise
        finally:
            bar.end()
        if as_json:
            say_json({"ledger": NAME, "events": told.events, "sent": told.sent})
        else:
            click.echo(f"Demo: {told.events:,} events, {told.sent:,} of them sent now.")
        if follow:
            termination = Termination()
            telling.live_on(days_per_minute, lambda: termination.requested)


def open_demo(opened: Installation) -> Ledger:
    """Return the demo's ledger, made if there is none: marked, for ever."""
    if NAME not in ledger_names(opened.database):
        migrate(opened.database, NAME)
        unmarked = opened.ledger(NAME)
        change_settings(
            unmarked,
            {
                "mode": "test",
                "webhook_secrets": f"whsec_{secrets.token_hex(16)}",
                "demo_start": str(_story_start(unmarked.clock.now())),
            },
        )
        unmarked.close()
        opened.forget(NAME)
    ledger = opened.ledger(NAME)
    if ledger.settings.demo_start is None:
        raise SettingsInvalid(
            f"The ledger `{NAME}` is one of yours, not the demo's: it is not mixed with made-up"
            " events. Use another LEDGER_HOME or database for the demo."
        )
    return ledger


def demo_token(opened: Installation) -> str:
    """Return a token that reads the demo, names included: nobody in it is real."""
    ledger = open_demo(opened)
    with opened.database.connect(ledger.schema) as connection:
        for known in tokens.listed(connection):
            if known["name"] == NAME and known["revoked_at"] is None:
                tokens.revoke(connection, known["id"])
        _, secret = tokens.create(connection, NAME, NAME, ["personal"])
    return secret


def _story_start(now: datetime) -> int:
    """Return the first of the month 24 months ago, in unix seconds: the story ends this month."""
    months = now.year * 12 + now.month - 1 - MONTHS
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp())


COMMANDS = (demo,)
