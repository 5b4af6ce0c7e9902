"""Ids in Stripe's look, drawn from the seed: nothing about them tells the order of events."""

from __future__ import annotations

from random import Random

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SHORT = frozenset({"cus", "prod", "si", "req"})
_OF_PAYMENTS = frozenset({"pi", "ch", "re", "txn", "pyr"})
_SPECIAL = {
    "cs": ("cs_test_a1", 58),
    "bps": ("bps_1", 23),
    "feat": ("feat_test_61", 32),
    "ent": ("ent_test_61", 32),
    "mtr": ("mtr_test_61", 32),
    "whsec": ("whsec_", 32),
}


def random_from(seed: int | str) -> Random:
    """Return a generator whose numbers follow from the seed alone."""
    return Random(seed)  # noqa: S311 — repeatable by intention, guards nothing


class Ids:
    """Draws ids; the same seed and the same calls give the same ids."""

    def __init__(self, seed: int) -> None:
        self._random = random_from(f"ids:{seed}")
        self._account = self.letters(10)
        self.account = f"acct_1{self.letters(5)}{self._account}"

    def letters(self, count: int) -> str:
        """Return that many letters and digits."""
        return "".join(self._random.choices(_ALPHABET, k=count))

    def new(self, prefix: str, at: int) -> str:
        """Return a new id of a kind of object, as if made at `at` (unix seconds)."""
        if prefix in _SHORT:
            return f"{prefix}_{self.letters(14)}"
        if prefix in _SPECIAL:
            start, count = _SPECIAL[prefix]
            return start + self.letters(count)
        family = "3" if prefix in _OF_PAYMENTS else "1"
        return self.of_family(prefix, family, at)

    def of_family(self, prefix: str, family: str, at: int) -> str:
        """Return an id of 24 characters: family, about the second, account, chance."""
        moment = ""
        rest = at
        for _ in range(5):
            rest, digit = divmod(rest, 62)
            moment = _ALPHABET[digit] + moment
        return f"{prefix}_{family}{moment}{self._account}{self.letters(8)}"
