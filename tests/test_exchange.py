"""One reporting currency: amounts are added with rates, and what rates did is told apart."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from ledger.application import Ledger
from ledger.errors import RequestInvalid
from ledger.metrics.answers import answer, reported_frames
from ledger.metrics.exchange import import_rates
from ledger.metrics.question import Question, question
from ledger.moments import Moment
from ledger.settings import Settings
from tests.facts import project
from tests.numbers import NOW, Numbers, at, begun, ended, price, sub, updated
from tests.test_cli import Shell
from tests.test_crm import asking

EUR, USD, IDR, JPY = (
    price(1_000, currency="eur"), price(1_000, currency="usd"),
    price(100_000_00, currency="idr"), price(100, currency="jpy"),
)  # fmt: skip


@pytest.fixture
def numbers(ledger: Ledger) -> Numbers:
    return Numbers(ledger)


class Rated:
    """A ledger with rates, asked in one currency."""

    def __init__(self, numbers: Numbers, folder: Path) -> None:
        self.numbers = numbers
        self._file = folder / "rates.csv"

    def rates(self, *lines: str) -> None:
        self._file.write_text("\n".join(["date,from,to,rate", *lines]) + "\n")
        import_rates(self.numbers.ledger, self._file, actor="tests")
        project(self.numbers.ledger)

    def asked(self, connection: Any, start: str, end: str, **more: Any) -> Question:
        return question(connection, now=NOW, start=start, end=end, **more)

    def frames(self, start: str, end: str, to: str = "usd", **more: Any) -> list[Any]:
        with self.numbers.ledger.pool.connection() as connection:
            asked = self.asked(connection, start, end, convert_to=to, **more)
            return reported_frames(connection, asked)

    def values(self, name: str, start: str, end: str, to: str = "usd", **more: Any) -> list[Any]:
        with self.numbers.ledger.pool.connection() as connection:
            asked = self.asked(connection, start, end, convert_to=to, **more)
            return [one.value for one in answer(connection, asked, name)]


@pytest.fixture
def rated(numbers: Numbers, tmp_path: Path) -> Rated:
    return Rated(numbers, tmp_path)


@pytest.fixture
def lived(rated: Rated) -> Rated:
    """A business in three currencies."""
    rated.numbers.told(
        begun("2024-01-03", sub("a", (EUR, 2))), begun("2024-01-20", sub("b", (IDR, 1))),
        updated(at("2024-02-05"), sub("a", (EUR, 1))), begun("2024-02-06", sub("c", (USD, 1))),
        ended(at("2024-03-01"), sub("b", (IDR, 1))),
    )  # fmt: skip
    return rated


def test_balances_are_valued_at_their_day_and_what_is_left_is_what_rates_did(
    rated: Rated,
) -> None:
    rated.numbers.told(
        begun("2024-01-10", sub("a", (EUR, 1))), begun("2024-01-10", sub("b", (USD, 1))),
        updated(at("2024-02-10"), sub("a", (EUR, 3))),
    )  # fmt: skip
    rated.rates(
        "2024-01-10,eur,usd,1.10", "2024-01-31,eur,usd,1.20", "2024-02-10,eur,usd,1.00",
        "2024-02-29,eur,usd,0.90",
    )  # fmt: skip
    january, february = rated.frames("2024-01", "2024-02")

    assert (january.start_minor, january.amounts["new"], january.fx_minor, january.end_minor) == (
        0, 1_100 + 1_000, 100, 2_200,
    )  # fmt: skip
    # Two euros more at 1.00; the one there was went from 1.20 to 0.90, the new ones to 0.90.
    assert (february.amounts["expansion"], february.fx_minor) == (2_000, -500)
    assert february.end_minor == 3_700


def test_where_rates_do_not_move_they_do_nothing(rated: Rated) -> None:
    rated.numbers.told(
        begun("2024-01-10", sub("a", (EUR, 1))), ended(at("2024-02-10"), sub("a", (EUR, 1)))
    )
    rated.rates(*(f"2024-0{m}-{d:02},eur,usd,1.5" for m in (1, 2) for d in range(1, 29)))

    assert [one.fx_minor for one in rated.frames("2024-01", "2024-02")] == [0, 0]


@pytest.mark.parametrize(
    ("of", "line", "to", "expected"),
    [
        (IDR, "2024-01-31,idr,usd,0.000065", "usd", 650),  # Stripe's rupiah has two decimals
        (IDR, "2024-01-31,usd,idr,16000", "usd", 625),  # the other way round
        (JPY, "2024-01-31,jpy,usd,0.0070", "usd", 70),  # yen have none
        (USD, "2024-01-31,usd,jpy,150.5", "jpy", 1_505),
    ],
)
def test_rates_are_of_whole_units_whatever_decimals_a_currency_has(
    rated: Rated, of: Any, line: str, to: str, expected: int
) -> None:
    rated.numbers.told(begun("2024-01-31", sub("a", (of, 1))))
    rated.rates(line)

    assert [one.exact for one in rated.values("mrr", "2024-01", "2024-01", to)] == [expected]


def test_without_a_rate_there_is_no_amount_but_the_reason_and_counts_stay(rated: Rated) -> None:
    rated.numbers.told(begun("2024-01-10", sub("a", (EUR, 1))))
    rated.rates("2024-01-02,eur,usd,1.1")  # more than a week before

    (mrr,) = rated.values("mrr", "2024-01", "2024-01")
    assert mrr.exact is None
    assert mrr.reason == "no rate from eur to usd for 2024-01-31"
    (new,) = rated.values("new_mrr", "2024-01", "2024-01")
    assert new.reason == "no rate from eur to usd for 2024-01-10"
    assert [one.exact for one in rated.values("customers", "2024-01", "2024-01")] == [1]
    with pytest.raises(RequestInvalid, match="ledger import rates"):
        rated.frames("2024-01", "2024-01")


def test_a_rate_that_was_corrected_leaves_what_was_known_before(rated: Rated) -> None:
    rated.numbers.told(begun("2024-01-31", sub("a", (EUR, 1))))
    rated.rates("2024-01-31,eur,usd,1.1")
    rated.rates("2024-01-31,eur,usd,1.2")

    assert [one.exact for one in rated.values("mrr", "2024-01", "2024-01")] == [1_200]
    then = rated.values("mrr", "2024-01", "2024-01", moment=Moment(known_at=2))
    assert [one.exact for one in then] == [1_100]


def test_rates_moving_make_no_customer_shrink(rated: Rated) -> None:
    rated.numbers.told(begun("2024-01-10", sub("a", (EUR, 1))))
    rated.rates("2024-01-10,eur,usd,1.1", "2024-01-31,eur,usd,1.2", "2024-02-29,eur,usd,0.6")

    assert [one.exact for one in rated.values("nrr", "2024-02", "2024-02")] == [1]


def test_what_customers_shrank_by_is_valued_as_what_they_had(rated: Rated) -> None:
    rated.numbers.told(
        begun("2024-01-10", sub("a", (EUR, 3))), updated(at("2024-02-10"), sub("a", (EUR, 2)))
    )
    rated.rates(
        "2024-01-10,eur,usd,1.1", "2024-01-31,eur,usd,1.2", "2024-02-10,eur,usd,0.6",
        "2024-02-29,eur,usd,0.6",
    )  # fmt: skip
    for name in ("nrr", "grr"):
        assert [str(one.exact) for one in rated.values(name, "2024-02", "2024-02")] == ["2/3"]


def test_a_rate_the_right_way_round_counts_before_its_contrary(rated: Rated) -> None:
    rated.numbers.told(begun("2024-01-31", sub("a", (EUR, 1))))
    rated.rates("2024-01-31,usd,eur,0.5", "2024-01-31,eur,usd,1.1")

    assert [one.exact for one in rated.values("mrr", "2024-01", "2024-01")] == [1_100]


def test_the_reporting_currency_of_a_definition_set_is_the_one_told(
    rated: Rated, client: Client
) -> None:
    rated.numbers.told(begun("2024-01-31", sub("a", (EUR, 1))))
    rated.rates("2024-01-31,eur,usd,1.1")
    rated.numbers.by("dollars", **{"reporting.currency": "usd"})
    ask = asking(client, rated.numbers.ledger, "read")
    told = ask("metrics/mrr", definitions="dollars", **{"from": "2024-01", "to": "2024-01"}).json

    assert told is not None
    assert (told["convert_to"], told["data"][0]["currency"], told["data"][0]["value"]) == (
        "usd", "usd", 1_100,
    )  # fmt: skip


def test_a_vendors_example_of_rates(rated: Rated) -> None:
    """R14: 10,000 in each of two currencies; all of the change is what rates did."""
    of = [price(10_000, currency=one) for one in ("eur", "gbp")]
    rated.numbers.told(*(begun("2024-01-31", sub(f"a{n}", (one, 1))) for n, one in enumerate(of)))
    rated.rates(
        "2024-01-31,eur,usd,3.0", "2024-01-31,gbp,usd,5.0",
        "2024-02-29,eur,usd,1.0", "2024-02-29,gbp,usd,2.0",
    )  # fmt: skip
    frames = rated.frames("2024-01", "2024-02")

    assert [one.end_minor for one in frames] == [80_000, 30_000]
    assert frames[1].fx_minor == -50_000


def test_the_last_import_counts_even_if_it_says_what_was_said_before(rated: Rated) -> None:
    rated.numbers.told(begun("2024-01-31", sub("a", (EUR, 1))))
    for rate in ("1.1", "1.2", "1.1"):
        rated.rates(f"2024-01-31,eur,usd,{rate}")

    assert [one.exact for one in rated.values("mrr", "2024-01", "2024-01")] == [1_100]


def test_churn_summed_by_day_is_of_all_customers_together(rated: Rated) -> None:
    rated.numbers.told(
        *(begun("2024-01-02", sub(f"e{n}", (EUR, 1))) for n in range(4)),
        *(begun("2024-01-02", sub(f"u{n}", (USD, 1))) for n in range(6)),
        ended(at("2024-02-10"), sub("e0", (EUR, 1))),
    )
    name = "customer_churn_rate_daily_sum"
    assert [str(one.exact) for one in rated.values(name, "2024-02", "2024-02")] == ["1/10"]


def test_only_answers_in_one_currency_say_so(rated: Rated, client: Client) -> None:
    rated.numbers.told(begun("2024-01-31", sub("a", (EUR, 1))))
    rated.rates("2024-01-31,eur,usd,1.1")
    ask = asking(client, rated.numbers.ledger, "read")
    span = {"from": "2024-01", "to": "2024-01", "convert_to": "usd"}

    assert ask("metrics/mrr", **span).json["convert_to"] == "usd"  # type: ignore[index]
    assert "convert_to" not in ask("metrics/cohorts", **span).json  # type: ignore[operator]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_with_any_rates_movements_and_fx_lead_from_one_end_to_the_other(
    data: st.DataObject, lived: Rated
) -> None:
    rate = st.decimals("0.00001", "90000", places=5).filter(bool)
    days = [date(2023, 12, 31) + timedelta(days=n) for n in range(95)]
    lived.rates(
        *(f"{day},{of},usd,{data.draw(rate)}" for day in days[::5] for of in ("eur", "idr"))
    )
    frames = lived.frames("2024-01", "2024-03")
    for one in frames:
        assert one.start_minor + sum(one.amounts.values()) + one.fx_minor == one.end_minor
    for before, after in pairwise(frames):
        assert before.end_minor == after.start_minor


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("day,from,to,rate\n", "must begin with the line date,from,to,rate"),
        ("", "not nothing"),
        ("date,from,to,rate\n2024-02-30,eur,usd,1\n", "line 2"),
        ("date,from,to,rate\n2024-02-03,eur,usd,1\n2024-02-03,eur,usd,0\n", "line 3"),
        ("date,from,to,rate\n2024-02-03,eur,eur,1\n", "two currencies"),
        ("date,from,to,rate\n2024-02-03,eur,usd,1\n2024-02-03,eur,usd,2\n", "another rate"),
        ("date,from,to,rate\n2024-02-03,eur,usd\n", "needs 4 columns"),
        ("date,from,to,rate\n2024-02-03,eur,usd,1,08\n", "written with a point"),
        ("date,from,to,rate\n2024-02-03,eur,usd,1_0\n", "a number above 0"),
        ("date,from,to,rate\n2024-02-03,eur,usd,NaN\n", "a number above 0"),
        ("date,from,to,rate\n2024-02-03,eur,usd,1e200000\n", "a number above 0"),
    ],
)
def test_a_file_that_cannot_be_meant_is_said_line_by_line_and_nothing_is_imported(
    settings: Settings, ledger: Ledger, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(text)
    told = Shell(settings, ledger.name)("import", "rates", str(file))

    assert (told.code, said in told.err) == (1, True), told.err
    with ledger.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_rates_are_imported_once_and_movements_are_printed_with_fx(
    settings: Settings, rated: Rated, tmp_path: Path
) -> None:
    rated.numbers.told(begun("2024-01-10", sub("a", (EUR, 1))))
    file = tmp_path / "given.csv"
    file.write_text("date,from,to,rate\n2024-01-10,EUR,USD,1.1\n2024-01-31,EUR,USD,1.2\n")
    shell = Shell(settings, rated.numbers.ledger.name)
    assert "2 rates imported" in shell("import", "rates", str(file)).out
    assert "already" in shell("import", "rates", str(file)).out
    project(rated.numbers.ledger)

    said = shell("report", "movements", "--from", "2024-01", "--to", "2024-01",
                 "--convert-to", "usd")  # fmt: skip
    assert said.out.splitlines()[1].split()[-4:] == ["1.00", "12.00", "0", "1"]
