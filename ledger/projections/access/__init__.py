"""Access: which features a customer may use, by what they pay for and what we decided.

A subscription gives the features of its plans while it is active, in a trial, or past due as long
as no dunning case has revoked access; an accepted offer may give one for a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.aggregates import Campaigns, DunningCase, RetentionOffer
from ledger.aggregates.base import is_set_aside
from ledger.clock import utc
from ledger.decisions import Decisions
from ledger.log import RecordedEvent
from ledger.plans import NONE, Plans, read_plans
from ledger.projections.crm import Crm
from ledger.projections.projection import LAST_KEY, Connection, Derivation, Projection
from ledger.stripe_objects.fields import nested
from ledger.stripe_objects.references import kind_of

GIVING = ("active", "trialing", "past_due")
_DECIDED = frozenset(
    {
        DunningCase.AccessRevoked.TOPIC,
        DunningCase.Closed.TOPIC,
        RetentionOffer.Accepted.TOPIC,
        RetentionOffer.Ended.TOPIC,
    }
)
_FORGET = (
    "DELETE FROM entitlements WHERE customer_id = ANY (%s)",
    "DELETE FROM revocations WHERE customer_id = ANY (%s)",
)
_SUBSCRIPTIONS = """
SELECT customer_id, id, status, canonical FROM subscriptions
WHERE customer_id = ANY (%s) AND NOT is_deleted AND status = ANY (%s) ORDER BY id
"""
_ABOUT = """
SELECT customer_id, stream FROM events
WHERE stripe_event_id IS NULL AND version = 1 AND customer_id = ANY (%s) AND position <= %s
    AND (starts_with(stream, 'dunning:') OR starts_with(stream, 'retention:'))
"""
_OF_STREAMS = """
SELECT customer_id FROM events WHERE stream = ANY (%s) AND version = 1 AND customer_id IS NOT NULL
"""
_EVERY_CUSTOMER = """
SELECT customer_id FROM (
    SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS number
    FROM (SELECT DISTINCT customer_id FROM subscriptions WHERE customer_id IS NOT NULL) AS known
) AS numbered WHERE number %% %(every)s = 0 ORDER BY customer_id
"""
_BETWEEN = """
SELECT DISTINCT customer_id FROM subscriptions
WHERE customer_id > %(low)s AND customer_id <= %(high)s
"""


@dataclass(frozen=True)
class Entitlement:
    """One feature that a customer may use."""

    customer_id: str
    feature: str
    subscription_id: str
    because: str
    until: datetime | None


class Access(Projection):
    """What customers may use."""

    name = "access"
    version = 1
    package = __name__
    tables = ("entitlements", "revocations")
    loaded = ()
    follows = Crm

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Make the rows of those customers anew whose access these events may change."""
        until = events[-1].position
        if any(event.topic == Campaigns.Added.TOPIC and _is_plans(event) for event in events):
            rows = connection.execute(_BETWEEN, {"low": "", "high": LAST_KEY}).fetchall()
            touched = {row[0] for row in rows}
        else:
            touched = _touched(connection, events)
        if touched:
            self._write(connection, sorted(touched), until)

    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Do nothing: all of it follows from the CRM views and whole streams."""

    def derivations(self, until: int) -> Sequence[Derivation]:
        """Return what makes the rows of all customers."""

        def make(connection: Connection, low: str, high: str) -> None:
            rows = connection.execute(_BETWEEN, {"low": low, "high": high}).fetchall()
            self._write(connection, sorted(row[0] for row in rows), until)

        return (Derivation("access", _EVERY_CUSTOMER, make),)

    def _write(self, connection: Connection, customers: Sequence[str], until: int) -> None:
        decisions = Decisions(connection, self.ledger.keys, until)
        plans = plans_of(decisions)
        cases, offers = _decided(connection, decisions, customers, until)
        revoked = {(one.customer_id, one.terms.subscription) for one in cases}
        found: list[Entitlement] = []
        rows = connection.execute(_SUBSCRIPTIONS, [list(customers), list(GIVING)]).fetchall()
        for customer, subscription, status, canonical in rows:
            if status == "past_due" and (customer, subscription) in revoked:
                continue
            end = canonical.get("cancel_at")
            ends = utc(end) if isinstance(end, int) else None
            features = {
                feature: None
                for item in canonical.get("items") or []
                for feature in plans.features_of(item.get("price"), item.get("product"))
            }
            found += [
                Entitlement(customer, feature, subscription, status, ends) for feature in features
            ]
            found += [
                Entitlement(customer, feature, subscription, "gift", until_)
                for feature, until_ in offers[subscription]
                if feature not in features
            ]
        for query in _FORGET:
            connection.execute(query, [list(customers)])
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO entitlements VALUES (%s, %s, %s, %s, %s)",
                [
                    (one.customer_id, one.feature, one.subscription_id, one.because, one.until)
                    for one in found
                ],
            )
            cursor.executemany(
                "INSERT INTO revocations VALUES (%s, %s, %s)",
                [
                    (one.customer_id, one.terms.subscription or "", one.terms.invoice)
                    for one in cases
                ],
            )


def plans_of(decisions: Decisions) -> Plans:
    """Return which features plans have, by the newest version there is."""
    campaigns = decisions.find(Campaigns, Campaigns.STREAM)
    newest = campaigns.newest.get(NONE.name) if campaigns else None
    found = campaigns.versions[NONE.name, newest] if campaigns and newest is not None else None
    return read_plans(found) if found is not None and found["kind"] == NONE.kind else NONE


def _is_plans(event: RecordedEvent) -> bool:
    return nested(event.data, "campaign").get("kind") == NONE.kind


def _touched(connection: Connection, events: Iterable[RecordedEvent]) -> set[str]:
    touched: set[str] = set()
    streams: set[str] = set()
    for event in events:
        if event.topic in _DECIDED:
            streams.add(event.stream)
        elif not is_set_aside(event.data):
            obj = nested(event.data, "data", "object")
            if kind_of(obj) == "subscription" and event.customer_id:
                touched.add(event.customer_id)
    if streams:
        rows = connection.execute(_OF_STREAMS, [sorted(streams)]).fetchall()
        touched.update(row[0] for row in rows)
    return touched


def _decided(
    connection: Connection, decisions: Decisions, customers: Sequence[str], until: int
) -> tuple[list[DunningCase], dict[str, list[tuple[str, datetime]]]]:
    """Return the cases that revoke access, and the features given by subscription."""
    cases: list[DunningCase] = []
    given: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    for _, stream in connection.execute(_ABOUT, [list(customers), until]).fetchall():
        if stream.startswith("dunning:"):
            case = decisions.find(DunningCase, stream)
            if case is not None and case.is_open and case.is_revoked and case.terms.mode == "on":
                cases.append(case)
        else:
            offer = decisions.find(RetentionOffer, stream)
            if offer is None or offer.offer is None or offer.accepted_at is None:
                continue
            if offer.offer.kind == "free_feature" and offer.ended_at is None:
                params = offer.offer.params
                until_ = datetime.fromisoformat(params["until"])
                given[offer.terms.subscription].append((params["feature"], until_))
    return cases, given
