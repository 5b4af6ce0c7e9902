"""Takes a verified delivery in: never refuses it for its content, never keeps it twice.

What comes of a delivery: *recorded* (a new event), *duplicate* (the log has it), *other
rendering* (the same fact in another API version), *conflict* (another content under a known
id, kept as an event of its own), *unreadable* (kept encrypted), *set aside* (of the other mode
or a foreign account: recorded, but in no view).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from msgspec.structs import replace

from ledger.aggregates import Account, fact_class_of
from ledger.aggregates.base import ACCOUNT_STREAM, OURS, Ownership, ownership_of
from ledger.canonical import canonical
from ledger.errors import DatabaseUnavailable
from ledger.ids import is_id
from ledger.intake.committer import Committer, DirectCommitter
from ledger.intake.comparison import (
    by_path,
    comparable,
    digest_of,
    is_other_rendering,
    without_envelope,
)
from ledger.log import Log, NewEvent
from ledger.log.log import STALE_KEY, RecordedEvent
from ledger.privacy.box import BoxUnreadable, open_box, seal_box
from ledger.privacy.cards import mask_card_numbers
from ledger.privacy.classify import Sorted, TooDeep, classify
from ledger.privacy.clear import DROPPED, has_stripe_prefix
from ledger.privacy.keys import ACCOUNT_SUBJECT, KeyRing, SubjectKey, subject_of
from ledger.stripe_objects.envelope import Envelope, Unreadable, read_envelope
from ledger.stripe_objects.fields import text

if TYPE_CHECKING:
    from ledger.clock import Clock
    from ledger.database import type_of_pool

_encode = msgspec.json.Encoder().encode
_SECRET_TEXT = re.compile(
    rf'_secret_[A-Za-z0-9]+|"(?:{"|".join(sorted(DROPPED))})"\s*:\s*(?:"[^"]*"|[^,}}\]\s]+)'
)


class Receipt(msgspec.Struct, frozen=True):
    """What became of a delivery, and the position of the event that it made or repeats."""

    outcome: str
    position: int
    stripe_event_id: str | None


class _Prepared(msgspec.Struct, frozen=True):
    """An event ready for the log, with what is needed to compare or encrypt it again."""

    event: NewEvent
    body: dict[str, Any]
    leaves: Sorted


class Intake:
    """The way into one ledger's log for deliveries whose signature has been verified."""

    def __init__(
        self,
        *,
        livemode: bool,
        stripe_account: str | None,
        pool: type_of_pool,
        keys: KeyRing,
        digest_key: bytes,
        clock: Clock,
        committed: Callable[[], None],
    ) -> None:
        self._livemode = livemode
        self._stripe_account = stripe_account
        self._pool = pool
        self._keys = keys
        self._direct = DirectCommitter(pool, committed)
        self._digest_key = digest_key
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._counts_lock = Lock()

    def receive(self, raw: bytes, obtained: str | None = None) -> Receipt:
        """Record a delivery as `take` does, and block until it is committed."""
        try:
            self.take(raw, self._direct, obtained).send(None)
        except StopIteration as taken:
            receipt: Receipt = taken.value
            return receipt
        raise AssertionError("a direct committer never suspends")

    async def take(self, raw: bytes, committer: Committer, obtained: str | None = None) -> Receipt:
        """Record a delivery and return when it is committed.

        `obtained` notes with the event that it did not come by itself: how it was got.
        Raises DatabaseUnavailable if it is not known to be committed; then Stripe sends it again.
        """
        envelope = read_envelope(raw)
        if isinstance(envelope, Unreadable):
            return await self._keep_unreadable(committer, raw, envelope.reason)
        if not has_stripe_prefix(envelope.id) and mask_card_numbers(envelope.id) != envelope.id:
            return await self._keep_unreadable(committer, raw, "no usable `id`")
        try:
            prepared = self._prepare(envelope, raw, obtained)
        except TooDeep:
            return await self._keep_unreadable(committer, raw, "nested too deep")
        try:
            position = await self._submit(committer, prepared)
        except (psycopg.DataError, psycopg.OperationalError) as error:
            return await self._keep_unreadable(
                committer, raw, f"PostgreSQL cannot hold it: {type(error).__name__}"
            )
        if position > 0:
            outcome = "set_aside" if OURS in prepared.body and _set_aside(prepared) else "recorded"
            return Receipt(outcome, position, envelope.id)
        return await self._compare(committer, prepared, -position)

    def flush_counts(self) -> None:
        """Add what has been counted since the last call to the ledger's delivery counts."""
        with self._counts_lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            with self._pool.connection() as connection:
                connection.execute(
                    "INSERT INTO delivery_counts (outcome, deliveries)"
                    " SELECT * FROM unnest(%s::text[], %s::bigint[])"
                    " ON CONFLICT (outcome) DO UPDATE"
                    " SET deliveries = delivery_counts.deliveries + EXCLUDED.deliveries",
                    [list(counts), list(counts.values())],
                )
        except psycopg.Error:
            with self._counts_lock:
                self._counts += counts

    def _prepare(self, envelope: Envelope, raw: bytes, obtained: str | None) -> _Prepared:
        body = envelope.body
        ours: dict[str, Any] = {"obtained": obtained} if obtained else {}
        if b"\\u0000" in raw:
            ours["flags"] = ["nul"]
        if envelope.occurred_at is None:
            ours.setdefault("flags", []).append("no_created")
        aside = self._reason_to_set_aside(body)
        fact = fact_class_of(envelope.type)
        if aside or not envelope.data_object:
            fact = Account.StripeEventNoted
            ours["set_aside" if aside else "noted"] = aside or "thin"
        body.pop(OURS, None)
        leaves = classify(body)
        # Only now: what is no id (a card number where an id should be) is in no column either.
        owner = _bounded(ownership_of(fact.owner, *_named(envelope)))
        if ours:
            body[OURS] = ours
        event = NewEvent(
            stream=ACCOUNT_STREAM if aside else owner.stream,
            topic=fact.TOPIC,
            occurred_at=envelope.occurred_at or self._clock.now(),
            data=_encode(body),
            customer_id=owner.customer_id,
            object_id=owner.object_id,
            stripe_event_id=envelope.id,
            correlation_id=_usable(text(body, "request", "id")),
            subject=subject_of(owner.customer_id, owner.object_id),
        )
        return _Prepared(event, body, leaves)

    def _reason_to_set_aside(self, body: dict[str, Any]) -> str | None:
        livemode = body.get("livemode")
        if isinstance(livemode, bool) and livemode != self._livemode:
            return "other_mode"
        account = body.get("account")
        if self._stripe_account and isinstance(account, str) and account != self._stripe_account:
            return "foreign_account"
        return None

    async def _submit(self, committer: Committer, prepared: _Prepared) -> int:
        event, leaves = prepared.event, prepared.leaves
        if not leaves.personal and not leaves.dropped:
            return await committer.submit(event)
        # A subject this process has not met is taken to be new: its key travels with the event,
        # and no round trip is spent on asking. If the subject has a key already, the append says
        # so, and the box is made again under that one.
        key = self._keys.for_writing(event.subject)
        position = await committer.submit(_boxed(prepared, key))
        if position == STALE_KEY:
            existing = await committer.aside(lambda: self._existing_key(event.subject))
            if existing is None:  # erased: what is personal is not kept any more
                return await committer.submit(event)
            return await committer.submit(_boxed(prepared, existing))
        if position > 0 and key.wrapped is not None:
            self._keys.stored(event.subject, key)
        return position

    def _existing_key(self, subject: str) -> SubjectKey | None:
        with self._connection() as connection:
            return self._keys.existing(subject, connection)

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DatabaseUnavailable(f"PostgreSQL does not answer: {error}") from error

    async def _compare(self, committer: Committer, prepared: _Prepared, position: int) -> Receipt:
        """Say how a delivery relates to the event that has its id already."""
        stored = await committer.aside(lambda: self._stored(position))
        event_id = prepared.event.stripe_event_id
        if without_envelope(stored.data) == without_envelope(
            prepared.body
        ) and await committer.aside(lambda: self._same_personal(stored, prepared.leaves)):
            return self._counted("duplicate", position, event_id)
        if is_other_rendering(stored, prepared.body, prepared.event.object_id):
            return self._counted("other_rendering", position, event_id)
        digest = hmac.new(
            self._digest_key,
            canonical([without_envelope(prepared.body), *comparable(prepared.leaves)]),
            sha256,
        ).hexdigest()
        body = prepared.body
        body["delivery_key"] = f"conflict:{event_id}:{digest}"
        body[OURS] = {
            **body.get(OURS, {}),
            "conflicts_with": event_id,
            "conflicts_at_position": position,
        }
        event = replace(
            prepared.event,
            topic=Account.ConflictingDelivery.TOPIC,
            stripe_event_id=None,
            delivery_key=body["delivery_key"],
            causation_id=event_id,
            data=_encode(body),
        )
        own = await self._submit(committer, replace(prepared, event=event, body=body))
        return (
            Receipt("conflict", own, event_id)
            if own > 0
            else self._counted("duplicate", -own, event_id)
        )

    def _stored(self, position: int) -> RecordedEvent:
        with self._connection() as connection:
            return Log(connection).at([position])[position]

    def _same_personal(self, stored: RecordedEvent, leaves: Sorted) -> bool:
        subject = subject_of(stored.customer_id, stored.object_id)
        with self._connection() as connection:
            if self._keys.is_erased(subject, connection):
                return True  # nothing left to compare with
            ciphers = self._keys.for_reading([subject], connection)
        if stored.personal is None:
            return not (leaves.personal or leaves.dropped)
        cipher = ciphers.get(subject)
        if cipher is None:
            return True  # erased this very moment
        try:
            digest, personal = open_box(
                cipher, subject, stored.stripe_event_id or "", stored.personal
            )
        except BoxUnreadable:
            return False
        return digest == digest_of(leaves.dropped) and by_path(personal) == by_path(leaves.personal)

    async def _keep_unreadable(self, committer: Committer, raw: bytes, reason: str) -> Receipt:
        digest = hmac.new(self._digest_key, raw, sha256).hexdigest()
        delivery_key = f"unreadable:{digest}"
        kept = mask_card_numbers(_SECRET_TEXT.sub("****", raw.decode("utf-8", "backslashreplace")))
        text = base64.b64encode(kept.encode("utf-8", "backslashreplace")).decode()
        body = {"delivery_key": delivery_key, OURS: {"reason": reason, "bytes": len(raw)}}
        event = NewEvent(
            stream=ACCOUNT_STREAM,
            topic=Account.DeliveryUnreadable.TOPIC,
            occurred_at=self._clock.now(),
            data=_encode(body),
            delivery_key=delivery_key,
            subject=ACCOUNT_SUBJECT,
        )
        leaves = Sorted([(("raw_base64",), text)], [])
        position = await self._submit(committer, _Prepared(event, body, leaves))
        if position < 0:
            return self._counted("duplicate", -position, None)
        return Receipt("unreadable", position, None)

    def _counted(self, outcome: str, position: int, event_id: str | None) -> Receipt:
        with self._counts_lock:
            self._counts[outcome] += 1
        return Receipt(outcome, position, event_id)


def _boxed(prepared: _Prepared, key: SubjectKey) -> NewEvent:
    event, leaves = prepared.event, prepared.leaves
    box = seal_box(
        key.cipher,
        event.subject,
        event.stripe_event_id or event.delivery_key or "",
        digest_of(leaves.dropped),
        leaves.personal,
    )
    return replace(event, box=box, new_key=key.wrapped)


def _named(envelope: Envelope) -> tuple[dict[str, Any], dict[str, Any]]:
    obj = envelope.data_object
    if not obj and isinstance(related := envelope.body.get("related_object"), dict):
        kind = str(related.get("type", "")).rpartition(".")[2]
        obj = {"object": kind, "id": related.get("id")}  # a thin event names it only
    return obj, envelope.previous_attributes


def _bounded(owner: Ownership) -> Ownership:
    """Return the owner with only such ids as may stand in the clear and in an index."""
    return Ownership(
        _usable(owner.stream) or ACCOUNT_STREAM,
        _usable(owner.customer_id),
        _usable(owner.object_id),
    )


def _usable(named: str | None) -> str | None:
    return named if named and is_id(named) else None


def _set_aside(prepared: _Prepared) -> bool:
    return "set_aside" in prepared.body[OURS]
