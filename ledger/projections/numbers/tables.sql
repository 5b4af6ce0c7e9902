-- The numbers: all of it can be dropped and made again from the log. Amounts in minor units of
-- `currency`, instants UTC, days and periods in the reporting zone of the series.

-- The definition sets that live side by side, each under a version of the calculation.
CREATE TABLE mrr_series (
    series smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    hash text COLLATE "C" NOT NULL,
    calculation integer NOT NULL,
    definitions jsonb NOT NULL
);

-- Movements of MRR as a book-keeper enters them: what a fact changes of what was believed of the
-- past is taken back and entered anew, both at that fact's position. Nothing is ever changed here.
CREATE TABLE mrr_entries (
    series smallint NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    valid_at timestamptz NOT NULL,
    currency text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    item_id text COLLATE "C",
    product text COLLATE "C",
    price text COLLATE "C",
    "interval" text COLLATE "C",
    kind text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL,
    movements smallint NOT NULL,
    customers smallint NOT NULL,
    unknowns smallint NOT NULL,
    group_at timestamptz NOT NULL,
    cohort date
);

-- The same summed up: when it changed, and in which block of the log's positions that was learnt. By
-- day; by price, and day or month; by cohort and month.
CREATE TABLE mrr_days (
    series smallint NOT NULL,
    valid_day date NOT NULL,
    block integer NOT NULL,
    currency text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL,
    movements bigint NOT NULL,
    customers bigint NOT NULL,
    unknowns bigint NOT NULL
);

CREATE TABLE mrr_price_days (
    series smallint NOT NULL,
    valid_day date NOT NULL,
    block integer NOT NULL,
    currency text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    product text COLLATE "C" NOT NULL,
    price text COLLATE "C" NOT NULL,
    "interval" text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL,
    movements bigint NOT NULL,
    customers bigint NOT NULL,
    unknowns bigint NOT NULL
);

CREATE TABLE mrr_price_months (LIKE mrr_price_days);  -- valid_day: the first of the month

CREATE TABLE mrr_cohort_months (
    series smallint NOT NULL,
    valid_day date NOT NULL,  -- the first of the month
    block integer NOT NULL,
    currency text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    cohort date NOT NULL,
    amount_minor bigint NOT NULL,
    movements bigint NOT NULL,
    customers bigint NOT NULL,
    unknowns bigint NOT NULL
);

-- What is told beside MRR (at_risk, scheduled, trial, trial_scheduled, paused) and how customers
-- stand (status:…), entered in the same way.
CREATE TABLE level_entries (
    series smallint NOT NULL,
    measure text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    valid_at timestamptz NOT NULL,
    currency text COLLATE "C",
    customer_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C",
    product text COLLATE "C",
    price text COLLATE "C",
    "interval" text COLLATE "C",
    amount_minor bigint NOT NULL,
    customers smallint NOT NULL
);

CREATE TABLE level_days (
    series smallint NOT NULL,
    measure text COLLATE "C" NOT NULL,
    valid_day date NOT NULL,
    block integer NOT NULL,
    currency text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL,
    customers bigint NOT NULL
);

-- What customers were worth at both ends of each month, quarter and year in which they moved, as
-- known now.
CREATE TABLE mrr_periods (
    series smallint NOT NULL,
    grain text COLLATE "C" NOT NULL,
    start date NOT NULL,
    currency text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    start_minor bigint NOT NULL,
    end_minor bigint NOT NULL,
    was_active boolean NOT NULL,
    is_lost boolean NOT NULL
);

-- The same summed up: how many moved and were lost, what those there at the start pay less, and what
-- they pay more or less.
CREATE TABLE mrr_outcomes (
    series smallint NOT NULL,
    grain text COLLATE "C" NOT NULL,
    start date NOT NULL,
    currency text COLLATE "C" NOT NULL,
    moved bigint NOT NULL,
    lost bigint NOT NULL,
    shrunk_minor bigint NOT NULL,
    change_minor bigint NOT NULL
);

-- Customers who were lost, as known now. `position`: of the fact about the subscription whose end it
-- was that says what they told of it.
CREATE TABLE losses (
    series smallint NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    lost_at timestamptz NOT NULL,
    currency text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    feedback text COLLATE "C",
    amount_minor bigint NOT NULL,
    product text COLLATE "C",
    price text COLLATE "C",
    position bigint
);

-- First trials of subscriptions, as known now. Ended and converted: null until they are.
CREATE TABLE trials (
    subscription_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    currency text COLLATE "C",
    product text COLLATE "C",
    price text COLLATE "C",
    started_at timestamptz NOT NULL,
    ends_at timestamptz,
    ended_at timestamptz,
    outcome text COLLATE "C" NOT NULL,
    converted_at timestamptz
);

-- The terms of coupons and tiered prices, where they were told first; and who costs by which.
CREATE TABLE catalogue_terms (
    key text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    terms jsonb NOT NULL
);

CREATE TABLE catalogue_uses (
    key text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL
);

-- What one unit of `base` is worth in units of `quote` on a day; of several, the last told counts.
CREATE TABLE exchange_rates (
    base text COLLATE "C" NOT NULL,
    quote text COLLATE "C" NOT NULL,
    day date NOT NULL,
    rate numeric NOT NULL,
    position bigint NOT NULL
);

-- How each invoice was collected of which Stripe tried to collect something, as known now.
-- `recovered_by`: where it failed and was paid after all. Amounts in minor units.
CREATE TABLE collections (
    invoice_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C",
    subscription_id text COLLATE "C",
    currency text NOT NULL,
    amount_minor numeric NOT NULL,
    billing_reason text,
    attempted_at timestamptz NOT NULL,
    failed_at timestamptz,
    failures integer NOT NULL,
    decline_code text,
    paid_at timestamptz,
    recovered_by text,
    closed_at timestamptz,
    payment_id text COLLATE "C"
);

-- In which category of one's own the end of a subscription belongs; what was said last counts.
CREATE TABLE churn_categories (
    subscription_id text COLLATE "C" NOT NULL,
    category text NOT NULL,
    position bigint NOT NULL
);
