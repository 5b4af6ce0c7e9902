"""Coupons, promotion codes, the discounts made of them, and tax rates."""

from __future__ import annotations

from typing import Literal, Required, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.moments import add_months
from ledger.simulator.refusals import Refused, needs


class Restrictions(TypedDict, total=False):
    """Who may use a promotion code; amount in minor units."""

    first_time_transaction: bool
    minimum_amount: int
    minimum_amount_currency: str


class CouponParams(TypedDict, total=False):
    """What may change about a coupon."""

    name: str | None
    metadata: Metadata


class CouponCreate(CouponParams, total=False):
    """Parameters of a new coupon; `amount_off` in minor units."""

    id: str
    percent_off: float
    amount_off: int
    currency: str
    duration: Literal["once", "repeating", "forever"]
    duration_in_months: int
    max_redemptions: int
    redeem_by: int
    applies_to: dict[str, list[str]]


class Coupons(Family):
    """Coupons."""

    kind = "coupon"

    def create(self, **params: Unpack[CouponCreate]) -> Json:
        """Make a coupon."""
        if ("percent_off" in params) == ("amount_off" in params):
            raise Refused(
                "You must pass either `amount_off` or `percent_off`.", param="percent_off"
            )
        if params.get("duration") == "repeating" and "duration_in_months" not in params:
            raise needs("duration_in_months")
        with self.engine.call():
            coupon = self.engine.save(
                {
                    "id": params.get("id") or self.engine.ids.letters(8),
                    "object": "coupon",
                    "amount_off": params.get("amount_off"),
                    "created": self.engine.now,
                    "currency": params.get("currency"),
                    "duration": params.get("duration", "once"),
                    "duration_in_months": params.get("duration_in_months"),
                    "livemode": False,
                    "max_redemptions": params.get("max_redemptions"),
                    "metadata": params.get("metadata", {}),
                    "name": params.get("name"),
                    "percent_off": params.get("percent_off"),
                    "redeem_by": params.get("redeem_by"),
                    "times_redeemed": 0,
                    "valid": True,
                }
            )
            self.engine.tell("coupon.created", coupon)
            return coupon

    def update(self, coupon: str, **changes: Unpack[CouponParams]) -> Json:
        """Change a coupon's name or metadata; its terms never change."""
        return self.amend(coupon, changes)

    def delete(self, coupon: str) -> Json:
        """Delete a coupon; discounts made of it go on."""
        known = self.retrieve(coupon)
        with self.engine.call():
            self.engine.tell("coupon.deleted", self.engine.change(known, valid=False))
            self.engine.remove("coupon", coupon)
        return {"id": coupon, "object": "coupon", "deleted": True}

    def redeem(
        self,
        coupon: Json,
        *,
        customer: str,
        subscription: str | None,
        subscription_item: str | None = None,
        code: str | None = None,
    ) -> Json:
        """Make a discount of a coupon, starting now, and count the redemption."""
        if not coupon["valid"]:
            raise Refused(f"Coupon expired: {coupon['id']}", code="coupon_expired", param="coupon")
        now = self.engine.now
        months = coupon["duration_in_months"]
        discount = self.engine.save(
            {
                "id": self.engine.new_id("di"),
                "object": "discount",
                "checkout_session": None,
                "customer": customer,
                "customer_account": None,
                "end": add_months(now, months) if coupon["duration"] == "repeating" else None,
                "invoice": None,
                "invoice_item": None,
                "promotion_code": code,
                "source": {"coupon": coupon["id"], "type": "coupon"},
                "start": now,
                "subscription": subscription,
                "subscription_item": subscription_item,
                "_": {"coupon": coupon},
            }
        )
        if code:
            promotion = self.engine.get("promotion_code", code)
            used = promotion["times_redeemed"] + 1
            spent = (
                promotion["max_redemptions"] is not None and used >= promotion["max_redemptions"]
            )
            promotion = self.engine.change(
                promotion, times_redeemed=used, active=promotion["active"] and not spent
            )
            self.engine.tell("promotion_code.updated", promotion)
        if self.engine.find("coupon", coupon["id"]):
            times = coupon["times_redeemed"] + 1
            limit = coupon["max_redemptions"]
            changed = self.engine.change(
                coupon, times_redeemed=times, valid=limit is None or times < limit
            )
            self.engine.tell("coupon.updated", changed)
        self.engine.tell("customer.discount.created", discount)
        return discount

    def meant(self, given: dict[str, str]) -> tuple[Json, str | None]:
        """Return the coupon, and the promotion code, that one of `discounts` names."""
        if code := given.get("promotion_code"):
            promotion = self.sim.promotion_codes.named(code, "discounts[promotion_code]")
            if not promotion["active"]:
                raise Refused("This promotion code is no longer active.", code="coupon_expired")
            return self.named(promotion["promotion"]["coupon"], "coupon"), code
        if coupon := given.get("coupon"):
            return self.named(coupon, "discounts[coupon]"), None
        raise needs("discounts[coupon]")

    def end(self, discount: Json) -> None:
        """Take a discount away."""
        if self.engine.find("discount", discount["id"]):
            ended = self.engine.change(discount, end=self.engine.now)
            self.engine.tell("customer.discount.deleted", ended)
            self.engine.remove("discount", discount["id"])


class PromotionCodeParams(TypedDict, total=False):
    """What may change about a promotion code."""

    active: bool
    metadata: Metadata


class PromotionCodeCreate(PromotionCodeParams, total=False):
    """Parameters of a new promotion code."""

    promotion: dict[str, str]
    coupon: str
    code: str
    customer: str
    expires_at: int
    max_redemptions: int
    restrictions: Restrictions


class PromotionCodes(Family):
    """Promotion codes: what people type to get a coupon."""

    kind = "promotion_code"

    def create(self, **params: Unpack[PromotionCodeCreate]) -> Json:
        """Make a promotion code for a coupon."""
        coupon = params.get("promotion", {}).get("coupon") or params.get("coupon")
        if not coupon:
            raise needs("promotion[coupon]")
        known = self.sim.coupons.named(coupon, "promotion[coupon]")
        with self.engine.call():
            code = self.engine.save(
                {
                    "id": self.engine.new_id("promo"),
                    "object": "promotion_code",
                    "active": params.get("active", True),
                    "code": params.get("code") or self.engine.ids.letters(8).upper(),
                    "created": self.engine.now,
                    "customer": params.get("customer"),
                    "customer_account": None,
                    "expires_at": params.get("expires_at"),
                    "livemode": False,
                    "max_redemptions": params.get("max_redemptions"),
                    "metadata": params.get("metadata", {}),
                    "promotion": {"coupon": coupon, "type": "coupon"},
                    "restrictions": {
                        "first_time_transaction": False,
                        "minimum_amount": None,
                        "minimum_amount_currency": None,
                        **params.get("restrictions", {}),
                    },
                    "times_redeemed": 0,
                    "_": {"coupon": known},
                }
            )
            self.engine.tell("promotion_code.created", code)
            return code

    def update(self, promotion_code: str, **changes: Unpack[PromotionCodeParams]) -> Json:
        """Switch a code on or off, or change its metadata."""
        return self.amend(promotion_code, changes)


class TaxRateParams(TypedDict, total=False):
    """What may change about a tax rate."""

    active: bool
    display_name: str
    description: str | None
    jurisdiction: str | None
    country: str | None
    state: str | None
    tax_type: str | None
    metadata: Metadata


class TaxRateCreate(TaxRateParams, total=False):
    """Parameters of a new tax rate."""

    percentage: Required[float]
    inclusive: Required[bool]


class TaxRates(Family):
    """Tax rates, added to prices or contained in them."""

    kind = "tax_rate"

    def create(self, **params: Unpack[TaxRateCreate]) -> Json:
        """Make a tax rate."""
        if "display_name" not in params:
            raise needs("display_name")
        with self.engine.call():
            rate = self.engine.save(
                {
                    "id": self.engine.new_id("txr"),
                    "object": "tax_rate",
                    "active": params.get("active", True),
                    "country": params.get("country"),
                    "created": self.engine.now,
                    "description": params.get("description"),
                    "display_name": params["display_name"],
                    "effective_percentage": None,
                    "flat_amount": None,
                    "inclusive": params["inclusive"],
                    "jurisdiction": params.get("jurisdiction"),
                    "jurisdiction_level": None,
                    "livemode": False,
                    "metadata": params.get("metadata", {}),
                    "percentage": params["percentage"],
                    "rate_type": "percentage",
                    "state": params.get("state"),
                    "tax_type": params.get("tax_type"),
                }
            )
            self.engine.tell("tax_rate.created", rate)
            return rate

    def update(self, tax_rate: str, **changes: Unpack[TaxRateParams]) -> Json:
        """Change what may change about a tax rate."""
        return self.amend(tax_rate, changes)

    def named_all(self, ids: list[str] | None) -> list[Json]:
        """Return the tax rates that a parameter names."""
        return [self.named(rate, "tax_rates") for rate in ids or []]
