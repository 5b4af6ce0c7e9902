"""Every metric: what it is, its formula, and its value per period and currency.

A value is an integer in minor units, a count, or a fraction told with numerator and denominator.
Where a denominator is 0 there is no value, but a reason. Formulas: docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import Literal

from ledger.metrics.frames import Frame

Unit = Literal["minor", "count", "fraction"]
NO_CUSTOMERS = "no customers at the start of the period"
NO_CUSTOMERS_NOW = "no customers at the end of the period"
NO_MRR = "no MRR at the start of the period"
NO_LOSS = "nothing was lost in the period"
NO_CHURN = "nobody was lost, so no lifetime follows"
NO_TRIALS = "no trial ended in the period"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the formulas of one period and currency use, in minor units and counts.

    `lost`, `shrunk_minor` and `change_minor` are of those who were customers at the start
    (`outcomes`). `at_risk_minor` and the like are at the end. `churned_30_days` were lost in the
    thirty days before the end, `customers_30_days` there at their start or new in them.
    `daily_churn`: the sum of each day's own rate.
    """

    frame: Frame
    lost: int = 0
    shrunk_minor: int = 0
    change_minor: int = 0
    at_risk_minor: int = 0
    scheduled_minor: int = 0
    trial_minor: int = 0
    trial_scheduled_minor: int = 0
    paused_minor: int = 0
    trials_ended: int = 0
    trials_converted: int = 0
    churned_30_days: int = 0
    customers_30_days: int = 0
    daily_churn: Fraction | None = None
    before: tuple[Facts, ...] = ()  # the two periods before, the later one last
    lacking: Mapping[str, str] = field(default_factory=dict)  # by part: which rate nobody said


@dataclass(frozen=True, slots=True)
class Value:
    """A metric's value, exact; or None with the reason."""

    exact: int | Fraction | None
    numerator: int | None = None
    denominator: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its formula, what it is, and whether it is about customers as a whole.

    `of_money`: whether it is made of amounts, which need rates to be added across currencies, and
    `parts`: of which, where not of all. `kind`: of which movements it is made, where of one.
    """

    name: str
    unit: Unit
    what: str
    formula: Callable[[Facts], Value]
    of_customers: bool = False
    needs: frozenset[str] = frozenset()
    of_money: bool = True
    parts: frozenset[str] = frozenset()
    kind: str | None = None

    def value(self, facts: Facts) -> Value:
        """Return its value, or why there is none."""
        if self.of_money and self.unit != "count":
            for part, lacking in sorted(facts.lacking.items()):
                if not self.parts or part in self.parts:
                    return Value(None, reason=lacking)
        return self.formula(facts)


def share(numerator: int, denominator: int, reason: str) -> Value:
    """Return a fraction with both its parts, or why there is none."""
    if not denominator:
        return Value(None, numerator, denominator, reason)
    return Value(Fraction(numerator, denominator), numerator, denominator)


def half_up(amount: Fraction) -> int:
    """Return whole minor units, halves upwards."""
    return floor(amount + Fraction(1, 2))


def _amount(read: Callable[[Facts], int]) -> Callable[[Facts], Value]:
    return lambda facts: Value(read(facts))


def _arpa(facts: Facts) -> Value:
    frame = facts.frame
    if not frame.customers_end:
        return Value(None, frame.end_minor, 0, NO_CUSTOMERS_NOW)
    mean = Fraction(frame.end_minor, frame.customers_end)
    return Value(half_up(mean), frame.end_minor, frame.customers_end)


def _churn(facts: Facts) -> Value:
    return share(facts.lost, facts.frame.customers_start, NO_CUSTOMERS)


def _cltv(facts: Facts) -> Value:
    return _lifetime(facts, _churn(facts))


def _cltv_3_months(facts: Facts) -> Value:
    known = [value for one in (*facts.before, facts) if (value := _churn(one)).exact is not None]
    if not known:
        return Value(None, reason=NO_CUSTOMERS)
    return _lifetime(facts, Value(Fraction(sum(Fraction(v.exact or 0) for v in known), len(known))))


def _lifetime(facts: Facts, churn: Value) -> Value:
    frame = facts.frame
    if churn.exact is None:
        return Value(None, reason=churn.reason)
    if not churn.exact:
        return Value(None, reason=NO_CHURN)
    if not frame.customers_end:
        return Value(None, reason=NO_CUSTOMERS_NOW)
    return Value(half_up(Fraction(frame.end_minor, frame.customers_end) / churn.exact))


def _growth(facts: Facts) -> Value:
    frame = facts.frame
    return share(frame.end_minor - frame.start_minor, frame.start_minor, NO_MRR)


def _gross_churn(facts: Facts) -> Value:
    return share(facts.frame.lost_minor, facts.frame.start_minor, NO_MRR)


def _net_churn(facts: Facts) -> Value:
    frame = facts.frame
    return share(frame.lost_minor - frame.won_minor, frame.start_minor, NO_MRR)


def _grr(facts: Facts) -> Value:
    start = facts.frame.start_minor
    return share(start - facts.shrunk_minor, start, NO_MRR)


def _nrr(facts: Facts) -> Value:
    start = facts.frame.start_minor
    return share(start + facts.change_minor, start, NO_MRR)


def _quick_ratio(facts: Facts) -> Value:
    won = facts.frame.amounts["new"] + facts.frame.won_minor
    return share(won, facts.frame.lost_minor, NO_LOSS)


def _moved(name: str, kind: str, what: str, sign: int = 1) -> Metric:
    """Return the metric of the movements of one kind."""
    formula = _amount(lambda facts: sign * facts.frame.amounts[kind])
    return Metric(name, "minor", what, formula, parts=frozenset({kind}), kind=kind)


_END = frozenset({"end"})
_OUTCOMES, _LEVELS, _BEFORE, _TRIALS, _DAYS, _EACH_DAY = (
    frozenset({one}) for one in ("outcomes", "levels", "before", "trials", "days", "each_day")
)

METRICS: Mapping[str, Metric] = {
    one.name: one
    for one in (
        Metric("mrr", "minor", "monthly recurring revenue at the end of the period",
               _amount(lambda f: f.frame.end_minor), parts=_END),
        Metric("arr", "minor", "annual recurring revenue: 12 x MRR",
               _amount(lambda f: 12 * f.frame.end_minor), parts=_END),
        Metric("arpa", "minor", "MRR / customers, at the end", _arpa, of_customers=True,
               parts=_END),
        Metric("net_new_mrr", "minor", "what MRR grew by",
               _amount(lambda f: f.frame.end_minor - f.frame.start_minor)),
        _moved("new_mrr", "new", "MRR of those first worth something"),
        _moved("expansion_mrr", "expansion", "what customers pay more"),
        _moved("contraction_mrr", "contraction", "what customers pay less", -1),
        _moved("churned_mrr", "churn", "what lost customers paid", -1),
        _moved("reactivation_mrr", "reactivation", "what customers pay who came back"),
        Metric("mrr_growth", "fraction", "net new MRR / MRR at the start", _growth),
        Metric("at_risk_mrr", "minor", "MRR of subscriptions past due, at the end",
               _amount(lambda f: f.at_risk_minor), needs=_LEVELS),
        Metric("committed_mrr", "minor", "MRR less that of subscriptions set to end",
               _amount(lambda f: f.frame.end_minor - f.scheduled_minor), needs=_LEVELS),
        Metric("trial_mrr", "minor", "what subscriptions in a trial would be worth",
               _amount(lambda f: f.trial_minor), needs=_LEVELS),
        Metric("committed_trial_mrr", "minor", "trial MRR less that of trials set to end",
               _amount(lambda f: f.trial_minor - f.trial_scheduled_minor), needs=_LEVELS),
        Metric("paused_mrr", "minor", "what paused subscriptions would be worth",
               _amount(lambda f: f.paused_minor), needs=_LEVELS),
        Metric("customers", "count", "customers at the end",
               _amount(lambda f: f.frame.customers_end), of_customers=True),
        Metric("new_customers", "count", "customers first worth something",
               _amount(lambda f: f.frame.movements["new"]), of_customers=True, kind="new"),
        Metric("reactivated_customers", "count", "customers who came back",
               _amount(lambda f: f.frame.movements["reactivation"]), of_customers=True,
               kind="reactivation"),
        Metric("churned_customers", "count", "customers lost, those who came in it included",
               _amount(lambda f: f.frame.movements["churn"]), of_customers=True, kind="churn"),
        Metric("customer_churn_rate", "fraction",
               "customers at the start who were lost / customers at the start", _churn,
               of_customers=True, needs=_OUTCOMES, of_money=False),
        Metric("customer_churn_rate_stripe_30d", "fraction",
               "lost in 30 days / (customers 30 days ago + new ones since), as Stripe has it",
               lambda f: share(f.churned_30_days, f.customers_30_days, NO_CUSTOMERS),
               of_customers=True, needs=_DAYS, of_money=False),
        Metric("customer_churn_rate_daily_sum", "fraction",
               "sum over the days of lost on it / customers at its start, as ChartMogul has it",
               lambda f: Value(f.daily_churn, reason=None if f.daily_churn is not None
                               else NO_CUSTOMERS),
               of_customers=True, needs=_EACH_DAY, of_money=False),
        Metric("trial_conversion_rate", "fraction",
               "first trials that ended and were paid for / first trials that ended",
               lambda f: share(f.trials_converted, f.trials_ended, NO_TRIALS),
               of_customers=True, needs=_TRIALS, of_money=False),
        Metric("gross_mrr_churn_rate", "fraction", "(churn + contraction) / MRR at the start",
               _gross_churn),
        Metric("net_mrr_churn_rate", "fraction",
               "(churn + contraction - expansion - reactivation) / MRR at the start", _net_churn),
        Metric("grr", "fraction", "sum of min(start, end) per customer / MRR at the start", _grr,
               of_customers=True, needs=_OUTCOMES),
        Metric("nrr", "fraction", "MRR at the end of those there at the start / MRR at the start",
               _nrr, of_customers=True, needs=_OUTCOMES),
        Metric("quick_ratio", "fraction",
               "(new + reactivation + expansion) / (contraction + churn)", _quick_ratio),
        Metric("cltv", "minor", "ARPA / customer churn rate", _cltv, of_customers=True,
               needs=_OUTCOMES),
        Metric("cltv_3_periods", "minor",
               "ARPA / mean customer churn rate of this period and the two before", _cltv_3_months,
               of_customers=True, needs=_OUTCOMES | _BEFORE),
    )
}  # fmt: skip
