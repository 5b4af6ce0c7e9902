"""Stripe's webhook signature, over the raw bytes.

Scheme: https://docs.stripe.com/webhooks#verify-manually. The SDK's verifier takes text only,
accepts timestamps from the future, and raises TypeError on a non-ASCII header; here every
input gets one of two answers. A test holds the two against each other.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

TOLERANCE_SECONDS = 300


class SignatureRejected(Exception):
    """The delivery is not proven to come from Stripe, or not to be fresh."""


def verify_signature(body: bytes, header: str, secrets: Sequence[str], now_seconds: float) -> None:
    """Accept a body signed with any of the secrets within the tolerance, before or after now.

    Raises SignatureRejected with a reason that is safe to tell.
    """
    timestamp, signatures = _parse(header)
    if not signatures:
        raise SignatureRejected("The Stripe-Signature header has no `t` and `v1` as Stripe sends.")
    signed = str(timestamp).encode() + b"." + body
    for secret in secrets:
        expected = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        if any(hmac.compare_digest(expected, given) for given in signatures):
            break
    else:
        raise SignatureRejected(
            "No configured secret signs this body like that. Compare STRIPE_WEBHOOK_SECRET with "
            "the signing secret of this very endpoint."
        )
    if abs(now_seconds - timestamp) > TOLERANCE_SECONDS:
        raise SignatureRejected(
            f"The signature is dated more than {TOLERANCE_SECONDS} s away from this machine's "
            "clock. If all deliveries fail so, set the clock."
        )


def _parse(header: str) -> tuple[int, list[bytes]]:
    timestamp = -1
    signatures: list[bytes] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t" and value.isascii() and value.isdigit() and len(value) <= 15:
            timestamp = int(value)
        elif name == "v1":
            signatures.append(value.encode("utf-8", "surrogateescape"))
    return timestamp, signatures if timestamp >= 0 else []
