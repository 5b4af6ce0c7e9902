"""Short messages through Twilio's Messages API, over httpx.

https://www.twilio.com/docs/messaging/api/message-resource: a form with To, From, Body and where to
tell of the delivery; basic authentication with the account's SID and token. The API has no
idempotency key: a worker that dies between the answer and its noting may send twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from ledger.effects.mail import links_for, rendered_sms
from ledger.effects.performing import EffectFailed, EffectPointless, Receipt, Task
from ledger.effects.render import Renderer
from ledger.errors import RequestInvalid, SettingsInvalid
from ledger.links import Links

API = "https://api.twilio.com"
TIMEOUT_SECONDS = 10
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_SENDER = re.compile(r"\+[1-9]\d{6,14}|[A-Za-z0-9 ]{1,11}|MG[0-9a-f]{32}").fullmatch
_UNDELIVERABLE = frozenset({21211, 21214, 21408, 21610, 21612, 21614})  # of the number, for good


@dataclass(frozen=True)
class TwilioAccount:
    """Who sends short messages."""

    sid: str
    token: str
    sender: str
    api: str

    @classmethod
    def read(cls, url: str) -> TwilioAccount:
        """Read twilio://SID:TOKEN@+15550006666[?api=https://…]; raise SettingsInvalid."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        sender = unquote(parts.netloc.rpartition("@")[2])
        known = parts.username and parts.password and _SENDER(sender)
        if parts.scheme != "twilio" or not known:
            raise SettingsInvalid(
                "LEDGER_SMS_URL is written as twilio://ACCOUNT_SID:AUTH_TOKEN@+15550006666."
            )
        api = parse_qs(parts.query).get("api", [API])[0]
        return cls(parts.username or "", unquote(parts.password or ""), sender, api.rstrip("/"))


class Texter:
    """Performs short messages."""

    def __init__(self, account: TwilioAccount, renderer: Renderer, links: Links) -> None:
        self._account = account
        self._renderer = renderer
        self._links = links

    def perform(self, task: Task) -> Receipt:
        """Hand one short message over."""
        if task.contact is None:
            raise EffectFailed("the views do not know this customer yet")
        number = re.sub(r"[\s().-]", "", task.contact.phone or "")
        if not _NUMBER(number):
            raise EffectPointless("no_number")
        if ("sms", number) in task.outbox.failed_addresses:
            raise EffectPointless("address_failed")
        try:
            rendered = rendered_sms(self._renderer, task, links_for(task, self._links))
        except RequestInvalid as error:
            raise EffectFailed(str(error)) from error
        account = self._account
        try:
            answer = httpx.post(
                f"{account.api}/2010-04-01/Accounts/{account.sid}/Messages.json",
                data={
                    "To": number,
                    "From": account.sender,
                    "Body": rendered.text,
                    "StatusCallback": f"{task.public_url}/callbacks/twilio/{self._links.ledger}",
                },
                auth=(account.sid, account.token),
                timeout=TIMEOUT_SECONDS,
            )
        except httpx.HTTPError as error:
            raise EffectFailed(f"Twilio does not answer: {type(error).__name__}") from error
        return _read(answer)


def _read(answer: httpx.Response) -> Receipt:
    try:
        told = answer.json()
    except ValueError:
        told = {}
    if answer.is_success and isinstance(told, dict) and told.get("sid"):
        return Receipt(str(told["sid"]), {"status": str(told.get("status"))})
    code = told.get("code") if isinstance(told, dict) else None
    final = 400 <= answer.status_code < 500 and answer.status_code not in (401, 403, 408, 429)
    because = f"Twilio answers {answer.status_code}" + (f" ({code})" if code else "")
    raise EffectFailed(because, is_final=final or code in _UNDELIVERABLE)
