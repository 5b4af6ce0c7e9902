"""When somebody is written to: on their own clock, outside quiet hours, on a pay day if asked."""

from __future__ import annotations

from calendar import monthrange
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo

from ledger.policies.campaign import QuietHours

ZoneSource = Literal["country", "country_of_several", "business"]

# Where a country has several zones and the first one listed is not that of most people.
_MOST_PEOPLE = {
    "AU": "Australia/Sydney", "BR": "America/Sao_Paulo", "CA": "America/Toronto",
    "CD": "Africa/Kinshasa", "CL": "America/Santiago", "EC": "America/Guayaquil",
    "ES": "Europe/Madrid", "KZ": "Asia/Almaty", "MX": "America/Mexico_City",
    "NZ": "Pacific/Auckland", "PT": "Europe/Lisbon", "RU": "Europe/Moscow",
}  # fmt: skip


@dataclass(frozen=True)
class LocalClock:
    """Whose clock counts for a customer, and how that is known."""

    zone: str
    source: ZoneSource


@dataclass(frozen=True)
class Due:
    """When something is due, and by what it was moved there from where it would have been."""

    at: datetime
    moved_by: str | None = None


@cache
def _zones_by_country() -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found[country].append(zone)
    return found


def clock_of(country: str | None, business_zone: str) -> LocalClock:
    """Return a customer's clock: their country's, else the business's."""
    zones = _zones_by_country().get(country or "", [])
    if not zones:
        return LocalClock(business_zone, "business")
    if len(zones) == 1:
        return LocalClock(zones[0], "country")
    return LocalClock(_MOST_PEOPLE.get(country or "", zones[0]), "country_of_several")


def outside_quiet_hours(at: datetime, quiet: QuietHours | None, zone: str) -> datetime:
    """Return the instant itself, or the end of the quiet hours that it is in."""
    if quiet is None or quiet.begins == quiet.ends:
        return at
    local = at.astimezone(ZoneInfo(zone))
    clock = local.time().replace(tzinfo=None)
    begins, ends = quiet.begins, quiet.ends
    over_midnight = begins > ends
    is_quiet = (clock >= begins or clock < ends) if over_midnight else begins <= clock < ends
    if not is_quiet:
        return at
    day = local.date() + timedelta(days=over_midnight and clock >= begins)
    return _on(day, ends, zone)


def next_pay_day(at: datetime, pay_days: Sequence[int], zone: str) -> datetime:
    """Return the first pay day from an instant on, at the same time of the day.

    Of a day that a month does not have its last day is taken.
    """
    if not pay_days:
        return at
    local = at.astimezone(ZoneInfo(zone))
    day = local.date()
    while not any(day.day == min(one, monthrange(day.year, day.month)[1]) for one in pay_days):
        day += timedelta(days=1)
    return at if day == local.date() else _on(day, local.time().replace(tzinfo=None), zone)


def due(at: datetime, zone: str, *, quiet: QuietHours | None, pay_days: Sequence[int] = ()) -> Due:
    """Return when what would be due at an instant is due on a customer's clock."""
    moved = next_pay_day(at, pay_days, zone)
    shown = outside_quiet_hours(moved, quiet, zone)
    if shown != moved:
        return Due(shown, "quiet_hours" if moved == at else "pay_day_and_quiet_hours")
    return Due(moved, None if moved == at else "pay_day")


def _on(day: date, clock: time, zone: str) -> datetime:
    return datetime.combine(day, clock, ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))
