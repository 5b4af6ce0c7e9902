"""How the simulator says no, in Stripe's words."""

from __future__ import annotations

from typing import Any

from ledger.errors import LedgerError


class Refused(LedgerError):
    """A call that Stripe would answer with an error body."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int = 400,
        kind: str = "invalid_request_error",
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.status = status
        self.kind = kind
        self.more = more


_SPOKEN = {
    "payment_method": "PaymentMethod",
    "promotion_code": "promotion code",
    "test_helpers.test_clock": "test clock",
    "checkout.session": "checkout session",
}


def missing(kind: str, object_id: str, param: str = "id") -> Refused:
    """Return the refusal for an id that names nothing."""
    return Refused(
        f"No such {_SPOKEN.get(kind, kind)}: '{object_id}'",
        code="resource_missing",
        param=param,
        status=404,
    )


def needs(param: str) -> Refused:
    """Return the refusal for a parameter that was left out."""
    return Refused(f"Missing required param: {param}.", code="parameter_missing", param=param)


def not_now(message: str, code: str, param: str | None = None) -> Refused:
    """Return the refusal for a step the object's state does not allow."""
    return Refused(message, code=code, param=param)
