ALTER TABLE api_tokens ADD COLUMN expires_at timestamptz, ADD COLUMN last_used_at timestamptz;

-- Who may come in. Names and addresses are encrypted under the master key; an address is found by
-- its HMAC. What happened to a person's account is in the log, this is how it stands.
CREATE TABLE users (
    id text PRIMARY KEY,
    address_hash bytea NOT NULL UNIQUE,
    contact bytea NOT NULL,
    role text NOT NULL,
    expires_at timestamptz,
    disabled_at timestamptz,
    password_hash text,
    second_factor bytea,          -- encrypted under the master key
    second_factor_step bigint,    -- the time step of the last code taken: none is taken twice
    recovery_hashes bytea[] NOT NULL DEFAULT '{}',
    failures integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    subject text UNIQUE,          -- who they are at the OpenID provider
    created_at timestamptz NOT NULL
);

CREATE TABLE sessions (
    secret_hash bytea PRIMARY KEY,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    is_verified boolean NOT NULL  -- whether the second factor was shown, where one is needed
);

CREATE INDEX sessions_user ON sessions (user_id);

-- A way in that works once: to set a first or a new password.
CREATE TABLE invitations (
    secret_hash bytea PRIMARY KEY,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON users, sessions, invitations TO ledger_runtime;

-- Who did what: a handful among millions.
CREATE INDEX events_acted ON events (position)
WHERE stripe_event_id IS NULL AND data ? 'actor';

-- What ANALYZE looks at it copies into the catalogue: never the keys.
ALTER TABLE subject_keys ALTER COLUMN wrapped_key SET STATISTICS 0;

-- Whose personal data an answer holds: it goes with their keys.
ALTER TABLE idempotency_keys ADD COLUMN subjects text[] NOT NULL DEFAULT '{}';
