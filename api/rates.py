"""How many requests one caller may make: enough for any use, too few to guess or to crowd out."""

from __future__ import annotations

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.errors import ApiError
from ledger.people.actors import Actor

OF_A_CALLER = RateLimitItemPerMinute(1_200)
OF_AN_ENTRANCE = RateLimitItemPerMinute(20)  # tries to come in, from one address

_limiter = MovingWindowRateLimiter(MemoryStorage())


def count(actor: Actor) -> None:
    """Count a request of a caller; raise ApiError 429 if there were too many."""
    _count(OF_A_CALLER, actor.id)


def count_entrance(address: str) -> None:
    """Count a try to come in; raise ApiError 429 if there were too many from this address."""
    _count(OF_AN_ENTRANCE, address)


def _count(limit: RateLimitItemPerMinute, whose: str) -> None:
    if not _limiter.hit(limit, whose):
        raise ApiError(
            429, "rate_limited", f"At most {limit.amount} requests a minute: wait a little."
        )
