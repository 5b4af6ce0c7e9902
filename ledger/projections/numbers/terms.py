"""Discounts in force: which a subscription has at a moment, until when, and what they take off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ledger.projections.definitions import Profile
from ledger.projections.numbers.history import History
from ledger.projections.numbers.worth import InForce, Off
from ledger.stripe_objects.views import (
    CatalogueItem,
    Customer,
    Discount,
    HeldDiscount,
    Subscription,
)

Held = HeldDiscount | Discount  # as its holder names it, or as events tell of it
COUNTED_DURATIONS: dict[Profile, frozenset[str]] = {
    "recurring": frozenset({"forever", "repeating"}),
    "forever": frozenset({"forever"}),
    "net": frozenset({"forever", "repeating", "once"}),
    "list": frozenset(),
}


@dataclass(slots=True)
class Terms:
    """What one customer's subscriptions cost by, as far as it is known.

    Terms of coupons and prices never change at Stripe, so what is known of one holds for its past.
    """

    discounts: dict[str, Discount] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    coupons: dict[str, CatalogueItem] = field(default_factory=dict)
    prices: dict[str, CatalogueItem] = field(default_factory=dict)
    customer: History[Customer] | None = None

    def learn(self, discount: Discount, ended_at: int | None) -> bool:
        """Take in a discount as it was at first, and when it was ended; return whether it is news.

        A discount that was taken away says that it ended then; what it was to be is told before.
        """
        if discount.id is None:
            return False
        is_news = self.discounts.get(discount.id) != discount
        self.discounts[discount.id] = discount
        if ended_at is not None:
            is_news |= self.ended.get(discount.id) != ended_at
            self.ended[discount.id] = ended_at
        return is_news

    def know(self, item: CatalogueItem) -> None:
        """Take in a coupon's or a price's terms."""
        if item.id is None:
            return
        if item.tiers:
            self.prices[item.id] = item
        else:
            self.coupons[item.id] = item

    def in_force(
        self, subscription: Subscription, at: int, profile: Profile
    ) -> tuple[dict[int, list[InForce]], list[InForce]]:
        """Return the discounts that count: of items by index, and of the whole subscription."""
        own: dict[int, list[InForce]] = {}
        for index, item in enumerate(subscription.items):
            held: Sequence[Held] = (
                self._told_of(subscription, item.id, at)
                if item.discounts is None
                else item.discounts
            )
            if found := [one for each in held if (one := self._counted(each, at, profile))]:
                own[index] = found
        held = self._shared(subscription, at)
        return own, [one for each in held if (one := self._counted(each, at, profile))]

    def moments(self, subscription: Subscription, since: int) -> Iterator[int]:
        """Yield when discounts of a subscription begin, end or are taken away (unix seconds)."""
        told = [one for one in self.discounts.values() if one.subscription == subscription.id]
        held = [*held_by(subscription), *told]
        if self.customer is not None:
            held += [state.discount for state in self.customer.states if state.discount]
        moments = [self._end(one) for one in held]
        moments += [one.start for one in told]
        moments += [self.ended.get(one.id or "") for one in told]
        yield from (at for at in moments if at is not None and at >= since)

    def _shared(self, subscription: Subscription, at: int) -> Sequence[Held]:
        """Return what the whole subscription holds, or where it has nothing its customer does."""
        held: list[Held] = [*(subscription.discounts or ())]
        if subscription.discounts is None:
            held += self._told_of(subscription, None, at)
        elif len(held) == 1 and held[0].coupon is not None:  # one `discount`, where more may be
            more = self._told_of(subscription, None, at)
            held += [one for one in more if one.id != held[0].id]
        if not held and self.customer is not None:
            known = self.customer.at(at)
            if known is not None and known.discount is not None:
                return [known.discount]
        return held

    def _told_of(self, subscription: Subscription, item: str | None, at: int) -> list[Discount]:
        """Return the discounts that events told of, where the subscription names them not all."""
        told = [
            one
            for one in self.discounts.values()
            if one.subscription == subscription.id
            and one.subscription_item == item
            and (one.start or 0) <= at < self.ended.get(one.id or "", at + 1)
        ]
        return sorted(told, key=lambda one: (one.start or 0, one.id or ""))

    def _counted(self, held: Held, at: int, profile: Profile) -> InForce | None:
        if profile == "list":
            return None
        end = self._end(held)
        if end is not None and end <= at:
            return None
        terms = self._terms(held)
        if terms is None:
            return InForce(None)
        counted = (terms.duration or "forever") in COUNTED_DURATIONS[profile]
        return InForce(terms) if counted else None

    def _end(self, held: Held) -> int | None:
        if held.end is not None:
            return held.end
        known = self.discounts.get(held.id or "")
        return known.end if known else None

    def _terms(self, held: Held) -> Off | None:
        if held.terms is not None:
            return held.terms
        known = self.discounts.get(held.id or "")
        if known is not None and known.terms is not None:
            return known.terms
        return self.coupons.get(held.coupon or (known.coupon if known else None) or "")


def held_by(subscription: Subscription) -> Iterator[Held]:
    """Yield the discounts that a subscription and its items name."""
    yield from subscription.discounts or ()
    for item in subscription.items:
        yield from item.discounts or ()
