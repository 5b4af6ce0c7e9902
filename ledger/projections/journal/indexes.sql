ALTER TABLE journal_notes ADD PRIMARY KEY (document, digest);

CREATE INDEX journal_notes_cut_short ON journal_notes (document)
WHERE content ->> 'all_lines' = 'false';

CREATE INDEX journal_entries_document ON journal_entries (document, position);

CREATE INDEX journal_entries_booked ON journal_entries (booked_at);

CREATE INDEX journal_entries_position ON journal_entries (position);

CREATE INDEX journal_schedules_document ON journal_schedules (document);

CREATE INDEX journal_schedules_position ON journal_schedules (position);

CREATE INDEX journal_schedules_ends ON journal_schedules (ends_at);

ALTER TABLE closings ADD PRIMARY KEY (period);
