"""Calendar periods: the day, month, quarter or year that a day is in, and the one after it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal, get_args

Interval = Literal["day", "month", "quarter", "year"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def first_of(day: date, interval: Interval) -> date:
    """Return the first day of the period that a day is in."""
    if interval == "day":
        return day
    months = _MONTHS[interval]
    return day.replace(month=(day.month - 1) // months * months + 1, day=1)


def next_of(day: date, interval: Interval) -> date:
    """Return the first day of the period after the one that a day is in."""
    if interval == "day":
        return day + timedelta(days=1)
    return months_later(first_of(day, interval), _MONTHS[interval])


def months_later(first: date, months: int) -> date:
    """Return the first of the month so many months after the one that a day is in, or before."""
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return date(year, month + 1, 1)


def months_after(instant: datetime, months: int) -> datetime:
    """Return the same day and time so many months later; of a month that is too short its last."""
    first = months_later(instant.date(), months)
    day = min(instant.day, (months_later(first, 1) - timedelta(days=1)).day)
    return instant.replace(year=first.year, month=first.month, day=day)
