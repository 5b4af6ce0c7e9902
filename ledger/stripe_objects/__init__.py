"""Stripe's objects as the ledger reads them: one canonical shape for every API version.

`envelope` reads a delivery, `fields` its leaves; `facts` holds one function per fact that moved
between API versions; `views` are the canonical shapes that `readers` fill; `references` says who
names whom; `order` is the one rule for what an object was at the end of a second.
"""
