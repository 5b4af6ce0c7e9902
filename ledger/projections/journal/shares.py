"""Shares of an amount that add up to it."""

from __future__ import annotations

import msgspec

from ledger.projections.journal.notes import Line


def fitted(lines: list[Line], net: int, at: int) -> list[Line]:
    """Return lines that add up to what the invoice says they do, without tax.

    Versions that do not tell a line's share of a discount leave a difference; it is shared out.
    """
    rest = net - sum(line.net for line in lines)
    if not rest:
        return lines
    parts = split(rest, [max(line.net, 0) for line in lines])
    if not any(parts):
        return [*lines, Line("", rest, at, at)]
    return [
        msgspec.structs.replace(line, net=line.net + part)
        for line, part in zip(lines, parts, strict=True)
    ]


def split(amount: int, weights: list[int]) -> list[int]:
    """Return shares of an amount by weight, adding up to it; all 0 if there is no weight.

    What rounding down leaves goes to the largest remainders, the first ones first.
    """
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    sign = -1 if amount < 0 else 1
    shares = [divmod(abs(amount) * weight, total) for weight in weights]
    left = abs(amount) - sum(share for share, _ in shares)
    order = sorted(range(len(weights)), key=lambda i: -shares[i][1])
    more = set(order[:left])
    return [sign * (share + (i in more)) for i, (share, _) in enumerate(shares)]
