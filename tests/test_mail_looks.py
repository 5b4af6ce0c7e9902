"""Mails in a browser: both languages, long and right-to-left names, every kind of amount.

With LEDGER_SCREENSHOTS a folder, what was looked at is kept there as pictures.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.aggregates.sending import Brand
from ledger.effects.render import Renderer, fields_of, template_names
from ledger.effects.samples import sample_params

pytestmark = pytest.mark.long

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LINKS = {
    name: f"https://billing.example.test/l/{name}"
    for name in ("update_payment", "pay", "offer", "cancel", "unsubscribe", "confirm")
}
PEOPLE = {
    "plain": ("Andi Wijaya", "Paket Premium", "idr", 15_000_000),
    "long": ("Wolfeschlegelsteinhausen" * 3, "Langganan " + "Sangat" * 12, "kwd", 12_345),
    "rtl": ("محمد عبد الرحمن", "الباقة المميزة", "jpy", 1_500_000),
}  # fmt: skip
WIDTHS = (360, 640)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no chromium on this machine")
    return found


def mail_of(template: str, language: str, person: str) -> str:
    name, product, currency, amount = PEOPLE[person]
    params = {**sample_params(NOW), "currency": currency, "amount_minor": amount}
    brand = Brand(
        name="Warung Digital Nusantara",
        support_mail="halo@warung.example.test",
        support_phone="+62 411 555 0101",
        postal_address="Jalan Somba Opu 1, Makassar",
    )
    fields = fields_of(
        params, name=name, product=product, brand=brand, language=language, links=LINKS
    )
    found = Renderer().mail(template, language, fields).html
    assert found is not None
    return found


def gallery(mails: dict[str, str], width: int) -> str:
    """Return a page of all mails side by side that measures each once it is shown."""
    frames = "".join(
        f'<figure><figcaption>{html.escape(name)}</figcaption><iframe id="{html.escape(name)}"'
        f' width="{width}" height="900" srcdoc="{html.escape(mail)}"></iframe></figure>'
        for name, mail in mails.items()
    )
    return (
        "<!doctype html><style>figure{display:inline-block;margin:8px}iframe{border:0}"
        "figcaption{font:12px sans-serif}</style>"
        f"{frames}<pre id=told></pre><script>window.onload=()=>{{const told={{}};"
        "for(const f of document.querySelectorAll('iframe')){const d=f.contentDocument;"
        "told[f.id]=[d.documentElement.scrollWidth,d.body.innerText.length];}"
        "document.getElementById('told').textContent=JSON.stringify(told);}</script>"
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", ["en", "id"])
def test_no_mail_is_wider_than_what_it_is_read_on(
    chromium: str, tmp_path: Path, language: str, width: int
) -> None:
    names = [one for one in template_names() if not one.endswith("_sms")]
    mails = {f"{one}-{who}": mail_of(one, language, who) for one in names for who in PEOPLE}
    page = tmp_path / "gallery.html"
    page.write_text(gallery(mails, width), encoding="utf-8")
    common = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    done = subprocess.run(
        [*common, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    told = json.loads(html.unescape(found[1]))

    assert set(told) == set(mails)
    assert {name: size for name, (size, _) in told.items() if size > width} == {}
    assert all(length > 100 for _, length in told.values())
    if folder := os.environ.get("LEDGER_SCREENSHOTS"):
        picture = Path(folder) / f"mails-{language}-{width}.png"
        rows = -(-len(mails) // 4)
        subprocess.run(
            [*common, f"--screenshot={picture}", f"--window-size={(width + 24) * 4},{rows * 940}",
             page.as_uri()], capture_output=True, timeout=120, check=True,
        )  # fmt: skip
