"""What the tests of the numbers share: subscriptions in short, and somebody who asks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from ledger.application import Ledger
from ledger.metrics.answers import Answer, answer
from ledger.metrics.definitions import add_definitions, changed
from ledger.metrics.frames import Frame, frames
from ledger.metrics.movements import movements
from ledger.metrics.question import Question, question
from ledger.moments import Moment
from ledger.projections.definitions import shipped
from tests.facts import Json, event, project, record

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def at(day: str, hour: int = 12) -> int:
    return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()) + (
        hour * 3600
    )


def price(amount: int, interval: str = "month", count: int = 1, **more: Any) -> Json:
    currency = more.pop("currency", "usd")
    return {
        "id": f"price_{amount}_{interval}_{count}", "object": "price", "currency": currency,
        "unit_amount": amount, "unit_amount_decimal": str(amount),
        "product": more.pop("product", "prod_any"),
        "recurring": {"interval": interval, "interval_count": count, "usage_type": "licensed"},
        **more,
    }  # fmt: skip


def sub(customer: str, *items: tuple[Json, int], name: str = "1", **more: Any) -> Json:
    return {
        "id": f"sub_{customer}{name}", "object": "subscription", "customer": f"cus_{customer}",
        "status": "active", "currency": items[0][0]["currency"], "created": at("2020-01-01"),
        "cancel_at_period_end": False, "discounts": [],
        "items": {"object": "list", "data": [
            {"id": f"si_{customer}{name}{index}", "object": "subscription_item", "price": one,
             "quantity": quantity, "discounts": []}
            for index, (one, quantity) in enumerate(items)
        ]},
        **more,
    }  # fmt: skip


def coupon(duration: str, **terms: Any) -> Json:
    return {"id": "OFF", "object": "coupon", "duration": duration, "valid": True, **terms}


def held(terms: Json, end: int | None = None) -> list[Json]:
    return [{"id": "di_1", "object": "discount", "coupon": terms, "end": end}]


def begun(day: str, subscription: Json) -> Json:
    return event("customer.subscription.created", subscription, created=at(day))


def updated(moment: int, subscription: Json) -> Json:
    return event("customer.subscription.updated", subscription, created=moment)


def ended(moment: int, subscription: Json, reason: str = "cancellation_requested") -> Json:
    gone = {
        **subscription, "status": "canceled", "ended_at": moment, "canceled_at": moment,
        "cancellation_details": {"reason": reason, "feedback": None},
    }  # fmt: skip
    return event("customer.subscription.deleted", gone, created=moment)


class Numbers:
    """Asks one ledger, as people do."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.definitions: str | None = None
        self.now = NOW
        self.known_at: int | None = None

    def by(self, name: str, **changes: Any) -> None:
        """Use another definition set from now on; `changes` make it one of its own."""
        if changes:
            chosen = changed(shipped("adopted"), changes, name)
        elif name == "list":
            chosen = changed(shipped("adopted"), {"discounts.profile": "list"}, "list")
        else:
            chosen = shipped(name)
        add_definitions(self.ledger, chosen, actor="tests")
        self.definitions = name
        project(self.ledger)

    def told(self, *events: Json) -> None:
        record(self.ledger, *events)
        project(self.ledger)

    def asked(
        self, connection: Any, start: str, end: str | None = None, interval: str = "month",
        **filters: str,
    ) -> Question:  # fmt: skip
        return question(
            connection, now=self.now, start=start, end=end or start, interval=interval,
            definitions=self.definitions, moment=Moment(None, self.known_at), filters=filters,
        )  # fmt: skip

    def answers(
        self, name: str, start: str, end: str | None = None, interval: str = "month",
        by: str | None = None, **filters: str,
    ) -> list[Answer]:  # fmt: skip
        with self.ledger.pool.connection() as connection:
            asked = self.asked(connection, start, end, interval, **filters)
            return answer(connection, asked, name, by)

    def value(self, name: str, period: str, **filters: str) -> Any:
        interval = "day" if period.count("-") == 2 else "month"
        found = self.answers(name, period, interval=interval, **filters)
        return found[0].value.exact if found else 0

    def frames(self, start: str, end: str, interval: str = "month", **filters: str) -> list[Frame]:
        with self.ledger.pool.connection() as connection:
            asked = self.asked(connection, start, end, interval, **filters)
            return [one for of in frames(connection, asked).values() for one in of]

    def moves(self, start: str = "2015", end: str = "2026") -> list[tuple[str, int]]:
        with self.ledger.pool.connection() as connection:
            asked = self.asked(connection, start, end, "year")
            return [(one.kind, one.amount_minor) for one in movements(connection, asked)]


def identity_holds(frames: Iterable[Frame]) -> bool:
    """Return whether the movements of each period explain what MRR changed by, to the unit."""
    return all(one.start_minor + sum(one.amounts.values()) == one.end_minor for one in frames)
