"""What `/v1` answers about people: work on customers, who may come in, privacy."""

from __future__ import annotations

from api.v1.schema import (
    ANY,
    BOOLEAN,
    COUNT,
    POSITION,
    SECONDS,
    STRING,
    TIME,
    many,
    mapping,
    maybe,
    name,
    one_of,
    record,
    thing,
)
from api.v1.shapes import LINKED_EVENT

# --- work on customers ----------------------------------------------------------------------------

TASK = thing(
    "task",
    id=name("cus_NffrFeUfNV2Hib|task_3"), task=name("task_3"), created=SECONDS, customer=STRING,
    actor=STRING, assignee=maybe(STRING), due_on=maybe(name("2026-03-09")), what=maybe(STRING),
    outcome=maybe(one_of("done", "dropped")), closed_at=maybe(SECONDS),
)  # fmt: skip
CUSTOMER_WORK = thing(
    "customer_work",
    customer=STRING, version=COUNT, owner=maybe(name("usr_5f0c1b2a3d4e5f60")),
    tags=many(name("vip")),
    notes=many(record(id=name("note_2"), created=SECONDS, actor=STRING, text=maybe(STRING))),
    tasks=many(TASK),
)  # fmt: skip
ASSIGNMENT_RULES = thing(
    "assignment_rules",
    version=COUNT,
    rules=many(record(
        name=STRING, owners=many(STRING), countries=many(STRING), currencies=many(STRING),
    )),
)  # fmt: skip
SEGMENT = thing("segment", name=name("vip_in_jakarta"), filters=mapping(ANY))

# --- people ---------------------------------------------------------------------------------------

USER = thing(
    "user",
    id=name("usr_5f0c1b2a3d4e5f60"), created=SECONDS, email=name("eka@example.test"), name=STRING,
    role=name("support"), expires_at=maybe(SECONDS), disabled_at=maybe(SECONDS),
    locked_until=maybe(SECONDS), has_password=BOOLEAN, has_second_factor=BOOLEAN,
)  # fmt: skip
TOKEN = thing(
    "token",
    id=name("tok_5f0c1b2a3d4e5f60"), created=SECONDS, name=name("warehouse"),
    scopes=many(name("read")), expires_at=maybe(SECONDS), last_used_at=maybe(SECONDS),
    revoked_at=maybe(SECONDS),
)  # fmt: skip
ACCESS = thing(
    "access",
    id=POSITION, created=SECONDS, actor=STRING, type=name("Access.AccessLogged"), stream=STRING,
    customer=maybe(STRING), what=maybe(STRING), subjects=many(STRING), event=LINKED_EVENT,
)  # fmt: skip

# --- privacy --------------------------------------------------------------------------------------

_ROWS = many({"type": "object"})
SUBJECT_DATA = thing(
    "subject_data",
    customer=name("cus_NffrFeUfNV2Hib"), made_at=TIME, ledger=STRING, erased=BOOLEAN,
    contact=record(name=maybe(STRING), email=maybe(STRING), phone=maybe(STRING)),
    profile=mapping(ANY),
    status=STRING, country=maybe(STRING), offers_by_mail=BOOLEAN, subscriptions=_ROWS,
    invoices=_ROWS, payments=_ROWS, messages=_ROWS, owner=maybe(STRING), tags=many(STRING),
    notes=_ROWS, tasks=_ROWS, timeline=_ROWS, who_saw_it=_ROWS, events=_ROWS,
)  # fmt: skip
RECTIFICATION = thing("rectification", customer=STRING, state=name("requested"))
ERASURE = thing(
    "erasure",
    customer=STRING, created=SECONDS, state=one_of("requested", "erased"), event=POSITION,
    at_stripe=maybe(name("requested")),
)  # fmt: skip
PREFERENCES = thing(
    "preferences",
    customer=STRING, said=maybe(one_of("yes", "no")), offers=BOOLEAN,
)  # fmt: skip
