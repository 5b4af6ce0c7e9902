"""A cancellation and what is offered against it: from the request until it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened, DecisionRefused
from ledger.aggregates.steps import Scheduled, Skipped, Stepped, Taken


@dataclass(frozen=True)
class RetentionTerms:
    """What a cancellation is about and by what it is answered; amounts in minor units.

    `source`: page, api, or stripe (scheduled elsewhere). `reason`: Stripe's word for feedback.
    `monthly_minor`: what the subscription is worth a month, None where that cannot be told.
    `in_holdout`: this customer is offered nothing, so that the others can be compared.
    """

    customer_id: str
    subscription: str
    source: str
    reason: str | None
    campaign: str
    campaign_version: int
    mode: str
    currency: str | None
    monthly_minor: int | None
    tenure_months: int
    zone: str
    zone_source: str
    language: str
    ends_at: datetime | None
    in_holdout: bool
    assignee: str | None


@dataclass(frozen=True)
class ChosenOffer:
    """An offer as it is made: what changes at Stripe, for how long, and what it costs at most."""

    name: str
    kind: str
    params: dict[str, Any]
    cost_minor: int


class RetentionOffer(Stepped):
    """One cancellation and what came of it."""

    TOPIC = "RetentionOffer"

    class Event(DecisionEvent):
        """Something about a cancellation was decided."""

        TOPIC = "RetentionOffer.Event"

    class Opened(DecisionOpened, Event):
        """A customer wants to leave."""

        TOPIC = "RetentionOffer.Opened"
        PERSONAL = frozenset({"comment"})
        customer_id: str
        terms: RetentionTerms
        read_until: int
        comment: str | None = None

    class OfferChosen(Event):
        """What is offered; nothing, and `because` of what."""

        TOPIC = "RetentionOffer.OfferChosen"
        offer: ChosenOffer | None
        because: str | None
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.offer, aggregate.no_offer_because = self.offer, self.because
            aggregate.chosen_at = self.timestamp

    class Shown(Event):
        """The offer was shown: by mail, or on the page where one cancels."""

        TOPIC = "RetentionOffer.Shown"
        where: str

        def apply(self, aggregate: Any) -> None:
            """Remember when that was first."""
            aggregate.shown_at = aggregate.shown_at or self.timestamp

    class Confirmed(Event):
        """Stripe says that the cancellation is scheduled, for then."""

        TOPIC = "RetentionOffer.Confirmed"
        ends_at: datetime | None
        reason: str | None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_confirmed = True
            aggregate.withdrawn_at = None
            aggregate.ends_at = self.ends_at
            aggregate.reason = aggregate.reason or self.reason

    class Withdrawn(Event):
        """The cancellation is not scheduled any more, and not because of an offer."""

        TOPIC = "RetentionOffer.Withdrawn"
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.withdrawn_at = self.timestamp

    class ReasonTold(Event):
        """The customer says later why, or more about it."""

        TOPIC = "RetentionOffer.ReasonTold"
        PERSONAL = frozenset({"comment"})
        customer_id: str
        reason: str | None
        comment: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.reason = aggregate.reason or self.reason
            aggregate.comment = aggregate.comment or self.comment

    class StepScheduled(Scheduled, Event):
        """A step is due then."""

        TOPIC = "RetentionOffer.StepScheduled"

    class StepTaken(Taken, Event):
        """A step was taken."""

        TOPIC = "RetentionOffer.StepTaken"

    class StepSkipped(Skipped, Event):
        """A step was left out."""

        TOPIC = "RetentionOffer.StepSkipped"

    class Accepted(Event):
        """The customer takes the offer."""

        TOPIC = "RetentionOffer.Accepted"
        by: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.accepted_at = self.timestamp

    class Declined(Event):
        """The customer does not want the offer: the cancellation goes on."""

        TOPIC = "RetentionOffer.Declined"
        by: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.declined_at = self.timestamp

    class Ended(Event):
        """The subscription is over."""

        TOPIC = "RetentionOffer.Ended"
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.ended_at = self.timestamp

    class Closed(Event):
        """It is judged: saved or lost, by billing facts; or the customer is gone."""

        TOPIC = "RetentionOffer.Closed"
        outcome: str
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.outcome = self.outcome
            aggregate.closed_at = self.timestamp

    def __init__(
        self, customer_id: str, terms: RetentionTerms, read_until: int, comment: str | None = None
    ) -> None:
        super().__init__(customer_id)
        self.terms = terms
        self.comment = comment
        self.reason = terms.reason
        self.ends_at = terms.ends_at
        self.is_confirmed = terms.source == "stripe"
        self.offer: ChosenOffer | None = None
        self.no_offer_because: str | None = None
        self.chosen_at: datetime | None = None
        self.shown_at: datetime | None = None
        self.accepted_at: datetime | None = None
        self.declined_at: datetime | None = None
        self.withdrawn_at: datetime | None = None
        self.ended_at: datetime | None = None

    @staticmethod
    def stream_of(subscription: str, number: int) -> str:
        """Return the stream of a subscription's cancellation of that number."""
        return f"retention:{subscription}:{number}"

    @classmethod
    def open(
        cls,
        terms: RetentionTerms,
        number: int,
        comment: str | None,
        *,
        now: datetime,
        read_until: int,
    ) -> RetentionOffer:
        """Return a new cancellation."""
        made: RetentionOffer = cls._create(
            cls.Opened,
            id=cls.stream_of(terms.subscription, number),
            customer_id=terms.customer_id,
            terms=terms,
            read_until=read_until,
            comment=comment,
            timestamp=now,
        )
        return made

    def choose(
        self, offer: ChosenOffer | None, because: str | None, *, now: datetime, read_until: int
    ) -> None:
        """Decide what is offered, or why nothing is."""
        self.trigger_event(
            self.OfferChosen, offer=offer, because=because, read_until=read_until, timestamp=now
        )

    def show(self, where: str, *, now: datetime) -> None:
        """Note that the customer could see the offer."""
        if self.shown_at is None and self.offer is not None:
            self.trigger_event(self.Shown, where=where, timestamp=now)

    def confirm(self, ends_at: datetime | None, reason: str | None, *, now: datetime) -> None:
        """Note what Stripe says of it."""
        is_news = not self.is_confirmed or self.withdrawn_at is not None
        if is_news or ends_at != self.ends_at or (reason and not self.reason):
            self.trigger_event(self.Confirmed, ends_at=ends_at, reason=reason, timestamp=now)

    def accept(self, by: str, *, now: datetime) -> ChosenOffer:
        """Take the offer; raise DecisionRefused if there is none, or no more."""
        self.require_open()
        if self.offer is None:
            raise DecisionRefused("Nothing is offered.")
        if self.ended_at is not None:
            raise DecisionRefused("The subscription is over: the offer is not good any more.")
        if self.accepted_at is None:
            self.trigger_event(self.Accepted, by=by, timestamp=now)
        return self.offer

    def decline(self, by: str, *, now: datetime) -> None:
        """Leave the offer; raise DecisionRefused if it was taken."""
        self.require_open()
        if self.accepted_at is not None:
            raise DecisionRefused("The offer has been taken.")
        if self.declined_at is None:
            self.trigger_event(self.Declined, by=by, timestamp=now)

    def explain(self, reason: str | None, comment: str | None, *, now: datetime) -> None:
        """Note why they leave, where they had not said so before."""
        if (reason and not self.reason) or (comment and not self.comment):
            self.trigger_event(
                self.ReasonTold,
                customer_id=self.customer_id,
                reason=reason,
                comment=comment,
                timestamp=now,
            )

    def withdraw(self, *, now: datetime, read_until: int) -> None:
        """Note that the cancellation is not scheduled any more."""
        if self.withdrawn_at is None:
            self.trigger_event(self.Withdrawn, read_until=read_until, timestamp=now)

    def end(self, *, now: datetime, read_until: int) -> None:
        """Note that the subscription is over."""
        if self.ended_at is None:
            self.trigger_event(self.Ended, read_until=read_until, timestamp=now)

    def close(self, outcome: str, *, now: datetime, read_until: int) -> None:
        """Judge it."""
        self.require_open()
        self.trigger_event(self.Closed, outcome=outcome, read_until=read_until, timestamp=now)


class OfferBudget(Decision):
    """What a campaign's offers may cost in a month, in one currency: a stream for each."""

    TOPIC = "OfferBudget"

    class Event(DecisionEvent):
        """Something about a budget was decided."""

        TOPIC = "OfferBudget.Event"

    class Opened(DecisionOpened, Event):
        """The first offer of a month is about to be made."""

        TOPIC = "OfferBudget.Opened"

    class Reserved(Event):
        """An offer may cost this much."""

        TOPIC = "OfferBudget.Reserved"
        offer: str
        cost_minor: int

        def apply(self, aggregate: Any) -> None:
            """Add it up."""
            aggregate.reserved_minor += self.cost_minor

    def __init__(self) -> None:
        self.reserved_minor = 0

    @staticmethod
    def stream_of(campaign: str, month: datetime, currency: str) -> str:
        """Return the stream of a campaign's month (UTC) and currency."""
        return f"offer_budget:{campaign}:{month:%Y-%m}:{currency}"

    @classmethod
    def begin(cls, stream: str, now: datetime) -> OfferBudget:
        """Return a month's budget as it begins."""
        made: OfferBudget = cls._create(cls.Opened, id=stream, timestamp=now)
        return made

    def reserve(self, offer: str, cost_minor: int, *, now: datetime) -> None:
        """Let an offer cost this much."""
        self.trigger_event(self.Reserved, offer=offer, cost_minor=cost_minor, timestamp=now)
