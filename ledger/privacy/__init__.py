"""What of a Stripe event may be read by the database, and what only by us.

Every leaf is clear (an allow-list of names, each with the shape its values must have), dropped
(card data and secrets) or encrypted (everything else, known or not): `classify` decides, `box`
encrypts, `keys` holds one key per subject, `master` holds the key of keys.
"""
