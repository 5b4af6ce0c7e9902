"""Calls to Stripe, through Stripe's own client: what goes out of this program goes out here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from ledger.errors import LedgerError
from ledger.stripe_objects.fields import LAST_SECOND, text

PAGE = 100
TIMEOUT_SECONDS = 10
RETRIES = 3


class StripeUnavailable(LedgerError):
    """Stripe does not answer, or not as it should; asking again later is safe."""


class StripeRefused(LedgerError):
    """Stripe answers that it will not do this; `told` is why, in its codes."""

    told: str = ""


class StripeKeyRefused(StripeRefused):
    """The key is wrong, was rolled, or may not do this: with another one it goes well."""


class StripeLacks(StripeRefused):
    """Stripe has no such object, or has it no more."""


class StripeDeclined(StripeRefused):
    """A bank does not pay (402); `code` is why, as Stripe spells it."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


class StripeApi:
    """One Stripe account, by one secret or restricted key."""

    def __init__(self, key: str, base: str | None = None, *, retries: int = RETRIES) -> None:
        import stripe  # noqa: PLC0415 — takes a third of a second, and most commands never call

        # It tells every call, and Stripe's sentences, which may quote what was sent.
        logging.getLogger("stripe").setLevel(logging.CRITICAL)
        self._errors = stripe
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": base} if base else None,
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS),
        )

    def events(self, since: int, until: int) -> Iterator[list[dict[str, Any]]]:
        """Yield pages of the events created in [since, until] (unix seconds), newest first.

        The bodies are as they were rendered when the events came into being. Stripe keeps thirty
        days. Raises StripeUnavailable, StripeRefused.
        """
        for found in self._pages("/v1/events", created={"gte": since, "lte": until}):
            if not all(map(_is_event, found)):
                raise StripeUnavailable("Stripe's list of events has something else in it.")
            yield found

    def account(self) -> str | None:
        """Return the id of the account that the key is of, None if the key may not ask.

        Raises StripeUnavailable.
        """
        try:
            found = self._call("get", "/v1/account").get("id")
        except StripeRefused:
            return None
        return found if isinstance(found, str) else None

    def reporting(self) -> tuple[str | None, str | None]:
        """Return the account's time zone (IANA) and default currency, each if it tells them.

        Raises StripeUnavailable, StripeRefused.
        """
        found = self._call("get", "/v1/account")
        return text(found, "settings", "dashboard", "timezone"), text(found, "default_currency")

    def coupon(self, coupon: str) -> dict[str, Any]:
        """Return a coupon with the products it is limited to.

        Raises StripeUnavailable, StripeRefused, StripeLacks.
        """
        return self._call("get", f"/v1/coupons/{quote(coupon, safe='')}", expand=["applies_to"])

    def price(self, price: str) -> dict[str, Any]:
        """Return a price with its tiers; raises like `coupon`."""
        return self._call("get", f"/v1/prices/{quote(price, safe='')}", expand=["tiers"])

    def payment_method(self, method: str) -> dict[str, Any]:
        """Return a payment method; raises like `coupon`."""
        return self._call("get", f"/v1/payment_methods/{quote(method, safe='')}")

    def invoice(self, invoice: str) -> dict[str, Any]:
        """Return an invoice; raises like `coupon`."""
        return self._call("get", f"/v1/invoices/{quote(invoice, safe='')}")

    def portal_session(self, customer: str, return_url: str | None) -> str:
        """Return the address of a new portal session where a customer updates their card.

        It is a secret that lasts minutes: never stored. Raises like `post`.
        """
        params: dict[str, Any] = {"customer": customer}
        if return_url is not None:
            params["return_url"] = return_url
        made = self._call(
            "post",
            "/v1/billing_portal/sessions",
            flow_data={"type": "payment_method_update"},
            **params,
        )
        url = made.get("url")
        if not isinstance(url, str):
            raise StripeUnavailable("Stripe's portal session has no address.")
        return url

    def balance_transactions(self, since: int, until: int) -> Iterator[list[dict[str, Any]]]:
        """Yield pages of the balance transactions of [since, until) (unix seconds), newest first.

        Their sources are expanded. Raises StripeUnavailable, StripeRefused.
        """
        return self._pages(
            "/v1/balance_transactions",
            created={"gte": since, "lt": until},
            expand=["data.source"],
        )

    def invoice_lines(self, invoice: str) -> Iterator[list[dict[str, Any]]]:
        """Yield pages of an invoice's lines, in their order; raises like `coupon`."""
        return self._pages(f"/v1/invoices/{quote(invoice, safe='')}/lines")

    def get(self, path: str) -> dict[str, Any]:
        """Return an object; raises like `coupon`."""
        return self._call("get", path)

    def post(self, path: str, key: str, **params: Any) -> dict[str, Any]:
        """Create or change something, once for an idempotency key.

        Raises StripeUnavailable where it is not known whether it was done (ask again with the same
        key), StripeRefused where it was not, StripeDeclined where a bank does not pay.
        """
        return self._call("post", path, idempotency_key=key, **params)

    def delete(self, path: str, key: str) -> dict[str, Any]:
        """End something; raises like `post`."""
        return self._call("delete", path, idempotency_key=key)

    def _pages(self, path: str, **params: Any) -> Iterator[list[dict[str, Any]]]:
        after: dict[str, str] = {}
        while True:
            page = self._call("get", path, limit=PAGE, **params, **after)
            found = page.get("data")
            if not (isinstance(found, list) and all(map(_has_id, found))):
                raise StripeUnavailable(f"Stripe's list {path} has something else in it.")
            yield found
            if not page.get("has_more"):
                return
            if not found:
                raise StripeUnavailable(f"Stripe's list {path} ends before its end.")
            after = {"starting_after": found[-1]["id"]}

    def _call(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        errors = self._errors
        try:
            # Not the client's own objects: they turn decimals into what JSON does not have.
            answer = self._client.raw_request(method, path, **params)
        except (errors.AuthenticationError, errors.PermissionError) as error:
            raise StripeKeyRefused(
                f"Stripe refuses STRIPE_API_KEY for {path}: {error.user_message or error}."
                " README.md says what a restricted key must be allowed."
            ) from error
        except errors.CardError as error:
            raise StripeDeclined(f"{path}: the bank does not pay.", _decline_of(error)) from error
        except errors.InvalidRequestError as error:
            kind = StripeLacks if error.http_status == 404 else StripeRefused
            refused = kind(f"Stripe refuses {path}: {error.user_message or error}")
            refused.told = " ".join(filter(None, (error.code, error.param)))
            raise refused from error
        except (errors.StripeError, UnicodeDecodeError) as error:
            told = getattr(error, "user_message", None) or type(error).__name__
            raise StripeUnavailable(f"Stripe does not answer: {told}.") from error
        try:
            found = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StripeUnavailable(
                f"Stripe answered {path} with something else than JSON."
            ) from error
        if not isinstance(found, dict):
            raise StripeUnavailable(f"Stripe answered {path} with something else than an object.")
        return found


def _decline_of(error: Any) -> str | None:
    found = getattr(error.error, "decline_code", None) or error.code
    return found if isinstance(found, str) else None


def _has_id(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("id"), str)


def _is_event(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and isinstance(found.get("id"), str)
        and isinstance(found.get("created"), int)
        and 0 <= found["created"] <= LAST_SECOND
    )
