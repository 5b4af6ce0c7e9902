"""`POST /webhooks/stripe[/{ledger}]`: verify, record, answer when it is committed. Nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from werkzeug.exceptions import MethodNotAllowed

from api.errors import ApiError
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.intake import SignatureRejected, verify_signature
from ledger.settings import DEFAULT_LEDGER

if TYPE_CHECKING:
    from granian._granian import RSGIHeaders

    from ledger.intake.committer import GroupCommitter

logger = logging.getLogger("ledger.webhooks")

PREFIX = "/webhooks/"
TELL_SECONDS = 60.0  # Stripe sends test events to live Connect endpoints by design
PATH = "/webhooks/stripe"
_JSON = ("content-type", "application/json")


class Webhooks:
    """Takes deliveries for the ledgers of an installation, on one event loop."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._committers: dict[Ledger, GroupCommitter] = {}
        self._tell_again_at = 0.0

    async def answer(
        self, method: str, path: str, headers: RSGIHeaders, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body: 2xx once the event is in the log, and only then.

        Raises what `problem_of` has an answer for.
        """
        name = _ledger_named(path)
        if method != "POST":
            raise MethodNotAllowed(["POST"])
        try:
            ledger = self._installation.opened(name)
            if ledger is None:
                ledger = await asyncio.to_thread(self._open, name)
            await self._verify(ledger, headers, body)
        except ApiError as refused:
            # A server that refuses every delivery shall not do so in silence.
            logger.warning("delivery refused: %d bytes, %s", len(body), refused)
            raise
        receipt = await ledger.intake.take(body, self._committer(ledger))
        if receipt.outcome == "set_aside" and time.monotonic() >= self._tell_again_at:
            self._tell_again_at = time.monotonic() + TELL_SECONDS
            logger.warning(
                "ledger %s is in %s mode: event %s is of the other mode or of a foreign account, "
                "recorded but in no view; see `ledger doctor`",
                ledger.name, ledger.settings.mode, receipt.position,
            )  # fmt: skip
        told = f'{{"received":true,"outcome":"{receipt.outcome}","position":{receipt.position}}}\n'
        return 200, [_JSON], told.encode()

    def _open(self, name: str) -> Ledger:
        if not self._installation.knows(name):
            raise ApiError(404, "ledger_unknown", "There is no ledger at this address.")
        return self._installation.ledger(name)

    async def _verify(self, ledger: Ledger, headers: RSGIHeaders, body: bytes) -> None:
        header = headers.get("stripe-signature") or ""
        try:
            _verify_now(ledger, header, body)
        except ApiError:
            # Perhaps with a secret that was set after this process had read the settings.
            await asyncio.to_thread(ledger.refresh_secrets)
            _verify_now(ledger, header, body)

    def _committer(self, ledger: Ledger) -> GroupCommitter:
        found = self._committers.get(ledger)
        if found is None:
            found = self._committers[ledger] = ledger.group_committer()
        return found

    async def close(self) -> None:
        """Commit what is under way."""
        for committer in self._committers.values():
            await committer.close()


def _ledger_named(path: str) -> str:
    if path == PATH:
        return DEFAULT_LEDGER
    name = path.removeprefix(f"{PATH}/")
    if name == path or not name or "/" in name:
        raise ApiError(404, "not_found", "There is nothing at this address.")
    return name


def _verify_now(ledger: Ledger, header: str, body: bytes) -> None:
    if not ledger.settings.webhook_secrets:
        raise ApiError(
            400,
            "webhook_secret_missing",
            "No signing secret is configured for this ledger; set STRIPE_WEBHOOK_SECRET."
            if ledger.name == DEFAULT_LEDGER
            else "No signing secret is configured for this ledger; `ledger ledgers set "
            f"{ledger.name} --webhook-secrets -` sets one.",
        )
    try:
        verify_signature(body, header, ledger.settings.webhook_secrets, time.time())
    except SignatureRejected as rejected:
        raise ApiError(400, "signature_invalid", str(rejected)) from rejected
