"""What every kind of campaign is made of: names, steps, quiet hours, and whom it is for."""

from __future__ import annotations

import re
from datetime import time
from typing import Any, Literal, TypeVar

import msgspec

from ledger.errors import RequestInvalid
from ledger.money import is_currency

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}").fullmatch
DAYS_MAX = 366
_HOUR = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]").fullmatch
Channel = Literal["mail", "sms"]
C = TypeVar("C", bound="Campaign")


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a campaign; what it does not know is an error, not ignored."""


# What kind of failure it is: what can be done about it (see dunning/declines.toml).
DECLINE_CLASSES = (
    "retry", "insufficient_funds", "expired", "check_card", "new_method", "authentication",
    "concealed", "overdue",
)  # fmt: skip


class QuietHours(Part, frozen=True, kw_only=True, rename={"from_": "from"}):
    """When nobody is written to, on the customer's clock (HH:MM)."""

    from_: str
    until: str

    @property
    def begins(self) -> time:
        """When they begin."""
        return time.fromisoformat(self.from_)

    @property
    def ends(self) -> time:
        """When they end."""
        return time.fromisoformat(self.until)


class AppliesTo(Part, frozen=True, kw_only=True):
    """Whom a campaign or a step is for: all that is named must hold; nothing named: everybody.

    Amounts in minor units of `currency`; `plans` are prices or products; `countries` as ISO 3166.
    """

    collection_method: list[str] = []
    decline_class: list[str] = []
    plans: list[str] = []
    countries: list[str] = []
    currency: str | None = None
    amount_min_minor: int | None = None
    amount_max_minor: int | None = None


class Campaign(Part, frozen=True, kw_only=True):
    """What campaigns of every kind have."""

    name: str
    version: int
    kind: str
    fact_age_hours_max: int = 48
    quiet_hours: QuietHours | None = None


def read(given: Any, kind: type[C]) -> C:
    """Return the campaign that this data describes; raise RequestInvalid saying what is wrong."""
    try:
        found = msgspec.convert(given, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # half a surrogate pair
        raise RequestInvalid(f"This is no campaign: {error}.") from error
    if not NAME(found.name):
        raise RequestInvalid(
            f"A campaign cannot be called {found.name!r}: use up to 40 small letters, digits, `_`"
            " and `-`, a letter first."
        )
    if found.version < 1:
        raise RequestInvalid("The version of a campaign is 1 or more.")
    if not 1 <= found.fact_age_hours_max <= 24 * 30:
        raise RequestInvalid("fact_age_hours_max is 1 to 720.")
    if (quiet := found.quiet_hours) is not None:
        for hour in (quiet.from_, quiet.until):
            if not _HOUR(hour):
                raise RequestInvalid(f"quiet_hours are written as 21:00, not {hour!r}.")
        if quiet.from_ == quiet.until:
            raise RequestInvalid("quiet_hours begin and end at different times; leave them out.")
    return found


def check_applies(where: str, applies: AppliesTo) -> None:
    """Raise RequestInvalid if nobody could ever be meant."""
    if applies.currency is not None and not is_currency(applies.currency):
        raise RequestInvalid(f"{where}: {applies.currency!r} is no currency (as usd).")
    low, high = applies.amount_min_minor, applies.amount_max_minor
    if (low is not None or high is not None) and applies.currency is None:
        raise RequestInvalid(f"{where}: an amount needs the `currency` it is in.")
    if low is not None and high is not None and low > high:
        raise RequestInvalid(f"{where}: amount_min_minor is above amount_max_minor.")
    for kind in applies.decline_class:
        if kind not in DECLINE_CLASSES:
            raise RequestInvalid(
                f"{where}: decline_class is one of {', '.join(DECLINE_CLASSES)}, not {kind!r}."
            )
    for country in applies.countries:
        if not re.fullmatch("[A-Z]{2}", country):
            raise RequestInvalid(f"{where}: {country!r} is no country (as ID).")


def check_days(where: str, days: int | None, least: int = 0) -> None:
    """Raise RequestInvalid for a number of days that cannot be meant."""
    if days is not None and not least <= days <= DAYS_MAX:
        raise RequestInvalid(f"{where} is {least} to {DAYS_MAX} days, not {days}.")
