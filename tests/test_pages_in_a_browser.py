"""Pages in a browser: none breaks its own rules (CSP), none is wider than a phone.

With LEDGER_SCREENSHOTS a folder, what was looked at is kept there as pictures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from api.requests import POLICY
from api.site import create_site
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.links import Links
from ledger.orders import set_brand
from ledger.people import sessions
from ledger.people.users import People
from tests.reactions import Reactor, andi, failed
from tests.test_retention import leaves

pytestmark = pytest.mark.long

SPOILT = b"<!doctype html><p style='color:red'>x</p><script>document.title='ran'</script>"
WIDTH = 360


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no chromium on this machine")
    return found


class Browser:
    """A browser at a site that it is signed in to as one of two people, or not at all."""

    def __init__(self, program: str, base: str) -> None:
        self._common = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                        "--enable-logging=stderr", f"--window-size={WIDTH},900"]  # fmt: skip
        self._base = base

    def look(self, path: str, name: str) -> tuple[str, list[str]]:
        """Return what a page has become, and what the browser said against it."""
        address = f"{self._base}{path}"
        done = subprocess.run(
            [*self._common, "--virtual-time-budget=3000", "--dump-dom", address],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        if folder := os.environ.get("LEDGER_SCREENSHOTS"):
            picture = Path(folder) / f"page-{name}.png"
            subprocess.run([*self._common, f"--screenshot={picture}", address],
                           capture_output=True, timeout=60, check=True)  # fmt: skip
        said = re.findall(r"CONSOLE[^\]]*\] \"(.*?)\", source", done.stderr)
        return done.stdout, said


@pytest.fixture
def reactor(ledger: Ledger) -> Reactor:
    made = Reactor(ledger)
    made.told(*andi(), *failed(made.at()), leaves(made.at()))
    made.decide(lambda desk: set_brand(desk, {"name": "Warung Digital Nusantara",
                "support_mail": "halo@warung.example.test"}, "t"))  # fmt: skip
    return made


@pytest.fixture
def people(ledger: Ledger) -> dict[str, str]:
    """Sessions of a viewer, and of an admin who has no second factor yet."""
    found, now = {}, ledger.clock.now()
    for role, is_verified in (("viewer", True), ("admin", False)):
        person = People(ledger).add(f"{role}@staff.test", "Eka", role, actor="t")
        with ledger.pool.connection() as connection:
            found[role] = sessions.begin(
                connection, ledger.name, person.id, now, is_verified=is_verified
            )
    return found


@pytest.fixture
def browser(
    chromium: str, installation: Installation, people: dict[str, str], reactor: Reactor
) -> Iterator[Browser]:
    site = create_site(installation)

    def application(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        role, _, rest = environ["PATH_INFO"].removeprefix("/as/").partition("/")
        if environ["PATH_INFO"] == "/spoilt":
            start("200 OK", [("Content-Type", "text/html"), ("Content-Security-Policy", POLICY)])
            return [SPOILT]
        if role in people and environ["PATH_INFO"].startswith("/as/"):
            environ["PATH_INFO"] = f"/{rest}"
            environ["HTTP_COOKIE"] = f"ledger_session={people[role]}"
        return site(environ, start)

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Browser(chromium, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_breaks_the_rules_is_seen(browser: Browser) -> None:
    page, said = browser.look("/spoilt", "spoilt")

    assert len([one for one in said if "Content Security Policy" in one]) >= 2
    assert "<title>ran" not in page


def test_no_page_breaks_its_own_rules(browser: Browser, ledger: Ledger) -> None:
    links = Links(ledger.master, ledger.name)
    staff = People(ledger)
    invited = staff.invite(staff.one("viewer@staff.test").id, actor="t")
    pages: dict[str, str] = {
        "login": f"/login/{ledger.name}",
        "reset": f"/login/{ledger.name}/reset",
        "docs": "/docs",
        "account": "/as/viewer/account",
        "second-factor": "/as/admin/second-factor",
        "invitation": f"/enter/{ledger.name}/{invited}",
        "nothing": "/nothing",
        "cancel": links.make("", "cancel", "cus_andi", "sub_andi"),
        "unsubscribe": links.make("", "unsubscribe", "cus_andi", "mail"),
        "preferences": links.make("", "preferences", "cus_andi", "mail"),
        "confirm": links.make("", "confirm", "cus_andi", "mail"),
    }
    for name, path in pages.items():
        page, said = browser.look(path, name)
        assert len(page) > 200, name
        assert [one for one in said if "Policy" in one or "Refused" in one] == [], (name, said)
        assert "style=" not in page, name
