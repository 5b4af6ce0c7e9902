"""What is due is done here: steps are decided, effects performed, by any number of workers.

A worker takes one due row at a time and locks it while it decides (`FOR UPDATE SKIP LOCKED`), so
two never decide about the same. The row is only a hint: what counts is the stream behind it, read
from the log, and the version that it is saved with. Before an effect goes out all that could make
it pointless is looked at again; the attempt is then claimed by an event, and the outside is called
without any transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import psycopg

from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import KINDS, SendingCap
from ledger.decisions import Connection
from ledger.effects.performing import AddressRefused, EffectFailed, EffectPointless, Performer, Task
from ledger.errors import VersionConflict
from ledger.policies.desk import Desk, LogStore, Site, log_desk
from ledger.policies.policy import Policy
from ledger.second_look import must_wait, pointless
from ledger.stripe_objects.contacts import Contact

if TYPE_CHECKING:
    from ledger.application import Ledger

logger = logging.getLogger("ledger.agenda")

OUTCOME_TRIES = 20  # to note what came of an attempt: its stream may be busy, but not for ever

_DUE_STEP = """
SELECT due_at, stream, item FROM agenda
WHERE kind = 'step' AND due_at <= %(now)s
    AND (due_at, stream, item) > (%(at)s, %(stream)s, %(item)s)
ORDER BY due_at, stream, item LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_DUE_EFFECT = """
SELECT a.due_at, a.stream, a.item
FROM agenda AS a JOIN effects AS e ON e.stream = a.stream AND e.key = a.item
WHERE a.kind = 'effect' AND a.due_at <= %(now)s
    AND (a.due_at, a.stream, a.item) > (%(at)s, %(stream)s, %(item)s) AND e.kind = ANY (%(kinds)s)
ORDER BY a.due_at, a.stream, a.item LIMIT 1 FOR UPDATE OF a SKIP LOCKED
"""
# A stream's first event opens it, each other one grants something.
_GRANTED = """
SELECT coalesce(sum(last.version - 1), 0)
FROM unnest(%s::text[]) AS minute (stream), LATERAL (
    SELECT version FROM events AS e WHERE e.stream = minute.stream ORDER BY version DESC LIMIT 1
) AS last
"""
# What customers ordered themselves does not wait for the next hour.
_DUE_ORDER = _DUE_EFFECT.replace(
    "AND e.kind = ANY (%(kinds)s)",
    "AND e.kind = ANY (%(kinds)s) AND e.kind = 'stripe' AND e.purpose = 'confirmation'",
)
Row = tuple[datetime, str, str]
BEFORE_ALL: Row = (datetime.min.replace(tzinfo=UTC), "", "")


class Directory(Protocol):
    """Who customers are and what prices are called, for those who write to them."""

    def contact(self, connection: Connection, customer_id: str) -> Contact | None:
        """Return how to reach a customer; None if nothing of them can be read (any more)."""

    def is_subscribed(self, connection: Connection, customer_id: str) -> bool:
        """Return whether a customer has a subscription that goes on."""

    def product_of(self, connection: Connection, prices: Sequence[str]) -> str | None:
        """Return the name of what is sold at the first of these prices that has one."""


@dataclass(frozen=True)
class Tools:
    """What a worker needs beside a ledger."""

    site: Site
    policies: Sequence[Policy]
    performers: Mapping[str, Performer]
    directory: Directory


@dataclass
class Done:
    """What a round did."""

    steps: int = 0
    sent: int = 0
    failed: int = 0


class Agenda:
    """One worker of one ledger."""

    def __init__(self, ledger: Ledger, tools: Tools) -> None:
        self._ledger = ledger
        self._tools = tools
        self._row = BEFORE_ALL  # which one is decided about

    @property
    def site(self) -> Site:
        """The installation that works here."""
        return self._tools.site

    def work(self, goes_on: Callable[[], bool] = lambda: True) -> Done:
        """Do everything that is due now, in the order in which it fell due, while it may go on."""
        done = Done()
        with self._ledger.pool.connection() as connection:
            done.steps = self._steps(connection, goes_on)
            self._effects(connection, goes_on, done)
        if done.steps or done.sent or done.failed:
            self._ledger.announce()
        return done

    def _steps(self, connection: Connection, goes_on: Callable[[], bool]) -> int:
        taken = 0
        after = BEFORE_ALL
        while goes_on():
            with self._one_row(), connection.transaction():
                row = self._next(connection, _DUE_STEP, after)
                if row is None:
                    break
                after = row
                desk, store = self._desk(connection)
                policy = next(one for one in self._tools.policies if row[1].startswith(one.streams))
                policy.take(desk, row[1], row[2])
                taken += bool(store.save())
        return taken

    def _effects(self, connection: Connection, goes_on: Callable[[], bool], done: Done) -> None:
        after = BEFORE_ALL
        while goes_on():
            task = None
            with self._one_row():
                with connection.transaction():
                    desk, store = self._desk(connection)
                    kinds = self._open_kinds(desk)
                    is_full = not self._may_send_more(connection, desk)
                    query = _DUE_ORDER if is_full else _DUE_EFFECT
                    row = self._next(connection, query, after, kinds) if kinds else None
                    if row is None:
                        break
                    after = row
                    claimed = self._claim(connection, desk, row[1], row[2])
                    store.save()
                task = claimed  # only what is committed
            if task is not None:
                self._perform(connection, task, done)

    @contextmanager
    def _one_row(self) -> Iterator[None]:
        """Let one row that cannot be decided hold up no other; a database that is away ends all."""
        try:
            yield
        except VersionConflict:
            pass  # somebody decided about it this moment: it is looked at again next time
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 — it is tried again with the next round
            _, stream, item = self._row
            told = (stream, item, self._ledger.name, type(error).__name__)
            logger.error("%s of %s in %s is due and cannot be done: %s", *told)

    def _next(
        self, connection: Connection, query: str, after: Row, kinds: Sequence[str] = ()
    ) -> Row | None:
        now = self._ledger.clock.now()
        at, stream, item = after
        given = {"now": now, "at": at, "stream": stream, "item": item, "kinds": list(kinds)}
        found: Row | None = connection.execute(query.encode(), given).fetchone()
        self._row = found or after
        return found

    def _desk(self, connection: Connection) -> tuple[Desk, LogStore]:
        return log_desk(connection, self._ledger.keys, self._tools.site, self._ledger.clock.now())

    def _open_kinds(self, desk: Desk) -> list[str]:
        site = self._tools.site
        return [
            kind
            for kind in KINDS
            if kind in self._tools.performers
            and desk.sending.obstacle(kind, site.installation, site.public_url) is None
        ]

    def _may_send_more(self, connection: Connection, desk: Desk) -> bool:
        """Return whether less than the cap has gone out in the hour before now."""
        streams = SendingCap.of_the_hour_before(desk.now)
        row = connection.execute(_GRANTED, [streams]).fetchone()
        assert row is not None
        return int(row[0]) < desk.sending.caps.per_hour

    def _claim(self, connection: Connection, desk: Desk, stream: str, key: str) -> Task | None:
        """Claim an effect for one attempt, or take it back if it is pointless by now."""
        outbox = desk.find(Outbox, stream)
        if outbox is None or not outbox.is_due(key, desk.now) or must_wait(outbox, key, desk.now):
            return None
        because = pointless(desk, outbox, key)
        if because is not None:
            outbox.withdraw(key, because, now=desk.now, read_until=desk.read_until)
            return None
        effect, customer = outbox.effects[key], outbox.customer_id
        request, directory = effect.request, self._tools.directory
        if "subscribed" in request.unless and directory.is_subscribed(connection, customer or ""):
            outbox.withdraw(key, "subscribed", now=desk.now, read_until=desk.read_until)
            return None
        if effect.attempts == 0:  # what is tried again was counted
            minute = desk.find(SendingCap, SendingCap.stream_of(desk.now))
            if minute is None:
                minute = SendingCap.begin(desk.now)
                desk.add(minute)
            minute.grant(f"{stream}|{key}", now=desk.now)
        outbox.attempt(key, now=desk.now, read_until=desk.read_until)
        return Task(
            key,
            effect.tries,
            request,
            outbox,
            directory.contact(connection, customer) if customer else None,
            directory.product_of(connection, request.params.get("prices") or []),
            desk.brand,
            self._tools.site.public_url or "",
        )

    def _perform(self, connection: Connection, task: Task, done: Done) -> None:
        try:
            receipt = self._tools.performers[task.request.kind].perform(task)
        except AddressRefused as error:
            self._note(connection, task, _refused(task, error.address))
        except EffectPointless as error:
            self._note(connection, task, _pointless(task, str(error)))
        except EffectFailed as error:
            logger.warning("%s of %s: %s", task.key, self._ledger.name, error.because)
            self._note(connection, task, _failed(task, error.because, is_final=error.is_final))
            done.failed += 1
        except Exception as error:  # noqa: BLE001 — one effect must not hold up the others
            told = f"unexpected {type(error).__name__}"
            logger.error("%s of %s: %s", task.key, self._ledger.name, told)
            self._note(connection, task, _failed(task, told, is_final=False))
            done.failed += 1
        else:

            def sent(desk: Desk, outbox: Outbox) -> None:
                outbox.sent(task.key, receipt.reference, receipt.answer, now=desk.now)

            self._note(connection, task, sent)
            done.sent += 1

    def _note(
        self, connection: Connection, task: Task, decide: Callable[[Desk, Outbox], None]
    ) -> None:
        """Note what came of an attempt; others may be writing to the same outbox."""
        for _ in range(OUTCOME_TRIES):
            try:
                with connection.transaction():
                    desk, store = self._desk(connection)
                    outbox = desk.find(Outbox, task.outbox.id)
                    assert outbox is not None
                    decide(desk, outbox)
                    store.save()
            except VersionConflict:
                continue
            return
        logger.error("what came of %s could not be noted; it is tried again", task.key)


def _pointless(task: Task, because: str) -> Callable[[Desk, Outbox], None]:
    def note(desk: Desk, outbox: Outbox) -> None:
        outbox.withdraw(
            task.key, because, now=desk.now, read_until=desk.read_until, attempt=task.attempt
        )

    return note


def _refused(task: Task, address: str) -> Callable[[Desk, Outbox], None]:
    def note(desk: Desk, outbox: Outbox) -> None:
        outbox.address_failed("mail", address, "refused", now=desk.now)
        _pointless(task, "address_refused")(desk, outbox)

    return note


def _failed(task: Task, because: str, *, is_final: bool) -> Callable[[Desk, Outbox], None]:
    """Note a failure; that something is given up at Stripe the team should know."""

    def note(desk: Desk, outbox: Outbox) -> None:
        outbox.failed(task.key, because, final=is_final, attempt=task.attempt, now=desk.now)
        if outbox.effects[task.key].state == "dead" and task.request.kind == "stripe":
            desk.alert(
                outbox.customer_id,
                f"{task.key}:dead",
                "action_given_up",
                {"action": task.request.what, "because": because,
                 "subscription": task.request.params.get("subscription")},
            )  # fmt: skip

    return note
