"""Whoever acts: a person or a program, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ledger.people.permissions import Permission


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks; `name` is what the log calls them: a person's id, a token's name."""

    id: str
    name: str
    permissions: frozenset[Permission]

    def may(self, permission: Permission) -> bool:
        """Return whether they may do that."""
        return permission in self.permissions


def hash_of(secret: str) -> bytes:
    """Return what is kept of a secret of high entropy."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()
