"""How amounts, days and reasons are written to people, in each language."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import msgspec
from babel.dates import format_date
from babel.numbers import format_decimal, get_currency_symbol

from ledger.money import decimals

_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The words of one language: why a payment failed and what helps, and what all mails say."""

    reason: dict[str, str]
    cure: dict[str, str]
    phrase: dict[str, str]


@cache
def words() -> Mapping[str, Words]:
    """Return the words by language."""
    text = (files(__package__) / "words.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Words])


def money(amount_minor: int, currency: str, language: str) -> str:
    """Return an amount as it is written in a language: Rp150.000, $12.50, KWD 12.345.

    The decimals are Stripe's (https://docs.stripe.com/currencies); rupiah have none where they are
    whole, as people there write them.
    """
    places = decimals(currency)
    amount = Decimal(amount_minor).scaleb(-places)
    if currency.lower() == "idr" and amount == amount.to_integral_value():
        places = 0
    number = format_decimal(
        amount, format="#,##0" + ("." + "0" * places if places else ""), locale=language
    )
    code = currency.upper()
    symbol = _SYMBOLS.get(code) or get_currency_symbol(code, locale=language)
    return f"{symbol}\u00a0{number}" if symbol == code else f"{symbol}{number}"


_SYMBOLS = {"IDR": "Rp"}  # whatever the language: who is paid in it writes it so


def day(instant: datetime, zone: str, language: str) -> str:
    """Return the day that it is then on a clock: 3 March 2026, 3 Maret 2026."""
    return format_date(instant.astimezone(ZoneInfo(zone)), "d MMMM y", locale=language)


NAME_MAX = 60
_ADDRESS = re.compile(r"[/@\\]|www\.", re.IGNORECASE)


def first_name(name: str | None) -> str | None:
    """Return the first word of a name, None if there is none to greet anybody by.

    Who signs up may write anything there: an address in our mail is not theirs to give.
    """
    first = next(iter((name or "").split()), None)
    if first is None or len(first) > NAME_MAX or _ADDRESS.search(first):
        return None
    return first


def isolated(text: str) -> str:
    """Return text that may run from right to left so that what stands around it keeps its place."""
    if any(unicodedata.bidirectional(char) in ("R", "AL", "RLE", "RLO", "RLI") for char in text):
        return f"{_FIRST_STRONG_ISOLATE}{text}{_POP_ISOLATE}"
    return text
