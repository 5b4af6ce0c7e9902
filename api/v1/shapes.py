"""What `/v1` answers: every member that there can be, and nothing else.

Amounts are integers in minor units (`amount`, `…_minor`); instants are unix seconds, UTC.
"""

from __future__ import annotations

from api.v1.schema import (
    ANY,
    BOOLEAN,
    COUNT,
    CURRENCY,
    INTEGER,
    MINOR,
    NUMBER,
    POSITION,
    SECONDS,
    SHARE,
    STRING,
    TIME,
    in_time,
    many,
    mapping,
    maybe,
    more,
    name,
    one_of,
    record,
    thing,
)  # fmt: skip

_PROVISIONAL = many(STRING)
LINKED_EVENT = record(
    "stripe_event_id", position=POSITION, stripe_event_id=maybe(STRING), url=STRING
)

CUSTOMER = thing(
    "customer",
    "name", "email", "phone", "tags", "owner",
    id=name("cus_NffrFeUfNV2Hib"), created=SECONDS, status=name("active"), delinquent=BOOLEAN,
    currency=maybe(CURRENCY), country=maybe(name("ID")), subscription_count=COUNT,
    livemode=BOOLEAN, deleted=BOOLEAN, erased=BOOLEAN, provisional=_PROVISIONAL,
    name=maybe(name("Andi Wijaya")), email=maybe(name("andi@example.test")), phone=maybe(STRING),
    tags=many(name("at_risk")), owner=maybe(STRING),
)  # fmt: skip

_ITEM = record(
    id=maybe(STRING), price=maybe(STRING), product=maybe(STRING), quantity=maybe(INTEGER),
    unit_amount=maybe(MINOR), unit_amount_decimal=maybe(STRING), currency=maybe(CURRENCY),
    interval=maybe(STRING), interval_count=maybe(INTEGER), usage_type=maybe(STRING),
    current_period_start=maybe(SECONDS), current_period_end=maybe(SECONDS),
)  # fmt: skip
SUBSCRIPTION = thing(
    "subscription",
    id=name("sub_1MowQVLkdIwHu7ixeRlqHVzs"), created=maybe(SECONDS), customer=maybe(STRING),
    status=maybe(name("active")), cancel_at_period_end=maybe(BOOLEAN), cancel_at=maybe(SECONDS),
    canceled_at=maybe(SECONDS), ended_at=maybe(SECONDS), current_period_start=maybe(SECONDS),
    current_period_end=maybe(SECONDS), trial_start=maybe(SECONDS), trial_end=maybe(SECONDS),
    collection_method=maybe(STRING),
    pause_collection=maybe(record(behavior=STRING, resumes_at=maybe(SECONDS))),
    currency=maybe(CURRENCY), items=many(_ITEM),
    discounts=many(record(id=maybe(STRING), coupon=maybe(STRING))),
    cancellation_details=record(reason=maybe(STRING), feedback=maybe(STRING)),
    latest_invoice=maybe(STRING), default_payment_method=maybe(STRING), schedule=maybe(STRING),
    livemode=maybe(BOOLEAN), test_clock=maybe(STRING), provisional=_PROVISIONAL, event=POSITION,
)  # fmt: skip
CUSTOMER_WHOLE = more(CUSTOMER, subscriptions=many(SUBSCRIPTION))
TIMELINE_ENTRY = thing(
    "timeline_entry",
    id=POSITION, created=SECONDS, sentence=STRING, type=maybe(STRING), event=LINKED_EVENT,
)  # fmt: skip

INVOICE = thing(
    "invoice",
    "last_failure",
    id=name("in_1MtHbELkdIwHu7ixl4OzzPMv"), customer=maybe(STRING), created=maybe(SECONDS),
    status=maybe(name("open")), number=maybe(name("A1B2C3D4-0001")), subscription=maybe(STRING),
    billing_reason=maybe(STRING), collection_method=maybe(STRING), currency=maybe(CURRENCY),
    amount_due=maybe(MINOR), amount_paid=maybe(MINOR), amount_remaining=maybe(MINOR),
    subtotal=maybe(MINOR), total=maybe(MINOR), tax=maybe(MINOR), attempt_count=maybe(COUNT),
    attempted=maybe(BOOLEAN), auto_advance=maybe(BOOLEAN), next_payment_attempt=maybe(SECONDS),
    due_date=maybe(SECONDS), receipt_number=maybe(STRING), livemode=maybe(BOOLEAN),
    prices=many(maybe(STRING)),
    status_transitions=record(
        finalized_at=maybe(SECONDS), paid_at=maybe(SECONDS), voided_at=maybe(SECONDS),
        marked_uncollectible_at=maybe(SECONDS),
    ),
    deleted=BOOLEAN, provisional=_PROVISIONAL, event=POSITION,
    last_failure=maybe(record(
        payment=STRING, failed_at=SECONDS, failure_code=maybe(STRING), decline_code=maybe(STRING),
        advice_code=maybe(STRING), network_decline_code=maybe(STRING),
    )),
)  # fmt: skip
PAYMENT = thing(
    "payment",
    id=name("pi_3MtwBwLkdIwHu7ix28a3tqPa"), created=maybe(SECONDS), customer=maybe(STRING),
    invoice=maybe(STRING), invoice_found_by=maybe(STRING), status=maybe(name("succeeded")),
    currency=maybe(CURRENCY), amount=maybe(MINOR), amount_received=maybe(MINOR),
    amount_refunded=maybe(MINOR), disputed=maybe(BOOLEAN), attempt=maybe(INTEGER),
    failed_at=maybe(SECONDS), failure_code=maybe(STRING), decline_code=maybe(STRING),
    advice_code=maybe(STRING), network_decline_code=maybe(STRING), method_type=maybe(STRING),
    brand=maybe(STRING), last4=maybe(STRING), provisional=_PROVISIONAL,
)  # fmt: skip
EVENT = thing(
    "event",
    id=POSITION, position=POSITION, stream=name("sub_1MowQVLkdIwHu7ixeRlqHVzs"), version=INTEGER,
    type=name("Subscription.PaymentFailed"), stripe_type=maybe(name("invoice.payment_failed")),
    stripe_event_id=maybe(name("evt_1MqqbKLkdIwHu7ixWvoS9qSY")), api_version=maybe(STRING),
    customer=maybe(STRING), object_id=maybe(STRING), occurred_at=TIME, recorded_at=TIME,
    created=SECONDS, correlation_id=maybe(STRING), causation_id=maybe(STRING),
    has_personal=BOOLEAN, ledger=maybe(mapping(ANY)), data=mapping(ANY),
)  # fmt: skip
STREAM = in_time(thing(
    "stream",
    id=STRING, event_count=COUNT, events=many(EVENT),
    objects=many(record(
        id=STRING, object=STRING, occurred_at=SECONDS, mark=one_of("clear", "gap", "assumed"),
        deleted=BOOLEAN, provisional=_PROVISIONAL, state=mapping(ANY),
    )),
))  # fmt: skip

# --- numbers --------------------------------------------------------------------------------------

_DEFINITIONS = record(
    name=STRING, version=INTEGER, hash=STRING, calculation=INTEGER, zone=name("Asia/Jakarta")
)
QUESTION = {
    "definitions": _DEFINITIONS,
    "interval": one_of("day", "week", "month", "quarter", "year"),
    "as_of": SECONDS,
    "position": POSITION,
    "filters": mapping(STRING),
}
PERIOD = {"period": name("2026-03"), "start": SECONDS, "end": SECONDS, "complete": BOOLEAN}
CONVERTED = {"convert_to": maybe(CURRENCY)}
METRIC_NAMED = thing("metric", name=name("mrr"), unit=STRING, what=STRING)
METRIC = more(
    METRIC_NAMED,
    **CONVERTED,
    **QUESTION,
    data=many(record(
        "group", "numerator", "denominator", "reason", "terms_unknown",
        **PERIOD, currency=maybe(CURRENCY), group=maybe(STRING), value=maybe(NUMBER),
        numerator=maybe(NUMBER), denominator=maybe(NUMBER), reason=STRING, terms_unknown=COUNT,
    )),
)  # fmt: skip
_KINDS = ("new", "reactivation", "expansion", "contraction", "churn")
MOVEMENTS = thing(
    "mrr_movements",
    **CONVERTED,
    **QUESTION,
    data=many(record(
        **PERIOD, currency=CURRENCY, mrr_start=MINOR,
        **dict.fromkeys(_KINDS, MINOR), transfer=MINOR, fx=MINOR, mrr_end=MINOR,
        customers_start=INTEGER, customers_end=INTEGER, counts=mapping(INTEGER),
        terms_unknown=COUNT,
    )),
)  # fmt: skip
MOVEMENT = thing(
    "mrr_movement",
    id=STRING, created=SECONDS, customer=STRING, currency=CURRENCY, kind=STRING,
    reasons=many(STRING), amount=MINOR, customers=INTEGER, subscriptions=many(STRING),
    events=many(LINKED_EVENT),
)  # fmt: skip
COHORTS = thing(
    "cohorts",
    **QUESTION,
    data=many(record(
        cohort=name("2026-01"), currency=CURRENCY, size=COUNT,
        months=many(record(
            month=INTEGER, customers=INTEGER, customers_share=maybe(SHARE), mrr=MINOR,
            mrr_share=maybe(NUMBER),
        )),
    )),
)  # fmt: skip
CHURN_REASONS = thing(
    "churn_reasons",
    **QUESTION,
    data=many(record(
        "feedback", "kind", "category",
        feedback=STRING, kind=STRING, category=STRING, currency=CURRENCY, count=COUNT, share=SHARE,
        lost_mrr=MINOR,
    )),
)  # fmt: skip
LOST_CUSTOMER = thing(
    "lost_customer",
    created=SECONDS, customer=STRING, currency=CURRENCY, subscription=STRING, feedback=STRING,
    kind=STRING, category=STRING, lost_mrr=MINOR, event=LINKED_EVENT,
)  # fmt: skip
_RATE = ANY
RECOVERY = thing(
    "recovery",
    **QUESTION,
    window_days=COUNT,
    data=many(record(
        **PERIOD, currency=CURRENCY, attempts=COUNT, failed=COUNT, failed_amount=MINOR,
        recovered=COUNT, recovered_amount=MINOR, in_progress=COUNT, given_up=COUNT, matured=COUNT,
        matured_recovered=COUNT, median_days=maybe(NUMBER), recovered_by=mapping(COUNT),
        decline_codes=mapping(COUNT), failure_rate=_RATE, recovery_rate=_RATE,
        recovery_rate_by_amount=_RATE, matured_recovery_rate=_RATE,
    )),
)  # fmt: skip
STATUSES = thing(
    "statuses",
    **QUESTION,
    data=many(record(**PERIOD, status=STRING, customers=INTEGER, share=SHARE)),
)

# --- reactions ------------------------------------------------------------------------------------

_STEP = record(name=name("mail_1"), due_at=SECONDS, outcome=maybe(STRING), done_at=maybe(SECONDS))
DUNNING_CASE = thing(
    "dunning_case",
    id=name("dunning:in_1MtHbELkdIwHu7ixl4OzzPMv"), created=SECONDS, invoice=STRING,
    invoice_number=maybe(STRING), customer=STRING, subscription=maybe(STRING),
    currency=maybe(CURRENCY), amount_minor=maybe(MINOR), campaign=STRING, campaign_version=INTEGER,
    mode=one_of("on", "shadow"), status=STRING, status_words=record(en=STRING, id=STRING),
    failures=COUNT, decline_code=maybe(STRING), advice_code=maybe(STRING),
    decline_class=maybe(STRING), last_step=maybe(STRING), next_step=maybe(STRING),
    access_revoked=BOOLEAN, inactive=BOOLEAN, language=maybe(STRING), zone=maybe(STRING),
    outcome=maybe(STRING), first_failed_at=maybe(SECONDS), next_attempt_at=maybe(SECONDS),
    last_step_at=maybe(SECONDS), next_step_at=maybe(SECONDS), closed_at=maybe(SECONDS),
)  # fmt: skip
DUNNING_CASE_WHOLE = more(DUNNING_CASE, steps=many(_STEP))
DUNNING_CASE_NOW = thing(
    "dunning_case",
    id=STRING, invoice=STRING, customer=STRING, open=BOOLEAN, outcome=maybe(STRING),
    paused=BOOLEAN, waiting=BOOLEAN, steps=many(_STEP),
)  # fmt: skip
_SPAN = {"by": STRING, "from_": TIME, "to": TIME}
DUNNING_BOARD = thing(
    "dunning_board",
    **_SPAN,
    data=many(record(
        currency=maybe(CURRENCY), key=maybe(STRING), cases=COUNT, recovered=COUNT,
        in_progress=COUNT, lost=COUNT, amount_minor=MINOR, recovered_minor=MINOR,
        recovered_share=SHARE,
    )),
)  # fmt: skip
RETENTION_OFFER = thing(
    "retention_offer",
    id=name("retention:sub_1MowQVLkdIwHu7ixeRlqHVzs:1"), created=SECONDS, subscription=STRING,
    customer=STRING, status=STRING, source=STRING, reason=maybe(STRING), currency=maybe(CURRENCY),
    tenure_months=maybe(INTEGER), in_holdout=BOOLEAN, offer=maybe(STRING), offer_kind=maybe(STRING),
    no_offer_because=maybe(STRING), assignee=maybe(STRING), next_step=maybe(STRING),
    outcome=maybe(STRING), campaign=STRING, campaign_version=INTEGER, mode=STRING,
    language=maybe(STRING), monthly_minor=maybe(MINOR), cost_minor=maybe(MINOR),
    ends_at=maybe(SECONDS), shown_at=maybe(SECONDS), accepted_at=maybe(SECONDS),
    declined_at=maybe(SECONDS), withdrawn_at=maybe(SECONDS), ended_at=maybe(SECONDS),
    next_step_at=maybe(SECONDS), closed_at=maybe(SECONDS),
)  # fmt: skip
_OFFERED = maybe({**mapping(ANY), "required": ["name", "kind"],
                  "properties": {"name": STRING, "kind": STRING}})  # fmt: skip
RETENTION_OFFER_NOW = thing(
    "retention_offer",
    id=STRING, subscription=STRING, customer=STRING, offer=_OFFERED, accepted=BOOLEAN,
    declined=BOOLEAN, outcome=maybe(STRING),
)  # fmt: skip
RETENTION_BOARD = thing(
    "retention_board",
    **_SPAN,
    data=many(record(
        currency=maybe(CURRENCY), key=maybe(STRING), cancellations=COUNT, offered=COUNT,
        accepted=COUNT, saved=COUNT, lost=COUNT, in_progress=COUNT, saved_monthly_minor=MINOR,
    )),
    lift=many(record(
        currency=maybe(CURRENCY), saved_share=maybe(SHARE), holdout_saved_share=maybe(SHARE),
        lift=maybe(NUMBER), judged=COUNT, holdout_judged=COUNT,
    )),
)  # fmt: skip
CANCELLATION = thing(
    "cancellation",
    subscription=STRING, customer=STRING, state=STRING, retention_offer=maybe(STRING),
    offer=_OFFERED,
)  # fmt: skip
CANCELLATION_LINK = thing("cancellation_link", subscription=STRING, url=STRING)
EFFECT = thing(
    "effect",
    id=name("outbox:cus_NffrFeUfNV2Hib|dunning:in_1:mail_1"), created=SECONDS,
    customer=maybe(STRING), kind=STRING, what=STRING, purpose=STRING, campaign=maybe(STRING),
    language=maybe(STRING), state=STRING, because=maybe(STRING), attempts=COUNT,
    reference=maybe(STRING), actor=maybe(STRING), due_at=maybe(SECONDS), sent_at=maybe(SECONDS),
)  # fmt: skip
EFFECT_NOW = thing("effect", "because", id=STRING, state=STRING, because=maybe(STRING))
CALL = thing("call", customer=STRING, outcome=STRING)
ENTITLEMENT = thing(
    "entitlement",
    feature=STRING, subscription=maybe(STRING), because=STRING, until=maybe(SECONDS),
)  # fmt: skip
BOUNCES = thing("bounces", told=COUNT, suppressed=COUNT)

_CAPS = record(per_hour=COUNT, per_person=COUNT, per_person_days=COUNT)
SENDING = thing(
    "sending",
    installation=maybe(STRING), claimed_by=maybe(STRING), stopped=BOOLEAN, caps=_CAPS,
    kinds=many(record(
        kind=name("mail"), on=BOOLEAN, configured=BOOLEAN, goes_out=BOOLEAN, because=maybe(STRING),
    )),
)  # fmt: skip
BRAND = thing(
    "brand",
    name=name("Warung Digital"), logo_url=maybe(STRING), color=name("#2f5d8a"),
    sender=maybe(STRING), reply_to=maybe(STRING), support_mail=maybe(STRING),
    support_phone=maybe(STRING), postal_address=maybe(STRING), website=maybe(STRING),
    zone=name("Asia/Jakarta"), language=one_of("en", "id"), marketing_needs_consent=BOOLEAN,
)  # fmt: skip
CAMPAIGN = thing(
    "campaign",
    kind=name("dunning"), name=name("standard"), version=COUNT, state=one_of("off", "shadow", "on"),
)  # fmt: skip
CAMPAIGN_WHOLE = more(CAMPAIGN, campaign=mapping(ANY))
PLANS = thing("plans", version=COUNT, features=mapping(many(STRING)))

# --- the books ------------------------------------------------------------------------------------

BOOK_REPORT_NAMED = thing("book_report", name=name("trial_balance"))
BOOK_REPORT = more(BOOK_REPORT_NAMED, **QUESTION, columns=many(STRING), data=many(mapping(ANY)))
CLOSING = thing(
    "closing",
    event=POSITION, period=name("2026-10"), zone=STRING, closed_until=POSITION, actor=STRING,
    starts_at=SECONDS, ends_at=SECONDS,
    definitions=record(name=STRING, hash=STRING, calculation=INTEGER),
    trial_balance=many(record(account=STRING, currency=CURRENCY, balance=MINOR)),
    metrics=many(mapping(ANY)),
)  # fmt: skip
DEFINITIONS = thing(
    "definitions",
    name=STRING, version=INTEGER, hash=STRING, calculation=INTEGER, zone=name("Asia/Jakarta"),
    adopted=BOOLEAN, choices=mapping(ANY),
)  # fmt: skip

# --- the ledger itself ----------------------------------------------------------------------------

_PROGRESS = mapping(record(position=POSITION, lag_events=INTEGER))
STATUS = thing(
    "status",
    ledger=STRING, mode=one_of("test", "live"), demo=BOOLEAN,
    log=record(position=POSITION, sealed_to=POSITION), projections=_PROGRESS, policies=_PROGRESS,
    lag_events=INTEGER, lag_seconds=NUMBER, completeness=maybe(mapping(ANY)),
    counts=mapping(COUNT), deliveries=mapping(COUNT),
)  # fmt: skip
SEAL = thing(
    "seal",
    block=COUNT, first_position=POSITION, last_position=POSITION, hash=STRING,
)  # fmt: skip
SEAL_COMPARED = more(
    SEAL, clean=BOOLEAN, findings=many(record(kind=STRING, position=INTEGER, detail=STRING))
)
PROBLEM = record(
    type=STRING, title=STRING, status=INTEGER, code=name("parameter_invalid"), detail=STRING,
    request_id=STRING,
)  # fmt: skip
