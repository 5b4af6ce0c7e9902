"""Messages from templates: one source per message and language, rendered as HTML and as text.

A template says its subject and its body, the body by macros of which there are two sets. A folder
`templates` in LEDGER_HOME may hold others of the same names: those count first, in a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import css_inline
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
)
from jinja2.sandbox import (
    SandboxedEnvironment,
    SandboxedEscapeFormatter,
    SandboxedFormatter,
)
from markupsafe import Markup, escape

from ledger.aggregates.sending import LANGUAGES, Brand
from ledger.effects import wording
from ledger.errors import RequestInvalid


@dataclass(frozen=True)
class Rendered:
    """A message as it goes out; `html` is None for what has only text (SMS)."""

    subject: str
    text: str
    html: str | None


class Renderer:
    """Renders messages; `folder` may hold templates of the business's own."""

    def __init__(self, folder: Path | None = None) -> None:
        own: list[BaseLoader] = [FileSystemLoader(folder)] if folder and folder.is_dir() else []
        loader = ChoiceLoader([*own, PackageLoader(__package__, "templates")])
        self._html = _environment(loader, is_html=True)
        self._text = _environment(loader, is_html=False)

    def mail(self, template: str, language: str, fields: Mapping[str, Any]) -> Rendered:
        """Return a mail; raise RequestInvalid for a template there is none of, or with a fault."""
        subject = self._block("subject", template, language, fields)
        text = self._render(self._text, "layout.txt.j2", template, language, fields)
        html = self._render(self._html, "layout.html.j2", template, language, fields)
        return Rendered(" ".join(subject.split()), _tidy(text), _inlined(html))

    def sms(self, template: str, language: str, fields: Mapping[str, Any]) -> Rendered:
        """Return a short message; raises like `mail`."""
        text = self._block("body", template, language, fields)
        return Rendered("", " ".join(text.split()), None)

    def missing(self, template: str) -> str | None:
        """Return a language in which there is no such message, None if there is one in each."""
        return next(
            (one for one in LANGUAGES if not _is_there(self._text, f"{template}.{one}.j2")), None
        )

    def _block(self, block: str, template: str, language: str, fields: Mapping[str, Any]) -> str:
        try:
            found = self._found(self._text, template, language)
            given = self._given(self._text, "layout.txt.j2", language, fields)
            return "".join(found.blocks[block](found.new_context(given)))
        except Exception as error:  # a template may do anything
            raise _faulty(template, language, error) from error

    def _render(
        self,
        environment: SandboxedEnvironment,
        layout: str,
        template: str,
        language: str,
        fields: Mapping[str, Any],
    ) -> str:
        try:
            found = self._found(environment, template, language)
            return found.render(self._given(environment, layout, language, fields))
        except Exception as error:
            raise _faulty(template, language, error) from error

    @staticmethod
    def _found(environment: SandboxedEnvironment, template: str, language: str) -> Template:
        return environment.get_template(f"{template}.{language}.j2")

    @staticmethod
    def _given(
        environment: SandboxedEnvironment, layout: str, language: str, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        kind = layout.split(".")[1]
        return {
            **fields,
            "layout": layout,
            "language": language,
            "words": wording.words()[language],
            "m": environment.get_template(f"macros.{kind}.j2").module,
        }


def _is_there(environment: SandboxedEnvironment, name: str) -> bool:
    try:
        environment.get_template(name)
    except TemplateNotFound:
        return False
    except TemplateError:
        return True  # with a fault, of which `preview` tells
    return True


def _faulty(template: str, language: str, error: Exception) -> RequestInvalid:
    # The name of what is missing, never a value: those are personal.
    match error:
        case TemplateNotFound():
            told = f"there is no {error}"
        case KeyError() if error.args[:1] in (("subject",), ("body",)):
            told = f"it has no block `{error.args[0]}`"
        case TemplateError():
            line = getattr(error, "lineno", None)
            told = (error.message or "it has a fault").rstrip(".") + (
                f" (line {line})" if line else ""
            )
        case _:
            told = type(error).__name__
    return RequestInvalid(f"The template {template}.{language} cannot be rendered: {told}.")


def _environment(loader: BaseLoader, *, is_html: bool) -> SandboxedEnvironment:
    made = SandboxedEnvironment(
        loader=loader,
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["person"] = _person_html if is_html else wording.isolated
    made.filters["with"] = partial(_with_html if is_html else _with_text, made)
    return made


def _person_html(name: str) -> Markup:
    return Markup("<bdi>{}</bdi>").format(name)


def _with_text(environment: SandboxedEnvironment, sentence: str, **values: str) -> str:
    return SandboxedFormatter(environment).vformat(sentence, (), values)


def _with_html(environment: SandboxedEnvironment, sentence: str, **values: str) -> Markup:
    formatter = SandboxedEscapeFormatter(environment, escape=escape)
    return Markup(formatter.vformat(escape(sentence), (), values))  # noqa: S704 — both escaped


def _tidy(text: str) -> str:
    """Return text with at most one empty line in a row."""
    lines: list[str] = []
    for line in (one.rstrip() for one in text.strip().splitlines()):
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines) + "\n"


@cache
def _inliner() -> css_inline.CSSInliner:
    return css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=True)


def _inlined(html: str) -> str:
    return _inliner().inline(html)


def template_names() -> list[str]:
    """Return the names of the messages that come with the program."""
    found = (one.name for one in (files(__package__) / "templates").iterdir())
    return sorted({name.removesuffix(".en.j2") for name in found if name.endswith(".en.j2")})


def fields_of(
    params: Mapping[str, Any],
    *,
    name: str | None,
    product: str | None,
    brand: Brand,
    language: str,
    links: Mapping[str, str],
) -> dict[str, Any]:
    """Return what a template is filled with: what was decided, and who it is for.

    `plan` is how a sentence speaks of what the customer has: your Premium subscription.
    """
    zone = params.get("zone") or brand.zone
    words = wording.words()[language]
    failure = params.get("decline_class") or "unknown"
    currency = params.get("currency")

    def money(amount_minor: int | None) -> str | None:
        if amount_minor is None or currency is None:
            return None
        return wording.money(amount_minor, currency, language)

    def day(instant: str | None) -> str | None:
        if instant is None:
            return None
        return wording.day(datetime.fromisoformat(instant), zone, language)

    return {
        "brand": brand,
        "name": wording.first_name(name),
        "product": product,
        "plan": words.phrase["plan"].format(product=product)
        if product
        else words.phrase["plan_unnamed"],
        "number": params.get("number"),
        "amount": money(params.get("amount_minor")),
        "reason": words.reason.get(failure, words.reason["unknown"]),
        "cure": words.cure.get(failure, words.cure["unknown"]),
        "decline_class": failure,
        "links": links,
        "params": params,
        "money": money,
        "day": day,
    }
