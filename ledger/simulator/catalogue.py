"""What is sold: products and their prices."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Required, TypedDict, Unpack

from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.refusals import Refused, needs

Interval = Literal["day", "week", "month", "year"]
Metadata = dict[str, str]


class DefaultPrice(TypedDict, total=False):
    """The price that comes with a new product; amounts in minor units."""

    currency: Required[str]
    recurring: Recurring
    tax_behavior: str
    unit_amount: int
    unit_amount_decimal: str


class ProductParams(TypedDict, total=False):
    """Parameters of a product."""

    name: str
    active: bool
    description: str | None
    default_price: str | None
    default_price_data: DefaultPrice
    images: list[str]
    marketing_features: list[Json]
    metadata: Metadata
    shippable: bool | None
    statement_descriptor: str | None
    tax_code: str | None
    unit_label: str | None
    url: str | None


class ProductCreate(ProductParams, total=False):
    """Parameters of a new product; it may bring its id along."""

    id: str
    type: str


class Products(Family):
    """Products."""

    kind = "product"

    def create(self, **params: Unpack[ProductCreate]) -> Json:
        """Make a product."""
        if not params.get("name"):
            raise needs("name")
        with self.engine.call():
            now = self.engine.now
            product = self.engine.save(
                {
                    "id": params.get("id") or self.engine.new_id("prod"),
                    "object": "product",
                    "active": params.get("active", True),
                    "created": now,
                    "default_price": None,
                    "description": params.get("description"),
                    "images": params.get("images", []),
                    "livemode": False,
                    "marketing_features": params.get("marketing_features", []),
                    "metadata": params.get("metadata", {}),
                    "name": params["name"],
                    "package_dimensions": None,
                    "shippable": params.get("shippable"),
                    "statement_descriptor": params.get("statement_descriptor"),
                    "tax_code": params.get("tax_code"),
                    "type": params.get("type", "service"),
                    "unit_label": params.get("unit_label"),
                    "updated": now,
                    "url": params.get("url"),
                }
            )
            self.engine.tell("product.created", product)
            if "default_price_data" in params:
                price = self.sim.prices.create(
                    product=product["id"], **params["default_price_data"]
                )
                product = self.update(product["id"], default_price=price["id"])
            return product

    def update(self, product: str, **changes: Unpack[ProductParams]) -> Json:
        """Change a product."""
        return self.amend(product, {**changes, "updated": self.engine.now})

    def delete(self, product: str) -> Json:
        """Delete a product that no price uses."""
        known = self.retrieve(product)
        if any(price["product"] == product for price in self.sim.prices.all()):
            raise Refused("This product cannot be deleted because it has prices.")
        with self.engine.call():
            self.engine.tell("product.deleted", known)
            self.engine.remove("product", product)
        return {"id": product, "object": "product", "deleted": True}


class Recurring(TypedDict, total=False):
    """How often a price recurs."""

    interval: Required[Interval]
    interval_count: int
    usage_type: Literal["licensed", "metered"]
    meter: str | None
    trial_period_days: int | None


class Tier(TypedDict, total=False):
    """One step of a tiered price; amounts in minor units, `up_to` inclusive or "inf"."""

    up_to: Required[int | str | None]
    unit_amount: int | None
    unit_amount_decimal: str | None
    flat_amount: int | None


class Transform(TypedDict):
    """How a quantity is counted in packages."""

    divide_by: int
    round: Literal["up", "down"]


class PriceParams(TypedDict, total=False):
    """What may change about a price."""

    active: bool
    lookup_key: str | None
    metadata: Metadata
    nickname: str | None
    tax_behavior: str
    transfer_lookup_key: bool


class PriceCreate(PriceParams, total=False):
    """Parameters of a new price; amounts in minor units."""

    currency: Required[str]
    product: str
    product_data: ProductCreate
    unit_amount: int
    unit_amount_decimal: str
    recurring: Recurring
    billing_scheme: Literal["per_unit", "tiered"]
    tiers: list[Tier]
    tiers_mode: Literal["graduated", "volume"]
    transform_quantity: Transform


class Priced(TypedDict, total=False):
    """So many of a price that there is, or that is made on the spot."""

    price: str
    price_data: PriceCreate
    quantity: int
    tax_rates: list[str]


class Prices(Family):
    """Prices; tiers are held beside what is shown, as Stripe shows them only when asked."""

    kind = "price"

    def create(self, **params: Unpack[PriceCreate]) -> Json:
        """Make a price of a product."""
        with self.engine.call():
            product = params.get("product")
            if product is None:
                if "product_data" not in params:
                    raise needs("product")
                product = self.sim.products.create(**params["product_data"])["id"]
            self.sim.products.named(product, "product")
            price = self.engine.save(self._new(product, params))
            self.engine.tell("price.created", price)
            if price["recurring"]:
                self.engine.tell("plan.created", plan_of(price))
            return price

    def _new(self, product: str, params: PriceCreate) -> Json:
        decimal = params.get("unit_amount_decimal")
        amount = params.get("unit_amount")
        if amount is not None:
            decimal = str(amount)
        elif decimal is not None and exact_decimal(decimal).denominator == 1:
            amount = int(exact_decimal(decimal))
        tiers = params.get("tiers")
        recurring = params.get("recurring")
        return {
            "id": self.engine.new_id("price"),
            "object": "price",
            "active": params.get("active", True),
            "billing_scheme": "tiered" if tiers else "per_unit",
            "created": self.engine.now,
            "currency": params["currency"].lower(),
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": params.get("lookup_key"),
            "metadata": params.get("metadata", {}),
            "nickname": params.get("nickname"),
            "product": product,
            "recurring": recurring
            and {
                "interval": recurring["interval"],
                "interval_count": recurring.get("interval_count", 1),
                "meter": recurring.get("meter"),
                "trial_period_days": None,
                "usage_type": recurring.get("usage_type", "licensed"),
            },
            "tax_behavior": params.get("tax_behavior", "unspecified"),
            "tiers_mode": params.get("tiers_mode", "graduated") if tiers else None,
            "transform_quantity": params.get("transform_quantity"),
            "type": "recurring" if recurring else "one_time",
            "unit_amount": None if tiers else amount,
            "unit_amount_decimal": None if tiers else decimal,
            "_": {"tiers": [_tier(tier) for tier in tiers or []]},
        }

    def update(self, price: str, **changes: Unpack[PriceParams]) -> Json:
        """Change what may change about a price."""
        leaves = {key: value for key, value in changes.items() if key != "transfer_lookup_key"}
        with self.engine.call():
            changed = self.amend(price, leaves)
            if changed["recurring"]:
                self.engine.tell("plan.updated", plan_of(changed))
            return changed

    def delete(self, price: str) -> Json:
        """Delete a price, as the plan it mirrors; subscriptions that have it keep it."""
        known = self.retrieve(price)
        with self.engine.call():
            self.engine.change(known, active=False)
            if known["recurring"]:
                self.engine.tell("plan.deleted", plan_of(known))
            self.engine.tell("price.deleted", known)
        return {"id": price, "object": "plan", "deleted": True}


def _tier(tier: Tier) -> Json:
    up_to = tier["up_to"]
    amount = tier.get("unit_amount")
    decimal = tier.get("unit_amount_decimal")
    return {
        "flat_amount": tier.get("flat_amount"),
        "flat_amount_decimal": None,
        "unit_amount": amount,
        "unit_amount_decimal": decimal if decimal is not None else amount and str(amount),
        "up_to": None if up_to in ("inf", None) else int(str(up_to)),
    }


def shown(price: Json) -> Json:
    """Return a price as it stands inside other objects."""
    return {key: value for key, value in price.items() if key != "_"}


def plan_of(price: Json) -> Json:
    """Return the plan that mirrors a recurring price."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


def exact_decimal(text: str) -> Fraction:
    """Return the amount that a decimal text says; refuse other texts."""
    try:
        return Fraction(text)
    except ValueError as error:
        raise Refused(f"Invalid decimal: {text}", code="parameter_invalid_decimal") from error
