"""Alerts to the team through Apprise: mail, Slack, Teams, whatever its addresses name."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import apprise

from ledger.effects.performing import EffectFailed, EffectPointless, Receipt, Task
from ledger.errors import SettingsInvalid
from ledger.money import written

TITLES = {
    "payment_keeps_failing": "A payment keeps failing",
    "cancellation_requested": "A customer wants to cancel",
    "talk_to_customer": "A customer wants to talk",
    "offer_accepted": "A customer stays",
    "plan_upgraded": "A customer upgraded",
    "plan_downgraded": "A customer downgraded",
    "subscription_ended": "A customer left",
    "cancel_by_hand": "A customer cancels, and nothing may be changed at Stripe: do it there",
    "action_given_up": "Something was to be done at Stripe and could not be",
    "facts_contradict": "Stripe does not do what was said of it",
}


class Alerter:
    """Performs alerts."""

    def __init__(self, addresses: Sequence[str]) -> None:
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses with secrets
        self._sender = apprise.Apprise()
        for address in addresses:
            if not self._sender.add(address):
                raise SettingsInvalid(
                    "LEDGER_ALERT_URLS: one of the addresses is none that Apprise knows"
                    " (https://github.com/caronc/apprise)."
                )

    def perform(self, task: Task) -> Receipt:
        """Tell the team."""
        if not len(self._sender):
            raise EffectPointless("nobody_to_alert")
        if not self._sender.notify(title=TITLES.get(task.request.what, task.request.what),
                                   body=told(task)):  # fmt: skip
            raise EffectFailed("Apprise could not deliver it")
        return Receipt(None)


def told(task: Task) -> str:
    """Return what an alert says: ids, amounts and a link, nobody's name."""
    params = dict(task.request.params)
    lines = []
    if task.outbox.customer_id:
        lines.append(f"Customer {task.outbox.customer_id}")
        lines.append(f"{task.public_url}/customers/{task.outbox.customer_id}")
    amount, currency = params.pop("amount_minor", None), params.pop("currency", None)
    if amount is not None and currency:
        lines.append(f"Amount {written(amount, currency)}")
    lines += [
        f"{name.replace('_', ' ').capitalize()}: {value}"
        for name, value in params.items()
        if value is not None
    ]
    return "\n".join(lines)
