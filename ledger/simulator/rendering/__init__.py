"""Stripe's API versions: each older shape is made from the next newer one.

The chain follows the published changelog: endive → dahlia → clover → basil → acacia →
2024-06-20 → 2020-08-27. A step is taken for every version whose date lies before the step's.
"""

from ledger.simulator.rendering.chain import is_told, render
from ledger.simulator.rendering.difference import difference

__all__ = ["difference", "is_told", "render"]
