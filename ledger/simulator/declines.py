"""How cards behave: what banks answer, and when.

Codes: https://docs.stripe.com/declines/codes. The advice code is Stripe's, the other two are
the network's own; a decline that is not retryable is never tried again without a new card.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decline:
    """One answer of a bank that does not pay."""

    decline_code: str
    code: str
    message: str
    advice_code: str | None
    network_decline_code: str | None
    network_advice_code: str | None = None
    is_retryable: bool = True


_DECLINED = "Your card was declined."
_LATER, _NEVER, _CONFIRM = "try_again_later", "do_not_try_again", "confirm_card_data"


def _declined(code: str, advice: str | None, network: str | None, more: str = "") -> Decline:
    retryable = advice != _NEVER
    network_advice = more or (None if retryable else "03")
    return Decline(code, "card_declined", _DECLINED, advice, network, network_advice, retryable)


DECLINES: dict[str, Decline] = {
    one.decline_code: one
    for one in (
        _declined("generic_decline", _LATER, "01"),
        _declined("do_not_honor", _LATER, "05"),
        _declined("issuer_not_available", _LATER, "91", "24"),
        _declined("try_again_later", _LATER, "19"),
        _declined("reenter_transaction", _LATER, "19"),
        _declined("card_velocity_exceeded", _LATER, "65", "30"),
        _declined("withdrawal_count_limit_exceeded", _LATER, "65"),
        _declined("currency_not_supported", None, "57"),
        _declined("card_not_supported", None, "57"),
        _declined("call_issuer", _CONFIRM, "01"),
        _declined("fraudulent", _NEVER, "59"),
        _declined("lost_card", _NEVER, "41"),
        _declined("stolen_card", _NEVER, "43"),
        _declined("pickup_card", _NEVER, "04"),
        _declined("restricted_card", _NEVER, "62"),
        _declined("transaction_not_allowed", _NEVER, "57"),
        _declined("revocation_of_authorization", _NEVER, "R0", "21"),
        _declined("revocation_of_all_authorizations", _NEVER, "R1", "21"),
        _declined("invalid_account", _NEVER, "14", "01"),
        Decline(
            "insufficient_funds", "card_declined", "Your card has insufficient funds.",
            _LATER, "51", "24",
        ),
        Decline("expired_card", "expired_card", "Your card has expired.", _CONFIRM, "54", "01"),
        Decline(
            "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.",
            _CONFIRM, "N7",
        ),
        Decline(
            "incorrect_number", "incorrect_number", "Your card number is incorrect.",
            _NEVER, "14", "01", is_retryable=False,
        ),
        Decline(
            "processing_error", "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
            _LATER, "96",
        ),
        Decline(
            "highest_risk_level", "card_declined", _DECLINED, None, None, is_retryable=False
        ),
        Decline(
            "authentication_required", "authentication_required",
            "Your card was declined. This transaction requires authentication.",
            None, "1A", is_retryable=False,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What becomes of the charges of one payment method, counted from its first one.

    Charges number `fails_from` and later are declined, `failures` of them (None: all).
    `authenticates` asks the customer first; `dispute` is the reason with which each paid charge
    is disputed; `refund_fails` lets the bank send refunds back; `is_available_at_once` spares the
    balance the wait.
    """

    decline: str | None = None
    fails_from: int = 1
    failures: int | None = None
    authenticates: bool = False
    declines_attachment: bool = False
    dispute: str | None = None
    refund_fails: bool = False
    is_available_at_once: bool = False

    def answer(self, number: int) -> Decline | None:
        """Return how the bank declines the charge of this number, or None if it pays."""
        if self.decline is None or number < self.fails_from:
            return None
        if self.failures is not None and number >= self.fails_from + self.failures:
            return None
        return DECLINES[self.decline]


PAYS = Behaviour()


def _at_once(decline: str) -> Behaviour:
    return Behaviour(decline=decline, declines_attachment=True)


# Stripe's test cards: https://docs.stripe.com/testing. Number, brand, behaviour; each is known
# as `pm_card_<name>` and `tok_<name>`.
TEST_CARDS: dict[str, tuple[str, str, Behaviour]] = {
    "visa": ("4242424242424242", "visa", PAYS),
    "visa_debit": ("4000056655665556", "visa", PAYS),
    "mastercard": ("5555555555554444", "mastercard", PAYS),
    "mastercard_debit": ("5200828282828210", "mastercard", PAYS),
    "amex": ("378282246310005", "amex", PAYS),
    "discover": ("6011111111111117", "discover", PAYS),
    "jcb": ("3566002020360505", "jcb", PAYS),
    "bypassPending": ("4000000000000077", "visa", Behaviour(is_available_at_once=True)),
    "chargeDeclined": ("4000000000000002", "visa", _at_once("generic_decline")),
    "chargeCustomerFail": ("4000000000000341", "visa", Behaviour(decline="generic_decline")),
    "chargeDeclinedInsufficientFunds": (
        "4000000000009995", "visa", _at_once("insufficient_funds"),
    ),
    "chargeDeclinedLostCard": ("4000000000009987", "visa", _at_once("lost_card")),
    "chargeDeclinedStolenCard": ("4000000000009979", "visa", _at_once("stolen_card")),
    "chargeDeclinedExpiredCard": ("4000000000000069", "visa", _at_once("expired_card")),
    "chargeDeclinedIncorrectCvc": ("4000000000000127", "visa", _at_once("incorrect_cvc")),
    "chargeDeclinedProcessingError": ("4000000000000119", "visa", _at_once("processing_error")),
    "chargeDeclinedFraudulent": ("4100000000000019", "visa", _at_once("fraudulent")),
    "authenticationRequired": ("4000002760003184", "visa", Behaviour(authenticates=True)),
    "threeDSecure2Required": ("4000000000003220", "visa", Behaviour(authenticates=True)),
    "createDispute": ("4000000000000259", "visa", Behaviour(dispute="fraudulent")),
    "createDisputeProductNotReceived": (
        "4000000000002685", "visa", Behaviour(dispute="product_not_received"),
    ),
    "createDisputeInquiry": ("4000000000001976", "visa", Behaviour(dispute="warning")),
    "refundFail": ("4000000000005126", "visa", Behaviour(refund_fails=True)),
}  # fmt: skip

_ALSO_KNOWN = {
    "us": "visa",
    "authenticationRequiredOnSetup": "authenticationRequired",
    "threeDSecureRequired": "threeDSecure2Required",
    "authenticationRequiredChargeDeclinedInsufficientFunds": "chargeDeclinedInsufficientFunds",
}
_BY_NUMBER = {number: name for name, (number, _, _) in TEST_CARDS.items()}


def test_card(name: str) -> tuple[str, str, Behaviour] | None:
    """Return number, brand and behaviour of a test card, by token, `pm_card_…` or number."""
    short = name.removeprefix("pm_card_").removeprefix("tok_").removeprefix("visa_")
    for spelling in (name.removeprefix("pm_card_").removeprefix("tok_"), short):
        known = _ALSO_KNOWN.get(spelling, spelling)
        if known in TEST_CARDS:
            return TEST_CARDS[known]
    return TEST_CARDS.get(_BY_NUMBER.get(name, ""))
