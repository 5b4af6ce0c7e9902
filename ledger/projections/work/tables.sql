-- What people noted of customers, without what they wrote: that is opened from the log.
CREATE TABLE customer_work (
    customer_id text COLLATE "C" NOT NULL,
    owner text,
    tags text[] NOT NULL,
    open_tasks integer NOT NULL
);

CREATE TABLE tasks (
    id text COLLATE "C" NOT NULL,  -- customer and task
    customer_id text COLLATE "C" NOT NULL,
    task text NOT NULL,
    actor text NOT NULL,
    assignee text,
    due_on date,
    opened_at timestamptz NOT NULL,
    outcome text,
    closed_at timestamptz
);
