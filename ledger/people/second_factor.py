"""Time-based codes (RFC 6238: six digits, half a minute), and codes for when the phone is gone."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hmac import compare_digest

import pyotp

from ledger.people.actors import hash_of

STEP_SECONDS = 30
STEPS_OFF = 1  # clocks are not quite the same
RECOVERY_CODES = 10


def new_secret() -> str:
    """Return a secret as the apps take it (base 32)."""
    return pyotp.random_base32()


def address_of(secret: str, email: str, issuer: str) -> str:
    """Return the address that a QR code brings into an app."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step of which this is the code, None if it is of none about now."""
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    for offset in range(-STEPS_OFF, STEPS_OFF + 1):
        moment = now + timedelta(seconds=offset * STEP_SECONDS)
        if compare_digest(totp.at(moment).encode(), code.encode("utf-8", "replace")):
            return int(moment.timestamp()) // STEP_SECONDS
    return None


def new_recovery_codes() -> tuple[list[str], list[bytes]]:
    """Return codes, each good once (64 bits), and what is kept of them."""
    codes = ["-".join(secrets.token_hex(2) for _ in range(4)) for _ in range(RECOVERY_CODES)]
    return codes, [hash_of(code) for code in codes]
