"""The boards: cases, cancellations and effects as lists, and what became of them in sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from ledger.projections.crm.queries import Listing
from ledger.projections.projection import Connection

Row = dict[str, Any]

CASES = Listing(
    "dunning_cases",
    "*",
    ("opened_at", "id"),
    {
        "customer": "customer_id = %(customer)s",
        "invoice": "invoice_id = %(invoice)s",
        "status": "status = %(status)s",
        "campaign": "campaign = %(campaign)s",
        "open": "(outcome IS NULL) = %(open)s",
    },
)
OFFERS = Listing(
    "retention_offers",
    "*",
    ("opened_at", "id"),
    {
        "customer": "customer_id = %(customer)s",
        "subscription": "subscription_id = %(subscription)s",
        "status": "status = %(status)s",
        "campaign": "campaign = %(campaign)s",
        "open": "(outcome IS NULL) = %(open)s",
    },
)
EFFECTS = Listing(
    "(SELECT stream || '|' || key AS id, * FROM effects) AS effects",
    "*",
    ("asked_at", "id"),
    {
        "customer": "customer_id = %(customer)s",
        "state": "state = %(state)s",
        "kind": "kind = %(kind)s",
        "campaign": "campaign = %(campaign)s",
    },
)

# How a payment was recovered is credited to the last message before it, if there was one: what
# would have been paid anyway only a comparison can tell.
_DUNNING = """
SELECT currency, {by} AS key, count(*) AS cases,
    count(*) FILTER (WHERE outcome = 'paid') AS recovered,
    count(*) FILTER (WHERE outcome IS NULL) AS in_progress,
    count(*) FILTER (WHERE outcome IS NOT NULL AND outcome <> 'paid') AS lost,
    coalesce(sum(amount_minor), 0) AS amount_minor,
    coalesce(sum(amount_minor) FILTER (WHERE outcome = 'paid'), 0) AS recovered_minor
FROM dunning_cases
WHERE first_failed_at >= %(start)s AND first_failed_at < %(end)s
GROUP BY 1, 2 ORDER BY 1, cases DESC, 2
"""
_BY = {
    "step": "CASE WHEN last_step IS NULL OR last_step LIKE '\\_%%' THEN 'before any message'"
    " ELSE last_step END",
    "decline_code": "coalesce(decline_code, 'unknown')",
    "campaign": "campaign || ' v' || campaign_version || CASE mode WHEN 'shadow' THEN ' (shadow)'"
    " ELSE '' END",
    "status": "status",
}
_RETENTION = """
SELECT currency, CASE WHEN mode = 'shadow' THEN 'in shadow' WHEN in_holdout THEN 'holdout' ELSE {by}
    END AS key,
    count(*) AS cancellations,
    count(*) FILTER (WHERE shown_at IS NOT NULL) AS offered,
    count(*) FILTER (WHERE accepted_at IS NOT NULL) AS accepted,
    count(*) FILTER (WHERE outcome = 'saved') AS saved,
    count(*) FILTER (WHERE outcome = 'lost') AS lost,
    count(*) FILTER (WHERE outcome IS NULL) AS in_progress,
    coalesce(sum(monthly_minor) FILTER (WHERE outcome = 'saved'), 0) AS saved_monthly_minor
FROM retention_offers
WHERE opened_at >= %(start)s AND opened_at < %(end)s
GROUP BY 1, 2 ORDER BY 1, cancellations DESC, 2
"""
_RETENTION_BY = {
    "offer": "coalesce(offer, 'none: ' || no_offer_because)",
    "reason": "coalesce(reason, 'not told')",
    "campaign": "campaign || ' v' || campaign_version",
}


def dunning_board(connection: Connection, by: str, start: Any, end: Any) -> list[Row]:
    """Return what became of cases whose first failure was in [start, end), by currency and `by`."""
    return _rows(connection, _DUNNING.format(by=_BY[by]), start, end)


def retention_board(connection: Connection, by: str, start: Any, end: Any) -> list[Row]:
    """Return what became of cancellations of [start, end), by currency and `by`, the holdout apart.

    Saved are those still subscribed when they were judged, by billing facts.
    """
    return _rows(connection, _RETENTION.format(by=_RETENTION_BY[by]), start, end)


def lift(rows: list[Row]) -> dict[str | None, Row]:
    """Return by currency how much more are saved than of the holdout, over judged ones.

    A share is None where nobody was judged.
    """
    found: dict[str | None, Row] = {}
    for currency in {row["currency"] for row in rows}:
        of = [row for row in rows if row["currency"] == currency]
        held = [row for row in of if row["key"] == "holdout"]
        treated = [row for row in of if row["key"] not in ("holdout", "in shadow")]
        saved, compared = _share(treated), _share(held)
        found[currency] = {
            "saved_share": saved,
            "holdout_saved_share": compared,
            "lift": None if saved is None or compared is None else saved - compared,
            "judged": sum(row["saved"] + row["lost"] for row in treated),
            "holdout_judged": sum(row["saved"] + row["lost"] for row in held),
        }
    return found


def _share(rows: list[Row]) -> float | None:
    judged = sum(row["saved"] + row["lost"] for row in rows)
    return sum(row["saved"] for row in rows) / judged if judged else None


def _rows(connection: Connection, query: str, start: Any, end: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), {"start": start, "end": end}).fetchall()


_TAGS = """
SELECT customer_id, 'cancellation_initiated' FROM retention_offers
WHERE customer_id = ANY (%(ids)s) AND outcome IS NULL AND accepted_at IS NULL
    AND withdrawn_at IS NULL AND ended_at IS NULL
UNION SELECT customer_id, 'payment_failed' FROM dunning_cases
WHERE customer_id = ANY (%(ids)s) AND outcome IS NULL
ORDER BY 1, 2
"""


def tags_of(connection: Connection, customers: Sequence[str]) -> dict[str, list[str]]:
    """Return what each of these customers is tagged with, by what is open about them."""
    found: dict[str, list[str]] = {one: [] for one in customers}
    for customer, tag in connection.execute(_TAGS, {"ids": list(customers)}).fetchall():
        found[customer].append(tag)
    return found


# The words of the business for how a case stands.
STATUS_WORDS = {
    "retrying": {"en": "Payment failed – retry {failures}", "id": "Gagal Bayar – Retry {failures}"},
    "notified": {"en": "Payment failed – notice sent", "id": "Gagal Bayar – Notifikasi Terkirim"},
    "paid": {"en": "Payment failed – paid", "id": "Gagal Bayar – Lunas"},
    "waiting": {"en": "Waiting for somebody to look", "id": "Menunggu diperiksa"},
    "paused": {"en": "Paused", "id": "Dijeda"},
    "inactive": {"en": "Inactive", "id": "Tidak aktif"},
    "canceled": {"en": "Canceled", "id": "Berhenti berlangganan"},
    "void": {"en": "Invoice voided", "id": "Tagihan dibatalkan"},
    "uncollectible": {"en": "Given up", "id": "Tidak tertagih"},
    "deleted": {"en": "Invoice deleted", "id": "Tagihan dihapus"},
    "stopped": {"en": "Stopped", "id": "Dihentikan"},
    "customer_gone": {"en": "Customer gone", "id": "Pelanggan sudah tidak ada"},
}


def status_words(status: str, failures: int) -> dict[str, str]:
    """Return how a case stands, in words of each language."""
    found = STATUS_WORDS.get(status, {"en": status, "id": status})
    return {language: words.format(failures=failures) for language, words in found.items()}
