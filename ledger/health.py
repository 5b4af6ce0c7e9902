"""How the ledger does: positions, lag, counts, and what a person should look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from ledger import completeness
from ledger.aggregates import Account
from ledger.privacy.key_sources import is_confirmed_saved, key_file
from ledger.settings import DEFAULT_LEDGER

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.settings import Settings

Connection = psycopg.Connection[tuple[Any, ...]]
SEALED_BEHIND_MAX_SECONDS = 60

_COUNTS = {
    "customers": "SELECT count(*) FROM customers",
    "subscriptions": "SELECT count(*) FROM subscriptions",
    "invoices": "SELECT count(*) FROM invoices",
    "payments": "SELECT count(*) FROM payments",
    "conflicting_deliveries": "SELECT count(*) FROM events"
    " WHERE topic = 'Account.ConflictingDelivery'",
    "unreadable_deliveries": "SELECT count(*) FROM events"
    " WHERE topic = 'Account.DeliveryUnreadable'",
    "set_aside": "SELECT count(*) FROM events"
    " WHERE topic = 'Account.StripeEventNoted' AND data -> '_ledger' ? 'set_aside'",
    "projection_faults": "SELECT count(*) FROM projection_faults",
    "provisional_seconds": "SELECT count(*) FROM facts WHERE mark = 'assumed'",
    "dunning_cases_open": "SELECT count(*) FROM dunning_cases WHERE outcome IS NULL",
    "dunning_cases_waiting": "SELECT count(*) FROM dunning_cases WHERE status = 'waiting'",
    "effects_given_up": "SELECT count(*) FROM effects WHERE state = 'dead'",
    "effects_overdue": "SELECT count(*) FROM effects WHERE due_at < clock_timestamp()"
    " - interval '10 minutes'",
    "steps_overdue": "SELECT count(*) FROM agenda WHERE kind = 'step'"
    " AND due_at < clock_timestamp() - interval '10 minutes'",
    "erased_subjects": "SELECT count(*) FROM subject_keys WHERE wrapped_key IS NULL",
}


def status(ledger: Ledger, connection: Connection) -> dict[str, Any]:
    """Return the state of a ledger as `/v1/status` and `ledger doctor` tell it."""
    last = _scalar(connection, "SELECT coalesce(max(position), 0) FROM events")
    bookmarks: dict[str, int] = dict(
        connection.execute("SELECT projection, position FROM bookmarks").fetchall()
    )
    policies: dict[str, int] = dict(
        connection.execute("SELECT policy, position FROM policy_bookmarks").fetchall()
    )
    sealed = _scalar(connection, "SELECT coalesce(max(last_position), 0) FROM seals")
    behind = min(bookmarks.values(), default=0)
    waiting = connection.execute(
        "SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM events"
        " WHERE position = %s",
        [behind + 1],
    ).fetchone()
    deliveries: dict[str, int] = dict(
        connection.execute("SELECT outcome, deliveries FROM delivery_counts").fetchall()
    )
    return {
        "object": "status",
        "ledger": ledger.name,
        "mode": ledger.settings.mode,
        "demo": ledger.settings.is_demo,
        "log": {"position": last, "sealed_to": sealed},
        "projections": {
            name: {"position": position, "lag_events": last - position}
            for name, position in bookmarks.items()
        },
        "policies": {
            name: {"position": position, "lag_events": last - position}
            for name, position in policies.items()
        },
        "lag_events": last - behind,
        "lag_seconds": round(float(waiting[0]), 3) if waiting else 0.0,
        "completeness": completeness.status(connection),
        "counts": {name: _scalar(connection, query) for name, query in _COUNTS.items()},
        "deliveries": {
            "duplicate": deliveries.get("duplicate", 0),
            "other_rendering": deliveries.get("other_rendering", 0),
        },
    }


@dataclass(frozen=True, slots=True)
class Concern:
    """Something to look at: what, and what to do about it."""

    code: str
    sentence: str


def warnings(settings: Settings, ledger: Ledger, connection: Connection) -> list[Concern]:
    """Return what the person who runs this ledger should know."""
    state = status(ledger, connection)
    counts = state["counts"]
    found = []

    def warn(code: str, sentence: str) -> None:
        found.append(Concern(code, sentence))

    if not is_confirmed_saved(settings):
        warn(
            "master_key_not_saved",
            f"The master key exists only in {key_file(settings)}. Without it nothing personal "
            "can ever be read again: copy it to a safe place, then `ledger keys confirm`.",
        )
    if ledger.master.is_being_replaced:
        warn(
            "master_key_being_replaced",
            "Two master keys are given: run `ledger keys rotate`, then take the former one away.",
        )
    if not ledger.settings.webhook_secrets:
        warn(
            "webhook_secret_missing",
            "No signing secret is set in this environment: a server started from it refuses every "
            "delivery. Set STRIPE_WEBHOOK_SECRET."
            if ledger.name == DEFAULT_LEDGER
            else "No signing secret is set: every delivery is refused. `ledger ledgers set "
            f"{ledger.name} --webhook-secrets -` sets it.",
        )
    if counts["conflicting_deliveries"]:
        warn(
            "conflicting_deliveries",
            f"{counts['conflicting_deliveries']} deliveries bore a known event id with another "
            f"content. See `ledger events --type {Account.ConflictingDelivery.TOPIC}`.",
        )
    if counts["unreadable_deliveries"]:
        warn(
            "unreadable_deliveries",
            f"{counts['unreadable_deliveries']} signed deliveries were no events; they are kept "
            f"encrypted. See `ledger events --type {Account.DeliveryUnreadable.TOPIC}`.",
        )
    if counts["set_aside"]:
        warn(
            "set_aside",
            f"{counts['set_aside']} events were of the other mode or of a foreign account: "
            "recorded, but in no view. If they should count, check the ledger's mode and account.",
        )
    if (compared := state["completeness"]) and compared["error"]:
        warn("comparison_failed", f"The last comparison with Stripe's list: {compared['error']}")
    if counts["projection_faults"]:
        warn(
            "projection_faults",
            f"{counts['projection_faults']} events could not be read into the views and were "
            "passed over; they are safe in the log. Please report them (`projection_faults`).",
        )
    if counts["provisional_seconds"]:
        warn(
            "provisional",
            f"For {counts['provisional_seconds']} seconds the last state is assumed, not proven; "
            "`/v1` marks what depends on it as provisional.",
        )
    found += _of_reactions(counts)
    unsealed = connection.execute(
        "SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM events"
        " WHERE position = %s",
        [state["log"]["sealed_to"] + 1],
    ).fetchone()
    if unsealed and unsealed[0] > SEALED_BEHIND_MAX_SECONDS:
        warn("seal_late", "Events older than a minute are not sealed: is a worker running?")
    if state["lag_events"] and state["lag_seconds"] > SEALED_BEHIND_MAX_SECONDS:
        warn("views_late", f"Views lag {state['lag_events']} events: is a worker running?")
    return found


def _of_reactions(counts: Mapping[str, int]) -> Iterator[Concern]:
    """Yield what of the reactions waits for somebody."""
    if counts["effects_given_up"]:
        yield Concern(
            "effects_given_up",
            f"{counts['effects_given_up']} mails, actions or alerts were given up: `ledger effects"
            " list --state dead` says why, `retry` and `drop` end it.",
        )
    if counts["effects_overdue"]:
        yield Concern(
            "effects_overdue",
            f"{counts['effects_overdue']} effects should have gone out ten minutes ago: `ledger"
            " effects status` says what keeps them.",
        )
    if counts["steps_overdue"]:
        yield Concern(
            "steps_overdue",
            f"{counts['steps_overdue']} steps of cases should have been taken ten minutes ago: is a"
            " worker running? Its log says what cannot be done.",
        )
    if counts["dunning_cases_waiting"]:
        yield Concern(
            "dunning_cases_waiting",
            f"{counts['dunning_cases_waiting']} failed payments were heard of too late to be"
            " answered without somebody looking: `/v1/dunning/cases?status=waiting`, then resume"
            " or stop each.",
        )


def _scalar(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])
