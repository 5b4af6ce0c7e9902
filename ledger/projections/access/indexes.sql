CREATE INDEX entitlements_customer ON entitlements (customer_id, feature);
CREATE INDEX revocations_customer ON revocations (customer_id);
