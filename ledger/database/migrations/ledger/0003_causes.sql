-- What an event led to: only decisions and conflicts name a cause, so for facts it costs nothing.
CREATE INDEX events_led_to ON events (causation_id) WHERE causation_id IS NOT NULL;
