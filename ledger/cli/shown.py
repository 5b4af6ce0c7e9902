"""How a report is printed: as a table for people, JSON, CSV or a workbook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ledger.cli.context import say_json, say_table
from ledger.errors import RequestInvalid
from ledger.metrics.tables import Report, as_csv, write_xlsx
from ledger.money import in_major

Row = dict[str, Any]


def say(name: str, made: Report, form: str, output: Path | None) -> None:
    """Print a report, or write it to a file; raise RequestInvalid where that cannot be."""
    if form == "xlsx":
        if output is None:
            raise RequestInvalid("A workbook is a file: say where with --output FILE.xlsx.")
        write_xlsx(output, name, made.rows, made.columns)
    elif form == "csv":
        text = as_csv(made.rows, made.columns)
        if output is None:
            click.echo(text, nl=False)
        else:
            output.write_text(text, newline="")
    elif output is not None:
        raise RequestInvalid("--output is for --format csv or xlsx.")
    elif form == "json":
        say_json([{k: v for k, v in row.items() if k != "shown"} for row in made.rows])
    elif not made.rows:
        click.echo("Nothing: there are no numbers for that yet.")
    else:
        say_table([_readable(row, made.amounts) for row in made.rows], made.columns)


def _readable(row: Row, amounts: Sequence[str]) -> Row:
    """Return a row as people read it: amounts with their decimals, fractions in per cent."""
    currency = str(row.get("currency", ""))
    shown = {
        key: in_major(value, currency) if key in amounts and isinstance(value, int) else value
        for key, value in row.items()
    }
    for key in ("share", "customers_share", "mrr_share"):
        if isinstance(shown.get(key), float):
            shown[key] = f"{shown[key]:.1%}"
    if "shown" in shown:
        shown["value"] = shown["shown"]
    return shown
