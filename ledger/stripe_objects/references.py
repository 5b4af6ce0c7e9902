"""Which ids an object names: whose it is, and through what it may be traced to its owner."""

from __future__ import annotations

from ledger.stripe_objects.facts import customer_of, subscription_of
from ledger.stripe_objects.fields import Node, first, members, nested, reference, text

CATALOGUE_KINDS = frozenset({"product", "price", "plan", "coupon", "promotion_code", "tax_rate"})

# The members through which an object is traced to the customer it belongs to.
_OWNING = (
    "customer",
    "subscription",
    "invoice",
    "charge",
    "payment_intent",
    "setup_intent",
    "credit_note",
    "dispute",
    "source",
    "payment_method",
)


def kind_of(obj: Node) -> str:
    """Return what an object says it is."""
    return text(obj, "object") or "unknown"


def object_key(kind: str, object_id: str) -> str:
    """Return a name unique among objects: catalogue ids may be chosen and repeat across kinds."""
    prefix = object_id.partition("_")[0]
    if kind in CATALOGUE_KINDS and prefix not in {"prod", "price", "plan", "promo", "txr"}:
        return f"{kind}:{object_id}"
    return object_id


def terms_key(kind: str, object_id: str) -> str:
    """Return under which name a coupon's or a price's terms are kept; see `named_by`."""
    return f"{kind}:{object_id}"


def named_by(key: str) -> tuple[str, str]:
    """Return the kind (coupon, price) and the id of what a `terms_key` names."""
    kind, _, object_id = key.partition(":")
    return kind, object_id


def customer_named(obj: Node, previous: Node) -> str | None:
    """Return the customer an event names: the object's, else the one it has just lost."""
    return first(customer_of(obj), reference(previous, "customer"))


def subscription_named(obj: Node) -> str | None:
    """Return the subscription an event names."""
    return subscription_of(obj)


def links_of(obj: Node, previous: Node) -> list[tuple[str, str]]:
    """Return (relation, id) of every object through which this one may find its owner."""
    if kind_of(obj) in CATALOGUE_KINDS:
        return []
    found: dict[tuple[str, str], None] = {}
    for name in _OWNING:
        if (value := obj.get(name)) and (target := reference(value)) and "_" in target:
            found[name, target] = None
    if customer := customer_named(obj, previous):
        found["customer", customer] = None
    if related := reference(obj, "related_customer"):
        found["customer", related] = None
    if subscription := subscription_of(obj):
        found["subscription", subscription] = None
    if charge := reference(obj, "latest_charge"):
        found["latest_charge", charge] = None
    for paid in (obj, *members(obj, "payments")):
        if payment := nested(paid, "payment"):
            for member in ("payment_intent", "charge"):
                if target := reference(payment, member):
                    found[member, target] = None
    own = reference(obj, "id")
    return [(relation, target) for relation, target in found if target != own]
