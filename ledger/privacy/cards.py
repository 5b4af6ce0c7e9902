"""Finds card numbers in text: 13 to 19 digits that satisfy Luhn, in one run or in groups."""

from __future__ import annotations

import re

# People part the groups by blanks (no-break ones too), dots or dashes of any kind.
_GAP = r"[ .\-\u00a0\u2007\u2009\u202f\u2010-\u2015]{0,2}"
_CANDIDATE = re.compile(rf"\d(?:{_GAP}\d){{12,}}")
_DIGITS = re.compile(r"\d+")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def satisfies_luhn(digits: str) -> bool:
    """Return whether these digits end in the check digit of ISO/IEC 7812-1."""
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(_DOUBLED[int(d)] for d in even)) % 10 == 0


def mask_card_numbers(text: str) -> str:
    """Return the text with every card number in it replaced by `****` and its last four digits."""
    if len(text) < 13 or not _CANDIDATE.search(text):
        return text
    while (masked := _CANDIDATE.sub(lambda found: _mask(found.group()), text)) != text:
        text = masked  # the four digits left may begin another run
    return text


def _mask(run: str) -> str:
    groups = [(m.start(), m.end()) for m in _DIGITS.finditer(run)]
    masked, done, first = "", 0, 0
    while first < len(groups):
        last = _card_end(run, groups, first)
        if last is None:
            first += 1
            continue
        digits = "".join(run[start:end] for start, end in groups[first : last + 1])
        masked += run[done : groups[first][0]] + "****" + digits[-4:]
        done, first = groups[last][1], last + 1
    return masked + run[done:]


def _card_end(run: str, groups: list[tuple[int, int]], first: int) -> int | None:
    digits = ""
    longest = None
    for last in range(first, len(groups)):
        digits += run[groups[last][0] : groups[last][1]]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and satisfies_luhn(digits):
            longest = last
    return longest
