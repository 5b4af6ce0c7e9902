"""A billing ledger: every Stripe webhook kept for ever, every view derived from what was kept.

Stripe ──webhook──▶ intake ──append──▶ log ──batches──▶ projections ──▶ views read by `/v1`

The log is the only thing that cannot be made again. Everything else can be thrown away and
built from it, with the same result.
"""
