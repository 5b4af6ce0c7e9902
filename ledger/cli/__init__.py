"""The `ledger` command: one place that turns every error of ours into one clear line."""

from __future__ import annotations

import sys

import click
import psycopg

from ledger.cli import (
    backup,
    books,
    campaigns,
    categorize,
    definitions,
    demo,
    doctor,
    effects,
    events,
    exports,
    forget,
    imports,
    keys,
    ledgers,
    privacy,
    rebuild,
    reconcile,
    report,
    serve,
    tokens,
    users,
    verify,
)
from ledger.cli.context import Context
from ledger.errors import LedgerError
from ledger.settings import DEFAULT_LEDGER


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--ledger", "name", default=DEFAULT_LEDGER, show_default=True, help="Which ledger.")
@click.version_option(package_name="billing-ledger")
@click.pass_context
def cli(context: click.Context, name: str) -> None:
    """An event-sourced billing ledger for businesses on Stripe."""
    context.obj = Context(name)


for command in (
    *serve.COMMANDS,
    *demo.COMMANDS,
    *events.COMMANDS,
    *verify.COMMANDS,
    *doctor.COMMANDS,
    *rebuild.COMMANDS,
    *reconcile.COMMANDS,
    *report.COMMANDS,
    *definitions.COMMANDS,
    *books.COMMANDS,
    *imports.COMMANDS,
    *categorize.COMMANDS,
    *effects.COMMANDS,
    *campaigns.COMMANDS,
    *tokens.COMMANDS,
    *users.COMMANDS,
    *ledgers.COMMANDS,
    *keys.COMMANDS,
    *forget.COMMANDS,
    *privacy.COMMANDS,
    *exports.COMMANDS,
    *backup.COMMANDS,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; exit 1 with one sentence for what the user can mend."""
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except LedgerError as error:
        click.echo(f"ledger: {error}", err=True)
        sys.exit(1)
    except psycopg.Error as error:
        told = error.diag.message_primary or str(error).partition("\n")[0]
        click.echo(f"ledger: PostgreSQL says: {told}", err=True)
        sys.exit(1)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()  # the reader has seen enough
            sys.exit(0)
        click.echo(f"ledger: {error.strerror}: {error.filename}", err=True)
        sys.exit(1)
