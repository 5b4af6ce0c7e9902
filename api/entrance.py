"""How people come in: pages for invitation, password, second factor, OpenID, and the way out.

What is wrong is always told in the same words: nobody learns here who has an account.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import segno
from flask import Blueprint, Response, redirect, render_template, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from api import rates
from api.context import current_installation
from api.errors import ApiError
from api.sessions import drop_session, keep_session, session_secret
from ledger.application import Ledger
from ledger.errors import LedgerError, LedgerUnknown, RequestInvalid
from ledger.invitations import send_invitation
from ledger.people import second_factor, sessions
from ledger.people.entrance import Entrance, FactorRefused, LogInRefused
from ledger.people.openid import OpenId
from ledger.people.sessions import Session
from ledger.settings import DEFAULT_LEDGER

logger = logging.getLogger("ledger.entrance")

blueprint = Blueprint("entrance", __name__, template_folder="templates")

STATE_COOKIE = "ledger_openid"
STATE_SECONDS = 600
ENROL_SECONDS = 1800
SENT = "If this address belongs to somebody here, a link is on its way. It is good for a day."
NO_MAIL = "This ledger cannot send mail: ask an admin for a new link (`ledger user invite`)."
_mails = ThreadPoolExecutor(1, "invitations")  # how long it takes tells nobody who has an account


@blueprint.before_request
def refuse_forms_of_others() -> None:
    """Refuse a form that another site sends: the browser says where it comes from."""
    origin = request.headers.get("Origin")
    if request.method == "POST":
        rates.count_entrance(request.remote_addr or "")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise ApiError(403, "form_of_another_site", "This form was not sent from here.")


@blueprint.route("/login", methods=["GET", "POST"], defaults={"ledger": DEFAULT_LEDGER})
@blueprint.route("/login/<ledger>", methods=["GET", "POST"])
def log_in(ledger: str) -> Response:
    """Ask for address and password."""
    found = _ledger(ledger)
    told: dict[str, Any] = {"ledger": ledger, "openid": found.settings.openid_url is not None}
    if request.method != "POST":
        return _page("login", **told)
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        secret = Entrance(found).log_in(email[:254], password[:1_000])
    except LogInRefused as error:
        return _page("login", 401, **told, email=email[:254], error=str(error))
    return _in(secret)


@blueprint.route("/login/<ledger>/reset", methods=["GET", "POST"])
def reset(ledger: str) -> Response:
    """Send a link with which a new password is set."""
    found = _ledger(ledger)
    if request.method != "POST":
        return _page("reset", ledger=ledger)
    if not found.settings.smtp_url or not found.settings.public_url:
        return _page("reset", 503, ledger=ledger, error=NO_MAIL)
    _mails.submit(_send, found, request.form.get("email", "")[:254])
    return _page("reset", ledger=ledger, told=SENT)


def _send(ledger: Ledger, email: str) -> None:
    try:
        send_invitation(ledger, email)
    except LedgerError as error:
        logger.warning("a link to set a password was not sent: %s", type(error).__name__)


@blueprint.route("/enter/<ledger>/<secret>", methods=["GET", "POST"])
def enter(ledger: str, secret: str) -> Response:
    """Let an invited person set a password."""
    entrance = Entrance(_ledger(ledger))
    person = entrance.invited(secret)
    if person is None:
        return _page("spent", 410, ledger=ledger)
    if request.method != "POST":
        return _page("enter", person=person)
    password = request.form.get("password", "")
    if password != request.form.get("again"):
        return _page("enter", 400, person=person, error="The two passwords are not the same.")
    try:
        entrance.set_password(secret, password)
        session = entrance.log_in(person.email, password)
    except (LogInRefused, RequestInvalid) as error:
        return _page("enter", 400, person=person, error=str(error))
    return _in(session)


@blueprint.route("/second-factor", methods=["GET", "POST"])
def show_factor() -> Response:
    """Ask for the second factor, or let a person set it up."""
    ledger, secret, session = _session()
    if session.is_verified:
        return _to("/account")
    if not session.has_second_factor:
        return _set_factor_up(ledger, secret, session)
    if request.method != "POST":
        return _page("factor", form_token=session.form_token)
    _require_form(session)
    try:
        found = Entrance(ledger).show_second_factor(
            secret, session.user_id, request.form.get("code", "")[:40]
        )
    except FactorRefused as error:
        return _page("factor", 401, form_token=session.form_token, error=str(error))
    return _in(found)


def _set_factor_up(ledger: Ledger, secret: str, session: Session) -> Response:
    """Show a secret as a QR code; take it when the app's code proves that it was read."""
    signer = URLSafeTimedSerializer(ledger.master.derive("second factor set-up"), session.user_id)
    person = Entrance(ledger).one(session.user_id)
    error = None
    kept = request.form.get("kept", "")
    if request.method == "POST":
        _require_form(session)
        try:
            wanted = signer.loads(kept, max_age=ENROL_SECONDS)
            found, codes = Entrance(ledger).set_second_factor(
                secret, session.user_id, wanted, request.form.get("code", "")[:40]
            )
        except FactorRefused as refused:
            error = str(refused)
        except BadSignature:
            error, kept = "This took too long: scan the new code.", ""
        else:
            response = _page("codes", codes=codes)
            keep_session(response, found)
            return response
    wanted = signer.loads(kept) if kept else second_factor.new_secret()
    address = second_factor.address_of(wanted, person.email, "Billing ledger")
    return _page(
        "factor_new",
        400 if error else 200,
        form_token=session.form_token,
        kept=kept or signer.dumps(wanted),
        secret=" ".join(wanted[at : at + 4] for at in range(0, len(wanted), 4)),
        picture=segno.make(address, error="m").svg_data_uri(scale=5, border=2),
        error=error,
    )


@blueprint.get("/account")
def account() -> Response:
    """Tell a person who they are here."""
    ledger, _, session = _session()
    if not session.is_in:
        return _to("/second-factor")
    person = Entrance(ledger).one(session.user_id)
    return _page(
        "account", person=person, ledger=ledger.name, form_token=session.form_token,
        permissions=sorted(session.actor.permissions),
    )  # fmt: skip


@blueprint.post("/logout")
def log_out() -> Response:
    """End the session."""
    ledger, secret, session = _session()
    _require_form(session)
    Entrance(ledger).log_out(secret, session.user_id)
    response = _to(f"/login/{ledger.name}")
    drop_session(response)
    return response


@blueprint.get("/login/<ledger>/openid")
def to_openid(ledger: str) -> Response:
    """Lead to the OpenID provider."""
    found, provider = _provider(ledger)
    address, state = provider.begin()
    response = _to(address)
    kept = _states(found).dumps(state)
    response.set_cookie(
        STATE_COOKIE, kept, max_age=STATE_SECONDS, secure=request.is_secure, httponly=True,
        samesite="Lax",
    )  # fmt: skip
    return response


@blueprint.get("/login/<ledger>/openid/back")
def from_openid(ledger: str) -> Response:
    """Let in whom the provider vouches for."""
    found, provider = _provider(ledger)
    told: dict[str, Any] = {"ledger": ledger, "openid": True}
    try:
        state = _states(found).loads(request.cookies.get(STATE_COOKIE, ""), STATE_SECONDS)
        subject, email = provider.end(request.args, state)
        secret = Entrance(found).log_in_by_openid(subject, email)
    except BadSignature:
        return _page("login", 400, **told, error="This took too long: try again.")
    except LogInRefused as error:
        return _page("login", 401, **told, error=str(error))
    response = _in(secret)
    response.delete_cookie(STATE_COOKIE)
    return response


def _provider(name: str) -> tuple[Ledger, OpenId]:
    found = _ledger(name)
    url = found.settings.openid_url
    if url is None or found.settings.public_url is None:
        raise ApiError(404, "not_found", "No OpenID provider is configured here.")
    back = f"{found.settings.public_url}/login/{name}/openid/back"
    return found, OpenId.read(url, back)


def _states(ledger: Ledger) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(ledger.master.derive("openid states"))


def _ledger(name: str) -> Ledger:
    installation = current_installation()
    if not installation.knows(name):
        raise LedgerUnknown("There is no such ledger here.")
    return installation.ledger(name)


def _session() -> tuple[Ledger, str, Session]:
    """Return who is here; raise ApiError 401 for nobody."""
    secret = session_secret()
    name = sessions.ledger_named_by(secret or "")
    if secret is not None and current_installation().knows(name):
        ledger = current_installation().ledger(name)
        with ledger.pool.connection() as connection:
            found = sessions.find(connection, ledger.master, secret, ledger.clock.now())
        if found is not None:
            return ledger, secret, found
    raise ApiError(401, "session_ended", "Nobody is signed in here: `/login` is the way in.")


def _require_form(session: Session) -> None:
    if not session.is_form(request.form.get("form_token", "")):
        raise ApiError(403, "form_token_missing", "This form is of another session: go back.")


def _in(secret: str) -> Response:
    """Keep a session; whoever has more to show is led there."""
    response = _to("/second-factor" if _has_more_to_show(secret) else "/account")
    keep_session(response, secret)
    return response


def _has_more_to_show(secret: str) -> bool:
    ledger = current_installation().ledger(sessions.ledger_named_by(secret))
    with ledger.pool.connection() as connection:
        found = sessions.find(connection, ledger.master, secret, ledger.clock.now())
    return found is not None and not found.is_in


def _to(address: str) -> Response:
    answer = redirect(address, 303)
    assert isinstance(answer, Response)
    return answer


def _page(name: str, status: int = 200, **told: Any) -> Response:
    return Response(render_template("entrance.html", page=name, **told), status)
