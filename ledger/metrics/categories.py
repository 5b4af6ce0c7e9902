"""Churn reasons in categories of one's own: as data by default, and as somebody decided since."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec

from ledger.aggregates import Customer
from ledger.aggregates.base import CATEGORIES_STREAM
from ledger.errors import NotFound, RequestInvalid
from ledger.log import Log, NewEvent

if TYPE_CHECKING:
    from ledger.application import Ledger

_encode = msgspec.json.Encoder().encode
_LOST = "SELECT customer_id FROM losses WHERE subscription_id = %s LIMIT 1"


class Categories(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which feedback means which category; what involuntary churn and silence mean."""

    involuntary: str
    not_told: str
    categories: dict[str, list[str]]

    @property
    def of_feedback(self) -> Mapping[str, str]:
        """The category of each of Stripe's words."""
        return {
            feedback: category
            for category, words in self.categories.items()
            for feedback in words
        }  # fmt: skip


@cache
def categories() -> Categories:
    """Return the categories."""
    text = (files(__package__) / "categories.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Categories)


def categorize(ledger: Ledger, subscription: str, category: str, *, actor: str) -> None:
    """Say in which category the end of a subscription belongs; what was said last counts.

    Raises RequestInvalid for no category, NotFound if nobody was lost with that subscription.
    """
    if category not in categories().categories:
        raise RequestInvalid(
            f"There is no category {category!r}; there are {', '.join(categories().categories)}."
        )
    with ledger.pool.connection() as connection:
        row = connection.execute(_LOST, [subscription]).fetchone()
        if row is None:
            raise NotFound(f"No customer was lost with the subscription {subscription!r}.")
        data = {
            "type": "churn_reason.categorized",
            "subscription": subscription,
            "category": category,
            "actor": actor,
        }
        event = NewEvent(
            CATEGORIES_STREAM,
            Customer.ChurnReasonCategorized.TOPIC,
            ledger.clock.now(),
            _encode(data),
            customer_id=row[0],
        )
        Log(connection).append([event])
    ledger.announce()
