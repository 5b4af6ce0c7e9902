-- What we decided and what came of it: all of it can be dropped and made again from the log.

-- What is due when: steps of cases and offers, and effects that are to be performed.
CREATE TABLE agenda (
    stream text COLLATE "C" NOT NULL,
    item text COLLATE "C" NOT NULL,
    kind text NOT NULL,  -- step, effect
    due_at timestamptz NOT NULL
);

-- Everything that was to reach the outside, and how far it is. `because`: why it is not sent.
CREATE TABLE effects (
    stream text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C",
    kind text NOT NULL,  -- mail, sms, stripe, crm, alerts
    what text NOT NULL,
    purpose text NOT NULL,
    campaign text,
    language text,
    state text NOT NULL,
    because text,
    attempts integer NOT NULL,
    asked_at timestamptz NOT NULL,
    due_at timestamptz,
    sent_at timestamptz,
    reference text,
    actor text
);

-- One row per unpaid invoice that was answered. Amounts in minor units.
CREATE TABLE dunning_cases (
    id text COLLATE "C" NOT NULL,
    invoice_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C",
    invoice_number text,
    currency text,
    amount_minor numeric,
    campaign text NOT NULL,
    campaign_version integer NOT NULL,
    mode text NOT NULL,  -- shadow, on
    status text NOT NULL,  -- retrying, notified, waiting, paused, inactive, or the outcome
    failures integer NOT NULL,
    decline_code text,
    advice_code text,
    decline_class text,
    next_attempt_at timestamptz,
    first_failed_at timestamptz NOT NULL,
    opened_at timestamptz NOT NULL,
    last_step text,
    last_step_at timestamptz,
    next_step text,
    next_step_at timestamptz,
    is_revoked boolean NOT NULL,
    is_inactive boolean NOT NULL,
    language text NOT NULL,
    zone text NOT NULL,
    outcome text,
    closed_at timestamptz
);

-- One row per cancellation that was answered. Amounts in minor units of `currency`.
CREATE TABLE retention_offers (
    id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    campaign text NOT NULL,
    campaign_version integer NOT NULL,
    mode text NOT NULL,
    status text NOT NULL,  -- canceling, offered, declined, withdrawn, accepted, ended, the outcome
    source text NOT NULL,
    reason text,
    currency text,
    monthly_minor numeric,
    tenure_months integer NOT NULL,
    in_holdout boolean NOT NULL,
    offer text,
    offer_kind text,
    cost_minor numeric,
    no_offer_because text,
    assignee text,
    opened_at timestamptz NOT NULL,
    ends_at timestamptz,
    shown_at timestamptz,
    accepted_at timestamptz,
    declined_at timestamptz,
    withdrawn_at timestamptz,
    ended_at timestamptz,
    next_step text,
    next_step_at timestamptz,
    outcome text,
    closed_at timestamptz,
    language text NOT NULL
);
