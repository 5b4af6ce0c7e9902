"""A dunning campaign tried on the ledger's own past: whom it would have written to, and when.

The policy itself is replayed, fact by fact as they happened, at a desk whose log is in memory:
nothing is recorded, nothing can go out. What it would have said is known; what customers would have
done is not, so expected recovery is told apart and labelled as modelled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from ledger.aggregates import Customer, StripeFact, Subscription
from ledger.aggregates.campaigns import Campaigns
from ledger.aggregates.decision import Decision
from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import KINDS, Caps, Sending
from ledger.decisions import Connection
from ledger.log import Log, RecordedEvent
from ledger.policies.desk import Desk, Site
from ledger.policies.dunning.campaign import DunningCampaign, declines
from ledger.policies.dunning.policy import Dunning
from ledger.standing import Standing, facts_in

D = TypeVar("D", bound=Decision)
SITE = Site("backtest", "https://backtest.invalid")
AFTERWARDS_DAYS = 62  # how long a case is followed past the span: as long as Stripe retries at most
BUDGET_DAYS = 30
OF_A_CLASS_MIN = 20  # fewer cases tell nothing of their own

_CANDIDATES = """
SELECT DISTINCT customer_id, CASE WHEN stream = customer_id OR stream = 'account' THEN NULL
    ELSE stream END AS subscription
FROM events
WHERE topic = ANY (%s) AND occurred_at >= %s AND occurred_at < %s AND customer_id IS NOT NULL
ORDER BY 1, 2
"""
_OPENS = [Subscription.PaymentFailed.TOPIC, Subscription.InvoiceOverdue.TOPIC]
_BEFORE = """
SELECT coalesce(decline_code, ''), count(*), count(*) FILTER (WHERE paid_at IS NOT NULL)
FROM collections WHERE failed_at < %s GROUP BY 1
"""


@dataclass(frozen=True)
class Contact:
    """One thing that would have been said or done."""

    customer_id: str
    invoice: str
    step: str
    kind: str
    what: str
    at: datetime
    state: str
    after_paying: bool


@dataclass
class Tried:
    """What a campaign would have done, beside what happened; amounts by currency, minor units."""

    cases: int = 0
    contacts: list[Contact] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    budget_violations: list[str] = field(default_factory=list)
    recovered: int = 0
    failed_minor: Counter[str] = field(default_factory=Counter)
    recovered_minor: Counter[str] = field(default_factory=Counter)
    by_class: Counter[str] = field(default_factory=Counter)
    expected_share: float | None = None
    expected_because: str | None = None

    @property
    def after_paying(self) -> int:
        """How many messages would have gone to somebody who had paid; must be 0."""
        return sum(one.after_paying for one in self.contacts)


class _Memory:
    """A store that forgets everything: aggregates of one replay, facts up to a moment."""

    def __init__(self, campaign: DunningCampaign, caps: Caps, began: datetime) -> None:
        self._found: dict[str, Decision] = {}
        self.facts: dict[str, list[StripeFact]] = {}
        self.now = began
        sending = Sending.begin(began)
        for kind in KINDS:
            sending.switch(kind, on=True, actor="backtest", now=began)
        sending.claim(SITE.installation or "", SITE.public_url or "", actor="", now=began)
        sending.switch_campaign(campaign.name, "on", {}, actor="backtest", now=began)
        sending.set_caps(caps, actor="backtest", now=began)
        campaigns = Campaigns.begin(began)
        campaigns.add(msgspec.to_builtins(campaign), actor="backtest", now=began)
        self.add(sending)
        self.add(campaigns)

    def find(self, kind: type[D], stream: str) -> D | None:
        """Return what was decided in this replay."""
        found = self._found.get(stream)
        assert found is None or isinstance(found, kind)
        return found

    def add(self, made: Decision) -> None:
        """Keep what is decided."""
        self._found[made.id] = made

    def about(self, customers: Iterable[str], prefix: str) -> list[str]:
        """Return the decisions about these customers."""
        wanted = set(customers)
        return [
            name
            for name, one in self._found.items()
            if name.startswith(prefix) and getattr(one, "customer_id", None) in wanted
        ]

    def standing(self, customer_id: str, subscription_id: str | None) -> Standing:
        """Return how a customer stood at the moment of the replay."""
        streams = [customer_id, *([subscription_id] if subscription_id else [])]
        return Standing(
            customer_id,
            subscription_id,
            [
                fact
                for name in streams
                for fact in self.facts.get(name, [])
                if fact.occurred_at <= self.now
            ],
        )

    @property
    def cases(self) -> list[DunningCase]:
        """The cases of this replay."""
        return [one for one in self._found.values() if isinstance(one, DunningCase)]

    @property
    def outboxes(self) -> list[Outbox]:
        """What would have been said and done."""
        return [one for one in self._found.values() if isinstance(one, Outbox)]


def backtest(
    connection: Connection,
    campaign: DunningCampaign,
    start: datetime,
    end: datetime,
    *,
    now: datetime,
    caps: Caps | None = None,
    progress: Callable[[str, float, float], None] = lambda *_: None,
) -> Tried:
    """Try a campaign on the failures of [start, end); follow each case for two months or until now.

    Facts count from the second in which they happened, as if they had been heard at once.
    """
    rows = connection.execute(_CANDIDATES, [_OPENS, start, end]).fetchall()
    of: dict[str, list[str]] = defaultdict(list)
    for customer, subscription in rows:
        of[customer] += [subscription] if subscription else []
    tried = Tried()
    until = min(now, end + timedelta(days=AFTERWARDS_DAYS))
    log = Log(connection)
    for number, (customer, subscriptions) in enumerate(of.items(), 1):
        events = {name: log.stream(name) for name in (customer, *subscriptions)}
        memory = _Memory(campaign, caps or Caps(), start)
        _replay(memory, campaign, events, start, end, until)
        _count(tried, memory)
        progress("replaying", number, len(of))
    _model(connection, tried, start)
    return tried


def _replay(
    memory: _Memory,
    campaign: DunningCampaign,
    events: Mapping[str, Sequence[RecordedEvent]],
    start: datetime,
    end: datetime,
    until: datetime,
) -> None:
    policy = _Only(campaign)
    memory.facts = {name: list(facts_in(of)) for name, of in events.items()}
    told = sorted(
        (one for of in events.values() for one in of if one.topic in policy.reads),
        key=lambda one: (one.occurred_at, one.position),
    )
    for event in told:
        if event.occurred_at > until:
            break
        _take_due(memory, policy, event.occurred_at)
        opens = event.topic in _OPENS
        if opens and not start <= event.occurred_at < end and not memory.cases:
            continue  # a case of before, or of after
        memory.now = event.occurred_at
        policy.react(_desk(memory), [event])
    _take_due(memory, policy, until)


class _Only(Dunning):
    """The policy, with no campaign but the one that is tried."""

    def __init__(self, campaign: DunningCampaign) -> None:
        self._campaign = campaign

    def campaigns(self, desk: Desk) -> list[tuple[DunningCampaign, str]]:
        """Return the one that is tried, switched on."""
        return [(self._campaign, "on")]


def _desk(memory: _Memory) -> Desk:
    return Desk(memory, SITE, memory.now, 0)


def _take_due(memory: _Memory, policy: Dunning, until: datetime) -> None:
    """Take every step that falls due before a moment, each when it does."""
    while True:
        due = [
            (step.due_at, case.id, step.name)
            for case in memory.cases
            if not case.rests
            for step in case.all_pending
            if step.due_at < until
        ]
        if not due:
            return
        at, stream, step = min(due)
        memory.now = max(memory.now, at)
        policy.take(_desk(memory), stream, step)


def _count(tried: Tried, memory: _Memory) -> None:
    for case in memory.cases:
        terms = case.terms
        facts = memory.facts[terms.customer_id] + memory.facts.get(terms.subscription or "", [])
        paid_at = _paid_at(facts, terms.invoice)
        tried.cases += 1
        tried.by_class[case.failure.decline_class or "unknown"] += 1
        currency, amount = terms.currency or "?", terms.amount_due_minor or 0
        tried.failed_minor[currency] += amount
        if paid_at is not None:
            tried.recovered += 1
            tried.recovered_minor[currency] += amount
        tried.skipped.update(step.name for step in case.steps.values() if step.outcome == "skipped")
        for outbox in memory.outboxes:
            for key, effect in outbox.effects.items():
                if not key.startswith(f"{case.id}:"):
                    continue
                step = key.removeprefix(f"{case.id}:")
                request = effect.request
                is_message = request.kind in ("mail", "sms")
                late = is_message and paid_at is not None and effect.asked_at > paid_at
                tried.contacts.append(
                    Contact(
                        terms.customer_id, terms.invoice, step, request.kind, request.what,
                        effect.asked_at, effect.state, late and effect.state == "requested",
                    )
                )  # fmt: skip
                if request.what == "pay_invoice" and effect.state == "requested":
                    _check_budget(tried, facts, terms.invoice, effect.asked_at)


def _paid_at(facts: Sequence[StripeFact], invoice: str) -> datetime | None:
    """Return when an invoice was paid, read without the policy's own eyes."""
    paid = (Subscription.InvoicePaid.TOPIC, Subscription.PaymentSucceeded.TOPIC)
    return min(
        (one.occurred_at for one in facts if one.object_id == invoice and one.TOPIC in paid),
        default=None,
    )


def _check_budget(tried: Tried, facts: Sequence[StripeFact], invoice: str, at: datetime) -> None:
    """Note a charge that the networks' limit would not have let be made."""
    tries = sum(
        one.TOPIC == Customer.ChargeFailed.TOPIC
        and at - timedelta(days=BUDGET_DAYS) < one.occurred_at <= at
        for one in facts
    )
    if tries >= min(declines().retries_in_30_days.values()):
        tried.budget_violations.append(f"{invoice} at {at:%F %T}: {tries} tries in 30 days")


def _model(connection: Connection, tried: Tried, start: datetime) -> None:
    """Reckon what share would be recovered if customers did as those before them did."""
    table = declines()
    seen: Counter[str] = Counter()
    paid: Counter[str] = Counter()
    for code, cases, recovered in connection.execute(_BEFORE, [start]).fetchall():
        known = table.class_of(code or None, None, needs_action=False) or "unknown"
        seen[known] += cases
        paid[known] += recovered
    if not tried.cases:
        tried.expected_because = "no case"
    elif seen.total() < OF_A_CLASS_MIN:
        tried.expected_because = f"only {seen.total()} failures before {start:%F} to learn from"
    else:
        overall = paid.total() / seen.total()
        tried.expected_share = sum(
            count * (paid[name] / seen[name] if seen[name] >= OF_A_CLASS_MIN else overall)
            for name, count in tried.by_class.items()
        ) / tried.cases  # fmt: skip
