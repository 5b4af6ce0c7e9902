"""What was asked for is looked at again right before it goes out: by then it may be pointless."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ledger.aggregates.effect import LEAVING, STAYING
from ledger.aggregates.outbox import Outbox
from ledger.effects.stripe_actions import DELETE_CUSTOMER
from ledger.policies.desk import Desk


def pointless(desk: Desk, outbox: Outbox, key: str) -> str | None:
    """Return why what was asked for is not to be done any more, None if it is.

    It is looked at with everything the log holds by then.
    """
    effect = outbox.effects[key]
    request = effect.request
    claimed_at = desk.sending.claimed_at
    if claimed_at is not None and effect.asked_at < claimed_at:
        return "before_claim"  # another installation may have done it
    if request.expires_at is not None and desk.now > request.expires_at:
        return "expired"
    if desk.sending.campaigns.get(request.campaign or "") == "off":
        return "campaign_off"
    if request.purpose == "marketing" and (unwanted := desk.unwanted(outbox)):
        return unwanted
    if _is_overruled(outbox, key):
        return "overruled"
    # Who is forgotten here is still to be forgotten there.
    is_about_nobody = outbox.customer_id is None or request.what == DELETE_CUSTOMER
    return None if is_about_nobody else _overtaken(desk, outbox.customer_id or "", request.unless)


def must_wait(outbox: Outbox, key: str, now: datetime) -> bool:
    """Return whether another action about the same subscription is being tried this moment."""
    request = outbox.effects[key].request
    about = request.params.get("subscription")
    return request.kind == "stripe" and any(
        name != key
        and one.request.kind == "stripe"
        and one.state == "attempted"
        and one.request.params.get("subscription") == about
        and one.due_at is not None
        and one.due_at > now
        for name, one in outbox.effects.items()
    )


def _is_overruled(outbox: Outbox, key: str) -> bool:
    """Return whether the opposite was asked for after this: somebody has changed their mind."""
    request = outbox.effects[key].request
    opposite = STAYING if request.what in LEAVING else LEAVING if request.what in STAYING else ()
    names = list(outbox.effects)
    later = (outbox.effects[name] for name in names[names.index(key) + 1 :])
    return any(
        one.request.what in opposite
        and one.request.params.get("subscription") == request.params.get("subscription")
        and one.state not in ("suppressed", "shadowed", "dropped")
        for one in later
    )


def _overtaken(desk: Desk, customer_id: str, unless: Mapping[str, str]) -> str | None:
    """Return by what an effect was overtaken that is pointless once something has happened."""
    standing = desk.standing(customer_id, unless.get("subscription") or None)
    if standing.is_gone:
        return "customer_gone"
    if canceled := unless.get("cancellation"):
        about = desk.standing(customer_id, canceled)
        if about.has_ended:
            return "ended"
        return None if about.is_leaving else "withdrawn"
    invoice = unless.get("invoice_settled")
    if invoice is None:
        return None
    return standing.settled_as(invoice) or ("canceled" if standing.has_ended else None)
