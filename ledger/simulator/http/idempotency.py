"""`Idempotency-Key`: the same answer to the same request, however often it is sent."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ledger.simulator.refusals import Refused

KEPT_SECONDS = 86_400
KEY_MAX = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body as they were sent."""

    status: int
    body: bytes
    request_id: str
    is_replay: bool = False


class Remembered:
    """The answers of the last day by key; whoever asks holds the service's lock."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, tuple[int, bytes, Answer]] = OrderedDict()

    def find(self, key: str, fingerprint: bytes, now: int) -> Answer | None:
        """Return the answer given to this key; refuse a key that came with other parameters."""
        if len(key) > KEY_MAX:
            raise Refused(
                "Idempotency keys may have up to 255 characters.", kind="idempotency_error"
            )
        while self._answers and next(iter(self._answers.values()))[0] < now - KEPT_SECONDS:
            self._answers.popitem(last=False)
        if key not in self._answers:
            return None
        _, seen, answer = self._answers[key]
        if seen != fingerprint:
            raise Refused(
                "Keys for idempotent requests can only be used with the same parameters they were"
                f" first used with. Try using a key other than '{key}' if you meant to execute a"
                " different request.",
                kind="idempotency_error",
            )
        return answer

    def keep(self, key: str, fingerprint: bytes, answer: Answer, now: int) -> None:
        """Remember the answer to a key for a day from `now` (unix seconds)."""
        self._answers[key] = (now, fingerprint, answer)
