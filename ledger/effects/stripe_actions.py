"""Actions at Stripe: each a call or two, named by what it does, safe to be made again.

The idempotency key is the effect's, so Stripe answers a repeated call as it did before. Stripe
forgets keys after a day and repeats a stored error until then; so every call leaves the key on the
object (`metadata.ledger_effect`), and a later attempt looks there first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from ledger.effects.performing import EffectFailed, Receipt, Task
from ledger.stripe_api import (
    StripeApi,
    StripeDeclined,
    StripeKeyRefused,
    StripeLacks,
    StripeRefused,
    StripeUnavailable,
)

Json = dict[str, Any]
Action = Callable[["Call"], Json]
MARK = "ledger_effect"
UPDATE_CUSTOMER, DELETE_CUSTOMER = "update_customer", "delete_customer"
RECTIFIABLE = (
    "name", "email", "phone", "address.line1", "address.line2", "address.city",
    "address.postal_code", "address.state", "address.country",
)  # fmt: skip


class Call:
    """One attempt to perform an action: the calls it makes share the effect's key."""

    def __init__(self, api: StripeApi, key: str, attempt: int, params: Mapping[str, Any]) -> None:
        self._api = api
        self._key = key
        self._attempt = attempt
        self.params = params

    def named(self, name: str) -> str:
        """Return the id that a parameter names; raise EffectFailed where it names none."""
        found = self.params.get(name)
        if not isinstance(found, str) or not found:
            raise EffectFailed(f"no {name} to act on", is_final=True)
        return found

    def change(self, path: str, **fields: Any) -> Json:
        """Change an object and leave the key on it, unless an attempt before this one has."""
        if self._attempt > 1:
            found = self._api.get(path)
            if (found.get("metadata") or {}).get(MARK) == self._key:
                return found
        return self._api.post(path, self._key, metadata={MARK: self._key}, **fields)

    def act(self, path: str, **fields: Any) -> Json:
        """Make a call that leaves no mark, because it can be seen by itself that it was made."""
        return self._api.post(path, f"{self._key}:{path.rpartition('/')[2]}", **fields)

    def end(self, path: str) -> Json:
        """End an object."""
        return self._api.delete(path, self._key)

    def make_once(self, path: str, name: str, **fields: Any) -> None:
        """Let there be an object of an id that says what it is."""
        try:
            self._api.get(f"{path}/{name}")
        except StripeLacks:
            self._api.post(path, f"make:{name}", id=name, **fields)

    def get(self, path: str) -> Json:
        """Return an object."""
        return self._api.get(path)


def _cancel_subscription(call: Call) -> Json:
    if call.params.get("invoice"):
        invoice = call.get(f"/v1/invoices/{call.named('invoice')}")
        if invoice.get("status") == "paid":
            return invoice  # it is not heard of here yet
    subscription = call.get(f"/v1/subscriptions/{call.named('subscription')}")
    if subscription.get("status") == "canceled":
        return subscription
    return call.end(f"/v1/subscriptions/{call.named('subscription')}")


def _schedule_cancellation(call: Call) -> Json:
    details = {
        name: value
        for name in ("feedback", "comment")
        if (value := call.params.get(name)) is not None
    }
    return call.change(
        f"/v1/subscriptions/{call.named('subscription')}",
        cancel_at_period_end=True,
        **({"cancellation_details": details} if details else {}),
    )


def _staying(call: Call) -> Json:
    """Return what undoes a cancellation: one at the end of a period, or one at a date."""
    subscription = call.get(f"/v1/subscriptions/{call.named('subscription')}")
    if subscription.get("cancel_at") and not subscription.get("cancel_at_period_end"):
        return {"cancel_at": ""}
    return {"cancel_at_period_end": False}


def _withdraw_cancellation(call: Call) -> Json:
    return call.change(f"/v1/subscriptions/{call.named('subscription')}", **_staying(call))


def _mark_uncollectible(call: Call) -> Json:
    invoice = call.get(f"/v1/invoices/{call.named('invoice')}")
    if invoice.get("status") != "open":
        return invoice
    return call.act(f"/v1/invoices/{call.named('invoice')}/mark_uncollectible")


def _pause_collection(call: Call) -> Json:
    pause: Json = {"behavior": "void"}
    if resumes_at := call.params.get("resumes_at"):
        pause["resumes_at"] = resumes_at
    return call.change(f"/v1/subscriptions/{call.named('subscription')}", pause_collection=pause)


def _set_payment_method(call: Call) -> Json:
    return call.change(
        f"/v1/subscriptions/{call.named('subscription')}",
        default_payment_method=call.named("payment_method"),
    )


def _pay_invoice(call: Call) -> Json:
    invoice = call.get(f"/v1/invoices/{call.named('invoice')}")
    if invoice.get("status") != "open":
        return invoice
    return call.act(
        f"/v1/invoices/{call.named('invoice')}/pay",
        payment_method=call.named("payment_method"),
    )


def _discount(call: Call) -> Json:
    """Give a discount: a coupon of these terms, the same for all who get it, on a subscription."""
    terms: Json = {"percent_off": call.params.get("percent_off"), "duration": "repeating"}
    terms["duration_in_months"] = call.params.get("months")
    coupon = "ledger-" + hashlib.sha256(repr(sorted(terms.items())).encode()).hexdigest()[:16]
    call.make_once("/v1/coupons", coupon, **terms)
    return call.change(
        f"/v1/subscriptions/{call.named('subscription')}",
        **_staying(call),
        discounts=[{"coupon": coupon}],
    )


def _pause_for(call: Call) -> Json:
    return call.change(
        f"/v1/subscriptions/{call.named('subscription')}",
        **_staying(call),
        pause_collection={"behavior": "void", "resumes_at": call.params["resumes_at"]},
    )


def _change_plan(call: Call) -> Json:
    subscription = call.get(f"/v1/subscriptions/{call.named('subscription')}")
    items = (subscription.get("items") or {}).get("data") or []
    if len(items) != 1:
        raise EffectFailed("the subscription has not one item", is_final=True)
    return call.change(
        f"/v1/subscriptions/{call.named('subscription')}",
        **_staying(call),
        items=[{"id": items[0]["id"], "price": call.named("price")}],
        proration_behavior="none",
    )


def _extend_trial(call: Call) -> Json:
    return call.change(
        f"/v1/subscriptions/{call.named('subscription')}",
        **_staying(call),
        trial_end=call.params["trial_end"],
        proration_behavior="none",
    )


def _update_customer(call: Call) -> Json:
    """Correct what Stripe keeps of a person: the fields given, `address.…` within the address."""
    fields: Json = {}
    for name in RECTIFIABLE:
        if (value := call.params.get(name)) is not None:
            group, _, member = name.partition(".")
            if member:
                fields.setdefault(group, {})[member] = value
            else:
                fields[group] = value
    return call.change(f"/v1/customers/{call.named('customer')}", **fields)


def _delete_customer(call: Call) -> Json:
    """Delete a person who is to be forgotten; Stripe ends their subscriptions with it."""
    found = call.get(f"/v1/customers/{call.named('customer')}")
    if found.get("deleted"):
        return found
    return call.end(f"/v1/customers/{call.named('customer')}")


ACTIONS: Mapping[str, Action] = {
    "cancel_subscription": _cancel_subscription,
    "schedule_cancellation": _schedule_cancellation,
    "withdraw_cancellation": _withdraw_cancellation,
    "mark_uncollectible": _mark_uncollectible,
    "pause_collection": _pause_collection,
    "set_payment_method": _set_payment_method,
    "pay_invoice": _pay_invoice,
    "discount": _discount,
    "pause_for": _pause_for,
    "change_plan": _change_plan,
    "extend_trial": _extend_trial,
    UPDATE_CUSTOMER: _update_customer,
    DELETE_CUSTOMER: _delete_customer,
}


class StripeActor:
    """Performs actions at Stripe."""

    def __init__(self, api: StripeApi) -> None:
        self._api = api

    def perform(self, task: Task) -> Receipt:
        """Make the calls of one action."""
        action = ACTIONS.get(task.request.what)
        if action is None:
            raise EffectFailed(f"no action {task.request.what}", is_final=True)
        params = {**task.request.params, **(task.request.text or {})}
        call = Call(self._api, _idempotency_key(task), task.attempt, params)
        try:
            answer = action(call)
        except StripeDeclined as declined:
            return Receipt(None, {"declined": declined.code})  # an answer, if no pleasant one
        except StripeUnavailable as error:
            raise EffectFailed("Stripe does not answer") from error
        except StripeKeyRefused as error:
            raise EffectFailed("Stripe refuses the key, or it may not do this") from error
        except StripeRefused as error:
            # Its codes only: its sentences may quote what was sent.
            raise EffectFailed(f"Stripe refuses it: {error.told}", is_final=True) from error
        found = answer.get("id")
        return Receipt(found if isinstance(found, str) else None, {"status": answer.get("status")})


def _idempotency_key(task: Task) -> str:
    """Return the key of an effect: the same for every attempt, of at most 255 characters."""
    digest = hashlib.sha256(f"{task.outbox.id}|{task.key}".encode()).hexdigest()
    return f"ledger-{digest[:40]}"
