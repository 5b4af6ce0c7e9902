"""The eventsourcing library's own way: its PostgreSQL recorder and its ProjectionRunner."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate, DomainEvent
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL, Identifier

from ledger.bootstrap import installation

if TYPE_CHECKING:
    from eventsourcing.persistence import Tracking

    from ledger.settings import Settings

SCHEMA = "bench_library"
BATCH_EVENTS = 10  # more than about a megabyte in one save makes its pipeline hang
TIMEOUT_SECONDS = 300


class Told(CanMutateAggregate[str], DomainEvent):
    """What Stripe said of a customer."""

    TOPIC = "bench.Told"
    originator_id: str  # type: ignore[assignment]
    body: dict[str, Any]

    def __post_init__(self) -> None:
        """Accept text ids."""


class First(CanInitAggregate[str], Told):
    """The first thing Stripe said of a customer."""

    TOPIC = "bench.First"
    originator_topic: str


class Customer(BaseAggregate[str]):
    """A customer's stream."""

    Event = Told

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body


class Recorded(Application[str]):
    """An application that holds the events."""

    name = "recorded"


class CustomersView(PostgresTrackingRecorder):
    """One row per customer, written with the tracking record in one transaction."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS {}.customers_view (id text PRIMARY KEY, created bigint,"
                " delinquent boolean, currency text, country text, status text)"
            ).format(Identifier(SCHEMA))
        )

    def keep(self, row: dict[str, Any], tracking: Tracking) -> None:
        """Write a customer's row."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                f"INSERT INTO {SCHEMA}.customers_view VALUES (%(id)s, %(created)s, %(delinquent)s,"  # noqa: S608 — constants of ours
                " %(currency)s, %(country)s, %(status)s) ON CONFLICT (id) DO UPDATE SET"
                " delinquent = EXCLUDED.delinquent, currency = EXCLUDED.currency,"
                " country = EXCLUDED.country, status = EXCLUDED.status",
                row,
            )


class Customers(Projection[CustomersView]):
    """The customers view."""

    name = "customers"

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Project one event."""
        obj = domain_event.body["data"]["object"]
        address = obj.get("address") or {}
        row = {
            "id": domain_event.originator_id,
            "created": obj.get("created"),
            "delinquent": obj.get("delinquent"),
            "currency": obj.get("currency"),
            "country": address.get("country"),
            "status": obj.get("status"),
        }
        self.view.keep(row, tracking)


def library_events_per_second(settings: Settings, events: int) -> float:
    """Return how fast the library's runner projects so many events of this ledger's customers."""
    with installation(settings) as opened:
        ledger = opened.ledger()
        with opened.database.connect_as_owner() as owner:
            owner.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
            owner.execute(f"CREATE SCHEMA {SCHEMA}")
        given = dict(opened.database.owner)
        env = {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(given.get("dbname", "postgres")),
            "POSTGRES_HOST": str(given.get("host", "")),
            "POSTGRES_PORT": str(given.get("port", "5432")),
            "POSTGRES_USER": str(given.get("user", "")),
            "POSTGRES_PASSWORD": str(given.get("password", "")),
            "POSTGRES_SCHEMA": SCHEMA,
            "ORIGINATOR_ID_TYPE": "text",
        }
        with opened.database.connect(ledger.schema) as connection:
            rows = connection.execute(
                "SELECT customer_id, data::text FROM events WHERE customer_id IS NOT NULL"
                " ORDER BY position LIMIT %s",
                [events],
            ).fetchall()
        store(env, rows)
        began = time.monotonic()
        with ProjectionRunner(
            application_class=Recorded, projection_class=Customers, view_class=CustomersView,
            env=env,
        ) as runner:  # fmt: skip
            runner.wait(len(rows), timeout=TIMEOUT_SECONDS)
            return len(rows) / (time.monotonic() - began)


def store(env: dict[str, str], rows: list[tuple[str, str]]) -> None:
    """Save the events as the library does, a few at a time."""
    application = Recorded(env=env)
    aggregates: dict[str, Customer] = {}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for index, (customer, text) in enumerate(rows, 1):
        body = msgspec.json.decode(text)
        known = aggregates.get(customer)
        if known is None:
            aggregates[customer] = Customer._create(First, id=customer, body=body, timestamp=now)
        else:
            known.trigger_event(Told, body=body, timestamp=now)
        if index % BATCH_EVENTS == 0 or index == len(rows):
            application.save(*aggregates.values())
    application.close()
