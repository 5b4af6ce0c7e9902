"""How many decimals an amount in minor units has, as Stripe counts them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

# https://docs.stripe.com/currencies#zero-decimal; UGX and ISK are absent on purpose: Stripe
# represents both with two decimals although nobody pays fractions of them.
ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])


def decimals(currency: str) -> int:
    """Return how many of an amount's last digits are decimals in Stripe's representation."""
    code = currency.lower()
    if code in ZERO_DECIMAL:
        return 0
    return 3 if code in THREE_DECIMAL else 2


def is_currency(code: str) -> bool:
    """Return whether this may be a currency's code, as Stripe spells it: three small letters."""
    return len(code) == 3 and code.isascii() and code.isalpha() and code.islower()


def written(amount_minor: int, currency: str) -> str:
    """Return an amount in minor units as people write it: `1,234.50 USD`."""
    return f"{in_major(amount_minor, currency)} {currency.upper()}"


def in_major(amount_minor: int, currency: str) -> str:
    """Return an amount in major units, with all its decimals: `1,234.50`."""
    places = decimals(currency)
    sign = "-" if amount_minor < 0 else ""
    whole, rest = divmod(abs(amount_minor), 10**places)
    fraction = f".{rest:0{places}d}" if places else ""
    return f"{sign}{whole:,}{fraction}"


def split(amount_minor: int, weights: Sequence[int | Fraction]) -> list[int]:
    """Return shares of an amount by weight that add up to it; all 0 if there is no weight.

    What rounding down leaves goes to the largest remainders, the first ones first.
    """
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    sign = -1 if amount_minor < 0 else 1
    shares = [divmod(abs(amount_minor) * weight, total) for weight in weights]
    left = abs(amount_minor) - sum(share for share, _ in shares)
    order = sorted(range(len(weights)), key=lambda i: -shares[i][1])
    more = set(order[:left])
    return [sign * (share + (i in more)) for i, (share, _) in enumerate(shares)]
