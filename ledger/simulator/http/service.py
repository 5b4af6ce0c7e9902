"""One simulator served to many threads: one request at a time, on the time of its clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any

import msgspec

from ledger.simulator.engine import Json
from ledger.simulator.http.expansion import Expansion
from ledger.simulator.http.idempotency import Answer, Remembered
from ledger.simulator.http.lists import page
from ledger.simulator.http.parameters import taken
from ledger.simulator.http.routes import Listing, Target
from ledger.simulator.refusals import Refused
from ledger.simulator.rendering import render
from ledger.simulator.simulator import Simulator

_encode = msgspec.json.Encoder().encode


class Service:
    """Answers requests on one simulator; `now` gives unix seconds, and never goes back."""

    def __init__(self, simulator: Simulator, now: Callable[[], int]) -> None:
        self.simulator = simulator
        self.now = now
        self.lock = Lock()
        self._remembered = Remembered()

    def tick(self) -> None:
        """Let happen what has fallen due."""
        with self.lock:
            self.simulator.advance(max(self.now(), self.simulator.now))

    def answer(
        self,
        target: Target,
        ids: tuple[str, ...],
        given: Mapping[str, Any],
        *,
        url: str,
        version: str | None,
        key: str | None,
    ) -> Answer:
        """Carry a request out, or answer as it was answered before."""
        with self.lock:
            self.simulator.advance(max(self.now(), self.simulator.now))
            now = self.simulator.now
            request_id = self.simulator.engine.new_id("req")
            fingerprint = _encode([url, given])
            try:
                if key and (before := self._remembered.find(key, fingerprint, now)):
                    return replace(before, is_replay=True)
                run = self._prepared(target, ids, given, url)
            except Refused as refused:  # nothing has been tried: another try may go well
                return self._refusal(refused, request_id, version)
            with self.simulator.engine.requested(request_id, key):
                answer = self._carried_out(run, given, request_id, version)
            if key:
                self._remembered.keep(key, fingerprint, answer, now)
            self.simulator.advance(now)  # what follows at once does not wait for the next request
            return answer

    def refuse(self, refused: Refused) -> Answer:
        """Return the answer to a request that is no operation."""
        with self.lock:
            return self._refusal(refused, self.simulator.engine.new_id("req"), None)

    def _prepared(
        self, target: Target, ids: tuple[str, ...], given: Mapping[str, Any], url: str
    ) -> Callable[[], Json]:
        if isinstance(target, Listing):
            return lambda: page(_listed(target, ids, given), given, target.filters, url)
        params = taken(target, given)
        return lambda: target(*ids, **params)

    def _carried_out(
        self,
        run: Callable[[], Json],
        given: Mapping[str, Any],
        request_id: str,
        version: str | None,
    ) -> Answer:
        version = version or self.simulator.engine.settings.api_version
        expand = given.get("expand") or []
        try:
            shown = _shown(run(), version)
            paths = [expand] if isinstance(expand, str) else expand
            answer = Expansion(self.simulator, version).expand(shown, paths)
        except Refused as refused:
            return self._refusal(refused, request_id, version)
        return Answer(200, _encode(answer), request_id)

    def _refusal(self, refused: Refused, request_id: str, version: str | None) -> Answer:
        version = version or self.simulator.engine.settings.api_version
        error: Json = {"message": refused.message, "type": refused.kind}
        if refused.code:
            error["code"] = refused.code
            words = refused.code.replace("_", "-")
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{words}"
        if refused.param:
            error["param"] = refused.param
        for name, value in refused.more.items():
            error[name] = render(value, version) if isinstance(value, dict) else value
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return Answer(refused.status, _encode({"error": error}), request_id)


def _listed(listing: Listing, ids: tuple[str, ...], given: Mapping[str, Any]) -> Iterable[Json]:
    objects = list(listing.objects(*ids))
    if not listing.keeps_order:
        objects.reverse()
    if "status" in given or not listing.hidden:
        return objects
    return [obj for obj in objects if obj["status"] not in listing.hidden]


def _shown(answer: Json, version: str) -> Json:
    if answer.get("object") == "list":
        return {**answer, "data": [_shown(one, version) for one in answer["data"]]}
    if answer.get("deleted") or answer.get("object") == "event" or "object" not in answer:
        return answer
    return render(answer, version)
