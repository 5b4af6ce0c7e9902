-- Made after a bulk load: sorting once is cheaper than inserting a million times.

ALTER TABLE facts ADD PRIMARY KEY (position);

CREATE INDEX facts_of_object ON facts (object_id, occurred_at);

CREATE INDEX facts_of_customer ON facts (customer_id, occurred_at DESC);

CREATE INDEX facts_unsure ON facts (mark) WHERE mark IN ('gap', 'assumed');

ALTER TABLE objects ADD PRIMARY KEY (object_id);

CREATE INDEX objects_list ON objects (kind, created DESC, object_id DESC);

CREATE INDEX objects_of_customer ON objects (customer_id, kind);

ALTER TABLE links ADD PRIMARY KEY (from_id, to_id, relation);

CREATE INDEX links_backward ON links (to_id);

ALTER TABLE owners ADD PRIMARY KEY (object_id);

CREATE INDEX owners_customer ON owners (customer_id);

ALTER TABLE customers ADD PRIMARY KEY (id);

CREATE INDEX customers_list ON customers (created DESC, id DESC);

CREATE INDEX customers_status ON customers (status);

ALTER TABLE customer_search ADD PRIMARY KEY (customer_id, kind, hash);

CREATE INDEX customer_search_hash ON customer_search (hash);

ALTER TABLE payments ADD PRIMARY KEY (id);

CREATE INDEX payments_list ON payments (created DESC, id DESC);

CREATE INDEX payments_customer ON payments (customer_id);

CREATE INDEX payments_invoice ON payments (invoice_id);

CREATE INDEX payments_order_reference ON payments (left(order_reference, 25));
