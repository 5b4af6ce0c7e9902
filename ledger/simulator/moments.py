"""Calendar arithmetic on unix seconds in UTC, and the one rounding rule of amounts."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime
from fractions import Fraction
from math import floor

HOUR = 3_600
DAY = 86_400


def add_months(at: int, months: int) -> int:
    """Return the same day and time `months` later, or the month's last day where it has none."""
    moment = datetime.fromtimestamp(at, UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())


def nth_boundary(anchor: int, interval: str, count: int, number: int) -> int:
    """Return the start of the `number`-th period counted from the anchor (unix seconds)."""
    if interval == "day":
        return anchor + number * count * DAY
    if interval == "week":
        return anchor + number * count * 7 * DAY
    return add_months(anchor, number * count * (12 if interval == "year" else 1))


def period_around(anchor: int, interval: str, count: int, at: int) -> tuple[int, int]:
    """Return (start, end) of the period that holds `at`, with boundaries set by the anchor."""
    days = {"day": 1, "week": 7, "month": 28, "year": 365}[interval] * count
    number = (at - anchor) // ((days + 3) * DAY) if at >= anchor else (at - anchor) // (days * DAY)
    while nth_boundary(anchor, interval, count, number + 1) <= at:
        number += 1
    return (
        nth_boundary(anchor, interval, count, number),
        nth_boundary(anchor, interval, count, number + 1),
    )


def half_up(amount: Fraction) -> int:
    """Return the nearest whole amount, halves upwards."""
    return floor(amount + Fraction(1, 2))


def half_away(amount: Fraction) -> int:
    """Return the nearest whole amount, halves away from zero: credits mirror charges."""
    return half_up(amount) if amount >= 0 else -half_up(-amount)


def split(amount_minor: int, weights: list[int]) -> list[int]:
    """Return the amount divided in proportion to the weights, by largest remainder."""
    total = sum(weights)
    if total == 0:
        return [0 for _ in weights]
    exact = [Fraction(amount_minor * weight, total) for weight in weights]
    parts = [floor(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_remainder[: amount_minor - sum(parts)]:
        parts[i] += 1
    return parts


def day_of(at: int) -> str:
    """Return the UTC day of a moment as `YYYY-MM-DD`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def spoken_day(at: int) -> str:
    """Return the UTC day of a moment as Stripe writes it in descriptions."""
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y")
