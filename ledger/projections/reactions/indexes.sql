CREATE UNIQUE INDEX agenda_key ON agenda (stream, item);
CREATE INDEX agenda_due ON agenda (due_at, stream, item);
CREATE UNIQUE INDEX effects_key ON effects (stream, key);
CREATE INDEX effects_asked ON effects (asked_at, key);
CREATE INDEX effects_open ON effects (state, asked_at);
CREATE INDEX effects_customer ON effects (customer_id, asked_at);
CREATE UNIQUE INDEX dunning_cases_id ON dunning_cases (id);
CREATE INDEX dunning_cases_customer ON dunning_cases (customer_id);
CREATE INDEX dunning_cases_opened ON dunning_cases (opened_at, id);
