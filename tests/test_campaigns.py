"""Campaigns as data, and when somebody is written to: what is refused, what always holds."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.aggregates.decision import DecisionRefused
from ledger.aggregates.sending import Brand
from ledger.errors import RequestInvalid
from ledger.plans import read_plans
from ledger.policies.campaign import QuietHours
from ledger.policies.desk import language_of
from ledger.policies.dunning.campaign import declines
from ledger.policies.dunning.campaign import read_campaign as read_dunning
from ledger.policies.lifecycle.campaign import read_campaign as read_lifecycle
from ledger.policies.retention.campaign import read_campaign as read_retention
from ledger.policies.timing import clock_of, due, next_pay_day, outside_quiet_hours
from ledger.simulator.declines import DECLINES
from tests.test_access import PLANS
from tests.test_dunning import STANDARD
from tests.test_retention import ALWAYS

STEP = STANDARD["steps"][0]  # type: ignore[index]


def changed(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(base), **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "Standard!"}, "cannot be called"),
        ({"version": 0}, "1 or more"),
        ({"colour": "red"}, "colour"),
        ({"stripe_retry_window_days": 90}, "1 to 62"),
        ({"revoke_after_days": 0}, "revoke_after_days"),
        ({"final_action": "cancel"}, "belong together"),
        ({"pay_days": [0]}, "1 to 31"),
        ({"fact_age_hours_max": 0}, "1 to 720"),
        ({"quiet_hours": {"from": "9pm", "until": "08:00"}}, "21:00"),
        ({"applies_to": {"currency": "rupiah"}}, "no currency"),
        ({"applies_to": {"amount_min_minor": 5}}, "`currency`"),
        ({"applies_to": {"currency": "idr", "amount_min_minor": 5, "amount_max_minor": 4}},
         "above"),
        ({"applies_to": {"countries": ["Indonesia"]}}, "no country"),
        ({"steps": [STEP, STEP]}, "name of its own"),
        ({"steps": [{**STEP, "name": "_secret"}]}, "small letters"),
        ({"steps": [{**STEP, "after_failures": 2}]}, "says once"),
        ({"steps": [{"name": "x", "channel": "mail", "template": "t"}]}, "says once"),
        ({"steps": [{**STEP, "channel": "pigeon"}]}, "channel"),
        ({"steps": [{**STEP, "waits_for_pay_day": True}]}, "no pay_days"),
        ({"steps": [{**STEP, "missed_hours_max": 0}]}, "missed_hours_max"),
        ({"steps": [{**STEP, "after_days": None, "before_window_end_days": 15}]}, "before the"),
        ({"kind": "retention"}, "not one of dunning"),
    ],
)  # fmt: skip
def test_a_dunning_campaign_that_cannot_be_meant_says_why(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(RequestInvalid, match=told):
        read_dunning(changed(STANDARD, **changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"offer_after_hours": 0}, "1 to 336"),
        ({"holdout_percent": 101}, "0 to 100"),
        ({"monthly_budget_minor": {"rupiah": 5}}, "no budget"),
        ({"offers": [{"name": "x", "kind": "discount", "reasons": ["*"], "months": 3}]},
         "percent_off"),
        ({"offers": [{"name": "x", "kind": "discount", "reasons": ["boredom"],
                      "percent_off": 5, "months": 3}]}, "boredom"),
        ({"offers": [{"name": "x", "kind": "discount", "reasons": ["*"], "percent_off": 0,
                      "months": 3}]}, "1 to 100"),
        ({"offers": [{"name": "x", "kind": "gold", "reasons": ["*"]}]}, "gold"),
        ({"offers": [{"name": "x", "kind": "pause", "reasons": ["*"]}]}, "months"),
        ({"offers": [*ALWAYS["offers"], *ALWAYS["offers"]]}, "name of its own"),
        ({"kind": "dunning"}, "not one of retention"),
    ],
)  # fmt: skip
def test_a_retention_campaign_that_cannot_be_meant_says_why(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(RequestInvalid, match=told):
        read_retention(changed(ALWAYS, **changes))


def test_life_cycle_rules_and_plans_that_cannot_be_meant_say_why() -> None:
    rules: dict[str, Any] = {"name": "mine", "version": 1, "kind": "lifecycle", "rules": []}
    with pytest.raises(RequestInvalid, match="does nothing"):
        read_lifecycle({**rules, "rules": [{"on": "trial_ended"}]})
    with pytest.raises(RequestInvalid, match="on"):
        read_lifecycle({**rules, "rules": [{"on": "breakfast", "template": "x"}]})
    with pytest.raises(RequestInvalid, match="at least one"):
        read_plans({**PLANS, "features": {"prod_x": []}})
    with pytest.raises(RequestInvalid, match="name and kind"):
        read_plans({**PLANS, "name": "others"})


@pytest.mark.parametrize(
    "changes",
    [{"zone": "Asia/Nowhere"}, {"language": "fr"}, {"color": "purple"}, {"name": " "},
     {"sender": "nobody"}, {"logo_url": "http://x"}, {"sender": "a@b.c, d@e.f"}],
)  # fmt: skip
def test_a_brand_that_cannot_be_used_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DecisionRefused):
        Brand(**changes).check()


def test_every_decline_of_stripes_has_a_class_and_what_is_concealed_stays_so() -> None:
    table = declines()
    for code, one in DECLINES.items():
        found = table.class_of(code, one.advice_code, needs_action=False)
        assert found is not None, code
    for code in ("lost_card", "stolen_card", "fraudulent", "pickup_card"):
        assert table.class_of(code, "do_not_try_again", needs_action=False) == "concealed"
    assert table.class_of("generic_decline", "do_not_try_again", needs_action=False) == "new_method"
    assert table.class_of("brand_new_code", None, needs_action=False) == "retry"
    assert table.class_of(None, None, needs_action=False) is None
    assert table.class_of(None, None, needs_action=True) == "authentication"


@pytest.mark.parametrize(
    ("country", "zone", "source"),
    [("DE", "Europe/Berlin", "country_of_several"), ("SG", "Asia/Singapore", "country"),
     ("ID", "Asia/Jakarta", "country_of_several"), ("AU", "Australia/Sydney", "country_of_several"),
     (None, "Asia/Makassar", "business"), ("XX", "Asia/Makassar", "business")],
)  # fmt: skip
def test_whose_clock_counts_is_known(country: str | None, zone: str, source: str) -> None:
    found = clock_of(country, "Asia/Makassar")

    assert (found.zone, found.source) == (zone, source)


@pytest.mark.parametrize(
    ("locales", "country", "language"),
    [(["id-ID"], None, "id"), (["fr", "en-GB"], "ID", "en"), ([], "ID", "id"), ([], "DE", "en"),
     (["fr"], None, "en")],
)  # fmt: skip
def test_customers_are_written_to_as_they_prefer(
    locales: list[str], country: str | None, language: str
) -> None:
    assert language_of(locales, country, "en") == language


instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(  # noqa: DTZ001
    lambda one: one.replace(tzinfo=UTC)
)
hours = st.times().map(lambda one: f"{one:%H:%M}")
zones = st.sampled_from(
    ["Asia/Jakarta", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "UTC"]
)


@given(instants, hours, hours, zones)
def test_nobody_is_written_to_in_quiet_hours_nor_more_than_a_day_later(
    at: datetime, begins: str, ends: str, zone: str
) -> None:
    quiet = QuietHours(from_=begins, until=ends)
    moved = outside_quiet_hours(at, quiet, zone)

    assert at <= moved <= at + timedelta(hours=25)
    if begins != ends and moved != at:
        assert f"{moved.astimezone(ZoneInfo(zone)):%H:%M}" in (
            ends,
            _after_a_gap(ends, moved, zone),
        )
    assert outside_quiet_hours(moved, quiet, zone) == moved


def _after_a_gap(ends: str, moved: datetime, zone: str) -> str:
    """Return what a clock shows instead of an hour that a change of time leaves out."""
    return (
        f"{moved.astimezone(ZoneInfo(zone)):%H:%M}"
        if moved.astimezone(ZoneInfo(zone)).utcoffset()
        != (moved - timedelta(hours=2)).astimezone(ZoneInfo(zone)).utcoffset()
        else ends
    )


@given(instants, st.lists(st.integers(1, 31), min_size=1, max_size=4), zones)
def test_a_pay_day_is_one_and_within_a_month(at: datetime, days: list[int], zone: str) -> None:
    found = next_pay_day(at, days, zone)
    local = found.astimezone(ZoneInfo(zone))
    last = ((local.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)).day

    assert at - timedelta(hours=2) <= found <= at + timedelta(days=32)
    assert any(local.day == min(day, last) for day in days)


@given(instants, zones)
def test_without_quiet_hours_and_pay_days_nothing_is_moved(at: datetime, zone: str) -> None:
    found = due(at, zone, quiet=None)

    assert (found.at, found.moved_by) == (at, None)
