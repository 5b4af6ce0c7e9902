-- What programs of others may read by SQL, without anything personal. Once a column is here it keeps
-- its name and its meaning: what must change comes in a second version beside this one. Amounts are
-- in minor units of `currency`, instants with their zone. LIVE is the schema of the tables.

CREATE OR REPLACE VIEW customers AS
SELECT c.id AS customer_id, c.created AS created_at, c.status, c.delinquent, c.currency, c.country,
    c.subscriptions AS subscription_count, c.deleted AS is_deleted, c.erased AS is_erased,
    w.owner, coalesce(w.tags, '{}') AS tags
FROM LIVE.customers AS c LEFT JOIN LIVE.customer_work AS w ON w.customer_id = c.id;

CREATE OR REPLACE VIEW subscriptions AS
SELECT id AS subscription_id, customer_id, status, to_timestamp(created) AS created_at,
    canonical ->> 'currency' AS currency, canonical ->> 'collection_method' AS collection_method,
    coalesce((canonical ->> 'cancel_at_period_end')::boolean, false) AS cancel_at_period_end,
    to_timestamp((canonical ->> 'cancel_at')::bigint) AS cancel_at,
    to_timestamp((canonical ->> 'canceled_at')::bigint) AS canceled_at,
    to_timestamp((canonical ->> 'ended_at')::bigint) AS ended_at,
    to_timestamp((canonical ->> 'current_period_start')::bigint) AS current_period_start,
    to_timestamp((canonical ->> 'current_period_end')::bigint) AS current_period_end,
    to_timestamp((canonical ->> 'trial_start')::bigint) AS trial_start,
    to_timestamp((canonical ->> 'trial_end')::bigint) AS trial_end,
    canonical ->> 'cancellation_reason' AS cancellation_reason, canonical ->> 'feedback' AS feedback,
    position AS event
FROM LIVE.subscriptions;

CREATE OR REPLACE VIEW subscription_items AS
SELECT s.id AS subscription_id, s.customer_id, i ->> 'id' AS item_id, i ->> 'price' AS price,
    i ->> 'product' AS product, (i ->> 'quantity')::bigint AS quantity,
    (i ->> 'unit_amount')::bigint AS unit_amount_minor, i ->> 'currency' AS currency,
    i ->> 'interval' AS billing_interval, (i ->> 'interval_count')::integer AS interval_count
FROM LIVE.subscriptions AS s
CROSS JOIN LATERAL jsonb_array_elements(coalesce(s.canonical -> 'items', '[]')) AS i;

CREATE OR REPLACE VIEW invoices AS
SELECT id AS invoice_id, customer_id, canonical ->> 'subscription' AS subscription_id, status,
    to_timestamp(created) AS created_at, canonical ->> 'number' AS number,
    canonical ->> 'billing_reason' AS billing_reason, canonical ->> 'currency' AS currency,
    (canonical ->> 'amount_due')::bigint AS amount_due_minor,
    (canonical ->> 'amount_paid')::bigint AS amount_paid_minor,
    (canonical ->> 'amount_remaining')::bigint AS amount_remaining_minor,
    (canonical ->> 'total')::bigint AS total_minor, (canonical ->> 'tax')::bigint AS tax_minor,
    (canonical ->> 'attempt_count')::integer AS attempt_count,
    to_timestamp((canonical ->> 'due_date')::bigint) AS due_at,
    to_timestamp((canonical ->> 'finalized_at')::bigint) AS finalized_at,
    to_timestamp((canonical ->> 'paid_at')::bigint) AS paid_at,
    to_timestamp((canonical ->> 'voided_at')::bigint) AS voided_at,
    is_deleted, position AS event
FROM LIVE.invoices;

CREATE OR REPLACE VIEW payments AS
SELECT id AS payment_id, customer_id, invoice_id, status, created AS created_at, currency,
    amount_minor, amount_received_minor, amount_refunded_minor, disputed AS is_disputed, attempt,
    failed_at, failure_code, decline_code, advice_code, method_type, brand
FROM LIVE.payments;

-- Every entry of MRR as a book-keeper makes it: sums of amount_minor up to a moment are MRR then, by
-- `valid_at` as it was, by `position` as it was known.
CREATE OR REPLACE VIEW mrr_entries AS
SELECT s.name AS definitions, s.calculation, e.position, e.recorded_at, e.valid_at, e.currency,
    e.customer_id, e.subscription_id, e.product, e.price, e."interval" AS billing_interval, e.kind,
    e.reason, e.amount_minor, e.customers
FROM LIVE.mrr_entries AS e JOIN LIVE.mrr_series AS s USING (series);

CREATE OR REPLACE VIEW customer_mrr AS
SELECT s.name AS definitions, s.calculation, e.customer_id, e.currency,
    sum(e.amount_minor) AS mrr_minor
FROM LIVE.mrr_entries AS e JOIN LIVE.mrr_series AS s USING (series)
GROUP BY 1, 2, 3, 4 HAVING sum(e.amount_minor) <> 0;

CREATE OR REPLACE VIEW lost_customers AS
SELECT s.name AS definitions, s.calculation, l.customer_id, l.lost_at, l.currency,
    l.subscription_id, l.reason, l.feedback, l.amount_minor AS lost_mrr_minor, l.product, l.price
FROM LIVE.losses AS l JOIN LIVE.mrr_series AS s USING (series);

CREATE OR REPLACE VIEW trials AS
SELECT subscription_id, customer_id, currency, product, price, started_at, ends_at, ended_at,
    outcome, converted_at
FROM LIVE.trials;

CREATE OR REPLACE VIEW collections AS
SELECT invoice_id, customer_id, subscription_id, currency, amount_minor, attempted_at, failed_at,
    failures, decline_code, paid_at, recovered_by, closed_at
FROM LIVE.collections;

CREATE OR REPLACE VIEW dunning_cases AS
SELECT id AS case_id, invoice_id, customer_id, subscription_id, currency, amount_minor, campaign,
    campaign_version, mode, status, failures, decline_code, decline_class, first_failed_at,
    opened_at, last_step, next_step, next_step_at, outcome, closed_at
FROM LIVE.dunning_cases;

CREATE OR REPLACE VIEW retention_offers AS
SELECT id AS offer_id, subscription_id, customer_id, campaign, campaign_version, mode, status,
    reason, currency, monthly_minor, tenure_months, in_holdout, offer_kind, cost_minor,
    no_offer_because, opened_at, shown_at, accepted_at, declined_at, ended_at, outcome, closed_at
FROM LIVE.retention_offers;

CREATE OR REPLACE VIEW effects AS
SELECT stream || '|' || key AS effect_id, customer_id, kind, what, purpose, campaign, language,
    state, because, attempts, asked_at, due_at, sent_at
FROM LIVE.effects;

-- Debits are positive, credits negative.
CREATE OR REPLACE VIEW journal_entries AS
SELECT position, recorded_at, valid_at, booked_at, document, source, customer_id, reason, account,
    currency, amount_minor
FROM LIVE.journal_entries;

CREATE OR REPLACE VIEW closed_months AS
SELECT period, starts_at, ends_at, closed_until, position FROM LIVE.closings;

CREATE OR REPLACE VIEW events AS
SELECT position, stream, topic, customer_id, object_id, stripe_event_id,
    data ->> 'type' AS stripe_type, occurred_at, recorded_at
FROM LIVE.events;
