"""`expand[]`: ids in an answer replaced by the objects they name."""

from __future__ import annotations

from typing import Any

from ledger.simulator.engine import Json
from ledger.simulator.refusals import Refused
from ledger.simulator.rendering import render
from ledger.simulator.simulator import Simulator

DEPTH_MAX = 4


class Expansion:
    """Expands members of answers rendered in one API version."""

    def __init__(self, simulator: Simulator, version: str) -> None:
        self._sim = simulator
        self._version = version

    def expand(self, answer: Json, paths: list[str]) -> Json:
        """Return an answer with each dotted path opened; `data.` leads into lists."""
        for path in paths:
            parts = path.split(".")
            if len(parts) > DEPTH_MAX:
                raise Refused("You cannot expand more than 4 levels.", param="expand")
            answer = self._opened(answer, parts, path)
        return answer

    def _opened(self, node: Any, parts: list[str], path: str) -> Any:
        if isinstance(node, list):
            return [self._opened(one, parts, path) for one in node]
        if not parts:
            return self._object(node) if isinstance(node, str) else node
        if isinstance(node, str):
            node = self._object(node)
        if not isinstance(node, dict):
            return node
        member, *rest = parts
        if (node.get("object"), member) == ("coupon", "applies_to"):
            return {**node, member: None}  # here coupons are for everything
        value = node[member] if member in node else self._hidden(node, member, path)
        if isinstance(value, str):
            value = self._object(value)
        elif isinstance(value, list):
            value = [self._object(one) if isinstance(one, str) else one for one in value]
        return {**node, member: self._opened(value, rest, path) if rest else value}

    def _object(self, object_id: str) -> Any:
        found = self._sim.engine.find_anywhere(object_id)
        return render(found, self._version) if found else object_id

    def _hidden(self, node: Json, member: str, path: str) -> Any:
        """Return a member that is shown only when asked for."""
        kind, object_id = node.get("object"), node.get("id", "")
        if (kind, member) == ("price", "tiers"):
            return self._sim.prices.retrieve(object_id)["_"]["tiers"]
        if (kind, member) == ("invoice", "payments"):
            found = self._sim.invoice_payments.of_invoice(object_id)
            return _listed(found, "/v1/invoice_payments")
        if (kind, member) == ("invoice", "confirmation_secret"):
            invoice = self._sim.invoices.retrieve(object_id)
            return self._secret_of(invoice["_"]["payment_intent"])
        if (kind, member) == ("charge", "refunds"):
            refunds = self._sim.charges.retrieve(object_id)["_"]["refunds"]
            return _listed(
                [render(one, self._version) for one in refunds], f"/v1/charges/{object_id}/refunds"
            )
        if (kind, member) == ("customer", "subscriptions"):
            found = self._sim.subscriptions.of_customer(object_id)
            shown = [render(one, self._version) for one in found]
            return _listed(shown, f"/v1/customers/{object_id}/subscriptions")
        if (kind, member) == ("checkout.session", "line_items"):
            items = self._sim.checkout_sessions.line_items(object_id)
            return _listed(items, f"/v1/checkout/sessions/{object_id}/line_items")
        raise Refused(f"This property cannot be expanded ({path}).", param="expand")

    def _secret_of(self, intent_id: str | None) -> Json | None:
        intent = self._sim.engine.find("payment_intent", intent_id)
        return intent and {"client_secret": intent["client_secret"], "type": "payment_intent"}


def _listed(data: list[Json], url: str) -> Json:
    return {"object": "list", "data": data, "has_more": False, "url": url}
