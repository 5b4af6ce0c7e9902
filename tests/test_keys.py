"""The master key: where it comes from, and that another can take its place without loss."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from api.v1.endpoints import ANSWERS
from ledger.application import Ledger, open_ledger
from ledger.bootstrap import Installation, migrate
from ledger.database import open_database
from ledger.errors import MasterKeyMismatch, SettingsInvalid
from ledger.health import warnings
from ledger.history import opened_event
from ledger.links import LinkInvalid, Links
from ledger.log import Log
from ledger.people.entrance import FACTOR
from ledger.people.users import People
from ledger.privacy.key_sources import given_keys, key_file
from ledger.privacy.master import load_master_key
from ledger.privacy.rotation import rotate
from ledger.projections.crm import queries
from ledger.projections.generations import Generation, on_path
from ledger.settings import Settings
from tests.facts import SECRET, customer, event, project, record
from tests.test_cli import Shell

NEW = b"another-master-key-of-32-bytes!!"


def text(*keys: bytes) -> str:
    return ",".join(base64.b64encode(one).decode() for one in keys)


def environ(tmp_path: Path, **given: str) -> Settings:
    return Settings.from_env({"LEDGER_HOME": str(tmp_path), **given})


# --- where it comes from --------------------------------------------------------------------------


def test_it_comes_from_the_environment_a_file_or_a_command(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(text(NEW) + "\n")
    command = f"{sys.executable} -c \"print('{text(NEW)}')\""

    for settings in (
        environ(tmp_path, LEDGER_MASTER_KEY=text(NEW)),
        environ(tmp_path, LEDGER_MASTER_KEY_FILE=str(file)),
        environ(tmp_path, LEDGER_MASTER_KEY_COMMAND=command),
    ):
        assert given_keys(settings, embedded=False) == [NEW]
        assert text(NEW) not in repr(settings)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"LEDGER_MASTER_KEY_FILE": "/nowhere/key"}, "no /nowhere/key"),
        ({"LEDGER_MASTER_KEY_COMMAND": "/nowhere/key"}, "cannot be run"),
        ({"LEDGER_MASTER_KEY_COMMAND": "false"}, "ended with 1"),
        ({"LEDGER_MASTER_KEY_COMMAND": "echo short"}, "does not hold a master key"),
        ({"LEDGER_MASTER_KEY_COMMAND": "echo 'open"}, "cannot be run"),
        ({"LEDGER_MASTER_KEY_FILE": "a", "LEDGER_MASTER_KEY_COMMAND": "b"}, "Set one of"),
    ],
)
def test_what_gives_no_key_is_named(tmp_path: Path, given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsInvalid, match=told):
        given_keys(environ(tmp_path, **given), embedded=False)


# --- another in its place -------------------------------------------------------------------------


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """A ledger in which everything is that hangs on the master key."""
    record(
        ledger,
        event("customer.created", customer()),
        event("customer.created", customer("cus_budi", name="Budi", email="budi@example.test")),
    )
    project(ledger)
    ledger.erase_customer("cus_budi", reason="customer_request")
    People(ledger).add("eka@example.test", "Eka", "admin", actor="tests")
    with ledger.pool.connection() as connection:
        factor = ledger.master.seal_setting(FACTOR, "JBSWY3DP")
        connection.execute("UPDATE users SET second_factor = %s", [factor])
        answer = ledger.master.seal_setting(ANSWERS, "{}")
        connection.execute(
            "INSERT INTO idempotency_keys VALUES ('t', 'k', '', 200, %s, now())", [answer]
        )
    return ledger


def under(ledger: Ledger, settings: Settings, *keys: bytes) -> Ledger:
    """Open the ledger as a process that was given these keys."""
    found = Settings(home=settings.home, master_keys=keys)
    with ledger.database.connect(ledger.schema) as connection:
        master = load_master_key(found, connection, embedded=True)
    return Ledger(ledger.settings, ledger.schema, ledger.database, master)


def turn(ledger: Ledger, opened: Ledger, **how: Any) -> Any:
    with ledger.database.connect_as_owner() as owner, owner.transaction():
        on_path(owner, Generation(ledger.schema, ledger.schema))
        return rotate(owner, opened.master, **how)


def everything(ledger: Ledger) -> list[Any]:
    """Return what can be read of what hangs on the master key."""
    with ledger.pool.connection() as connection:
        events = Log(connection).after(0, 100)
        opened = [opened_event(connection, ledger.keys, one).data for one in events]
        found = queries.search_filter(
            ledger.master.derive("search"), email="andi@example.test", query=None
        )
        page = queries.page(connection, queries.CUSTOMERS, limit=5, found=found)
        factors = connection.execute("SELECT second_factor FROM users").fetchall()
        answers = connection.execute("SELECT body FROM idempotency_keys").fetchall()
    return [
        opened,
        [row["id"] for row in page.rows],
        People(ledger).one("eka@example.test").name,
        ledger.master.open_setting(FACTOR, factors[0][0]),
        ledger.master.open_setting(ANSWERS, answers[0][0]),
        ledger.master.derive("delivery digests"),
    ]


@pytest.fixture
def former(settings: Settings) -> bytes:
    return settings.master_keys[0]


def test_under_another_master_key_everything_is_read_as_before(
    full: Ledger, settings: Settings, former: bytes
) -> None:
    before = everything(full)
    link = Links(full.master, full.name).make("", "unsubscribe", "cus_andi", "mail")
    both = under(full, settings, NEW, former)
    assert everything(both) == before  # before it is turned, both being given
    with both.pool.connection() as connection:
        codes = [one.code for one in warnings(settings, both, connection)]
    assert "master_key_being_replaced" in codes
    record(both, event("customer.created", customer("cus_baru", email="baru@example.test")))
    done = turn(full, both)
    project(both)
    alone = under(full, settings, NEW)

    assert done.subjects == 1  # Andi; who came meanwhile is under the new one
    assert everything(alone)[1:] == before[1:]
    assert everything(alone)[0][: len(before[0])] == before[0]
    assert "baru@example.test" in str(everything(alone)[0])
    assert "Budi" not in str(everything(alone)[0])
    found = Links(alone.master, full.name).read("unsubscribe", link.rpartition("/")[2])
    assert found.customer_id == "cus_andi"
    with pytest.raises(MasterKeyMismatch):
        under(full, settings, former)
    for one in (both, alone):
        one.close()


def test_turned_again_and_again_nothing_is_lost(
    full: Ledger, settings: Settings, former: bytes
) -> None:
    before, keys = everything(full), [former, *(os.urandom(32) for _ in range(3))]
    for old, new in pairwise(keys):
        both = under(full, settings, new, old)
        turn(full, both)
        assert turn(full, both).subjects == 0  # it is through
        both.close()
    last = under(full, settings, keys[-1])

    assert everything(last) == before
    last.close()


def test_links_that_were_sent_can_be_ended_with_the_key(
    full: Ledger, settings: Settings, former: bytes
) -> None:
    link = Links(full.master, full.name).make("", "cancel", "cus_andi", "sub_andi")
    both = under(full, settings, NEW, former)
    turn(full, both, ends_links=True)
    alone = under(full, settings, NEW)

    with pytest.raises(LinkInvalid):
        Links(alone.master, full.name).read("cancel", link.rpartition("/")[2])
    for one in (both, alone):
        one.close()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose key was made by itself."""
    settings = Settings.from_env({"LEDGER_HOME": str(tmp_path), "STRIPE_WEBHOOK_SECRET": SECRET})
    database = open_database(settings)
    migrate(database)
    opened = Installation(settings, database)
    yield opened
    opened.close()


def test_a_key_that_was_made_here_is_replaced_by_one_command(made: Installation) -> None:
    ledger = made.ledger("default")
    record(ledger, event("customer.created", customer()))
    shell, before = Home(made.settings, "default"), key_file(made.settings).read_text()
    refused = shell("keys", "rotate")
    assert (refused.code, "Stop `ledger serve`" in refused.err) == (1, True)
    ledger.close()
    made.forget("default")
    unsaved = shell("keys", "rotate")
    assert (unsaved.code, "keys confirm" in unsaved.err) == (1, True)
    assert shell("keys", "confirm").code == 0

    done = shell("keys", "rotate", "--json")

    assert (done.code, done.json["made"]) == (0, True), done.err
    after = key_file(made.settings).read_text()
    assert (len(after.split()), after != before) == (1, True)
    again = open_ledger(made.settings, made.database, "default")
    with again.pool.connection() as connection:
        (first, *_) = Log(connection).after(0, 10)
        assert "Andi Wijaya" in str(opened_event(connection, again.keys, first).data)
    again.close()


class Home(Shell):
    """The command line of an installation whose key lies in its home."""

    def environ(self, **changes: str) -> dict[str, str]:
        return {"LEDGER_HOME": str(self.settings.home), "LEDGER_MASTER_KEY": "", **changes}


def test_with_one_key_of_ones_own_it_says_how(ledger: Ledger, settings: Settings) -> None:
    said = Shell(settings, ledger.name)("keys", "rotate")

    assert said.code == 1
    assert "NEW,PRESENT" in said.err
