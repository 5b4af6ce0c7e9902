"""Who may do what: the one table of permissions, roles and scopes.

A person has one role; a program's token has scopes. What either may do is a set of permissions, and
each way in (`/v1`, pages, exports) names the one permission it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

Permission = Literal[
    "read", "books", "close", "personal", "work", "act", "campaigns", "privacy", "audit", "people"
]
PERMISSIONS: Mapping[Permission, str] = {
    "read": "see customers, payments, numbers, boards and events, without what is personal",
    "books": "see the journal, reports and closed months, and export them",
    "close": "close months",
    "personal": "see names, addresses, e-mails, phone numbers and notes",
    "work": "tag customers, give them an owner, write notes and tasks, save filters",
    "act": "send messages, decide about cases and offers, cancel subscriptions",
    "campaigns": "switch campaigns and sending, set the brand and the caps",
    "privacy": "hand out, correct and erase what is known of a person",
    "audit": "see who came in, what they read and what they changed",
    "people": "let people and programs in, change their roles, shut them out",
}

Role = Literal["viewer", "support", "finance", "auditor", "manager", "admin"]
ROLES: Mapping[Role, frozenset[Permission]] = {
    "viewer": frozenset({"read"}),
    "support": frozenset({"read", "personal", "work", "act"}),
    "finance": frozenset({"read", "books", "close"}),
    "auditor": frozenset({"read", "books", "audit"}),
    "manager": frozenset(
        {"read", "books", "close", "personal", "work", "act", "campaigns", "privacy", "audit"}
    ),
    "admin": frozenset(get_args(Permission)),
}
# Whose stay ends on a day that is said when they are let in.
EXPIRING_ROLES: frozenset[Role] = frozenset({"auditor"})
# Who must show a second factor.
GUARDED_ROLES: frozenset[Role] = frozenset({"admin"})

Scope = Literal["read", "write", "admin", "personal"]
_READ: frozenset[Permission] = frozenset({"read", "books"})
_WRITE: frozenset[Permission] = _READ | {"work", "act"}
SCOPES: Mapping[Scope, frozenset[Permission]] = {
    "read": _READ,
    "write": _WRITE,
    "admin": _WRITE | {"close", "campaigns", "privacy", "audit", "people"},
    "personal": _READ | {"personal"},
}


def permissions_of_scopes(scopes: Iterable[str]) -> frozenset[Permission]:
    """Return what a token of these scopes may do."""
    return frozenset().union(*(SCOPES[scope] for scope in scopes))  # type: ignore[index]


def scope_for(permission: Permission) -> Scope:
    """Return the smallest scope that has a permission, to be named in an error."""
    return min(
        (scope for scope, held in SCOPES.items() if permission in held),
        key=lambda scope: len(SCOPES[scope]),
    )
