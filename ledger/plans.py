"""Which features a plan has: data of the business's own, in versions, beside its campaigns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ledger.errors import RequestInvalid

ACCESS = "access"  # what every plan gives that says nothing else


class Plans(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Features by price or product, under the name `plans`; a later version replaces all of it."""

    name: str
    version: int
    kind: str
    features: dict[str, list[str]]

    def features_of(self, price: str | None, product: str | None) -> list[str]:
        """Return the features of what is sold; a price counts before its product."""
        for named in (price, product):
            if named is not None and named in self.features:
                return self.features[named]
        return [ACCESS]


NONE = Plans(name="plans", version=0, kind="plans", features={})


def read_plans(given: Mapping[str, Any]) -> Plans:
    """Return the plans that this data describes; raise RequestInvalid saying what is wrong."""
    try:
        found = msgspec.convert(given, Plans)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # half a surrogate pair
        raise RequestInvalid(f"These are no plans: {error}.") from error
    if found.name != NONE.name or found.kind != NONE.kind or found.version < 1:
        raise RequestInvalid("Plans have the name and kind `plans`, and a version of 1 or more.")
    for named, features in found.features.items():
        if not features or any(not one or len(one) > 80 for one in features):
            raise RequestInvalid(f"features.{named}: names of 1 to 80 characters, at least one.")
    return found
