"""Whether a delivery under a known event id says the same as the event that the log has."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ledger.aggregates.base import OURS
from ledger.canonical import canonical
from ledger.privacy.classify import PersonalLeaf, Sorted

if TYPE_CHECKING:
    from ledger.log.log import RecordedEvent

# What differs between deliveries of one event and says nothing about it.
# What we noted ourselves (set aside, flags) depends on the settings of the day.
ENVELOPE_ONLY = ("pending_webhooks", "request", OURS)


def without_envelope(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a body says of the event, whoever delivers it when."""
    return {key: value for key, value in body.items() if key not in ENVELOPE_ONLY}


def is_other_rendering(stored: RecordedEvent, new: dict[str, Any], object_id: str | None) -> bool:
    """Return whether this is the same fact as another API version renders it.

    An upcoming invoice has an id in newer versions only.
    """
    old = stored.data
    return (
        old.get("api_version") != new.get("api_version")
        and old.get("type") == new.get("type")
        and old.get("created") == new.get("created")
        and (stored.object_id == object_id or None in (stored.object_id, object_id))
    )


def digest_of(dropped: list[PersonalLeaf]) -> bytes:
    """Return what stands for the leaves that are never stored; nothing where there are none."""
    return sha256(canonical(sorted(map(canonical, dropped)))).digest() if dropped else b""


def by_path(personal: list[PersonalLeaf]) -> dict[bytes, bytes]:
    """Return the personal leaves that belong to the event, not to one delivery of it."""
    return {
        canonical(path): canonical(value)
        for path, value in personal
        if path[0] not in ENVELOPE_ONLY
    }


def comparable(leaves: Sorted) -> list[Any]:
    """Return the leaves that are not clear, for a digest of the whole."""
    return [
        sorted((p.decode(), v.decode()) for p, v in by_path(leaves.personal).items()),
        digest_of(leaves.dropped).hex(),
    ]
