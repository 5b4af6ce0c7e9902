-- Made after a bulk load.

ALTER TABLE mrr_series ADD PRIMARY KEY (series);

CREATE INDEX mrr_entries_customer ON mrr_entries (customer_id, series);

CREATE INDEX mrr_entries_valid ON mrr_entries (series, valid_at);

CREATE INDEX mrr_entries_position ON mrr_entries (series, position);

ALTER TABLE mrr_days ADD PRIMARY KEY (series, valid_day, block, currency, kind);

ALTER TABLE mrr_price_days ADD PRIMARY KEY (
    series, valid_day, block, currency, kind, product, price, "interval"
);

ALTER TABLE mrr_price_months ADD PRIMARY KEY (
    series, valid_day, block, currency, kind, product, price, "interval"
);

ALTER TABLE mrr_cohort_months ADD PRIMARY KEY (series, valid_day, block, currency, kind, cohort);

CREATE INDEX level_entries_customer ON level_entries (customer_id, series);

CREATE INDEX level_entries_valid ON level_entries (series, measure, valid_at);

CREATE INDEX level_entries_position ON level_entries (series, position);

ALTER TABLE level_days ADD PRIMARY KEY (series, measure, valid_day, block, currency);

ALTER TABLE mrr_periods ADD PRIMARY KEY (series, grain, start, currency, customer_id);

CREATE INDEX mrr_periods_customer ON mrr_periods (customer_id);

ALTER TABLE mrr_outcomes ADD PRIMARY KEY (series, grain, start, currency);

ALTER TABLE losses ADD PRIMARY KEY (series, customer_id, currency, lost_at);

CREATE INDEX losses_list ON losses (series, lost_at);

CREATE INDEX losses_customer ON losses (customer_id);

ALTER TABLE trials ADD PRIMARY KEY (subscription_id);

CREATE INDEX trials_ended ON trials (ended_at);

CREATE INDEX trials_customer ON trials (customer_id);

ALTER TABLE catalogue_terms ADD PRIMARY KEY (key);

ALTER TABLE catalogue_uses ADD PRIMARY KEY (key, customer_id);

CREATE INDEX exchange_rates_quote ON exchange_rates (quote, day);

CREATE INDEX exchange_rates_base ON exchange_rates (base, day);

ALTER TABLE collections ADD PRIMARY KEY (invoice_id);

CREATE INDEX collections_attempted ON collections (attempted_at);

CREATE INDEX collections_failed ON collections (failed_at) WHERE failed_at IS NOT NULL;

ALTER TABLE churn_categories ADD PRIMARY KEY (subscription_id, position);

CREATE INDEX collections_payment ON collections (payment_id);
