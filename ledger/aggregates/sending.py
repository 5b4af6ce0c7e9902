"""Whether anything may go out, in whose name, and how much: one stream for the whole ledger.

Everything is off until somebody switches it on, and only the installation that claimed sending
sends: a copy of the database, a restored backup or a staging system has another installation's id
and stays silent until somebody claims it there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args
from zoneinfo import available_timezones

import msgspec

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened, DecisionRefused

Kind = Literal["mail", "sms", "stripe", "crm", "alerts"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LANGUAGES = ("en", "id")
_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+").fullmatch
CampaignState = Literal["off", "shadow", "on"]
CAMPAIGN_STATES: tuple[CampaignState, ...] = get_args(CampaignState)


@dataclass(frozen=True)
class Caps:
    """How much may go out at most: all kinds in an hour, messages to one person in some days."""

    per_hour: int = 50
    per_person: int = 3
    per_person_days: int = 7


class Brand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In whose name we write: what templates are filled with, and the business's own habits.

    `zone` is the clock for customers of unknown country, `language` for those who told none. With
    `marketing_needs_consent` offers go only to those who have asked for them.
    """

    name: str = "Your business"
    logo_url: str | None = None
    color: str = "#2f5d8a"
    sender: str | None = None
    reply_to: str | None = None
    support_mail: str | None = None
    support_phone: str | None = None
    postal_address: str | None = None
    website: str | None = None
    zone: str = "UTC"
    language: str = "en"
    marketing_needs_consent: bool = False

    def check(self) -> None:
        """Raise DecisionRefused saying what of it cannot be used."""
        if self.zone not in available_timezones():
            raise DecisionRefused(f"There is no time zone {self.zone!r} (as Asia/Makassar).")
        if self.language not in LANGUAGES:
            raise DecisionRefused(f"We write {' and '.join(LANGUAGES)}, not {self.language!r}.")
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.color):
            raise DecisionRefused(f"A colour is written as #2f5d8a, not {self.color!r}.")
        if not 0 < len(self.name.strip()) <= 120 or "\n" in self.name:
            raise DecisionRefused("The name of a business has 1 to 120 characters.")
        for field in ("sender", "reply_to", "support_mail"):
            address = getattr(self, field)
            if address is not None and not _ADDRESS(address):
                raise DecisionRefused(f"{field} is {address!r}; it must be a mail address.")
        for field in ("logo_url", "website"):
            address = getattr(self, field)
            if address is not None and not address.startswith("https://"):
                raise DecisionRefused(f"{field} is {address!r}; it must begin with https://.")


class Sending(Decision):
    """The switches, the claim and the caps of a ledger."""

    TOPIC = "Sending"
    STREAM = "sending"

    class Event(DecisionEvent):
        """Something about sending was decided."""

        TOPIC = "Sending.Event"

    class Opened(DecisionOpened, Event):
        """Somebody decided about sending for the first time."""

        TOPIC = "Sending.Opened"

    class KindSwitched(Event):
        """Sending of one kind was switched on or off."""

        TOPIC = "Sending.KindSwitched"
        kind: str
        on: bool
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            (aggregate.kinds.add if self.on else aggregate.kinds.discard)(self.kind)

    class CampaignSwitched(Event):
        """A campaign was switched off, to shadow, or on; `answers` are what Stripe is set to."""

        TOPIC = "Sending.CampaignSwitched"
        campaign: str
        state: str
        answers: dict[str, Any]
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.campaigns[self.campaign] = self.state
            aggregate.answers[self.campaign] = self.answers

    class Claimed(Event):
        """Sending belongs to this installation from now on, under this public address."""

        TOPIC = "Sending.Claimed"
        installation: str
        public_url: str
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it, and since when it is another installation than before."""
            if aggregate.installation != self.installation:
                aggregate.claimed_at = self.timestamp
            aggregate.installation = self.installation
            aggregate.public_url = self.public_url

    class Released(Event):
        """Sending belongs to nobody: the ledger was restored from a copy, or somebody said so."""

        TOPIC = "Sending.Released"
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.installation = aggregate.public_url = None

    class Stopped(Event):
        """Nothing goes out any more, whatever is switched on."""

        TOPIC = "Sending.Stopped"
        PERSONAL = frozenset({"reason"})
        actor: str
        reason: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_stopped = True

    class Resumed(Event):
        """What is switched on goes out again."""

        TOPIC = "Sending.Resumed"
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_stopped = False

    class CapsSet(Event):
        """How much may go out was set."""

        TOPIC = "Sending.CapsSet"
        per_hour: int
        per_person: int
        per_person_days: int
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.caps = Caps(self.per_hour, self.per_person, self.per_person_days)

    class BrandSet(Event):
        """In whose name messages go out was set: name, logo, addresses, language, zone."""

        TOPIC = "Sending.BrandSet"
        PERSONAL = frozenset({"brand"})
        actor: str
        brand: dict[str, Any] | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.brand = self.brand or {}

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.campaigns: dict[str, str] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.installation: str | None = None
        self.public_url: str | None = None
        self.claimed_at: datetime | None = None
        self.is_stopped = False
        self.caps = Caps()
        self.brand: dict[str, Any] = {}

    @classmethod
    def begin(cls, now: datetime) -> Sending:
        """Return the stream's aggregate as it begins: all is off."""
        made: Sending = cls._create(cls.Opened, id=cls.STREAM, timestamp=now)
        return made

    def switch(self, kind: str, *, on: bool, actor: str, now: datetime) -> None:
        """Switch a kind on or off; raise DecisionRefused for what is no kind."""
        if kind not in KINDS:
            raise DecisionRefused(f"There is no kind {kind!r}; there are {', '.join(KINDS)}.")
        if on != (kind in self.kinds):
            self.trigger_event(self.KindSwitched, kind=kind, on=on, actor=actor, timestamp=now)

    def switch_campaign(
        self, campaign: str, state: str, answers: dict[str, Any], *, actor: str, now: datetime
    ) -> None:
        """Switch a campaign; raise DecisionRefused for what is no state."""
        if state not in CAMPAIGN_STATES:
            raise DecisionRefused(f"A campaign is {', '.join(CAMPAIGN_STATES)}, not {state!r}.")
        self.trigger_event(
            self.CampaignSwitched,
            campaign=campaign,
            state=state,
            answers=answers,
            actor=actor,
            timestamp=now,
        )

    def claim(self, installation: str, public_url: str, *, actor: str, now: datetime) -> None:
        """Let sending belong to this installation from now on."""
        if self.is_of(installation, public_url):
            return
        self.trigger_event(
            self.Claimed,
            installation=installation,
            public_url=public_url,
            actor=actor,
            timestamp=now,
        )

    def release(self, *, actor: str, now: datetime) -> None:
        """Let sending belong to nobody, until somebody claims it."""
        self.trigger_event(self.Released, actor=actor, timestamp=now)

    def stop(self, reason: str, *, actor: str, now: datetime) -> None:
        """Let nothing go out any more."""
        if not self.is_stopped:
            self.trigger_event(self.Stopped, reason=reason, actor=actor, timestamp=now)

    def resume(self, *, actor: str, now: datetime) -> None:
        """Let what is switched on go out again."""
        if self.is_stopped:
            self.trigger_event(self.Resumed, actor=actor, timestamp=now)

    def set_caps(self, caps: Caps, *, actor: str, now: datetime) -> None:
        """Set how much may go out; raise DecisionRefused for numbers below 1."""
        if min(caps.per_hour, caps.per_person, caps.per_person_days) < 1:
            raise DecisionRefused("Caps are numbers of at least 1; `stop` lets nothing out.")
        if caps.per_hour > 1_000_000 or caps.per_person > 1_000 or caps.per_person_days > 366:
            raise DecisionRefused(
                "Caps are at most 1,000,000 an hour and 1,000 for a person in 366 days."
            )
        self.trigger_event(
            self.CapsSet,
            per_hour=caps.per_hour,
            per_person=caps.per_person,
            per_person_days=caps.per_person_days,
            actor=actor,
            timestamp=now,
        )

    def set_brand(self, brand: dict[str, Any], *, actor: str, now: datetime) -> None:
        """Set in whose name messages go out."""
        self.trigger_event(self.BrandSet, brand=brand, actor=actor, timestamp=now)

    def is_of(self, installation: str | None, public_url: str | None) -> bool:
        """Return whether sending belongs to this installation under this address."""
        return (
            installation is not None
            and self.installation == installation
            and self.public_url == public_url
        )

    def obstacle(self, kind: str, installation: str | None, public_url: str | None) -> str | None:
        """Return why nothing of a kind may go out from an installation now, None if it may."""
        if self.is_stopped:
            return "stopped"
        if kind not in self.kinds:
            return f"{kind}_off"
        if not self.is_of(installation, public_url):
            return "not_claimed"
        return None


class SendingCap(Decision):
    """What went out in one minute, of all kinds and to whomever: a stream per minute.

    A stream's version tells how much that was, so that an hour is summed without reading it.
    """

    TOPIC = "SendingCap"

    class Event(DecisionEvent):
        """Something about a minute's effects was decided."""

        TOPIC = "SendingCap.Event"

    class Opened(DecisionOpened, Event):
        """The first effect of a minute is about to go out."""

        TOPIC = "SendingCap.Opened"

    class Granted(Event):
        """One more effect may go out."""

        TOPIC = "SendingCap.Granted"
        effect: str

        def apply(self, aggregate: Any) -> None:
            """Nothing follows from it but the version."""

    def __init__(self) -> None:
        """Begin with nothing."""

    @staticmethod
    def stream_of(instant: datetime) -> str:
        """Return the stream of the minute (UTC) that an instant is in."""
        return f"sending_cap:{instant:%Y-%m-%dT%H:%M}"

    @classmethod
    def of_the_hour_before(cls, instant: datetime) -> list[str]:
        """Return the streams of the minutes from an hour before an instant up to its own."""
        return [cls.stream_of(instant - timedelta(minutes=minute)) for minute in range(61)]

    @classmethod
    def begin(cls, now: datetime) -> SendingCap:
        """Return the minute's aggregate as it begins."""
        made: SendingCap = cls._create(cls.Opened, id=cls.stream_of(now), timestamp=now)
        return made

    def grant(self, effect: str, *, now: datetime) -> None:
        """Count one more."""
        self.trigger_event(self.Granted, effect=effect, timestamp=now)
