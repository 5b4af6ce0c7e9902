"""The layout is tested: imports point downward, fences hold, generated pages are current."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.aggregates import BY_TOPIC, EVENT_TYPES, FACTS

ROOT = Path(__file__).resolve().parent.parent

# Top to bottom; modules of one set are blind to one another unless one is part of the other.
LAYERS: list[set[str]] = [
    {"ledger.__main__", "scripts"},
    {"api", "ledger.cli"},
    {"ledger.bootstrap", "ledger.scheduler"},
    {"ledger.regular_checks"},
    {
        "ledger.suppression",
        "ledger.invitations",
        "ledger.leaving",
        "ledger.recovery",
        "ledger.weaknesses",
    },
    {
        "ledger.agenda",
        "ledger.orders",
        "ledger.cancellations",
        "ledger.customer_work",
        "ledger.subjects",
        "ledger.backtest",
    },
    {"ledger.second_look"},
    {"ledger.accounting"},
    {"ledger.metrics"},
    {
        "ledger.causes",
        "ledger.demo",
        "ledger.health",
        "ledger.history",
        "ledger.streams",
        "ledger.people",
        "ledger.projections",
        "ledger.policies",
        "ledger.effects",
    },
    {"ledger.application", "ledger.simulator"},
    {"ledger.observation"},
    {"ledger.standing"},
    {
        "ledger.completeness",
        "ledger.intake",
        "ledger.facts",
        "ledger.moments",
        "ledger.decisions",
        "ledger.ledger_settings",
        "ledger.links",
    },
    {"ledger.aggregates", "ledger.stripe_api"},
    {"ledger.log"},
    {"ledger.stripe_objects", "ledger.privacy"},
    {"ledger.database"},
    {
        "ledger.processes",
        "ledger.settings",
        "ledger.tls",
        "ledger.clock",
        "ledger.money",
        "ledger.canonical",
        "ledger.ids",
        "ledger.files",
        "ledger.periods",
        "ledger.plans",
    },
    {"ledger.errors"},
]
DEPTH = {layer: depth for depth, layers in enumerate(LAYERS) for layer in layers}

FENCES = {
    "stripe": {"tests", "ledger.stripe_api", "ledger.simulator"},
    "flask": {"api", "scripts", "ledger.simulator"},
    "asyncio": {"api", "ledger.intake", "ledger.log"},
    "apscheduler": {"ledger.scheduler"},
    "granian": {"api"},
    "yoyo": {"ledger.database"},
    "eventsourcing": {
        "ledger.aggregates",
        "ledger.log",
        "ledger.decisions",
        "scripts",
    },  # scripts: to compare
    "cryptography": {"ledger.privacy"},
    "marshmallow": {"api"},
    "click": {"ledger.cli"},
    "httpx": {"ledger.effects", "ledger.people", "scripts"},
    "argon2": {"ledger.people"},
    "pyotp": {"ledger.people"},
    "joserfc": {"ledger.people"},
    "limits": {"api"},
    "apispec": {"api"},
    "segno": {"api"},
    "apprise": {"ledger.effects"},
    "smtplib": {"ledger.effects"},
    "imaplib": {"ledger.suppression"},
    "jinja2": {"ledger.effects"},
    "babel": {"ledger.effects"},
    "css_inline": {"ledger.effects"},
    "itsdangerous": {"ledger.links", "api"},
}


def layer_of(module: str) -> str:
    root, *rest = module.split(".")
    return root if root in DEPTH else ".".join([root, *rest[:1]])


def modules() -> Iterator[tuple[Path, str, ast.Module]]:
    for root in ("api", "ledger", "scripts"):
        for path in sorted((ROOT / root).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield path, name.removesuffix(".__init__"), ast.parse(path.read_text())


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if is_typing_only(node):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node)


def test_imports_point_downward() -> None:
    upward = {
        f"{name} must not import {there}"
        for _, name, tree in modules()
        for there in map(layer_of, imports(tree))
        if (here := layer_of(name)) in DEPTH
        and there in DEPTH
        and here != there
        and DEPTH[there] <= DEPTH[here]
    }

    assert not upward, "\n".join(sorted(upward))


def test_every_module_has_a_layer() -> None:
    homeless = {name for _, name, _ in modules() if layer_of(name) not in DEPTH} - {"ledger"}

    assert not homeless


@pytest.mark.parametrize("library", FENCES)
def test_a_library_is_used_only_behind_its_fence(library: str) -> None:
    outside = {
        name
        for _, name, tree in modules()
        for imported in imports(tree)
        if imported.split(".")[0] == library and layer_of(name) not in FENCES[library]
    }

    assert not outside


def test_the_clock_is_read_and_the_environment_asked_only_at_the_edge() -> None:
    allowed = {"ledger.clock", "ledger.settings", "ledger.cli", "api", "scripts"}
    readers = {
        f"{name}: {word}"
        for path, name, _ in modules()
        for word in ("datetime.now", "time.time()", "os.environ")
        if word in path.read_text() and layer_of(name) not in allowed
    }

    assert not readers


def test_modules_functions_and_lines_stay_readable() -> None:
    too_long = []
    for path, name, tree in modules():
        lines = path.read_text().count("\n")
        if lines > 360:
            too_long.append(f"{name}: {lines} lines")
        too_long += [
            f"{name}.{node.name}: {node.end_lineno - node.lineno} lines"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            and node.end_lineno is not None
            and node.end_lineno - node.lineno > 75
        ]

    assert not too_long


def test_every_event_has_a_literal_topic_of_its_own_and_says_what_happened() -> None:
    assert len(BY_TOPIC) == len(FACTS)
    for fact in FACTS:
        assert fact.__qualname__ == fact.TOPIC, (
            "a topic never changes, so it is spelled like its class"
        )
        assert fact.__doc__
        assert fact.stripe_type is None or fact.stripe_type in fact.__doc__
    assert len(EVENT_TYPES) == sum(fact.stripe_type is not None for fact in FACTS)


def test_the_page_of_events_is_current() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "catalogue.py"))["page"]

    assert (ROOT / "docs" / "events.md").read_text() == page(), "run scripts/catalogue"


def test_the_migrations_hold_no_data_work_and_only_expand() -> None:
    for path in (ROOT / "ledger" / "database" / "migrations").rglob("*.sql"):
        words = path.read_text().upper()
        for destructive in ("DROP TABLE", "DROP COLUMN", "RENAME "):
            assert destructive not in words, path


def test_the_project_names_no_machine_and_no_registry() -> None:
    leaks = [
        f"{path}: {word}"
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(
            (part.startswith(".") and part != ".ci") or part == "node_modules"
            for part in path.relative_to(ROOT).parts
        )
        and path.suffix in {".py", ".md", ".toml", ".lock", ".json", ".sql", ".sh", ""}
        for word in ("pypi" + ".org", "python" + "hosted", "npm" + "js", "/wo" + "rk/")
        if word in path.read_text(errors="replace")
    ]

    assert not leaks
