"""Everything that is to reach the outside for one customer: asked for, then tried, then told.

The log is the outbox. What was asked for is performed at least once, under a key that never
changes; what was decided while sending was off stays undone for ever. The claim of a worker is an
event too (`Attempted`): of two that try at once, the second finds that the stream has moved on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened, DecisionRefused
from ledger.aggregates.effect import OPEN_STATES, Asked, Effect, EffectRequest, EffectState

ATTEMPT_SECONDS = 120  # how long an attempt may take before another worker may think it lost
BACKOFF_SECONDS_MAX = 4 * 3600
ATTEMPTS_MAX = 24  # three and a half days


class Outbox(Decision):
    """What we say to one customer and do for them; or what the team is told about them."""

    TOPIC = "Outbox"

    class Event(DecisionEvent):
        """Something about an effect was decided or happened."""

        TOPIC = "Outbox.Event"

    class Opened(DecisionOpened, Event):
        """Something is to be said or done for the first time."""

        TOPIC = "Outbox.Opened"
        customer_id: str | None

    class Requested(Asked, Event):
        """An effect was asked for: it will be performed."""

        TOPIC = "Outbox.Requested"

        def apply(self, aggregate: Any) -> None:
            """Remember it, due at once."""
            effect = Effect(self.request, "requested", self.timestamp, due_at=self.timestamp)
            aggregate.effects[self.key] = effect

    class Suppressed(Asked, Event):
        """An effect would have been asked for, but something forbids it; it is never performed."""

        TOPIC = "Outbox.Suppressed"
        because: str = ""

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            effect = Effect(self.request, "suppressed", self.timestamp, because=self.because)
            aggregate.effects[self.key] = effect

    class Shadowed(Asked, Event):
        """An effect of a campaign in shadow: this would have been asked for."""

        TOPIC = "Outbox.Shadowed"

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.effects[self.key] = Effect(self.request, "shadowed", self.timestamp)

    class Attempted(Event):
        """A worker is about to perform an effect; without an answer by `until` it was lost."""

        TOPIC = "Outbox.Attempted"
        key: str
        attempt: int
        until: datetime
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            effect = aggregate.effects[self.key]
            effect.state, effect.tries, effect.due_at = "attempted", self.attempt, self.until
            effect.attempts += 1

    class Sent(Event):
        """An effect was performed; `reference` is what the outside calls it."""

        TOPIC = "Outbox.Sent"
        key: str
        reference: str | None
        answer: dict[str, Any]

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            effect = aggregate.effects[self.key]
            effect.state, effect.due_at, effect.because = "sent", None, None
            effect.sent_at, effect.reference = self.timestamp, self.reference

    class Failed(Event):
        """An attempt failed; it is tried again then, or never (`retry_at` is None)."""

        TOPIC = "Outbox.Failed"
        key: str
        because: str
        retry_at: datetime | None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            effect = aggregate.effects[self.key]
            effect.state = "failed" if self.retry_at else "dead"
            effect.due_at, effect.because = self.retry_at, self.because

    class Withdrawn(Event):
        """An effect that was asked for is pointless by now: it is not performed."""

        TOPIC = "Outbox.Withdrawn"
        key: str
        because: str
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            effect = aggregate.effects[self.key]
            effect.state, effect.due_at, effect.because = "withdrawn", None, self.because

    class Dropped(Event):
        """Somebody gave an effect up."""

        TOPIC = "Outbox.Dropped"
        PERSONAL = frozenset({"reason"})
        customer_id: str | None
        key: str
        actor: str
        reason: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            effect = aggregate.effects[self.key]
            effect.state, effect.due_at, effect.because = "dropped", None, "by_hand"

    class Retried(Event):
        """Somebody lets an effect be tried again that was given up."""

        TOPIC = "Outbox.Retried"
        key: str
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it, due at once."""
            effect = aggregate.effects[self.key]
            effect.state, effect.attempts, effect.due_at = "requested", 0, self.timestamp

    class AddressFailed(Event):
        """Messages do not reach this address, or its owner complained: it gets no more of them."""

        TOPIC = "Outbox.AddressFailed"
        PERSONAL = frozenset({"address"})
        customer_id: str | None
        channel: str
        because: str
        address: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            if self.address:
                aggregate.failed_addresses[(self.channel, self.address.casefold())] = self.because

    class Unsubscribed(Event):
        """The customer wants no marketing any more."""

        TOPIC = "Outbox.Unsubscribed"
        channel: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_unsubscribed, aggregate.has_consented = True, False

    class Consented(Event):
        """The customer wants marketing and said so twice: on a page, by a link in a mail."""

        TOPIC = "Outbox.Consented"
        channel: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_unsubscribed, aggregate.has_consented = False, True

    class Called(Event):
        """Somebody talked with the customer."""

        TOPIC = "Outbox.Called"
        PERSONAL = frozenset({"note"})
        customer_id: str | None
        actor: str
        outcome: str
        note: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Nothing follows from it."""

    def __init__(self, customer_id: str | None) -> None:
        self.customer_id = customer_id
        self.effects: dict[str, Effect] = {}
        self.failed_addresses: dict[tuple[str, str], str] = {}
        self.is_unsubscribed = False
        self.has_consented = False

    @staticmethod
    def stream_of(customer_id: str | None, *, of_team: bool = False) -> str:
        """Return the stream of a customer's outbox, or of what the team is told about them."""
        return f"{'team' if of_team else 'outbox'}:{customer_id or 'account'}"

    @classmethod
    def begin(cls, customer_id: str | None, *, now: datetime, of_team: bool = False) -> Outbox:
        """Return an outbox as it begins."""
        stream = cls.stream_of(customer_id, of_team=of_team)
        made: Outbox = cls._create(cls.Opened, id=stream, customer_id=customer_id, timestamp=now)
        return made

    def messages_since(self, since: datetime) -> int:
        """Return how many messages went out, or will, that count towards the cap of a person."""
        return sum(effect.disturbs_after(since) for effect in self.effects.values())

    def ask(
        self, request: EffectRequest, obstacle: str | None, *, now: datetime, read_until: int
    ) -> EffectState:
        """Ask for an effect, once per key; return what became of it.

        `obstacle` says why it may not be performed: then it is suppressed for ever; `shadow` if
        only its campaign is not in earnest.
        """
        known = self.effects.get(request.key)
        if known is not None:
            return known.state
        about = {"customer_id": self.customer_id, "read_until": read_until, "timestamp": now}
        fields = {**vars(request), **about}
        if obstacle is None:
            self.trigger_event(self.Requested, **fields)
        elif obstacle == "shadow":
            self.trigger_event(self.Shadowed, **fields)
        else:
            self.trigger_event(self.Suppressed, because=obstacle, **fields)
        return self.effects[request.key].state

    def is_due(self, key: str, now: datetime) -> bool:
        """Return whether an effect is to be tried now."""
        effect = self.effects.get(key)
        return (
            effect is not None
            and effect.state in OPEN_STATES
            and effect.due_at is not None
            and effect.due_at <= now
        )

    def attempt(self, key: str, *, now: datetime, read_until: int) -> None:
        """Claim an effect that is due for one try."""
        self.trigger_event(
            self.Attempted,
            key=key,
            attempt=self.effects[key].tries + 1,
            until=now + timedelta(seconds=ATTEMPT_SECONDS),
            read_until=read_until,
            timestamp=now,
        )

    def withdraw(
        self,
        key: str,
        because: str,
        *,
        now: datetime,
        read_until: int,
        attempt: int | None = None,
    ) -> None:
        """Take back what is pointless by now, if it is not done; of an old `attempt` nothing."""
        if self.effects[key].state not in OPEN_STATES or self._is_overtaken(key, attempt):
            return
        self.trigger_event(
            self.Withdrawn, key=key, because=because, read_until=read_until, timestamp=now
        )

    def sent(
        self, key: str, reference: str | None, answer: dict[str, Any], *, now: datetime
    ) -> None:
        """Note that an effect was performed; how often it was tried does not matter any more."""
        if self.effects[key].state != "sent":
            self.trigger_event(
                self.Sent, key=key, reference=reference, answer=answer, timestamp=now
            )

    def _is_overtaken(self, key: str, attempt: int | None) -> bool:
        effect = self.effects[key]
        return attempt is not None and (effect.state, effect.tries) != ("attempted", attempt)

    def failed(self, key: str, because: str, *, final: bool, attempt: int, now: datetime) -> None:
        """Note that an attempt failed: for good, or until it is tried again.

        Of an attempt that was thought lost, or of an effect that was dropped, it is not news.
        """
        effect = self.effects[key]
        if self._is_overtaken(key, attempt):
            return
        wait = min(60 * 3 ** (effect.attempts - 1), BACKOFF_SECONDS_MAX)
        given_up = final or effect.attempts >= ATTEMPTS_MAX
        retry_at = None if given_up else now + timedelta(seconds=wait)
        self.trigger_event(self.Failed, key=key, because=because, retry_at=retry_at, timestamp=now)

    def drop(self, key: str, reason: str, *, actor: str, now: datetime) -> None:
        """Give an effect up; raise DecisionRefused if it is done or never was to be."""
        self._require(key, OPEN_STATES | {"dead"}, "dropped")
        self.trigger_event(
            self.Dropped,
            customer_id=self.customer_id,
            key=key,
            reason=reason,
            actor=actor,
            timestamp=now,
        )

    def retry(self, key: str, *, actor: str, now: datetime) -> None:
        """Let an effect be tried again; raise DecisionRefused if it was not given up."""
        self._require(key, frozenset({"dead", "failed"}), "tried again")
        self.trigger_event(self.Retried, key=key, actor=actor, timestamp=now)

    def _require(self, key: str, states: frozenset[str], wanted: str) -> None:
        effect = self.effects.get(key)
        if effect is None:
            raise DecisionRefused(f"There is no effect {key!r} in {self.id}.")
        if effect.state not in states:
            raise DecisionRefused(f"{key} is {effect.state}: it cannot be {wanted}.")

    def address_failed(self, channel: str, address: str, because: str, *, now: datetime) -> None:
        """Note that an address is not to be used any more."""
        if (channel, address.casefold()) not in self.failed_addresses:
            self.trigger_event(
                self.AddressFailed,
                customer_id=self.customer_id,
                channel=channel,
                because=because,
                address=address,
                timestamp=now,
            )

    def unsubscribe(self, channel: str, *, now: datetime) -> None:
        """Note that the customer wants no marketing any more."""
        if not self.is_unsubscribed:
            self.trigger_event(self.Unsubscribed, channel=channel, timestamp=now)

    def consent(self, channel: str, *, now: datetime) -> None:
        """Note that the customer has confirmed that they want marketing."""
        if not self.has_consented:
            self.trigger_event(self.Consented, channel=channel, timestamp=now)

    def called(self, outcome: str, note: str | None, *, actor: str, now: datetime) -> None:
        """Note that somebody talked with the customer."""
        self.trigger_event(
            self.Called,
            customer_id=self.customer_id,
            actor=actor,
            outcome=outcome,
            note=note,
            timestamp=now,
        )
