"""Reports as tables that spreadsheets open: CSV guarded against formulas, and XLSX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from ledger.errors import RequestInvalid
from ledger.metrics.frames import KINDS

# What a spreadsheet takes for a formula if a cell begins with it.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_WIDTH_MAX = 40
MRR_AMOUNTS = (
    "mrr_start", "mrr_end", "lost_mrr", "mrr", "amount", "before", "after", "change", "fx", *KINDS,
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """A report's rows: as JSON tells them, the columns of its table, which of them are amounts."""

    rows: Sequence[dict[str, Any]]
    columns: Sequence[str]
    amounts: Sequence[str] = MRR_AMOUNTS


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as RFC 4180 has them; text that would be a formula is quoted by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guarded(row.get(column)) for column in columns])
    return out.getvalue()


def guarded(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        value = " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def write_xlsx(
    path: Path, title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Write a workbook of one sheet; text is text there, whatever it begins with."""
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False})
    sheet = book.add_worksheet(title[:31])
    bold = book.add_format({"bold": True, "bottom": 1})
    widths = [len(column) for column in columns]
    for index, column in enumerate(columns):
        sheet.write_string(0, index, column, bold)
    for number, row in enumerate(rows, 1):
        for index, column in enumerate(columns):
            value = row.get(column)
            if isinstance(value, (list, tuple)):
                value = " ".join(map(str, value))
            if isinstance(value, bool) or value is None or isinstance(value, (int, float)):
                sheet.write(number, index, value)
            else:
                sheet.write_string(number, index, str(value))
            widths[index] = max(widths[index], len(str(value)) if value is not None else 0)
    for index, width in enumerate(widths):
        sheet.set_column(index, index, min(width + 2, _WIDTH_MAX))
    sheet.freeze_panes(1, 0)
    try:
        book.close()
    except (OSError, FileCreateError) as error:
        raise RequestInvalid(f"{path} cannot be written: {error}.") from error
