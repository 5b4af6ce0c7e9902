"""Thousands of failing subscriptions, and everything that may go wrong with answering them.

From a seed follow which payments fail, are paid, voided or canceled when, which of these are heard
late, twice or out of order, how time jumps, and which worker dies where. Afterwards the log itself
must show that nobody was written to after the payment was known, and every step once, in time.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from ledger.agenda import Agenda, Tools
from ledger.clock import FixedClock
from ledger.effects.performing import Receipt, Task
from ledger.log.log import prepare
from tests.facts import Json, charge, customer, event, invoice, subscription
from tests.facts import record as record_facts
from tests.reactions import START, Reactor, seconds

DAY = 86_400
RETRIES = (3, 5, 7)  # days after the failure before
DECLINES = ("insufficient_funds", "do_not_honor", "expired_card", "lost_card", None)


class Killed(BaseException):
    """The worker is gone: nothing it was about to note was noted."""


@dataclass(frozen=True)
class Delivery:
    """A fact, and when it is heard of (unix seconds)."""

    at: int
    body: Json


@dataclass
class Story:
    """One subscription whose renewal fails: what happens to it."""

    number: int
    deliveries: list[Delivery] = field(default_factory=list)
    paid_at: int | None = None

    @property
    def invoice(self) -> str:
        return f"in_{self.number}"


def stories(seed: int, count: int) -> list[Story]:
    chance = Random(f"stories:{seed}")
    return [_story(chance, number) for number in range(count)]


def _story(chance: Random, number: int) -> Story:
    story = Story(number)
    of, sub, bill = f"cus_{number}", f"sub_{number}", story.invoice
    before = seconds(START) - 30 * DAY
    names = {"subscription": sub, "metadata": {}}
    first = seconds(START) + chance.randrange(0, 6 * DAY)
    happened: list[tuple[int, str, Json, Json | None]] = [
        (before, "customer.created", customer(of, email=f"c{number}@example.test"), None),
        (before, "customer.subscription.created", subscription(sub, of=of), None),
    ]
    fate = chance.choices(("paid", "unpaid", "void", "canceled"), (60, 25, 5, 10))[0]
    settled = first + chance.randrange(60, 20 * DAY)

    def shown(**changes: Any) -> Json:
        return invoice(bill, of=of, number=f"WD-{number}", parent={
            "type": "subscription_details", "subscription_details": names}, **changes)  # fmt: skip

    at = first
    for attempt in range(1, len(RETRIES) + 2):
        if fate != "unpaid" and at >= settled:
            break
        following = at + RETRIES[attempt - 1] * DAY if attempt <= len(RETRIES) else None
        decline = chance.choice(DECLINES)
        if decline is not None:
            bad = charge(f"ch_{number}_{attempt}", of=of, status="failed", captured=False,
                         amount_captured=0, failure_code="card_declined", invoice=bill,
                         outcome={"type": "issuer_declined", "reason": decline})  # fmt: skip
            happened.append((at, "charge.failed", bad, None))
        failed = shown(status="open", attempt_count=attempt, attempted=True,
                       next_payment_attempt=following)  # fmt: skip
        happened.append((at, "invoice.payment_failed", failed, None))
        behind = subscription(sub, of=of, status="past_due")
        happened.append((at, "customer.subscription.updated", behind, {"status": "active"}))
        if following is None:
            break
        at = following
    if fate == "paid":
        story.paid_at = settled
        done = shown(status="paid", amount_paid=10_000_000, amount_remaining=0, attempted=True,
                     attempt_count=2)  # fmt: skip
        happened.append((settled, "invoice.paid", done, None))
        happened.append((settled, "invoice.payment_succeeded", done, None))
    elif fate == "void":
        happened.append((settled, "invoice.voided", shown(status="void"), None))
    elif fate == "canceled":
        gone = subscription(sub, of=of, status="canceled", ended_at=settled)
        happened.append((settled, "customer.subscription.deleted", gone, None))
    for moment, type_, obj, previous in happened:
        body = event(type_, obj, at=moment, previous=previous)
        late = chance.choices((0, 600, 7_200, 30 * 3_600), (80, 12, 6, 2))[0]
        heard = moment + chance.randrange(0, late + 5)
        story.deliveries.append(Delivery(heard, body))
        if chance.random() < 0.1:
            story.deliveries.append(Delivery(heard + chance.randrange(0, DAY), body))
    return story


@dataclass
class Deadly:
    """Performs effects and remembers them; sometimes the worker dies right after or before."""

    chance: Random
    deaths: float
    performed: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.Lock)

    def perform(self, task: Task) -> Receipt:
        key = f"{task.outbox.id}|{task.key}"
        with self.lock:
            dies = self.chance.random() < self.deaths
            before = self.chance.random() < 0.5
            if dies and before:
                raise Killed
            self.performed[key] += 1
            if dies:
                self.killed[key] += 1
                raise Killed
        return Receipt(key)


class Ticking(FixedClock):
    """A clock that goes on a little whenever it is looked at."""

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=100)
        return self.at


@dataclass
class World:
    """A run: what was heard, done and killed."""

    reactor: Reactor
    deadly: Deadly
    jumps: int = 0


def live(reactor: Reactor, seed: int, count: int, *, days: int = 35, deaths: float = 0.0,
         workers: int = 1, step_hours: float = 12.0) -> World:  # fmt: skip
    """Let everything happen, step by step, with so many workers at once.

    Several workers work while the next facts arrive.
    """
    chance = Random(f"run:{seed}")
    deadly = Deadly(chance, deaths)
    for kind in ("mail", "stripe", "alerts", "sms"):
        reactor.performers[kind] = deadly
    reactor.switch_on(per_hour=1_000_000, per_person=100)
    world = World(reactor, deadly)
    reactor.clock = reactor.ledger.clock = Ticking(START)
    coming = sorted(
        (one for story in stories(seed, count) for one in story.deliveries), key=lambda one: one.at
    )
    now, end, heard = START, START + timedelta(days=days), 0
    while now < end:
        step = timedelta(hours=step_hours)
        if chance.random() < 0.02:
            step, world.jumps = timedelta(hours=chance.choice((20, 40))), world.jumps + 1
        now += step
        due = []
        while heard < len(coming) and coming[heard].at <= now.timestamp():
            due.append(coming[heard].body)
            heard += 1
        chance.shuffle(due)
        # Now and then the clock of the machine is wrong for a while.
        reactor.clock.at = now - timedelta(minutes=40) if chance.random() < 0.05 else now
        if workers == 1:
            record_facts(reactor.ledger, *due)
        reactor.react()
        arriving = threading.Thread(target=record_facts, args=[reactor.ledger, *due])
        if workers > 1:
            arriving.start()
        _work(reactor, workers)
        if workers > 1:
            arriving.join()
        reactor.react()
    reactor.clock.at = end
    for _ in range(6):  # what was killed is found again
        _work(reactor, workers)
        reactor.react()
        reactor.clock.at += timedelta(minutes=5)
    return world


def _work(reactor: Reactor, workers: int) -> None:
    tools = reactor.tools

    def one() -> None:
        for _ in range(50):
            try:
                Agenda(reactor.ledger, Tools(tools.site, tools.policies, tools.performers,
                                             tools.directory)).work()  # fmt: skip
            except Killed:
                continue  # another one is started in its place
            return

    threads = [threading.Thread(target=one) for _ in range(workers - 1)]
    for thread in threads:
        thread.start()
    one()
    for thread in threads:
        thread.join()


_DECIDED = """
SELECT stream, topic, position, data FROM events
WHERE topic IN ('Outbox.Requested', 'Outbox.Attempted', 'Outbox.Sent') ORDER BY position
"""
_PAID = """
SELECT object_id, min(position) AS position FROM events
WHERE topic IN ('Subscription.InvoicePaid', 'Subscription.PaymentSucceeded') GROUP BY 1
"""
_STEPS = """
SELECT stream, topic, occurred_at, data FROM events
WHERE topic IN ('DunningCase.StepScheduled', 'DunningCase.StepTaken', 'DunningCase.StepSkipped',
                'DunningCase.Closed')
ORDER BY position
"""


@dataclass
class Findings:
    """What the log shows of a run."""

    mails: int = 0
    after_payment: list[str] = field(default_factory=list)
    in_the_window: int = 0  # paid between the last look and the handing over
    doubled: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)


def look(world: World) -> Findings:
    """Return what of a run is not as it should be."""
    found = Findings()
    with world.reactor.ledger.pool.connection() as connection:
        prepare(connection)
        paid: dict[str, int] = dict(connection.execute(_PAID).fetchall())
        decided = connection.execute(_DECIDED).fetchall()
        steps = connection.execute(_STEPS).fetchall()
    requested: Counter[str] = Counter()
    about: dict[str, str | None] = {}
    attempted: dict[str, int] = {}
    for stream, topic, position, data in decided:
        key = f"{stream}|{data['key']}"
        if topic == "Outbox.Requested":
            requested[key] += 1
            is_dunning = data["kind"] == "mail" and data["key"].startswith("dunning:")
            about[key] = data["unless"].get("invoice_settled") if is_dunning else None
            found.mails += is_dunning
        known = paid.get(about.get(key) or "")
        if topic == "Outbox.Sent":
            if known is not None and attempted[key] < known < position:
                found.in_the_window += 1
            continue
        attempted[key] = position
        if known is not None and known <= data["read_until"]:
            found.after_payment.append(f"{topic} {key}: paid at {known}, read {data['read_until']}")
    found.doubled = [f"{key} was asked for {n} times" for key, n in requested.items() if n > 1]
    found.doubled += [
        f"{key} was performed {n} times"
        for key, n in world.deadly.performed.items()
        if n > 1 + world.deadly.killed[key]
    ]
    _look_at_steps(found, steps, world.reactor.now)
    return found


def _look_at_steps(found: Findings, steps: list[Any], now: datetime) -> None:
    due: dict[tuple[str, str], datetime] = {}
    taken: Counter[tuple[str, str]] = Counter()
    closed: set[str] = set()
    done: dict[tuple[str, str], str] = {}
    for stream, topic, at, data in steps:
        if topic == "DunningCase.Closed":
            closed.add(stream)
            continue
        step = (stream, data["step"])
        if topic == "DunningCase.StepScheduled":
            due[step] = datetime.fromisoformat(data["due_at"])
        else:
            done[step] = topic
            taken[step] += topic == "DunningCase.StepTaken"
            if at < due[step]:
                found.early.append(f"{step} at {at}, due {due[step]}")
    found.doubled += [f"{step} was taken {n} times" for step, n in taken.items() if n > 1]
    waiting = defaultdict(list)
    for step, at in due.items():
        if step not in done and step[0] not in closed and at < now - timedelta(hours=1):
            waiting[step[0]].append(step[1])
    found.never = [f"{stream}: {names} never happened" for stream, names in waiting.items()]
