"""Where decisions are made: what is known of somebody, what was decided, and the pen to sign with.

A desk is of one moment and one position of the log. What is decided at it is saved together, or
not at all. A back-test decides at a desk whose log ends where it wants (see backtest.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec

from ledger.aggregates.campaigns import Campaigns
from ledger.aggregates.decision import Decision
from ledger.aggregates.effect import EffectRequest, EffectState
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import KINDS, LANGUAGES, Brand, Sending
from ledger.decisions import Connection, Decisions
from ledger.errors import NotFound
from ledger.log import Log
from ledger.policies.campaign import C, Campaign
from ledger.policies.timing import clock_of
from ledger.privacy.keys import KeyRing
from ledger.standing import Standing, standing_of

D = TypeVar("D", bound=Decision)
ADDED_BY_PROGRAM = "program"


@dataclass(frozen=True)
class Site:
    """The installation that decides: only the one that claimed sending may let anything out."""

    installation: str | None
    public_url: str | None
    configured: frozenset[str] = frozenset(KINDS)  # the kinds that it has the means for


@dataclass(frozen=True)
class Addressing:
    """How a customer is written to, and how their zone is known."""

    zone: str
    zone_source: str
    language: str


class Store(Protocol):
    """Where a desk's aggregates and facts come from."""

    def find(self, kind: type[D], stream: str) -> D | None:
        """Return the aggregate of a stream."""

    def add(self, made: Decision) -> None:
        """Let a new aggregate be found and saved."""

    def about(self, customers: Iterable[str], prefix: str) -> list[str]:
        """Return the streams that decide about these customers and are called like that."""

    def standing(self, customer_id: str, subscription_id: str | None) -> Standing:
        """Return how a customer stands with a subscription."""


class LogStore:
    """Aggregates and facts from the log, up to a position."""

    def __init__(self, connection: Connection, keys: KeyRing, until: int) -> None:
        self._connection = connection
        self._until = until
        self._decisions = Decisions(connection, keys)
        self.find = self._decisions.find
        self.add = self._decisions.add
        self.about = self._decisions.about
        self.save = self._decisions.save
        self._standings: dict[tuple[str, str | None], Standing] = {}

    def standing(self, customer_id: str, subscription_id: str | None) -> Standing:
        """Return how a customer stands with a subscription."""
        key = (customer_id, subscription_id)
        if key not in self._standings:
            self._standings[key] = standing_of(self._connection, *key, self._until)
        return self._standings[key]


class Desk:
    """One moment of deciding."""

    def __init__(self, store: Store, site: Site, now: datetime, read_until: int) -> None:
        self.store = store
        self.site = site
        self.now = now
        self.read_until = read_until
        self.find = store.find
        self.add = store.add
        self.about = store.about
        self.standing = store.standing

    def _single(self, kind: Any) -> Any:
        found = self.store.find(kind, kind.STREAM)
        if found is None:
            found = kind.begin(self.now)
            found.collect_events()  # that nothing was decided yet is not worth an event
        return found

    @property
    def sending(self) -> Sending:
        """What may go out; to look at, not to change."""
        found: Sending = self._single(Sending)
        return found

    @property
    def brand(self) -> Brand:
        """In whose name we write."""
        return msgspec.convert(self.sending.brand, Brand)

    def campaign(self, name: str, version: int, read: Callable[[Mapping[str, Any]], C]) -> C:
        """Return a version of a campaign that was added."""
        found: Campaigns = self._single(Campaigns)
        return read(found.versions[name, version])

    def campaigns(self, shipped: C, read: Callable[[Mapping[str, Any]], C]) -> list[tuple[C, str]]:
        """Return the newest version of a kind's campaigns with their states, the shipped one last.

        A campaign is off, in shadow or on; what was shipped begins in shadow, all else off.
        """
        found: Campaigns = self._single(Campaigns)
        added = [found.versions[name, version] for name, version in sorted(found.newest.items())]
        own = [read(one) for one in added if one["kind"] == shipped.kind]
        others = [one for one in own if one.name != shipped.name]
        same = [one for one in own if one.name == shipped.name and one.version > shipped.version]
        states = self.sending.campaigns
        return [
            (one, states.get(one.name, "shadow" if one.name == shipped.name else "off"))
            for one in [*others, *(same or [shipped])]
        ]

    def running(self, shipped: C, read: Callable[[Mapping[str, Any]], C]) -> list[tuple[C, str]]:
        """Return those of the campaigns that are not off."""
        return [one for one in self.campaigns(shipped, read) if one[1] != "off"]

    def addressing(self, standing: Standing) -> Addressing:
        """Return on whose clock and in which language somebody is written to."""
        customer, brand = standing.customer, self.brand
        country = customer.country if customer else None
        clock = clock_of(country, brand.zone)
        locales = customer.preferred_locales if customer else []
        return Addressing(clock.zone, clock.source, language_of(locales, country, brand.language))

    def keep(self, campaign: Campaign) -> None:
        """Let the log have this version of a campaign: what runs by it shall find it again."""
        found = self.store.find(Campaigns, Campaigns.STREAM)
        if found is None:
            found = Campaigns.begin(self.now)
            self.store.add(found)
        if (campaign.name, campaign.version) not in found.versions:
            data = msgspec.to_builtins(campaign)
            found.add(data, actor=ADDED_BY_PROGRAM, now=self.now)

    def outbox(self, customer_id: str | None, *, of_team: bool = False) -> Outbox:
        """Return the outbox of a customer, or that of the team about a customer."""
        found = self.store.find(Outbox, Outbox.stream_of(customer_id, of_team=of_team))
        if found is None:
            found = Outbox.begin(customer_id, of_team=of_team, now=self.now)
            self.store.add(found)
        return found

    def ask(
        self, customer_id: str | None, request: EffectRequest, *, mode: str = "on"
    ) -> EffectState:
        """Ask for an effect; return what became of it: requested, suppressed or shadowed.

        `mode` is that of the campaign's run; a campaign that was switched off or to shadow since
        counts as it is now.
        """
        outbox = self.outbox(customer_id, of_team=request.purpose == "alert")
        obstacle = self._obstacle(outbox, request, mode)
        return outbox.ask(request, obstacle, now=self.now, read_until=self.read_until)

    def obstacle(self, kind: str) -> str | None:
        """Return why nothing of a kind could be done now, None if it could."""
        found = self.sending.obstacle(kind, self.site.installation, self.site.public_url)
        return found or (None if kind in self.site.configured else "not_configured")

    def _obstacle(self, outbox: Outbox, request: EffectRequest, mode: str) -> str | None:
        sending = self.sending
        state = sending.campaigns.get(request.campaign or "", mode)
        if "off" in (mode, state):
            return "campaign_off"
        if "shadow" in (mode, state):
            return "shadow"
        found = sending.obstacle(request.kind, self.site.installation, self.site.public_url)
        if found is not None:
            return found
        if request.purpose == "marketing" and (unwanted := self.unwanted(outbox)):
            return unwanted
        if request.kind in ("mail", "sms") and request.purpose in ("notice", "marketing"):
            caps = sending.caps
            since = self.now - timedelta(days=caps.per_person_days)
            if outbox.messages_since(since) >= caps.per_person:
                return "cap_per_person"
        return None

    def require_customer(self, customer_id: str) -> Standing:
        """Return how somebody stands; raise NotFound for nobody, or somebody erased or deleted."""
        standing = self.standing(customer_id, None)
        if not standing.facts or standing.is_gone:
            raise NotFound(f"There is no customer {customer_id!r} in this ledger.")
        return standing

    def unwanted(self, outbox: Outbox) -> str | None:
        """Return why a customer gets no offers, None if they may."""
        if outbox.is_unsubscribed:
            return "unsubscribed"
        is_needed = self.brand.marketing_needs_consent
        return "no_consent" if is_needed and not outbox.has_consented else None

    def alert(
        self,
        customer_id: str | None,
        key: str,
        what: str,
        params: dict[str, Any],
        *,
        campaign: str | None = None,
        mode: str = "on",
    ) -> EffectState:
        """Tell the team of something about a customer."""
        request = EffectRequest(key, "alerts", what, "alert", params, campaign=campaign)
        return self.ask(customer_id, request, mode=mode)


def log_desk(
    connection: Connection, keys: KeyRing, site: Site, now: datetime
) -> tuple[Desk, LogStore]:
    """Return a desk over all that the log holds now, and the store to save it with."""
    until = Log(connection).last_position()
    store = LogStore(connection, keys, until)
    return Desk(store, site, now, until), store


def language_of(locales: Iterable[str], country: str | None, otherwise: str) -> str:
    """Return in which of our languages somebody is written to: as they prefer, as their country
    speaks, as the business does."""
    for locale in locales:
        if (language := locale[:2].lower()) in LANGUAGES:
            return language
    return "id" if country == "ID" else otherwise
