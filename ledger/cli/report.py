"""`ledger report`: the numbers as tables, JSON, CSV or a workbook."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from ledger.accounting.by_name import BOOK_REPORTS, book_report
from ledger.cli.context import Context, say_table
from ledger.cli.events import as_of_option, known_at_option
from ledger.cli.shown import say
from ledger.errors import RequestInvalid
from ledger.metrics import telling
from ledger.metrics.answers import DIMENSIONS, answer, metric_named, reported_frames
from ledger.metrics.cohorts import cohorts
from ledger.metrics.frames import KINDS
from ledger.metrics.losses import by_category, lost_customers, reasons
from ledger.metrics.metrics import METRICS, Unit
from ledger.metrics.movements import movements
from ledger.metrics.question import Question, now_of, question
from ledger.metrics.recovery import recovery
from ledger.metrics.restatement import between_definitions, between_positions
from ledger.metrics.statuses import statuses
from ledger.metrics.tables import Report
from ledger.moments import moment_of
from ledger.money import written
from ledger.periods import INTERVALS
from ledger.projections.projection import Connection


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--from", "start", metavar="PERIOD", help="2026-11-28, 2026-11, 2026-Q4 or 2026.")
@click.option("--to", "end", metavar="PERIOD", help="The last period, included.")
@click.option("--interval", type=click.Choice(INTERVALS), default="month", show_default=True)
@click.option("--by", type=click.Choice(DIMENSIONS), help="Tell a metric apart by this.")
@click.option("--definitions", metavar="SET", help="By which definition set, if not the adopted.")
@click.option("--currency", help="Only this currency (as usd).")
@click.option("--convert-to", metavar="CURRENCY", help="Tell all currencies in this one.")
@click.option("--country", help="Only customers of this country (as DE).")
@click.option("--product", help="Only this product.")
@click.option("--price", help="Only this price.")
@click.option("--cohort", metavar="MONTH", help="Only customers first worth something then.")
@as_of_option
@known_at_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "xlsx"]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.pass_obj
def report(
    context: Context,
    name: str,
    start: str | None,
    end: str | None,
    interval: str,
    by: str | None,
    definitions: str | None,
    currency: str | None,
    convert_to: str | None,
    country: str | None,
    product: str | None,
    price: str | None,
    cohort: str | None,
    as_of: str | None,
    known_at: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Print a report: a metric (`ledger report list` says which there are), or one of these.

    \b
    movements, changes, restatement   how MRR went, one by one, between two sets or moments
    cohorts, statuses, recovery       what became of customers and of failed payments
    churn_reasons, churn_categories, lost_customers
                                      why customers left, and who
    best_selling, loyal_customers     what sells, and who stays
    cohort_cash                       what each month's customers have paid since
    trial_balance, deferred_revenue, earned, cash, receivables, open_invoices, tax
                                      the journal
    late                              what was learnt of closed months after that

    `movements` sums up by period, `changes` tells them one by one with their events. For
    `restatement`, --from and --to name two definition sets; with --known-at alone it bridges what
    was known then to what is known now.
    """
    if name == "list":
        say_table([{"name": m.name, "unit": m.unit, "what": m.what} for m in METRICS.values()],
                  ["name", "unit", "what"])  # fmt: skip
        return
    filters = {
        "currency": currency, "country": country, "product": product, "price": price,
        "cohort": cohort,
    }  # fmt: skip
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        now = now_of(ledger, connection)

        def ask(first: str | None, last: str | None, by_set: str | None, known: str | None
                ) -> Question:  # fmt: skip
            return question(
                connection, now=now, start=first, end=last, interval=interval,
                definitions=by_set, moment=moment_of(connection, as_of, known, now),
                filters={name: value for name, value in filters.items() if value},
                convert_to=convert_to,
            )  # fmt: skip

        if name == "restatement":
            made = _restatement(connection, ask, start, end, known_at, definitions)
        else:
            asked = ask(start, end, definitions, known_at)
            if by and (name in BOOK_REPORTS or name in _REPORTS):
                raise RequestInvalid(f"`{name}` is not told apart: leave --by away.")
            if name in BOOK_REPORTS:
                made = book_report(connection, asked, name)
            elif name in _REPORTS:
                made = _REPORTS[name](connection, asked)
            else:
                made = _metric(connection, asked, name, by)
    say(name, made, form, output)


def _metric(connection: Connection, asked: Question, name: str, by: str | None) -> Report:
    metric = metric_named(name)
    rows = []
    for one in answer(connection, asked, name, by):
        told = telling.told_answer(asked, metric, one)
        told["shown"] = _shown(one.value.exact, metric.unit, one.currency)
        rows.append(told)
    columns = ["period", "currency", *(["group"] if by else []), "value"]
    if any("denominator" in row for row in rows):
        columns += ["numerator", "denominator"]
    for more in ("reason", "terms_unknown"):
        columns += [more] if any(more in row for row in rows) else []
    return Report(rows, columns)


def _shown(exact: Any, unit: Unit, currency: str) -> str:
    if exact is None:
        return "–"
    if isinstance(exact, Fraction):
        return f"{float(exact):.2%}" if unit == "fraction" else str(exact)
    return written(exact, currency) if unit == "minor" else f"{exact:,}"


def _movements(connection: Connection, asked: Question) -> Report:
    rows = [telling.told_frame(asked, one) for one in reported_frames(connection, asked)]
    fx = ["fx"] if asked.reporting_currency else []
    return Report(
        rows,
        [
            "period",
            "currency",
            "mrr_start",
            *KINDS,
            *fx,
            "mrr_end",
            "customers_start",
            "customers_end",
        ],
    )


def _changes(connection: Connection, asked: Question) -> Report:
    rows = []
    for one in movements(connection, asked):
        told = telling.told_movement(one)
        rows.append({**told, "at": one.at, "events": list(one.positions)})
    return Report(rows, ["at", "customer", "kind", "currency", "amount", "reasons", "events"])


def _cohorts(connection: Connection, asked: Question) -> Report:
    rows = [
        {"cohort": told["cohort"], "currency": told["currency"], "size": told["size"], **age}
        for told in (one.told() for one in cohorts(connection, asked))
        for age in told["months"]
    ]
    columns = ["cohort", "currency", "size", "month", "customers", "customers_share", "mrr",
               "mrr_share"]  # fmt: skip
    return Report(rows, columns)


def _reasons(connection: Connection, asked: Question) -> Report:
    rows = [one.told() for one in reasons(connection, asked)]
    return Report(rows, ["feedback", "kind", "currency", "count", "share", "lost_mrr"])


def _categories(connection: Connection, asked: Question) -> Report:
    columns = ["category", "currency", "count", "share", "lost_mrr"]
    return Report(by_category(connection, asked), columns)


def _lost(connection: Connection, asked: Question) -> Report:
    rows = [
        {
            **one,
            "at": datetime.fromtimestamp(one["created"], UTC),
            "event": one["event"]["position"],
        }
        for one in lost_customers(connection, asked, limit=1000)
    ]
    columns = [
        "at",
        "customer",
        "feedback",
        "kind",
        "category",
        "currency",
        "lost_mrr",
        "subscription",
        "event",
    ]
    return Report(rows, columns)


def _recovery(connection: Connection, asked: Question) -> Report:
    rows = []
    for one in recovery(connection, asked):
        told = one.told(asked)
        for rate in ("failure_rate", "recovery_rate", "matured_recovery_rate"):
            value = told.pop(rate)
            told[rate] = f"{value['value']:.1%}" if value["value"] is not None else None
            told[f"{rate}_of"] = value["denominator"]
        rows.append(told)
    columns = ["period", "currency", "attempts", "failed", "failure_rate", "failed_amount",
               "recovered", "recovered_amount", "recovery_rate", "in_progress", "matured",
               "matured_recovered", "matured_recovery_rate", "median_days"]  # fmt: skip
    return Report(rows, columns, ("failed_amount", "recovered_amount"))


def _statuses(connection: Connection, asked: Question) -> Report:
    rows = [one.told(asked) for one in statuses(connection, asked)]
    return Report(rows, ["period", "status", "customers", "share"])


_REPORTS: dict[str, Callable[[Connection, Question], Report]] = {
    "movements": _movements,
    "changes": _changes,
    "cohorts": _cohorts,
    "churn_reasons": _reasons,
    "churn_categories": _categories,
    "lost_customers": _lost,
    "recovery": _recovery,
    "statuses": _statuses,
}


def _restatement(
    connection: Connection,
    ask: Callable[[str | None, str | None, str | None, str | None], Question],
    old: str | None,
    new: str | None,
    known_at: str | None,
    definitions: str | None,
) -> Report:
    if old and new:
        before, after = ask(None, None, old, known_at), ask(None, None, new, known_at)
        steps = between_definitions(connection, before, after, after.until)
    elif known_at and not (old or new):
        then, now = ask(None, None, definitions, known_at), ask(None, None, definitions, None)
        steps = between_positions(connection, now, then.position, now.until)
    else:
        raise RequestInvalid(
            "A restatement is between two definition sets (--from SET --to SET), or between what"
            " was known at a moment and now (--known-at)."
        )
    rows = [one.told() for one in steps]
    columns = ["currency", "customer", "before", "after", "change"]
    return Report(rows, [*columns, "events"] if not old else columns)


COMMANDS = (report,)
