"""What is due is done here: steps are decided, effects performed, by any number of workers.

A worker takes one due row at a time and locks it while it decides (`FOR UPDATE SKIP LOCKED`), so
two never decide about the same. The row is only a hint: what counts is the stream behind it, read
from the log, and the version that it is saved with. Before an effect goes out all that could make
it pointless is looked at again; the attempt is then claimed by an event, and the outside is called
without any transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import KINDS, SendingCap
from ledger.decisions import Connection, Decisions
from ledger.effects.performing import EffectFailed, EffectPointless, Performer, Task
from ledger.errors import VersionConflict
from ledger.log import Log
from ledger.policies.desk import Desk, LogStore, Site, log_desk
from ledger.policies.policy import Policy
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
Row = tuple[datetime, str, str]
BEFORE_ALL: Row = (datetime.min.replace(tzinfo=UTC), "", "")


class Directory(Protocol):
    """Who customers are and what prices are called, for those who write to them."""

    def contact(self, connection: Connection, customer_id: str) -> Contact | None:
        """Return how to reach a customer; None if nothing of them can be read (any more)."""

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

    @property
    def site(self) -> Site:
        """The installation that works here."""
        return self._tools.site

    def work(self, goes_on: Callable[[], bool] = lambda: True) -> Done:
        """Do everything that is due now, in the order in which it fell due."""
        done = Done()
        with self._ledger.database.connect(self._ledger.schema) as connection:
            done.steps = self._steps(connection, goes_on)
            self._effects(connection, goes_on, done)
        if done.steps or done.sent or done.failed:
            self._ledger.announce()
        return done

    def _steps(self, connection: Connection, goes_on: Callable[[], bool]) -> int:
        taken = 0
        after = BEFORE_ALL
        while goes_on():
            try:
                with connection.transaction():
                    row = self._next(connection, _DUE_STEP, after)
                    if row is None:
                        break
                    after = row
                    desk, store = self._desk(connection)
                    policy = next(
                        one for one in self._tools.policies if row[1].startswith(one.streams)
                    )
                    policy.take(desk, row[1], row[2])
                    taken += bool(store.save())
            except VersionConflict:
                continue  # somebody decided about it this moment: it is looked at again next time
        return taken

    def _effects(self, connection: Connection, goes_on: Callable[[], bool], done: Done) -> None:
        after = BEFORE_ALL
        while goes_on():
            try:
                with connection.transaction():
                    desk, store = self._desk(connection)
                    kinds = self._open_kinds(desk)
                    row = self._next(connection, _DUE_EFFECT, after, kinds) if kinds else None
                    if row is None or not self._may_send_more(connection, desk):
                        break
                    after = row
                    task = self._claim(connection, desk, row[1], row[2])
                    store.save()
            except VersionConflict:
                continue
            if task is not None:
                self._perform(connection, task, done)

    def _next(
        self, connection: Connection, query: str, after: Row, kinds: Sequence[str] = ()
    ) -> Row | None:
        now = self._ledger.clock.now()
        at, stream, item = after
        given = {"now": now, "at": at, "stream": stream, "item": item, "kinds": list(kinds)}
        return connection.execute(query.encode(), given).fetchone()

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
        if outbox is None or not outbox.is_due(key, desk.now):
            return None
        because = pointless(desk, outbox, key)
        if because is not None:
            outbox.withdraw(key, because, now=desk.now, read_until=desk.read_until)
            return None
        minute = desk.find(SendingCap, SendingCap.stream_of(desk.now))
        if minute is None:
            minute = SendingCap.begin(desk.now)
            desk.add(minute)
        minute.grant(f"{stream}|{key}", now=desk.now)
        outbox.attempt(key, now=desk.now, read_until=desk.read_until)
        effect = outbox.effects[key]
        request, customer = effect.request, outbox.customer_id
        directory = self._tools.directory
        return Task(
            key,
            effect.attempts,
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
        except EffectPointless as error:
            because = str(error)
            self._note(connection, task, lambda outbox, now, until: outbox.withdraw(
                task.key, because, now=now, read_until=until))  # fmt: skip
        except EffectFailed as error:
            told, final = error.because, error.is_final
            logger.warning("%s of %s: %s", task.key, self._ledger.name, told)
            self._note(connection, task, lambda outbox, now, _: outbox.failed(
                task.key, told, final=final, now=now))  # fmt: skip
            done.failed += 1
        except Exception as error:  # noqa: BLE001 — one effect must not hold up the others
            name = type(error).__name__
            logger.error("%s of %s: unexpected %s", task.key, self._ledger.name, name)
            self._note(connection, task, lambda outbox, now, _: outbox.failed(
                task.key, f"unexpected {name}", final=False, now=now))  # fmt: skip
            done.failed += 1
        else:
            self._note(connection, task, lambda outbox, now, _: outbox.sent(
                task.key, receipt.reference, receipt.answer, now=now))  # fmt: skip
            done.sent += 1

    def _note(
        self,
        connection: Connection,
        task: Task,
        decide: Callable[[Outbox, datetime, int], None],
    ) -> None:
        """Note what came of an attempt; others may be writing to the same outbox."""
        for _ in range(OUTCOME_TRIES):
            decisions = Decisions(connection, self._ledger.keys)
            outbox = decisions.find(Outbox, task.outbox.id)
            assert outbox is not None
            decide(outbox, self._ledger.clock.now(), Log(connection).last_position())
            try:
                decisions.save()
            except VersionConflict:
                continue
            return
        logger.error("what came of %s could not be noted; it is tried again", task.key)


def pointless(desk: Desk, outbox: Outbox, key: str) -> str | None:
    """Return why what was asked for is not to be done any more, None if it is.

    Looked at right before it goes out, with everything the log holds by then.
    """
    effect = outbox.effects[key]
    request = effect.request
    claimed_at = desk.sending.claimed_at
    if claimed_at is not None and effect.asked_at < claimed_at:
        return "before_claim"  # another installation may have done it
    if request.expires_at is not None and desk.now > request.expires_at:
        return "expired"
    if request.purpose == "marketing" and outbox.is_unsubscribed:
        return "unsubscribed"
    return _overtaken(desk, outbox.customer_id, request.unless) if outbox.customer_id else None


def _overtaken(desk: Desk, customer_id: str, unless: Mapping[str, str]) -> str | None:
    """Return by what an effect was overtaken that is pointless once something has happened."""
    standing = desk.standing(customer_id, unless.get("subscription") or None)
    if standing.is_gone:
        return "customer_gone"
    if canceled := unless.get("cancellation"):
        subscription = desk.standing(customer_id, canceled).subscription
        stays = subscription is not None and not (
            subscription.cancel_at_period_end or subscription.cancel_at
        )
        return "withdrawn" if stays else None
    invoice = unless.get("invoice_settled")
    if invoice is None:
        return None
    return standing.settled_as(invoice) or ("canceled" if standing.has_ended else None)
