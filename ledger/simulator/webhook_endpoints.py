"""Webhook endpoints: where events are sent, in which rendering, signed with what."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.refusals import needs


class EndpointParams(TypedDict, total=False):
    """What may change about an endpoint."""

    url: str
    enabled_events: list[str]
    description: str | None
    disabled: bool
    metadata: Metadata


class EndpointCreate(EndpointParams, total=False):
    """Parameters of a new endpoint; a secret is made unless one is given."""

    api_version: str
    connect: bool
    secret: str


class WebhookEndpoints(Family):
    """Webhook endpoints."""

    kind = "webhook_endpoint"

    def create(self, **params: Unpack[EndpointCreate]) -> Json:
        """Make an endpoint; what is told from now on is rendered for it."""
        if "url" not in params:
            raise needs("url")
        with self.engine.call():
            endpoint = self.engine.save(
                {
                    "id": self.engine.new_id("we"),
                    "object": "webhook_endpoint",
                    "api_version": params.get("api_version") or self.engine.settings.api_version,
                    "application": None,
                    "created": self.engine.now,
                    "description": params.get("description"),
                    "enabled_events": params.get("enabled_events", ["*"]),
                    "livemode": False,
                    "metadata": params.get("metadata", {}),
                    "status": "enabled",
                    "url": params["url"],
                    "_": {"secret": params.get("secret") or self.engine.new_id("whsec")},
                }
            )
            self._use()
            return {**endpoint, "secret": endpoint["_"]["secret"]}

    def update(self, webhook_endpoint: str, **changes: Unpack[EndpointParams]) -> Json:
        """Change an endpoint."""
        leaves: dict[str, Any] = dict(changes)
        if "disabled" in leaves:
            leaves["status"] = "disabled" if leaves.pop("disabled") else "enabled"
        with self.engine.call():
            changed = self.engine.change(self.retrieve(webhook_endpoint), **leaves)
            self._use()
            return changed

    def delete(self, webhook_endpoint: str) -> Json:
        """Delete an endpoint; nothing more is sent there."""
        self.retrieve(webhook_endpoint)
        with self.engine.call():
            self.engine.remove(self.kind, webhook_endpoint)
            self._use()
        return {"id": webhook_endpoint, "object": self.kind, "deleted": True}

    def secret_of(self, endpoint: Json) -> str:
        """Return what an endpoint's deliveries are signed with."""
        secret: str = endpoint["_"]["secret"]
        return secret

    def _use(self) -> None:
        self.engine.endpoints = self.all()
