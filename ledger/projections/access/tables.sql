-- What customers may use: a row per feature and subscription, made again whenever it may change.
CREATE TABLE entitlements (
    customer_id text COLLATE "C" NOT NULL,
    feature text NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    because text NOT NULL,  -- active, trialing, past_due (kept until access is revoked), gift
    until timestamptz  -- when it ends by itself, if that is known
);

-- Whose access was taken: their invoice is unpaid for so long.
CREATE TABLE revocations (
    customer_id text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    invoice_id text COLLATE "C" NOT NULL
);
