CREATE UNIQUE INDEX customer_work_customer ON customer_work (customer_id);
CREATE INDEX customer_work_owner ON customer_work (owner);
CREATE INDEX customer_work_tags ON customer_work USING gin (tags);
CREATE UNIQUE INDEX tasks_id ON tasks (id);
CREATE INDEX tasks_customer ON tasks (customer_id);
CREATE INDEX tasks_opened ON tasks (opened_at, id);
