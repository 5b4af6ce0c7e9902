"""Pages behind the links in mails: signed, for one purpose each, without cookies or login.

Looking changes nothing: mail scanners follow every link. Only a POST cancels, accepts or
unsubscribes. What leads to Stripe is made when it is followed, and kept nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request

from api.context import current_installation
from api.link_words import WORDS
from ledger.aggregates.decision import DecisionRefused
from ledger.aggregates.retention_offer import RetentionOffer
from ledger.aggregates.sending import Brand
from ledger.application import Ledger
from ledger.bootstrap import site_of
from ledger.cancellations import accept_offer, cancel, decline_offer, wish_to_cancel
from ledger.completeness import api_of
from ledger.decisions import Decisions
from ledger.errors import LedgerError, NotFound, SettingsInvalid
from ledger.links import Link, LinkExpired, LinkInvalid, Links
from ledger.orders import decide
from ledger.policies.desk import Desk, Site, language_of, log_desk
from ledger.policies.retention.campaign import REASONS
from ledger.stripe_api import StripeLacks
from ledger.stripe_objects.fields import text
from ledger.subjects.preferences import ask_to_confirm

logger = logging.getLogger("ledger.links")

NOBODY = Brand(name="")
_TOLD: dict[type[LedgerError], tuple[str, int]] = {
    NotFound: ("gone", 404),
    StripeLacks: ("gone", 404),
    DecisionRefused: ("too_late", 409),
}

blueprint = Blueprint("links", __name__, url_prefix="/l", template_folder="templates")

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' https:;"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


class Visit:
    """One request behind a link: whose ledger, what the link is about, in which words to answer."""

    def __init__(self, ledger: Ledger, link: Link, site: Site) -> None:
        self.ledger = ledger
        self.link = link
        self.site = site
        with ledger.pool.connection() as connection:
            desk, _ = log_desk(connection, ledger.keys, site, ledger.clock.now())
            self.brand: Brand = desk.brand
            customer = desk.standing(link.customer_id, None).customer
            self.language = language_of(
                customer.preferred_locales if customer else [],
                customer.country if customer else None,
                self.brand.language,
            )

    def page(self, name: str, status: int = 200, **more: Any) -> Response:
        """Return a page."""
        return page(name, self.brand, self.language, status, **more)

    def decide(self, order: Callable[[Desk], Any]) -> Any:
        """Carry out what the customer wants."""
        return decide(self.ledger, self.site, order)


def page(name: str, brand: Brand, language: str, status: int = 200, **more: Any) -> Response:
    """Return a page in a language."""
    html = render_template(
        "link.html", page=name, brand=brand, language=language, words=WORDS[language], **more
    )
    return Response(html, status, HEADERS, mimetype="text/html")


@blueprint.get("/style.css")
def style() -> Response:
    """Return the stylesheet of these pages."""
    css = render_template("link.css")
    return Response(css, headers={"Cache-Control": "max-age=3600"}, mimetype="text/css")


@blueprint.route("/<ledger>/<purpose>/<token>", methods=["GET", "POST"])
def follow(ledger: str, purpose: str, token: str) -> Response:
    """Answer whoever follows a link."""
    visitor = _PURPOSES.get(purpose)
    installation = current_installation()
    if visitor is None or not installation.knows(ledger):
        return page("invalid", NOBODY, "en", 404)
    found = installation.ledger(ledger)
    try:
        link = Links(found.master, ledger).read(purpose, token)  # type: ignore[arg-type]
    except (LinkExpired, LinkInvalid) as error:
        is_old = isinstance(error, LinkExpired)
        return page("expired" if is_old else "invalid", NOBODY, "en", 410 if is_old else 404)
    visit = Visit(found, link, site_of(installation.settings, found))
    try:
        return visitor(visit)
    except LedgerError as error:
        name, status = next(
            (told for kind, told in _TOLD.items() if isinstance(error, kind)), ("unavailable", 503)
        )
        if status == 503:
            told = str(error) if isinstance(error, SettingsInvalid) else type(error).__name__
            logger.warning("a link to %s: %s", purpose, told)
        return visit.page(name, status)


def _update_payment(visit: Visit) -> Response:
    """Lead to a new session of Stripe's portal, where the card is changed."""
    api = api_of(visit.ledger)
    url = api.portal_session(visit.link.customer_id, visit.brand.website)
    return _to_stripe(url)


def _pay(visit: Visit) -> Response:
    """Lead to Stripe's page of an invoice, where it is paid, confirmed, or can be seen."""
    found = api_of(visit.ledger).invoice(visit.link.about)
    url = text(found, "hosted_invoice_url")
    if text(found, "status") == "void" or url is None:
        return visit.page("nothing_to_pay")
    return _to_stripe(url)


def _to_stripe(url: str) -> Response:
    answer = redirect(url, 303)
    answer.headers.update(HEADERS)
    assert isinstance(answer, Response)
    return answer


def _offer(visit: Visit) -> Response:
    """Show an offer; take it or leave it."""
    stream = visit.link.about
    if request.method == "POST":
        choice = request.form.get("choice")
        if choice == "accept":
            visit.decide(lambda desk: accept_offer(desk, stream, "customer"))
            return visit.page("accepted")
        if choice == "decline":
            visit.decide(lambda desk: decline_offer(desk, stream, "customer"))
            return visit.page("declined")
    with visit.ledger.pool.connection() as connection:
        offer = Decisions(connection, visit.ledger.keys).find(RetentionOffer, stream)
    if offer is None or offer.offer is None or offer.customer_id != visit.link.customer_id:
        raise NotFound("no such offer")
    if offer.accepted_at is not None:
        return visit.page("accepted")
    if not offer.is_open or offer.ended_at is not None:
        return visit.page("too_late", 409)
    return visit.page("offer", offer=offer.offer)


def _cancel(visit: Visit) -> Response:
    """Ask why, and cancel; what is offered comes after that, never before."""
    customer, subscription = visit.link.customer_id, visit.link.about
    if request.method != "POST":
        return visit.page("cancel", reasons=REASONS)
    reason = request.form.get("reason")
    comment = (request.form.get("comment") or "")[:2_000].strip() or None

    def order(desk: Desk) -> RetentionOffer | None:
        offer, _ = cancel(
            desk,
            customer,
            subscription,
            source="page",
            reason=reason if reason in REASONS else None,
            comment=comment,
        )
        if offer is not None and _is_shown_at_once(desk, offer):
            offer.show("page", now=desk.now)
        return offer

    try:
        offer = visit.decide(order)
    except DecisionRefused:
        with visit.ledger.pool.connection() as connection:
            desk, _ = log_desk(connection, visit.ledger.keys, visit.site, visit.ledger.clock.now())
            over = desk.standing(customer, subscription).has_ended
        if over:
            return visit.page("too_late", 409)
        # The exit is not to be blocked by our switches: a person can do it, and is told.
        logger.warning("a cancellation of %s waits for a person", subscription)
        visit.decide(lambda desk: wish_to_cancel(desk, customer, subscription, reason, comment))
        return visit.page("by_hand", 503)
    shown = offer is not None and offer.shown_at is not None and offer.accepted_at is None
    address = None
    if shown:
        links = Links(visit.ledger.master, visit.ledger.name)
        address = links.make("", "offer", customer, offer.id)
    return visit.page(
        "canceled",
        ends_at=offer.ends_at if offer is not None else None,
        offer=offer.offer if shown else None,
        address=address,
    )


def _is_shown_at_once(desk: Desk, offer: RetentionOffer) -> bool:
    """Return whether a mail would come too late: the subscription ends within a day."""
    if offer.terms.mode != "on" or offer.offer is None or offer.ends_at is None:
        return False
    return (offer.ends_at - desk.now).total_seconds() <= 86_400


def _unsubscribe(visit: Visit) -> Response:
    """End marketing: with one POST, as RFC 8058 has it, or by the button."""
    if request.method != "POST":
        return visit.page("unsubscribe")
    customer = visit.link.customer_id
    visit.decide(lambda desk: desk.outbox(customer).unsubscribe("mail", now=desk.now))
    return visit.page("unsubscribed")


def _preferences(visit: Visit) -> Response:
    """Show which mails somebody gets; let them have no offers, or ask for the word in a mail."""
    customer = visit.link.customer_id
    if request.method == "POST" and request.form.get("offers") == "no":
        visit.decide(lambda desk: desk.outbox(customer).unsubscribe("mail", now=desk.now))
        return visit.page("unsubscribed")
    if request.method == "POST" and request.form.get("offers") == "yes":
        asked = visit.decide(lambda desk: ask_to_confirm(desk, customer))
        return visit.page("confirm_sent") if asked != "suppressed" else visit.page("later", 503)
    with visit.ledger.pool.connection() as connection:
        desk, _ = log_desk(connection, visit.ledger.keys, visit.site, visit.ledger.clock.now())
        return visit.page("preferences", gets_offers=desk.unwanted(desk.outbox(customer)) is None)


def _confirm(visit: Visit) -> Response:
    """Take the second yes to offers, by a button: programs that look at mails follow links."""
    if request.method != "POST":
        return visit.page("confirm")
    customer = visit.link.customer_id
    if visit.decide(lambda desk: _consent(desk, customer)):
        return visit.page("confirmed")
    raise NotFound("nobody of that name")


def _consent(desk: Desk, customer: str) -> bool:
    if desk.standing(customer, None).is_gone:
        return False
    desk.outbox(customer).consent("mail", now=desk.now)
    return True


_PURPOSES: dict[str, Callable[[Visit], Response]] = {
    "update_payment": _update_payment,
    "pay": _pay,
    "offer": _offer,
    "cancel": _cancel,
    "unsubscribe": _unsubscribe,
    "preferences": _preferences,
    "confirm": _confirm,
}
