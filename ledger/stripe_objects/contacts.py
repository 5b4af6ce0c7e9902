"""Who an object says the customer is: name, e-mail, phone — personal, opened when needed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from ledger.stripe_objects.fields import Node, first, text


@dataclass(frozen=True, slots=True)
class Contact:
    """How to address and reach a customer, as far as it is known."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None


def contact_of(obj: Node) -> Contact:
    """Return the contact that a customer, invoice, checkout session or charge names."""
    return Contact(
        *(
            first(
                text(obj, leaf) if obj.get("object") == "customer" else None,
                text(obj, f"customer_{leaf}"),
                text(obj, "customer_details", leaf),
                text(obj, "billing_details", leaf),
                text(obj, "receipt_email") if leaf == "email" else None,
            )
            for leaf in ("name", "email", "phone")
        )
    )


def search_terms(contact: Contact) -> set[tuple[str, str]]:
    """Return (kind, normalised term) pairs under which a customer can be found."""
    terms: set[tuple[str, str]] = set()
    if contact.email:
        email = normalised(contact.email)
        terms.add(("email", email))
        if domain := email.rpartition("@")[2]:
            terms.add(("domain", domain))
    terms.update(("word", word) for word in words(contact.name or ""))
    return terms


def words(name: str) -> set[str]:
    """Return the words of a name as they are searched for: without case, accents, punctuation."""
    return {word for word in re.split(r"[^\w]+", normalised(name)) if word}


def normalised(text_: str) -> str:
    """Return text without case, accents and surrounding blanks."""
    decomposed = unicodedata.normalize("NFKD", text_.strip().casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))
