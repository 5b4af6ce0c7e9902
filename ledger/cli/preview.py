"""`ledger effects preview`: what a message looks like, before anybody gets it."""

from __future__ import annotations

from pathlib import Path

import click

from ledger.aggregates.effect import EffectRequest
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import LANGUAGES
from ledger.bootstrap import renderer_of, site_of, tools_of
from ledger.cli.context import Context, json_option, say_json
from ledger.effects.mail import Mailer, deliverable, rendered_mail, rendered_sms
from ledger.effects.performing import Task
from ledger.effects.render import template_names
from ledger.effects.samples import sample_params
from ledger.errors import RequestInvalid, SettingsInvalid
from ledger.policies.desk import Desk, log_desk
from ledger.stripe_objects.contacts import Contact


@click.command()
@click.argument("template", required=False)
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write the HTML there.")
@click.option("--to", help="Send it there, as a test.")
@json_option
@click.pass_obj
def preview(
    context: Context,
    template: str | None,
    language: str,
    output: Path | None,
    to: str | None,
    as_json: bool,
) -> None:
    """Show a message as it would look, with made-up contents; without TEMPLATE list them."""
    if template is None:
        names = template_names()
        say_json(names) if as_json else click.echo("\n".join(names))
        return
    with context.installation() as opened:
        ledger = opened.ledger(context.name)
        renderer = renderer_of(opened.settings)
        with ledger.pool.connection() as connection:
            site = site_of(opened.settings, ledger)
            desk, _ = log_desk(connection, ledger.keys, site, ledger.clock.now())
        task = _sample(desk, template, language, site.public_url)
        if template.endswith("_sms"):
            click.echo(rendered_sms(renderer, task, _links(template)).text)
            return
        mail = rendered_mail(renderer, task, _links(template))
        if output is not None:
            output.write_text(mail.html or "", encoding="utf-8")
        if to is not None:
            mailer = tools_of(opened.settings, ledger).performers.get("mail")
            if not isinstance(mailer, Mailer):
                raise SettingsInvalid("LEDGER_SMTP_URL is not set: nothing can be sent.")
            if deliverable(to) is None:
                raise RequestInvalid(f"{to!r} is no mail address.")
            message = mailer.compose(task, to)
            message.replace_header("Subject", f"[test] {message['Subject']}")
            mailer.server.hand_over(message, to)
    if as_json:
        say_json({"subject": mail.subject, "text": mail.text, "sent_to": to})
    else:
        click.echo(f"Subject: {mail.subject}\n\n{mail.text}")
        if to is not None:
            click.echo(f"Sent to {to}.", err=True)


_MARKETING = frozenset({"retention_offer", "win_back"})


def _links(template: str) -> dict[str, str]:
    names = ["update_payment", "pay", "offer", "cancel"]
    names += ["unsubscribe"] if template in _MARKETING else []
    return {name: f"https://billing.example.test/l/…/{name}" for name in names}


def _sample(desk: Desk, template: str, language: str, public_url: str | None) -> Task:
    request = EffectRequest(
        "preview", "mail", template, "notice", sample_params(desk.now), language
    )
    outbox = Outbox.begin(None, now=desk.now)
    contact = Contact("Andi Wijaya", "andi@example.test", None)
    return Task(
        "preview", 1, request, outbox, contact, "Paket Premium", desk.brand, public_url or ""
    )
