"""All that is known of one person, for themselves: to read, and for programs (GDPR Art. 15 and 20).

Where something came from stays with it: Stripe's event, or who of us wrote it.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from ledger import history
from ledger.aggregates.customer_work import CustomerWork
from ledger.aggregates.outbox import Outbox
from ledger.application import Ledger
from ledger.clock import utc
from ledger.decisions import Connection, Decisions
from ledger.errors import NotFound
from ledger.files import json_text
from ledger.log import Log, RecordedEvent
from ledger.moments import PRESENT
from ledger.money import written
from ledger.people.audit import access_log
from ledger.projections.crm import queries
from ledger.stripe_objects.fields import nested

PAGE = 1_000
_ABOUT = """
SELECT position FROM events WHERE customer_id = %(customer)s
UNION SELECT e.position FROM events AS e JOIN owners AS o ON o.object_id = e.object_id
WHERE o.customer_id = %(customer)s AND e.customer_id IS NULL
ORDER BY 1
"""


def subject_data(ledger: Ledger, connection: Connection, customer_id: str) -> dict[str, Any]:
    """Return all that this ledger knows of a customer, as JSON; raise NotFound."""
    row = queries.one(connection, queries.CUSTOMERS, customer_id)
    if row is None:
        raise NotFound(f"There is no customer {customer_id!r} in this ledger.")
    contact = queries.contacts(connection, ledger.keys, [row]).get(customer_id)
    outbox = Decisions(connection, ledger.keys).find(Outbox, Outbox.stream_of(customer_id))
    work = Decisions(connection, ledger.keys).find(
        CustomerWork, CustomerWork.stream_of(customer_id)
    )
    now = ledger.clock.now()
    return {
        "object": "subject_data",
        "customer": customer_id,
        "made_at": now.isoformat(),
        "ledger": ledger.name,
        "erased": row["erased"],
        "contact": {
            "name": contact.name if contact else None,
            "email": contact.email if contact else None,
            "phone": contact.phone if contact else None,
        },
        "profile": _profile(connection, ledger, customer_id),
        "status": row["status"],
        "country": row["country"],
        "offers_by_mail": outbox is None or not outbox.is_unsubscribed,
        "subscriptions": list(things(connection, queries.SUBSCRIPTIONS, customer_id)),
        "invoices": list(things(connection, queries.INVOICES, customer_id)),
        "payments": list(things(connection, queries.PAYMENTS, customer_id)),
        "messages": [
            _message(one)
            for one in (outbox.effects.values() if outbox else ())
            if one.request.kind in ("mail", "sms")
        ],
        "owner": work.owner if work else None,
        "tags": sorted(work.tags) if work else [],
        "notes": [
            {"written_at": one.written_at.isoformat(), "by": one.actor, "text": one.text}
            for one in (work.notes.values() if work else ())
        ],
        "tasks": [
            {"opened_at": one.opened_at.isoformat(), "by": one.actor, "what": one.what,
             "due_on": one.due_on.isoformat() if one.due_on else None, "outcome": one.outcome}
            for one in (work.tasks.values() if work else ())
        ],
        "timeline": list(_timeline(connection, customer_id)),
        "who_saw_it": access_log(connection, limit=PAGE, customer=customer_id)[0],
        "events": [
            history.as_json(history.opened_event(connection, ledger.keys, one))
            for one in _events(connection, customer_id)
        ],
    }  # fmt: skip


def _profile(connection: Connection, ledger: Ledger, customer_id: str) -> dict[str, Any]:
    """Return what Stripe has last told of them, flat: `address.city`, `metadata.…`."""
    row = connection.execute(
        "SELECT position FROM objects WHERE object_id = %s", [customer_id]
    ).fetchone()
    event = history.at(connection, row[0]) if row else None
    if event is None:
        return {}
    told = history.opened_event(connection, ledger.keys, event).data
    return dict(_flat(nested(told, "data", "object")))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _flat(one, f"{name}.{number}")
    elif value not in (None, ""):
        yield name, value


def as_zip(data: dict[str, Any]) -> bytes:
    """Return it as an archive: `data.json` for programs, `index.html` to be read and printed."""
    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        archive.writestr("data.json", json_text(data, indent=1))
        archive.writestr("index.html", as_page(data).encode("utf-8", "replace"))
    return out.getvalue()


def as_page(data: dict[str, Any]) -> str:
    """Return it as a page that needs nothing else."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Your data</title><style>"
        "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
        "th,td{text-align:left;vertical-align:top;border-top:1px solid #ccc;padding:.25rem .6rem"
        " .25rem 0;overflow-wrap:anywhere}</style>",
        f"<h1>All that is known of {html.escape(str(data['contact']['name'] or data['customer']))}"
        f"</h1><p>As of {html.escape(data['made_at'])}. Every event that it follows from is in"
        " data.json, for programs.</p>",
        _table("Who you are / Siapa kamu", [{
            **data["contact"], "customer": data["customer"], "country": data["country"],
            "status": data["status"], "offers by mail": data["offers_by_mail"],
        }]),
    ]  # fmt: skip
    parts.append(_table("What Stripe tells of you / Yang dicatat Stripe", [
        {"name": name, "value": value} for name, value in data["profile"].items()
    ]))  # fmt: skip
    for title, name in (
        ("Subscriptions / Langganan", "subscriptions"),
        ("Invoices / Tagihan", "invoices"),
        ("Payments / Pembayaran", "payments"),
        ("Messages / Pesan", "messages"),
        ("Notes / Catatan", "notes"),
        ("Tasks / Tugas", "tasks"),
        ("What happened / Riwayat", "timeline"),
        ("Who saw it / Siapa yang melihat", "who_saw_it"),
    ):
        parts.append(_table(title, data[name]))
    return "".join(parts) + "</html>"


_SHOWN = (
    "id", "created", "created_at", "at", "written_at", "opened_at", "status", "number", "currency",
    "total", "amount_minor", "name", "email", "phone", "customer", "country", "offers by mail",
    "value", "channel", "what", "state", "text", "by", "sentence", "actor", "due_on", "outcome",
)  # fmt: skip


def _table(title: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    columns = [name for name in _SHOWN if any(row.get(name) is not None for row in rows)]
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(one, row))}</td>" for one in columns)
        for row in rows
    )
    return f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{body}</table>"


def _cell(column: str, row: dict[str, Any]) -> str:
    """Return a cell as people read it: days for seconds, amounts with their decimals."""
    value, currency = row.get(column), row.get("currency")
    if value is None:
        return ""
    if column == "created" and isinstance(value, int):
        return f"{utc(value):%F %T} UTC"
    if column in ("total", "amount_minor") and isinstance(currency, str):
        return written(int(value), currency)
    if isinstance(value, bool):
        return "yes / ya" if value else "no / tidak"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {one}" for key, one in value.items())
    return str(value)


def things(
    connection: Connection, listing: queries.Listing, customer: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield all there are of a kind, newest first, of one customer or of all."""
    cursor: str | None = None
    while True:
        page = queries.page(
            connection, listing, limit=PAGE, starting_after=cursor, customer=customer
        )
        for row in page.rows:
            told = {**row, **(row.pop("canonical", None) or {})}
            yield {name: _plain(one) for name, one in told.items()}
        if not page.has_more:
            return
        cursor = page.rows[-1]["id"]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _message(effect: Any) -> dict[str, Any]:
    return {
        "at": effect.asked_at.isoformat(),
        "channel": effect.request.kind,
        "what": effect.request.what,
        "state": effect.state,
        "text": effect.request.text,
    }


def _timeline(connection: Connection, customer: str) -> Iterator[dict[str, Any]]:
    after: int | None = None
    while True:
        page = queries.story(connection, customer, PRESENT, limit=PAGE, after=after)
        for line in page.rows:
            yield {
                "at": line["occurred_at"].isoformat(),
                "sentence": line["sentence"],
                "event": line["position"],
            }
        if not page.has_more:
            return
        after = page.rows[-1]["position"]


def _events(connection: Connection, customer: str) -> Iterator[RecordedEvent]:
    rows = connection.execute(_ABOUT.encode(), {"customer": customer}).fetchall()
    positions = [row[0] for row in rows]
    for start in range(0, len(positions), PAGE):
        found = Log(connection).at(positions[start : start + PAGE])
        yield from (found[at] for at in sorted(found))
