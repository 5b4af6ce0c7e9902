"""A ledger: one Stripe account in one mode, with its schema, its keys and its secrets."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import pq

from ledger.aggregates import Customer
from ledger.clock import Clock, SystemClock
from ledger.database import INSTALLATION_SCHEMA, Database, type_of_pool
from ledger.errors import (
    DatabaseUnavailable,
    LedgerUnknown,
    NotFound,
    RequestInvalid,
    SettingsInvalid,
)
from ledger.intake import Intake
from ledger.intake.committer import GroupCommitter
from ledger.ledger_settings import LedgerSettings, read_settings, settings_of
from ledger.log import Log, NewEvent
from ledger.log.log import prepare
from ledger.privacy.keys import KeyRing
from ledger.privacy.master import MasterKey, load_master_key
from ledger.settings import DEFAULT_LEDGER, Settings, split_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

_REASON = re.compile(r"[a-z][a-z_]{0,63}").fullmatch
WAKE_CHANNEL = "ledger_appended"
WAKE_INTERVAL_SECONDS = 0.05
REFRESH_SECONDS = 1.0
APPEND_LOCK_SECONDS_MAX = 15  # who gave up waiting shall leave no session behind that goes on


class Ledger:
    """The face of one ledger for web, worker and command line."""

    def __init__(
        self,
        settings: LedgerSettings,
        schema: str,
        database: Database,
        master: MasterKey,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.schema = schema
        self.database = database
        self.master = master
        self.clock = clock or SystemClock()
        self.keys = KeyRing(master)
        self._appended = Event()
        self._closed = Event()
        self._announcer: Thread | None = None
        self._opening = Lock()
        self._refreshing = Lock()
        self._refresh_again_at = 0.0
        self._pool: type_of_pool | None = None
        self._intake: Intake | None = None

    @property
    def name(self) -> str:
        """What this ledger is called in this installation."""
        return self.settings.name

    @property
    def pool(self) -> type_of_pool:
        """Connections of the runtime role to this ledger's schema, opened when first needed."""
        if self._pool is None:
            with self._opening:
                if self._pool is None:
                    self._pool = self.database.pool(self.schema)
        return self._pool

    @property
    def intake(self) -> Intake:
        """The way in for verified deliveries."""
        if self._intake is None:
            pool = self.pool
            with self._opening:
                if self._intake is None:
                    self._intake = self._make_intake(pool)
                    self._announcer = Thread(
                        target=self._announce, args=[self._intake], name="announce", daemon=True
                    )
                    self._announcer.start()
        return self._intake

    def group_committer(self) -> GroupCommitter:
        """Return a committer for deliveries that arrive on an event loop; the caller closes it."""
        return GroupCommitter(
            lambda: self.database.connect(self.schema, APPEND_LOCK_SECONDS_MAX), self._appended.set
        )

    def _make_intake(self, pool: type_of_pool) -> Intake:
        return Intake(
            livemode=self.settings.mode == "live",
            stripe_account=self.settings.stripe_account,
            pool=pool,
            keys=self.keys,
            digest_key=self.master.derive("delivery digests"),
            clock=self.clock,
            committed=self._appended.set,
        )

    def _announce(self, intake: Intake) -> None:
        """Tell workers that there is something new: after commits, at most every 50 ms."""
        connection: psycopg.Connection[tuple[Any, ...]] | None = None
        while not self._closed.is_set():
            if self._appended.wait(timeout=1):
                self._appended.clear()
                try:
                    connection = connection or self.database.connect(self.schema)
                    connection.pgconn.exec_(f"NOTIFY {self.wake_channel}".encode())
                    if connection.pgconn.status != pq.ConnStatus.OK:
                        connection.close()
                        connection = None
                except (DatabaseUnavailable, psycopg.Error):
                    connection = None  # a hint only: workers poll
            intake.flush_counts()
            self._closed.wait(WAKE_INTERVAL_SECONDS)
        if connection is not None:
            connection.close()

    @property
    def wake_channel(self) -> str:
        """The NOTIFY channel of this ledger."""
        return f"{WAKE_CHANNEL}_{self.schema}"

    def erase_customer(
        self,
        customer_id: str,
        *,
        reason: str,
        actor: str | None = None,
        connection: psycopg.Connection[tuple[Any, ...]] | None = None,
    ) -> int:
        """Destroy the keys of a customer and of all objects traced to them; return the position.

        The ledger then opens nothing of them any more; `CustomerErased` tells the views. The keys'
        old rows stay in PostgreSQL's files until they are purged (see subjects/erasure.py). With a
        `connection` it is part of the transaction there.
        Raises NotFound for a customer never seen, RequestInvalid for a `reason` that is not a
        word: free text could itself be personal.
        """
        if not _REASON(reason):
            raise RequestInvalid("The reason for an erasure is a word such as `customer_request`.")
        with nullcontext(connection) if connection else self.pool.connection() as own:
            prepare(own)
            known = own.execute(
                "SELECT EXISTS (SELECT FROM customers WHERE id = %s)"
                " OR EXISTS (SELECT FROM events WHERE stream = %s)"
                " OR EXISTS (SELECT FROM subject_keys WHERE subject = %s)",
                [customer_id] * 3,
            ).fetchone()
            if not (known and known[0]):
                raise NotFound(f"This ledger has never seen a customer {customer_id}.")
            linked = own.execute(
                "SELECT object_id FROM owners WHERE customer_id = %s", [customer_id]
            ).fetchall()
            subjects = [customer_id, *(row[0] for row in linked)]
            body = {"type": "customer.erased", "customer": customer_id, "reason": reason}
            if actor is not None:
                body["actor"] = actor
            erased = NewEvent(
                stream=customer_id,
                topic=Customer.CustomerErased.TOPIC,
                occurred_at=self.clock.now(),
                data=msgspec.json.encode(body),
                customer_id=customer_id,
            )
            with own.transaction():  # keys and event together, or neither
                own.execute("SELECT erase_subjects(%s)", [subjects])
                own.execute(
                    "UPDATE idempotency_keys SET body = NULL WHERE subjects && %s", [[customer_id]]
                )
                (position,) = Log(own).append([erased])
        self.keys.forget(subjects)
        self.announce()
        return position

    def announce(self) -> None:
        """Tell workers that something was appended by another way than the intake."""
        self._appended.set()

    def refresh_secrets(self) -> None:
        """Read the signing secrets again, once a second at most.

        The default ledger's come from the environment and never change.
        """
        if self.name == DEFAULT_LEDGER:
            return
        with self._refreshing:
            if monotonic() < self._refresh_again_at:
                return
            self._refresh_again_at = monotonic() + REFRESH_SECONDS
            with self.pool.connection() as connection:
                own = read_settings(connection, self.master)
            found = split_secrets(own.get("webhook_secrets", ""))
            self.settings = replace(self.settings, webhook_secrets=found)

    def close(self) -> None:
        """Let go of connections and threads."""
        self._closed.set()
        self._appended.set()
        if self._announcer is not None and self._intake is not None:
            self._announcer.join(timeout=5)
            self._intake.flush_counts()
        if self._pool is not None:
            self._pool.close()


def ledger_names(database: Database) -> dict[str, str]:
    """Return the installation's ledgers: name → schema."""
    with database.connect(INSTALLATION_SCHEMA) as connection:
        rows = connection.execute("SELECT name, schema_name FROM ledgers ORDER BY name").fetchall()
    return dict(rows)


def open_ledger(
    settings: Settings, database: Database, name: str = DEFAULT_LEDGER, clock: Clock | None = None
) -> Ledger:
    """Return the ledger of this name, its master key proven.

    The environment configures the default one; the others keep their settings, encrypted, in
    their own schema. Raises LedgerUnknown, MasterKeyMissing, MasterKeyMismatch.
    """
    schema = ledger_names(database).get(name)
    if schema is None:
        raise LedgerUnknown(
            f"There is no ledger {name!r} in this installation; `ledger ledgers list` shows them."
        )
    first = ledger_names(database).get(DEFAULT_LEDGER, schema)
    with database.connect(first) as connection:
        # The default ledger's canary first: a wrong key must not become the key of a new ledger.
        load_master_key(settings, connection, embedded=database.is_embedded)
    with database.connect(schema) as connection:
        master = load_master_key(settings, connection, embedded=database.is_embedded)
        own = read_settings(connection, master)
    return Ledger(settings_of(settings, name, own), schema, database, master, clock)


def keep_mode(ledger: Ledger, mode: str) -> None:
    """Note in which mode this ledger records; raise SettingsInvalid if its views are of the other.

    A ledger is one account in one mode: its views would mix test and live customers.
    """
    with ledger.pool.connection() as connection:
        kept = read_settings(connection, ledger.master).get("mode", mode)
        if kept != mode and _has_recorded(connection):
            raise SettingsInvalid(
                f"Ledger {ledger.name!r} has recorded {kept} events; it cannot go on in {mode} "
                "mode. Keep that mode, or record the other one in a ledger of its own: `ledger "
                f"ledgers add NAME --mode {mode}`, or another LEDGER_HOME or database."
            )
    change_settings(ledger, {"mode": mode})


def _has_recorded(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Return whether there are events that count, not only such as were set aside."""
    found = connection.execute(
        "SELECT 1 FROM events WHERE stripe_event_id IS NOT NULL"
        " AND NOT (topic = 'Account.StripeEventNoted' AND data -> '_ledger' ? 'set_aside') LIMIT 1"
    )
    return found.fetchone() is not None


def kept_setting(ledger: Ledger, key: str) -> str | None:
    """Return what a ledger has noted for itself under this key, None if nothing."""
    with ledger.pool.connection() as connection:
        return read_settings(connection, ledger.master, [key]).get(key)


def change_settings(ledger: Ledger, changes: Mapping[str, str]) -> None:
    """Store settings of a ledger, encrypted.

    A running process takes new secrets when a delivery does not verify, the rest when it starts.
    """
    with ledger.pool.connection() as connection:
        for key, value in changes.items():
            connection.execute(
                "INSERT INTO settings (key, value) VALUES (%s, %s) ON CONFLICT (key)"
                " DO UPDATE SET value = EXCLUDED.value, changed_at = clock_timestamp()",
                [key, ledger.master.seal_setting(key, value)],
            )
