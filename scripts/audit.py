"""Looks an installation over and writes a dated report; that it was done is an event of the ledger.

What could not be looked at (offline, say) is told as that, never as sound.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx
from packaging.markers import Marker

from ledger import health
from ledger.application import Ledger
from ledger.bootstrap import installation
from ledger.errors import LedgerError
from ledger.log.log import prepare
from ledger.people.permissions import PERMISSIONS, ROLES
from ledger.recovery.drill import DRILL_DAYS_MAX, last_verified
from ledger.regular_checks import note_audited
from ledger.settings import DEFAULT_LEDGER, from_process
from ledger.weaknesses import weaknesses

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
OSV = "https://api.osv.dev/v1/querybatch"
# What bandit finds everywhere, and why it is no fault here. Where a single place is meant, the
# reason stands there: `
GENERAL = {
    "B101": "an assert tells the type checker what holds; no input is checked by one",
    "B404": "to start a program is not a fault; each place that does says what it starts (B603)",
    "B105": "words for settings and schemes, not passwords",
}
_PIN = re.compile(r"^([A-Za-z0-9_.\-]+)==(\S+)(?: ; ([^\\]+))?")


@dataclass(frozen=True)
class Section:
    """One thing that was looked at: what was seen, and what is to be seen to (`findings`)."""

    name: str
    seen: str
    findings: list[str]
    was_looked_at: bool = True


def pins() -> Section:
    """Every package is pinned with hashes, and what is installed is what is pinned."""
    findings, count = [], 0
    for lock in LOCKS:
        entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text())
        for entry in entries:
            if not (pin := _PIN.match(entry)):
                continue
            count += 1
            name, wanted, marker = pin.groups()
            if "--hash=sha256:" not in entry:
                findings.append(f"{lock}: {name} has no hash")
            try:
                found = version(name)
            except PackageNotFoundError:
                continue  # of another platform, or of development
            if found != wanted and (marker is None or Marker(marker.strip()).evaluate()):
                findings.append(f"{name} {found} is installed, {wanted} is pinned")
    return Section("pins", f"{count} pins in {' and '.join(LOCKS)}", sorted(set(findings)))


def known_faults(*, offline: bool) -> Section:
    """No pinned package has a fault that is publicly known (osv.dev)."""
    pinned = {
        (pin[1], pin[2])
        for entry in (ROOT / LOCKS[0]).read_text().splitlines()
        if (pin := _PIN.match(entry))
    }
    asked = sorted(pinned)
    if offline:
        return Section("known faults", "not asked: --offline", [], was_looked_at=False)
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": of} for name, of in asked
    ]
    try:
        answer = httpx.post(OSV, json={"queries": queries}, timeout=30)
        results = answer.raise_for_status().json()["results"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        told = f"osv.dev cannot be asked ({type(error).__name__})"
        return Section("known faults", told, [], was_looked_at=False)
    findings = [
        f"{name} {of}: {', '.join(one['id'] for one in result['vulns'])}"
        for (name, of), result in zip(asked, results, strict=True)
        if result.get("vulns")
    ]
    return Section("known faults", f"{len(asked)} packages at osv.dev", findings)


def code() -> Section:
    """Bandit finds nothing that has no reason."""
    done = subprocess.run(  # B603 — bandit itself
        [sys.executable, "-m", "bandit", "-q", "-f", "json", "-r", "ledger", "api", "scripts"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = json.loads(done.stdout)
    findings = [
        f"{one['filename']}:{one['line_number']}: {one['test_id']} {one['issue_text']}"
        for one in told["results"]
        if not _reason(one)
    ]
    excepted = len(told["results"]) - len(findings)
    lines = told["metrics"]["_totals"]["loc"]
    return Section("code", f"{lines} lines; {excepted} exceptions, each with its reason", findings)


def _reason(finding: dict[str, Any]) -> str | None:
    """Return why what bandit found is no fault, where that is written down."""
    if finding["test_id"] in GENERAL:
        return GENERAL[finding["test_id"]]
    text = (ROOT / finding["filename"]).read_text()
    first, last = _statement(text, finding["line_number"])
    number = finding["test_id"].removeprefix("B")
    for line in text.splitlines()[first - 2 : last]:
        if found := re.search(rf"\b[SB]{number}\b.* — (.+)", line):
            return found[1]
    return None


def _statement(text: str, line: int) -> tuple[int, int]:
    """Return the lines of the smallest statement that a line is part of."""
    return min(
        (
            (node.lineno, node.end_lineno or node.lineno)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0)
        ),
        key=lambda span: span[1] - span[0],
    )


def settings_of(opened: Any, ledger: Ledger) -> Section:
    """`ledger doctor` has nothing to say."""
    with ledger.pool.connection() as connection:
        prepare(connection)
        found = health.warnings(opened.settings, ledger, connection)
        found += weaknesses(opened.settings, ledger, connection)
    return Section("doctor", f"ledger {ledger.name}", [one.sentence for one in found])


def drill_of(ledger: Ledger) -> Section:
    """A copy was restored and verified within the last 90 days."""
    with ledger.pool.connection() as connection:
        at = last_verified(connection)
    if at is None:
        return Section("restore drill", "never", ["no copy was ever restored: `ledger backup`"])
    days = (ledger.clock.now() - at).days
    findings = [f"{days} days ago: `ledger backup` does it"] if days > DRILL_DAYS_MAX else []
    return Section("restore drill", f"{at:%F} ({days} days ago)", findings)


def roles() -> Section:
    """Who may do what: to be read, not judged."""
    rows = [f"{role}: {', '.join(sorted(held))}" for role, held in ROLES.items()]
    unused = [one for one in PERMISSIONS if not any(one in held for held in ROLES.values())]
    findings = [f"no role has the permission {one}" for one in unused]
    return Section("roles", "; ".join(rows), findings)


def looked_over(ledger_name: str, *, offline: bool) -> Iterator[Section]:
    """Yield what was looked at, and record that it was."""
    sections = [pins(), known_faults(offline=offline), code(), roles()]
    yield from sections
    try:
        with installation(from_process()) as opened:
            ledger = opened.ledger(ledger_name)
            own = [settings_of(opened, ledger), drill_of(ledger)]
            yield from own
            everything = [*sections, *own]
            note_audited(
                ledger,
                {one.name: len(one.findings) for one in everything if one.was_looked_at},
                [one.name for one in everything if not one.was_looked_at],
            )
    except LedgerError as error:
        yield Section("installation", f"not looked at: {error}", [], was_looked_at=False)


def as_text(sections: list[Section], at: datetime) -> str:
    """Return the report as Markdown."""
    lines = [f"# Looked over on {at:%F %H:%M} UTC", "", "| what | seen | findings |", "|-|-|-|"]
    for one in sections:
        told = len(one.findings) if one.was_looked_at else "not looked at"
        lines.append(f"| {one.name} | {one.seen} | {told} |")
    for one in sections:
        if one.findings:
            lines += ["", f"## {one.name}", "", *(f"- {each}" for each in one.findings)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the report; return 1 if anything is to be seen to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--offline", action="store_true", help="ask nobody outside")
    parser.add_argument("--output", type=Path, help="else LEDGER_HOME/audits/audit-DATE.md")
    parser.add_argument("--ledger", default=DEFAULT_LEDGER)
    given = parser.parse_args()
    at = datetime.now(UTC)
    sections = list(looked_over(given.ledger, offline=given.offline))
    output = given.output or from_process().home / "audits" / f"audit-{at:%F}.md"
    output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = as_text(sections, at)
    output.write_text(text, encoding="utf-8")
    if given.json:
        print(json.dumps([asdict(one) for one in sections], ensure_ascii=False, indent=2))
    else:
        print(text)
        print(f"Written to {output}.")
    return int(any(one.findings for one in sections))


if __name__ == "__main__":
    sys.exit(main())
