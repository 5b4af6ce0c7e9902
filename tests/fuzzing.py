"""Rubbish for everything that takes what outsiders send or files that people bring.

Each target is given made-up input and may raise what it says it raises (a clear error), and nothing
else. `scripts/fuzz` runs them for as long as is said.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st
from werkzeug.test import Client

from ledger.accounting.export import read_accounts
from ledger.application import Ledger
from ledger.clock import utc
from ledger.effects.bounces import bounces_in, bounces_in_mail
from ledger.errors import LedgerError
from ledger.links import PURPOSES, Links
from ledger.log.evidence import check_evidence
from ledger.log.seals import read_export
from ledger.metrics.exchange import read_rates
from ledger.metrics.question import period_of
from ledger.moments import instant_of
from ledger.orders import READERS
from ledger.policies.dunning.campaign import shipped as dunning
from ledger.policies.lifecycle.campaign import shipped as lifecycle
from ledger.policies.retention.campaign import shipped as retention
from ledger.privacy.sealed_file import SealedReader, SealedWriter
from ledger.projections import PROJECTIONS, Runner
from ledger.settings import Settings
from ledger.stripe_objects.readers import view_of
from tests.facts import (
    charge,
    customer,
    event,
    invoice,
    payment_intent,
    signed,
    subscription,
)
from tests.test_erasure import dispute, refund

Json = Any
KEY = b"k" * 32

leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(2**70), 2**70), st.floats(),
    st.text(max_size=40), st.sampled_from(["", "\x00", "\ud800", "4242424242424242", "cus_andi",
        "in_1", "9" * 400, "1e999", "null", "<script>", "'; DROP TABLE events; --", "../../x"]),
)  # fmt: skip
rubbish = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=12,
)
TEMPLATES = [
    event("customer.created", customer()),
    event("customer.updated", customer(), previous={"name": "x", "metadata": {"a": "b"}}),
    event("customer.subscription.updated", subscription(), previous={"status": "trialing"}),
    event("invoice.payment_failed", invoice(status="open", attempt_count=2)),
    event("invoice.finalized", invoice()),
    event("charge.failed", charge()),
    event("charge.refunded", charge(refunds={"data": [refund()]})),
    event("payment_intent.payment_failed", payment_intent("pi_1")),
    event("charge.dispute.created", dispute()),
    event("coupon.updated", {"id": "c", "object": "coupon", "percent_off": 20.5, "valid": True}),
    event("price.created", {"id": "p", "object": "price", "unit_amount_decimal": "1.5",
                            "recurring": {"interval": "month", "interval_count": 1}}),
    event("galaxy.collided", {"id": "gx_1", "object": "galaxy", "customer": "cus_andi"}),
]  # fmt: skip


def paths(value: Json, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where something is in a value."""
    found = [at] if at else []
    if isinstance(value, dict):
        for name, one in value.items():
            found += paths(one, (*at, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            found += paths(one, (*at, index))
    return found


@st.composite
def damaged(draw: Any, templates: list[Json]) -> Json:
    """A good value in which a few things are something else, gone, or there twice."""
    made = copy.deepcopy(draw(st.sampled_from(templates)))
    for _ in range(draw(st.integers(0, 4))):
        where = draw(st.sampled_from(paths(made) or [()]))
        if not where:
            return draw(rubbish)
        holder = made
        for step in where[:-1]:
            holder = holder[step]
        match draw(st.integers(0, 3)):
            case 0:
                holder[where[-1]] = draw(rubbish)
            case 1 if isinstance(holder, dict):
                del holder[where[-1]]
            case 2 if isinstance(holder, dict):
                holder[draw(st.text(max_size=20))] = draw(rubbish)
            case _:
                holder[where[-1]] = [holder[where[-1]]]
    return made


def as_bytes(value: Json) -> bytes:
    """Return JSON, or what cannot be written as JSON in some way that is none."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


bodies = st.one_of(
    damaged(TEMPLATES).map(as_bytes),
    rubbish.map(as_bytes),
    st.binary(max_size=400),
    damaged(TEMPLATES).map(as_bytes).flatmap(
        lambda body: st.integers(0, len(body)).map(lambda at: body[:at])
    ),
)  # fmt: skip


campaigns = damaged([msgspec.to_builtins(one()) for one in (dunning, retention, lifecycle)]
                    + [{"name": "plans", "version": 1, "kind": "plans",
                        "features": {"price_1": ["access"]}}])  # fmt: skip
mails = st.one_of(
    st.binary(max_size=600),
    st.text(max_size=400).map(lambda text: (
        "From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; report-type=delivery-status;"
        f' boundary="b"\r\n\r\n--b\r\n\r\n{text}\r\n--b\r\nContent-Type: message/delivery-status'
        f"\r\n\r\n{text}\r\nFinal-Recipient: rfc822; {text}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "--b--\r\n").encode("utf-8", "surrogatepass")),
)  # fmt: skip
notices = damaged([
    {"event": "bounce", "email": "a@b.test", "type": "Permanent"},
    [{"event": "dropped", "email": "a@b.test", "smtp-id": "<x@y>"}],
    {"Type": "Notification", "Message": json.dumps({"notificationType": "Bounce", "bounce": {
        "bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "a@b.test"}]},
        "mail": {"messageId": "1", "commonHeaders": {"messageId": "<x@y>"}}})},
    {"event-data": {"event": "failed", "severity": "permanent", "recipient": "a@b.test",
                    "message": {"headers": {"message-id": "x@y"}}}},
])  # fmt: skip
words = st.one_of(st.text(max_size=40), st.from_regex(r"\A\d{1,9}-?[0-9Q]{0,3}-?\d{0,3}\Z"))


@dataclass(frozen=True)
class Place:
    """What targets work with."""

    settings: Settings
    ledger: Ledger
    client: Client
    folder: Path


@dataclass(frozen=True)
class Target:
    """Something that takes what others bring: `feed` raises for what must not happen."""

    name: str
    given: st.SearchStrategy[Any]
    feed: Callable[[Place, Any], None]


def _clearly(work: Callable[..., object], *given: Any) -> bool:
    """Do something that may refuse what it was given, by an error of ours; tell if it did not."""
    refused = None
    try:
        work(*given)
    except LedgerError as error:
        refused = str(error)
    assert refused != "", "refused without a word"
    return refused is None


def _takes(read: Callable[[Any], object], given: Any) -> None:
    _clearly(read, given)


def _object(_: Place, given: Json) -> None:
    if isinstance(given, dict):
        view_of(given)


def _webhook(place: Place, body: bytes) -> None:
    path = f"/webhooks/stripe/{place.ledger.name}"
    try:
        headers = signed(body)
    except UnicodeDecodeError:
        headers = {"Stripe-Signature": "t=1,v1=00"}
    answer = place.client.post(path, data=body, headers=headers)
    assert answer.status_code in (200, 400), (answer.status_code, answer.text)
    if answer.status_code == 200:  # then it is in the log, and the views can read it
        assert answer.json is not None
        Runner(place.ledger, PROJECTIONS).catch_up()


def _signature(place: Place, header: str) -> None:
    try:
        answer = place.client.post(
            f"/webhooks/stripe/{place.ledger.name}", data=b"{}",
            headers={"Stripe-Signature": header},
        )  # fmt: skip
    except ValueError:
        return  # what no client can send as a header
    assert answer.status_code == 400


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Place, bytes], None]:
    def feed(place: Place, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=place.folder, suffix=name) as file:
            file.write(content)
            file.flush()
            _clearly(read, Path(file.name))

    return feed


def _sealed(place: Place, given: tuple[bytes, int, int]) -> None:
    content, at, change = given
    out = BytesIO()
    writer = SealedWriter(out, KEY, {"kind": "data"})
    writer.write(content)
    writer.close()
    whole = bytearray(out.getvalue())
    whole[at % len(whole)] ^= change
    read = _clearly(lambda: list(SealedReader(BytesIO(whole), [KEY], "x").chunks()))
    assert not read, "a changed file was read"


def _links(place: Place, token: str) -> None:
    links = Links(place.ledger.master, place.ledger.name)
    for purpose in PURPOSES:
        assert not _clearly(links.read, purpose, token), "a made-up link was taken"


def _campaigns(place: Place, given: Json) -> None:
    for read in READERS.values():
        if isinstance(given, dict):
            _clearly(read, given)


def _moments(place: Place, text: str) -> None:
    _clearly(period_of, text, "from")
    _clearly(instant_of, text, "as_of", utc(1_772_000_000))


def _login(place: Place, given: dict[str, str]) -> None:
    for path in ("/login", "/login/default/reset"):
        answer = place.client.post(path, data=given)
        assert answer.status_code != 500, (path, answer.status_code)  # 503: no mail is set up


texts = st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass"))
TARGETS = (
    Target("webhook: signed bodies", bodies, _webhook),
    Target("webhook: signatures", st.one_of(st.text(max_size=200), st.from_regex(
        r"\At=\d{0,12},v1=[0-9a-f]{0,70}(,v1=[0-9a-f]{0,70})?\Z")), _signature),
    Target("Stripe's objects", damaged([one["data"]["object"] for one in TEMPLATES]),
           _object),
    Target("bounces told by a provider", st.one_of(notices, rubbish),
           lambda _, told: _takes(bounces_in, told)),
    Target("bounces read as mail", mails, lambda _, raw: _takes(bounces_in_mail, raw)),
    Target("campaigns and plans", campaigns, _campaigns),
    Target("exchange rates (CSV)", st.one_of(texts, st.binary(max_size=300), st.text(
        max_size=200).map(lambda text: f"date,from,to,rate\n2026-01-01,eur,usd,{text}".encode(
            "utf-8", "surrogatepass"))), _file(".csv", read_rates)),
    Target("account mapping (TOML)", st.one_of(texts, st.binary(max_size=300)),
           _file(".toml", read_accounts)),
    Target("seals and evidence", st.one_of(texts, st.binary(max_size=300), rubbish.map(as_bytes)),
           _file(".jsonl", lambda file: (read_export(file), check_evidence(file)))),
    Target("sealed files", st.tuples(st.binary(max_size=300), st.integers(0, 10_000),
           st.integers(1, 255)), _sealed),
    Target("links in mails", st.one_of(st.text(max_size=200), st.from_regex(
        r"\A[A-Za-z0-9_\-]{0,80}\.[A-Za-z0-9_\-]{0,10}\.[A-Za-z0-9_\-]{0,40}\Z")), _links),
    Target("moments and periods", words, _moments),
    Target("signing in", st.dictionaries(st.sampled_from(
        ["ledger", "email", "password", "code", "form", "csrf", "next"]), st.text(max_size=60)),
        _login),
)  # fmt: skip
