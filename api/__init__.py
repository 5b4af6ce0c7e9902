"""The web face: Stripe's webhook, the JSON API under `/v1`, health checks."""
