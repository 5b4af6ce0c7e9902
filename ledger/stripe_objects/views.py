"""The canonical shapes: what the business reads of each Stripe object, whatever the API version.

Amounts are integers in minor units, instants unix seconds UTC, missing is None.
"""

from __future__ import annotations

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every object has."""

    id: str | None = None
    created: int | None = None
    customer: str | None = None
    status: str | None = None
    livemode: bool | None = None


class Coupon(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a coupon takes off: a share in per cent or an amount in minor units of `currency`."""

    percent_off: float | None = None
    amount_off: int | None = None
    currency: str | None = None
    duration: str | None = None
    products: list[str] | None = None


class HeldDiscount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A discount as its holder names it: often by id alone; `terms` where the coupon is inside."""

    id: str | None = None
    coupon: str | None = None
    start: int | None = None
    end: int | None = None
    terms: Coupon | None = None


class Tier(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a tiered price, in minor units; the last one goes up to None."""

    up_to: int | None = None
    unit_amount: str | None = None
    flat_amount: str | None = None


class SubscriptionItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a subscription: how many of which price.

    `inclusive_tax`: per cent of tax contained in the price, by its tax rates; `unknown` where
    Stripe computes it (automatic tax).
    """

    id: str | None = None
    price: str | None = None
    product: str | None = None
    nickname: str | None = None
    quantity: int | None = None
    unit_amount: int | None = None
    unit_amount_decimal: str | None = None
    currency: str | None = None
    interval: str | None = None
    interval_count: int | None = None
    usage_type: str | None = None
    tiers_mode: str | None = None
    divide_by: int | None = None
    divide_round: str | None = None
    inclusive_tax: str | None = None
    current_period_start: int | None = None
    current_period_end: int | None = None
    discounts: list[HeldDiscount] | None = None


class Subscription(View, frozen=True, kw_only=True):
    """A subscription; `current_period_*` are those of the item that is billed next.

    `discounts` is None where the API version names one `discount` at most, and it has none.
    """

    cancel_at_period_end: bool | None = None
    cancel_at: int | None = None
    canceled_at: int | None = None
    ended_at: int | None = None
    current_period_start: int | None = None
    current_period_end: int | None = None
    start_date: int | None = None
    trial_start: int | None = None
    trial_end: int | None = None
    collection_method: str | None = None
    pause_behavior: str | None = None
    pause_resumes_at: int | None = None
    paused_reason: str | None = None
    currency: str | None = None
    latest_invoice: str | None = None
    default_payment_method: str | None = None
    schedule: str | None = None
    cancellation_reason: str | None = None
    feedback: str | None = None
    items: list[SubscriptionItem] = []
    discounts: list[HeldDiscount] | None = None
    test_clock: str | None = None


class Invoice(View, frozen=True, kw_only=True):
    """An invoice, all amounts in minor units of `currency`."""

    number: str | None = None
    subscription: str | None = None
    billing_reason: str | None = None
    collection_method: str | None = None
    currency: str | None = None
    amount_due: int | None = None
    amount_paid: int | None = None
    amount_remaining: int | None = None
    subtotal: int | None = None
    total: int | None = None
    tax: int | None = None
    attempt_count: int | None = None
    attempted: bool | None = None
    auto_advance: bool | None = None
    next_payment_attempt: int | None = None
    due_date: int | None = None
    payment_intent: str | None = None
    charge: str | None = None
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    marked_uncollectible_at: int | None = None
    receipt_number: str | None = None
    prices: list[str] = []


class Payment(View, frozen=True, kw_only=True):
    """A payment intent or a charge: one try, or several, to collect one amount."""

    amount: int | None = None
    amount_received: int | None = None
    amount_refunded: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    invoice: str | None = None
    latest_charge: str | None = None
    order_reference: str | None = None
    failure_code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    disputed: bool | None = None
    method_type: str | None = None
    brand: str | None = None
    last4: str | None = None
    country: str | None = None


class Customer(View, frozen=True, kw_only=True):
    """A customer without what is personal about them."""

    delinquent: bool | None = None
    currency: str | None = None
    balance: int | None = None
    country: str | None = None
    invoice_prefix: str | None = None
    next_invoice_sequence: int | None = None
    default_payment_method: str | None = None
    preferred_locales: list[str] = []
    tax_exempt: str | None = None
    discount: HeldDiscount | None = None
    test_clock: str | None = None


class Discount(View, frozen=True, kw_only=True):
    """A coupon in use by a customer, a subscription or one of its items; instants unix seconds."""

    coupon: str | None = None
    subscription: str | None = None
    subscription_item: str | None = None
    start: int | None = None
    end: int | None = None
    terms: Coupon | None = None


class CatalogueItem(View, frozen=True, kw_only=True):
    """A product, price, plan, coupon, promotion code or tax rate."""

    name: str | None = None
    active: bool | None = None
    product: str | None = None
    coupon: str | None = None
    currency: str | None = None
    unit_amount: int | None = None
    unit_amount_decimal: str | None = None
    interval: str | None = None
    interval_count: int | None = None
    usage_type: str | None = None
    lookup_key: str | None = None
    percent_off: float | None = None
    amount_off: int | None = None
    duration: str | None = None
    duration_in_months: int | None = None
    percentage: float | None = None
    inclusive: bool | None = None
    products: list[str] | None = None
    tiers: list[Tier] | None = None


class InvoicePayment(View, frozen=True, kw_only=True):
    """What ties a payment to an invoice since basil."""

    invoice: str | None = None
    payment_intent: str | None = None
    charge: str | None = None
    amount_paid: int | None = None
    currency: str | None = None


class OtherObject(View, frozen=True, kw_only=True):
    """Anything else that has a state: refunds, disputes, sessions, schedules, payouts, …"""

    amount: int | None = None
    currency: str | None = None
    reason: str | None = None
    subscription: str | None = None
    invoice: str | None = None
    charge: str | None = None
    payment_intent: str | None = None
    type: str | None = None
    payment_status: str | None = None
