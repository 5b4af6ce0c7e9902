"""What people order: switches and claims of sending, what becomes of a case or an effect.

Every order is a decision in the log, with whose it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ledger.aggregates.campaigns import Campaigns
from ledger.aggregates.decision import DecisionRefused
from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.effect import EffectRequest, EffectState
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import Brand, Sending
from ledger.decisions import Connection
from ledger.errors import NotFound, RequestInvalid, VersionConflict
from ledger.ids import is_id
from ledger.plans import NONE as PLANS
from ledger.plans import read_plans
from ledger.policies.desk import Desk, Site, log_desk
from ledger.policies.dunning import steps
from ledger.policies.dunning.campaign import read_campaign as read_dunning
from ledger.policies.dunning.campaign import shipped as shipped_dunning
from ledger.policies.dunning.policy import Dunning, campaign_of
from ledger.policies.lifecycle.campaign import read_campaign as read_lifecycle
from ledger.policies.lifecycle.campaign import shipped as shipped_lifecycle
from ledger.policies.retention.campaign import read_campaign as read_retention
from ledger.policies.retention.campaign import shipped as shipped_retention

if TYPE_CHECKING:
    from ledger.application import Ledger

T = TypeVar("T")
TRIES = 10
READERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "dunning": read_dunning,
    "retention": read_retention,
    "lifecycle": read_lifecycle,
    "plans": read_plans,
}
SHIPPED = (shipped_dunning, shipped_retention, shipped_lifecycle)
# What no API of Stripe's tells and a dunning campaign rests on.
ANSWERS = {
    "stripe_mails_off": "Are Stripe's own mails about failed payments, expiring cards and receipts"
    " off?",
    "retry_window_days": "For how many days does Stripe retry a failed payment?",
    "final_action": "What does Stripe do after the last retry (cancel, unpaid, past_due, pause)?",
}
FINAL_ACTIONS = ("cancel", "unpaid", "past_due", "pause")


def decide(
    ledger: Ledger,
    site: Site,
    order: Callable[[Desk], T],
    remember: Callable[[Connection, Callable[[], T]], T] = lambda _, carry_out: carry_out(),
) -> T:
    """Carry an order out at a desk of now and save it; again, if somebody else was quicker.

    `remember` may answer in its place, or keep the answer: in the same transaction. Raises what
    the order raises, VersionConflict if others never let go.
    """
    for attempt in range(TRIES):
        try:
            with ledger.pool.connection() as connection, connection.transaction():
                desk, store = log_desk(connection, ledger.keys, site, ledger.clock.now())
                answer = remember(connection, partial(order, desk))
                store.save()
        except VersionConflict:
            if attempt == TRIES - 1:
                raise
            continue
        ledger.announce()
        return answer
    raise AssertionError("unreachable")


def sending_to_change(desk: Desk) -> Sending:
    """Return the switches, to be changed."""
    found = desk.find(Sending, Sending.STREAM)
    if found is None:
        found = Sending.begin(desk.now)
        desk.add(found)
    return found


def claim_sending(desk: Desk, actor: str) -> None:
    """Let sending belong to the installation at whose desk this is ordered.

    Raises DecisionRefused for a made-up business, and while there is no public address.
    """
    if desk.site.installation is None:
        raise DecisionRefused("Nothing of a made-up business may ever go out.")
    if desk.site.public_url is None:
        raise DecisionRefused(
            "Set LEDGER_PUBLIC_URL first (or `ledger ledgers set NAME --public-url`): mails need an"
            " address for their links."
        )
    sending_to_change(desk).claim(
        desk.site.installation, desk.site.public_url, actor=actor, now=desk.now
    )


def set_brand(desk: Desk, changes: Mapping[str, Any], actor: str) -> Brand:
    """Change in whose name we write; raise RequestInvalid saying what is wrong."""
    sending = sending_to_change(desk)
    try:
        brand = msgspec.convert({**sending.brand, **changes}, Brand)
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"This brand cannot be used: {error}.") from error
    brand.check()
    sending.set_brand(
        {name: value for name, value in msgspec.to_builtins(brand).items() if value is not None},
        actor=actor,
        now=desk.now,
    )
    return brand


def add_campaign(desk: Desk, given: Mapping[str, Any], actor: str) -> Any:
    """Add a version of a campaign and return it; raise RequestInvalid, DecisionRefused."""
    reader = READERS.get(str(given.get("kind")))
    if reader is None:
        raise RequestInvalid(f"The kind of a campaign is one of {', '.join(READERS)}.")
    campaign = reader(given)
    if any(campaign.name == one().name for one in SHIPPED) and campaign.version == 1:
        raise RequestInvalid(
            f"{campaign.name} version 1 comes with the program: give yours version 2 or a name of"
            " its own."
        )
    found = desk.find(Campaigns, Campaigns.STREAM)
    if found is None:
        found = Campaigns.begin(desk.now)
        desk.add(found)
    kinds = {one().name: one().kind for one in SHIPPED} | {PLANS.name: PLANS.kind}
    kinds |= {name: known["kind"] for (name, _), known in found.versions.items()}
    if kinds.get(campaign.name, campaign.kind) != campaign.kind:
        raise RequestInvalid(
            f"{campaign.name} is the name of what is of the kind {kinds[campaign.name]}."
        )
    found.add(msgspec.to_builtins(campaign), actor=actor, now=desk.now)
    return campaign


def switch_campaign(
    desk: Desk, name: str, state: str, answers: Mapping[str, Any], actor: str
) -> None:
    """Switch a campaign; raise RequestInvalid if it is unknown or Stripe's settings are not told.

    Turning a dunning campaign on needs the `ANSWERS`: if Stripe writes to customers too, they get
    two mails, and if it gives up earlier, ours come too late.
    """
    campaign = find_campaign(desk, name)
    if state == "on" and campaign.kind == "dunning":
        _check_answers(campaign.stripe_retry_window_days, answers)
    sending_to_change(desk).switch_campaign(name, state, dict(answers), actor=actor, now=desk.now)


def find_campaign(desk: Desk, name: str) -> Any:
    """Return the newest version of a campaign; raise NotFound."""
    found = [
        one
        for shipped in SHIPPED
        for one, _ in desk.campaigns(shipped(), READERS[shipped().kind])
        if one.name == name
    ]
    if not found:
        raise NotFound(f"There is no campaign {name!r}; `ledger campaigns list` shows them.")
    return found[0]


def _check_answers(window_days: int, answers: Mapping[str, Any]) -> None:
    lacking = []
    if answers.get("stripe_mails_off") is not True:
        lacking.append(
            "--stripe-mails-off: Stripe's own mails about failed payments must be off (Settings →"
            " Billing → Subscriptions and emails), or customers get two."
        )
    told = answers.get("retry_window_days")
    if told is None:
        lacking.append("--retry-window-days: for how long Stripe retries.")
    elif told != window_days:
        lacking.append(
            f"--retry-window-days: the campaign reckons with {window_days}, Stripe is said to retry"
            f" for {told}: set stripe_retry_window_days of the campaign or Stripe's setting, so"
            " that they agree."
        )
    if answers.get("final_action") not in FINAL_ACTIONS:
        lacking.append(
            f"--final-action: what Stripe does at the end, one of {', '.join(FINAL_ACTIONS)}."
        )
    if lacking:
        raise RequestInvalid("Say what Stripe is set to. " + " ".join(lacking))


def case_of(desk: Desk, named: str) -> DunningCase:
    """Return a case by its own id or its invoice's; raise NotFound."""
    stream = named if named.startswith(Dunning.streams) else DunningCase.stream_of(named)
    found = desk.find(DunningCase, stream) if is_id(named) else None
    if found is None:
        raise NotFound(f"There is no dunning case {named!r}.")
    return found


def resume_case(desk: Desk, named: str, reason: str, actor: str) -> DunningCase:
    """Let a case go on, or begin, if it waited for somebody; its steps are due anew."""
    case = case_of(desk, named)
    case.resume(reason, actor=actor, now=desk.now)
    steps.schedule(desk, case, campaign_of(desk, case))
    return case


def send_step_now(desk: Desk, named: str, step: str, actor: str) -> EffectState | str:
    """Take a message's step at once, whatever its time; raise NotFound, DecisionRefused."""
    case = case_of(desk, named)
    campaign = campaign_of(desk, case)
    found = campaign.step(step)
    if found is None:
        names = ", ".join(one.name for one in campaign.steps)
        raise NotFound(f"{campaign.name} has no step {step!r}; there are {names}.")
    Dunning().follow(desk, case)
    steps.send(desk, case, campaign, found, actor)
    return str(case.steps[step].outcome)


def effect_in(desk: Desk, stream: str, key: str) -> Outbox:
    """Return the outbox that an effect is in; raise NotFound."""
    found = desk.find(Outbox, stream) if stream.startswith(("outbox:", "team:")) else None
    if found is None or key not in found.effects:
        raise NotFound(f"There is no effect {key!r} in {stream!r}.")
    return found


def say_once(
    desk: Desk,
    customer_id: str,
    kind: str,
    text: Mapping[str, str],
    *,
    key: str,
    language: str,
    actor: str,
) -> EffectState:
    """Let a customer get a message that somebody wrote; raise RequestInvalid for none."""
    if not text.get("body", "").strip():
        raise RequestInvalid("A message needs a `body`.")
    if kind == "mail" and not text.get("subject", "").strip():
        raise RequestInvalid("A mail needs a `subject`.")
    request = EffectRequest(
        key,
        kind,
        "message" if kind == "mail" else "message_sms",
        "confirmation",
        language=language,
        actor=actor,
        text=dict(text),
    )
    return desk.ask(customer_id, request)
