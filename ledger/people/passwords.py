"""Passwords: what may be one, and how it is kept (Argon2id, RFC 9106's low-memory profile)."""

from __future__ import annotations

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ledger.errors import RequestInvalid

LENGTH_MIN = 12
LENGTH_MAX = 200
DIFFERENT_MIN = 5
AT_ONCE = 2  # each takes 64 MiB: many who try at once shall not take all memory

_hasher = PasswordHasher()
_turns = BoundedSemaphore(AT_ONCE)
_NOBODYS = _hasher.hash("of nobody: so that an unknown address takes as long as a known one")


def check_password(password: str, *, not_in: str = "") -> None:
    """Raise RequestInvalid saying what a password must be like."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise RequestInvalid(f"A password has {LENGTH_MIN} to {LENGTH_MAX} characters.")
    if len(set(password)) < DIFFERENT_MIN:
        raise RequestInvalid(f"A password has at least {DIFFERENT_MIN} different characters.")
    if not_in and not_in.partition("@")[0].casefold() in password.casefold():
        raise RequestInvalid("A password does not contain one's own address.")


def hash_password(password: str) -> str:
    """Return what is kept of a password."""
    with _turns:
        return _hasher.hash(password)


def is_password(kept: str | None, password: str) -> bool:
    """Return whether this is the password; of nobody's, after as long a while."""
    with _turns:
        try:
            return _hasher.verify(kept or _NOBODYS, password[:LENGTH_MAX]) and kept is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(kept: str) -> bool:
    """Return whether a password should be hashed anew, by today's parameters."""
    return _hasher.check_needs_rehash(kept)
