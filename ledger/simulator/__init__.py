"""A Stripe of our own: deterministic, offline, with its own record of the truth.

It imports nothing of the product, for it is what the product is held against.
"""

from ledger.simulator.believable_business import BelievableBusiness, believable_business
from ledger.simulator.declines import Behaviour
from ledger.simulator.random_business import random_business
from ledger.simulator.refusals import Refused
from ledger.simulator.settings import NEWEST, AccountSettings
from ledger.simulator.simulator import Simulator

__all__ = [
    "NEWEST",
    "AccountSettings",
    "Behaviour",
    "BelievableBusiness",
    "Refused",
    "Simulator",
    "believable_business",
    "random_business",
]
