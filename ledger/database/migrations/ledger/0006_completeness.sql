-- A comparison that fails is noted even if none has succeeded yet.
ALTER TABLE completeness
    ALTER COLUMN checked_at DROP NOT NULL,
    ALTER COLUMN complete_from DROP NOT NULL,
    ALTER COLUMN complete_until DROP NOT NULL,
    ALTER COLUMN listed SET DEFAULT 0,
    ALTER COLUMN missing SET DEFAULT 0,
    ALTER COLUMN filled SET DEFAULT 0;
