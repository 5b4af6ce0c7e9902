"""Bounces and complaints, however a provider tells of them: whom mail does not reach.

Postmark, SendGrid, Mailgun and Amazon SES (by SNS) each have a shape of their own; a plain one is
`{"email": …, "type": "bounce"}`. Only what is permanent counts: a full mailbox may have room again.
"""

from __future__ import annotations

import email
import json
from collections.abc import Iterator
from dataclasses import dataclass
from email.policy import default
from typing import Any

from ledger.stripe_objects.fields import dig, members, nested, text

_COMPLAINTS = frozenset({"complaint", "spamcomplaint", "spamreport", "complained"})
_BOUNCES = frozenset({"bounce", "hardbounce", "dropped", "bademailaddress"})


@dataclass(frozen=True)
class Bounce:
    """An address that mail does not reach for good, or whose owner complained."""

    address: str
    because: str  # bounce, complaint
    message_id: str | None = None


def bounces_in(told: Any) -> list[Bounce]:
    """Return the permanent bounces and complaints that a webhook's JSON tells of."""
    events = told if isinstance(told, list) else [told]
    return [one for event in events if isinstance(event, dict) for one in _of(event)]


def _of(event: dict[str, Any]) -> Iterator[Bounce]:
    if isinstance(event.get("Message"), str) and event.get("Type") == "Notification":  # SNS
        try:
            yield from _of_ses(json.loads(event["Message"]))
        except ValueError:
            return
    elif "notificationType" in event or "eventType" in event:
        yield from _of_ses(event)
    elif "event-data" in event:
        yield from _of_mailgun(nested(event, "event-data"))
    elif "RecordType" in event:  # Postmark
        kind = text(event, "Type") or text(event, "RecordType")
        yield from _one(kind, text(event, "Email"), text(event, "MessageID"))
    elif "event" in event:  # SendGrid; what is blocked may be let through tomorrow
        if text(event, "type") == "blocked":
            return
        yield from _one(text(event, "event"), text(event, "email"), text(event, "smtp-id"))
    else:
        yield from _one(text(event, "type"), text(event, "email"), text(event, "message_id"))


def _of_ses(told: dict[str, Any]) -> Iterator[Bounce]:
    kind = text(told, "notificationType") or text(told, "eventType")
    named = text(told, "mail", "commonHeaders", "messageId")
    if kind == "Bounce" and dig(told, "bounce", "bounceType") == "Permanent":
        for one in members(nested(told, "bounce"), "bouncedRecipients"):
            yield from _one("bounce", text(one, "emailAddress"), named)
    elif kind == "Complaint":
        for one in members(nested(told, "complaint"), "complainedRecipients"):
            yield from _one("complaint", text(one, "emailAddress"), named)


def _of_mailgun(told: dict[str, Any]) -> Iterator[Bounce]:
    kind = text(told, "event")
    if kind == "failed" and text(told, "severity") == "permanent":
        kind = "bounce"
    yield from _one(kind, text(told, "recipient"), text(told, "message", "headers", "message-id"))


def _one(kind: str | None, address: str | None, message_id: str | None) -> Iterator[Bounce]:
    word = (kind or "").lower().replace("_", "").replace(" ", "")
    because = "complaint" if word in _COMPLAINTS else "bounce" if word in _BOUNCES else None
    if because is not None and address and "@" in address:
        yield Bounce(address.strip(), because, message_id)


def bounces_in_mail(raw: bytes) -> list[Bounce]:
    """Return the permanent failures that a delivery status notification tells of (RFC 3464)."""
    message = email.message_from_bytes(raw, policy=default)
    found = []
    original: str | None = None
    failed: list[str] = []
    for part in message.walk():
        kind = part.get_content_type()
        if kind == "message/delivery-status":
            for block in part.get_payload():  # one per recipient, as messages of headers only
                action = str(block.get("Action", "")).strip().lower()  # type: ignore[union-attr]
                status = str(block.get("Status", "")).strip()  # type: ignore[union-attr]
                named = str(
                    block.get("Original-Recipient") or block.get("Final-Recipient") or ""  # type: ignore[union-attr]
                )
                address = named.rpartition(";")[2].strip()
                if action == "failed" and status.startswith("5") and "@" in address:
                    failed.append(address)
        elif kind in ("message/rfc822", "text/rfc822-headers"):
            inner = part.get_payload()
            header = inner[0] if isinstance(inner, list) else email.message_from_string(str(inner))
            original = str(header.get("Message-ID") or "") or None  # type: ignore[union-attr]
    found += [Bounce(address, "bounce", original) for address in dict.fromkeys(failed)]
    return found
