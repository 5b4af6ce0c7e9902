"""Sorts the leaves of a Stripe event into clear, dropped and personal.

A leaf is clear only if its name is on the list *and* its value has the shape that such values
have: a name on the list is no licence for an e-mail address to be stored in plain.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from ledger.privacy.cards import mask_card_numbers, satisfies_luhn
from ledger.privacy.clear import (
    CLEAR,
    COUNTRY,
    CURRENCY,
    DECIMAL,
    DROPPED,
    ID,
    LABEL,
    LOCALE,
    MEMBER_NAME,
    MONEY_OR_TIME,
    NAME,
    NAMED_KINDS,
    NAMES,
    NUMBERED_KINDS,
    PERSONAL_HASHES,
    REFERENCE,
    SECRET,
    TOKEN,
    VERSION,
    has_stripe_prefix,
    is_stripe_id,
)

DEPTH_MAX = 200
COUNTRY_DEPTH_MAX = 3  # `customer_details.address.country` is two

Path = tuple[str | int, ...]
PersonalLeaf = tuple[Path, Any]


class TooDeep(ValueError):
    """A body nested deeper than anything Stripe sends."""


class Sorted(NamedTuple):
    """A body's personal leaves with their paths, and the dropped ones, for comparing only."""

    personal: list[PersonalLeaf]
    dropped: list[PersonalLeaf]


def classify(body: dict[str, Any]) -> Sorted:
    """Take the personal and the forbidden leaves out of a hash of Stripe's, in place.

    What remains in `body` is clear. A personal element of an array leaves null in its place; a
    personal member of a hash leaves nothing. Raises TooDeep beyond DEPTH_MAX levels.
    """
    found = Sorted([], [])
    _hash(body, [], _kind(body, ""), found)
    return found


def _kind(node: dict[str, Any], inherited: str) -> str:
    kind = node.get("object")
    return kind if isinstance(kind, str) else inherited


def _kind_beside(node: dict[str, Any], inherited: str) -> str:
    """Return what `data.object` is, which `data.previous_attributes` describes too."""
    beside = node.get("object")
    return _kind(beside, inherited) if isinstance(beside, dict) else inherited


# This runs once for each of some hundred leaves of every delivery, so it remembers: keys proven
# to be plain member names (one set operation clears all keys of a hash), and values proven to
# have the shape of enumerations. Both are bounded: a stranger cannot fill memory.
_plain_keys: set[str] = set(CLEAR) | PERSONAL_HASHES
_PLAIN_KEYS_MAX = 20_000
_known_values: dict[str, set[str]] = {
    key: set()
    for key, shape in CLEAR.items()
    if shape in (TOKEN, LABEL, CURRENCY, COUNTRY, LOCALE, VERSION)
}
_KNOWN_VALUES_MAX = 256


def _is_plain(key: str) -> bool:
    if key in DROPPED or not MEMBER_NAME(key) or mask_card_numbers(key) != key:
        return False
    if len(_plain_keys) < _PLAIN_KEYS_MAX:
        _plain_keys.add(key)
    return True


def _hash(  # noqa: PLR0912 — the hot loop: a call for each leaf would double its cost
    node: dict[str, Any], trail: list[str | int], kind: str, found: Sorted
) -> None:
    if len(trail) > DEPTH_MAX:
        raise TooDeep(f"nested deeper than {DEPTH_MAX} levels")
    changed: list[tuple[str, Any]] | None = None
    if not _plain_keys.issuperset(node):
        changed = [
            (key, _special(key, node.pop(key), (*trail, key), found))
            for key in [key for key in node if key not in _plain_keys and not _is_plain(key)]
        ]
    for key, value in node.items():
        if value is None or value is True or value is False:
            continue
        leaf = value.__class__
        if leaf is str:
            known = _known_values.get(key)
            if known is not None and value in known:
                continue
            remains = _string(key, value, trail, kind, found)
        elif leaf is dict:
            if not value:
                continue
            if key in PERSONAL_HASHES:
                remains = _special(key, value, (*trail, key), found)
            else:
                inner = value.get("object")
                trail.append(key)
                # `previous_attributes` describes the event's object; other hashes are things of
                # their own
                below = _kind_beside(node, kind) if key == "previous_attributes" else key
                _hash(value, trail, inner if inner.__class__ is str else below, found)
                trail.pop()
                continue
        elif leaf is list:
            if not value:
                continue
            if key in PERSONAL_HASHES:
                remains = _special(key, value, (*trail, key), found)
            else:
                trail.append(key)
                _list(value, trail, key, kind, found)
                trail.pop()
                continue
        elif key in PERSONAL_HASHES or (
            (value >= _CARD_MIN or value <= -_CARD_MIN) and _may_be_card(key, value)
        ):
            found.personal.append(((*trail, key), _clean(value)))
            remains = _GONE
        else:
            continue
        if remains is not value:
            if changed is None:
                changed = []
            changed.append((key, remains))
    if changed is not None:
        for key, value in changed:
            if value is _GONE:
                node.pop(key, None)
            else:
                node[key] = value


_GONE = object()
_CARD_MIN = 10**12


def _string(key: str, value: str, trail: list[str | int], kind: str, found: Sorted) -> Any:
    """Return what remains in the clear of a string: itself, masked, or _GONE."""
    shape = CLEAR.get(key)
    if has_stripe_prefix(value) and (
        shape is ID
        or shape is REFERENCE
        or (is_stripe_id(value) and mask_card_numbers(value) == value)
    ):
        return value
    if key == "number" and kind not in NUMBERED_KINDS:
        shape = None
    if shape is not None and shape(value) and not SECRET(value):
        known = _known_values.get(key)
        if known is not None and len(known) < _KNOWN_VALUES_MAX and len(value) < 13:
            known.add(value)
        return mask_card_numbers(value) if len(value) > 12 else value
    if key.endswith("_decimal") and DECIMAL(value):
        return value  # money: exact, however many digits
    if SECRET(value):
        found.dropped.append(((*trail, key), value))
    elif key in NAMES and kind in NAMED_KINDS and NAME(value):
        return mask_card_numbers(value)
    else:
        found.personal.append(((*trail, key), mask_card_numbers(value)))
    return _GONE


def _special(key: str, value: Any, path: Path, found: Sorted) -> Any:
    """Return what remains in the clear of a member whose name forbids or hides its value."""
    if key in DROPPED:
        found.dropped.append((path, value))
        return _GONE
    found.personal.append(((*path[:-1], mask_card_numbers(key)), _clean(value)))
    if key != "metadata" and key in PERSONAL_HASHES:
        return _countries(value)
    return _GONE


def _countries(node: Any, depth: int = 0) -> Any:
    """Return the countries in a personal hash, where they stand in it; all else is _GONE."""
    if not isinstance(node, dict) or depth > COUNTRY_DEPTH_MAX:
        return _GONE
    found = {
        key: remains
        for key, value in node.items()
        if key in PERSONAL_HASHES
        and key != "metadata"
        and (remains := _countries(value, depth + 1)) is not _GONE
    }
    country = node.get("country")
    if isinstance(country, str) and COUNTRY(country):
        found["country"] = country
    return found or _GONE


def _list(node: list[Any], trail: list[str | int], key: str, kind: str, found: Sorted) -> None:
    if len(trail) > DEPTH_MAX:
        raise TooDeep(f"nested deeper than {DEPTH_MAX} levels")
    for index, value in enumerate(node):
        trail.append(index)
        if isinstance(value, dict):
            _hash(value, trail, _kind(value, kind), found)
        elif isinstance(value, list):
            _list(value, trail, key, kind, found)
        elif value is not None:
            one, inner = {key: value}, Sorted([], [])
            _hash(one, [], kind, inner)
            node[index] = one.get(key)
            found.personal.extend((tuple(trail), leaf) for _, leaf in inner.personal)
            found.dropped.extend((tuple(trail), leaf) for _, leaf in inner.dropped)
        trail.pop()


def _clean(value: Any, depth: int = 0) -> Any:
    """Return a personal value without what may never be stored."""
    if depth > DEPTH_MAX:
        raise TooDeep(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, str):
        return None if SECRET(value) else mask_card_numbers(value)
    if isinstance(value, dict):
        return {
            mask_card_numbers(key): _clean(inner, depth + 1)
            for key, inner in value.items()
            if key not in DROPPED
        }
    if isinstance(value, list):
        return [_clean(inner, depth + 1) for inner in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return mask_card_numbers(str(int(value))) if _may_be_card("", value) else value
    return value


def _may_be_card(key: str, number: float) -> bool:
    if -(10**12) < number < 10**12 or (key and MONEY_OR_TIME(key)):
        return False
    if isinstance(number, float) and not number.is_integer():
        return False
    if abs(number) >= 10**19:
        return False
    digits = str(abs(int(number)))
    return 13 <= len(digits) <= 19 and satisfies_luhn(digits)


def restore(clear: Any, personal: list[PersonalLeaf]) -> Any:
    """Put opened personal leaves back where they were; changes and returns `clear`."""
    for path, value in personal:
        node = clear
        for step, following in pairwise(path):
            node = _descend(node, step, following)
        last = path[-1]
        assert isinstance(node, dict) or isinstance(last, int)
        node[last] = value
    return clear


def _descend(node: Any, step: str | int, following: str | int) -> Any:
    if isinstance(node, list) and isinstance(step, int):
        return node[step]
    return node.setdefault(step, [] if isinstance(following, int) else {})
