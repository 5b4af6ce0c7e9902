"""Definition sets: every choice behind the numbers, as data with a name, a version and a hash.

A set of the installation's own is one of the shipped with some choices changed; all of it stands in
the event that added it, so that a replay needs nothing else.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from ledger.canonical import canonical
from ledger.errors import RequestInvalid
from ledger.money import is_currency

Profile = Literal["recurring", "forever", "net", "list"]
Recognized = Literal["when_ended", "when_scheduled", "end_of_paid_period"]
DELINQUENT_DAYS_MAX = 90
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}").fullmatch
_FRACTION = re.compile(r"[0-9]{1,9}(/[0-9]{1,9}|\.[0-9]{1,9})?").fullmatch


def _positive(text: str) -> bool:
    try:
        return Fraction(text) > 0
    except ZeroDivisionError:
        return False


class MonthsPerPeriod(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many months' worth one period's amount is, as exact fractions."""

    day: str
    week: str
    month: str
    year: str


class Discounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which discounts lower MRR.

    `recurring`: forever, and repeating while its window is open. `forever`: only those. `net`: all,
    as invoiced. `list`: none.
    """

    profile: Profile


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which subscriptions count beside active ones.

    `delinquent_after_days`: past due for longer than that is churn (1 to 90; None: as Stripe's
    status says). `paid_before_trial`: a trial of a subscription that has paid counts.
    """

    past_due: bool
    trialing: bool
    paid_before_trial: bool
    unpaid: bool
    paused: bool
    delinquent_after_days: int | None = None


class Churn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a cancellation counts, and what is none.

    `free_is_active`: who pays nothing any more but still has a subscription is not lost.
    `reactivation_within_days`: who comes back later than that is new (None: never).
    """

    recognized: Recognized
    free_is_active: bool
    reactivation_within_days: int | None = None


class Grouping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Changes of one customer within so many minutes, on one reporting day, are one movement."""

    minutes: int


class Reporting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The zone whose days and months are reported, and the currency that others are told in."""

    zone: str = "UTC"
    currency: str | None = None


class Definitions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """A definition set."""

    name: str
    version: int
    months_per_period: MonthsPerPeriod
    discounts: Discounts
    counts: Counts
    churn: Churn
    grouping: Grouping
    reporting: Reporting = Reporting()

    @cached_property
    def hash(self) -> str:
        """The first twelve hex digits of the SHA-256 of all choices, the name included."""
        return hashlib.sha256(canonical(msgspec.to_builtins(self))).hexdigest()[:12]

    @cached_property
    def zone(self) -> ZoneInfo:
        """The reporting zone."""
        return ZoneInfo(self.reporting.zone)


def shipped_names() -> list[str]:
    """Return the names of the sets that come with the program."""
    return sorted(
        one.name.removesuffix(".toml")
        for one in files(__name__).iterdir()
        if one.name.endswith(".toml")
    )


@cache
def shipped(name: str) -> Definitions:
    """Return a set that comes with the program; raise RequestInvalid."""
    if name not in shipped_names():
        raise RequestInvalid(
            f"There are no definitions {name!r}; shipped are {', '.join(shipped_names())}."
        )
    return read(tomllib.loads((files(__name__) / f"{name}.toml").read_text()))


def read(given: Mapping[str, Any]) -> Definitions:
    """Return the set that this data describes; raise RequestInvalid saying what is wrong."""
    try:
        found = msgspec.convert(given, Definitions)
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"These are no definitions: {error}.") from error
    if found.reporting.zone not in available_timezones():
        raise RequestInvalid(f"There is no time zone {found.reporting.zone!r} (as Europe/Berlin).")
    if found.reporting.currency and not is_currency(found.reporting.currency):
        raise RequestInvalid(f"{found.reporting.currency!r} is no currency (as usd).")
    days = found.counts.delinquent_after_days
    if days is not None and not 1 <= days <= DELINQUENT_DAYS_MAX:
        raise RequestInvalid(f"delinquent_after_days is 1 to {DELINQUENT_DAYS_MAX}, not {days}.")
    if not _NAME(found.name):
        raise RequestInvalid(
            f"{found.name!r} is no name for definitions: at most 40 letters, digits, `_`, `.`, `-`."
        )
    for unit in ("day", "week", "month", "year"):
        share = getattr(found.months_per_period, unit)
        if not _FRACTION(share) or not _positive(share):
            raise RequestInvalid(
                f"months_per_period.{unit} is a fraction above 0 (as 1/12), not {share!r}."
            )
    if not 0 <= found.grouping.minutes <= 24 * 60:
        raise RequestInvalid("grouping.minutes is 0 to 1440.")
    return found
