"""The `ledger` command as people and scripts meet it: what it prints, and how it fails."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from ledger.application import Ledger, change_settings, keep_mode
from ledger.bootstrap import Installation
from ledger.cli import main
from ledger.database.migrate import schema_of
from ledger.errors import SettingsInvalid
from ledger.log.seals import seal
from ledger.people import tokens
from ledger.settings import DEFAULT_LEDGER, Settings
from tests.conftest import new_ledger
from tests.facts import SECRET, T0, Json, customer, event, project, record, signed, subscription
from tests.test_database import ledger_command
from tests.test_kills import TOKEN, serving

TIMEOUT_SECONDS = 60
Call = tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Runs `ledger` on the installation of these tests.

    Calling it runs the command inside this process, where it costs a tenth; `processes` runs
    the real thing.
    """

    settings: Settings
    name: str

    def environ(self, **changes: str) -> dict[str, str]:
        given = {
            "LEDGER_HOME": str(self.settings.home),
            "LEDGER_MASTER_KEY": ",".join(
                base64.b64encode(one).decode() for one in self.settings.master_keys
            ),
            "LEDGER_DATABASE_URL": self.settings.database_url or "",
            "STRIPE_WEBHOOK_SECRET": SECRET,
        }
        return {**given, **changes}

    def __call__(self, *call: str, **environ: str) -> Said:
        out, err, code = StringIO(), StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.environ(**environ).items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["ledger", "--ledger", self.name, *call])
            try:
                main()
            except SystemExit as done:
                code = int(done.code or 0)
        return Said(code, out.getvalue(), err.getvalue())

    def both(self, *call: str) -> tuple[str, Any]:
        """Return what a command that succeeds prints for people, and as JSON."""
        people, scripts = self(*call), self(*call, "--json")
        assert (people.code, people.err, scripts.code, scripts.err) == (0, "", 0, "")
        return people.out, scripts.json

    def processes(self, *calls: Call, **environ: str) -> list[Said]:
        """Run commands as processes of their own, at the same time."""
        given = self.environ(**environ)
        started = [
            ledger_command(self.settings.home, "--ledger", self.name, *call, **given)
            for call in calls
        ]
        told = [command.communicate(timeout=TIMEOUT_SECONDS) for command in started]
        return [
            Said(command.returncode, out, err)
            for command, (out, err) in zip(started, told, strict=True)
        ]


STORY: tuple[Json, ...] = (
    event("customer.created", customer()),
    event("customer.subscription.created", subscription(status="incomplete"), at=T0 + 1),
    event("customer.subscription.updated", subscription(), at=T0 + 2,
          previous={"status": "incomplete"}),
)  # fmt: skip


@pytest.fixture(scope="module")
def told(installation: Installation) -> Iterator[Ledger]:
    """A ledger with a sealed story that these tests only read."""
    for ledger in new_ledger(installation):
        record(ledger, *STORY)
        with ledger.pool.connection() as connection:
            seal(connection)
        yield ledger


@pytest.fixture
def shell(settings: Settings, told: Ledger) -> Shell:
    return Shell(settings, told.name)


# --- reading the log -----------------------------------------------------------------------------


def test_events_are_shown_newest_first(shell: Shell) -> None:
    table, listed = shell.both("events")

    lines = table.splitlines()
    assert lines[0].split() == [
        "position", "occurred_at", "stream", "type", "stripe_type", "stripe_event_id",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert [one["stripe_event_id"] for one in listed] == [one["id"] for one in reversed(STORY)]
    assert listed[0]["data"]["object"]["status"] == "active"


def test_events_are_filtered_and_a_cut_list_says_so(shell: Shell) -> None:
    cut = shell("events", "--limit", "1")
    of_stream = shell("events", "--stream", "sub_andi", "--json")
    by_type = shell("events", "--type", "Customer.Created", "--json")
    by_id = shell("events", "--stripe-event-id", STORY[1]["id"], "--json")

    assert len(cut.out.splitlines()) == 3
    assert cut.out.splitlines()[-1] == "… older ones exist; --limit shows more than 1."
    assert [one["position"] for one in of_stream.json] == [3, 2]
    assert [one["position"] for one in by_type.json] == [1]
    assert [one["position"] for one in by_id.json] == [2]


def test_nothing_personal_is_shown(shell: Shell) -> None:
    table, listed = shell.both("show", "cus_andi")

    for word in ("Andi", "example.test", "Somba"):
        assert word not in table + json.dumps(listed)
    assert listed["events"][0]["has_personal"] is True


def test_a_stream_is_shown_with_its_state_and_its_events(shell: Shell) -> None:
    page, told = shell.both("show", "sub_andi")

    assert "subscription sub_andi is active, as of 2026-01-01 00:00:02 UTC" in page
    (state,) = told["objects"]
    assert (state["id"], state["mark"], state["state"]["status"]) == ("sub_andi", "clear", "active")
    assert [one["position"] for one in told["events"]] == [2, 3]


# --- proving it ----------------------------------------------------------------------------------


def test_a_clean_log_is_verified(shell: Shell) -> None:
    told, proof = shell.both("verify")

    assert told.splitlines()[0] == "Sealed and unchanged: 1 to 3."
    assert proof["head"] in told
    assert (proof["clean"], proof["sealed_to"], proof["unsealed"]) == (True, 3, 0)
    assert proof["findings"] == []


def test_a_changed_log_is_reported_with_the_position_and_exit_code_1(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    shell, kept = Shell(settings, ledger.name), str(tmp_path / "seals")
    record(ledger, *STORY)
    with ledger.pool.connection() as connection:
        seal(connection)
    exported = shell("verify", "--export", kept)
    events = sql.Identifier(ledger.schema, "events")
    with ledger.database.connect_as_owner() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            sql.SQL("UPDATE {} SET object_id = 'cus_x' WHERE position = 2").format(events)
        )

    people, scripts = shell("verify"), shell("verify", "--json")
    (against,) = shell.processes(("verify", "--against", kept, "--json"))

    assert exported.out.splitlines()[-1].startswith(f"1 seals written to {kept}")
    assert (people.code, scripts.code, against.code) == (1, 1, 1)
    assert people.out.splitlines()[0].startswith("edited at 2: ")
    assert [(one["kind"], one["position"]) for one in scripts.json["findings"]] == [("edited", 2)]
    assert "Traceback" not in people.err + scripts.err + against.err


def test_doctor_says_how_the_ledger_does(shell: Shell) -> None:
    told, state = shell.both("doctor")

    assert f"Ledger `{shell.name}` (test): 3 events, sealed to 3" in told
    assert told.splitlines()[-1] == "Nothing needs a look."
    assert state["status"]["log"] == {"position": 3, "sealed_to": 3}
    assert state["warnings"] == []


def test_doctor_exits_with_1_when_something_needs_a_look(
    settings: Settings, ledger: Ledger
) -> None:
    conflicting = {**STORY[0], "data": {"object": customer(delinquent=True)}}
    record(ledger, STORY[0], conflicting)

    shell = Shell(settings, ledger.name)
    people, scripts = shell("doctor"), shell("doctor", "--json")

    assert (people.code, scripts.code) == (1, 1)
    assert "! 1 deliveries bore a known event id with another content." in people.out
    assert [one["code"] for one in scripts.json["warnings"]] == ["conflicting_deliveries"]


# --- tokens, ledgers, migrations -----------------------------------------------------------------


def test_a_token_is_shown_once_works_and_is_useless_once_revoked(
    shell: Shell, told: Ledger
) -> None:
    made = shell("token", "create", "--name", "books", "--scope", "personal", "--json").json
    with told.pool.connection() as connection:
        token = tokens.find(connection, made["token"], told.clock.now())
    assert token is not None
    assert token.may("personal")

    table, listed = shell.both("token", "list")
    assert made["token"] not in table + json.dumps(listed)
    assert (made["id"], ["personal"]) in [(one["id"], one["scopes"]) for one in listed]

    assert shell("token", "revoke", made["id"]).out == f"{made['id']} is revoked.\n"
    with told.pool.connection() as connection:
        assert tokens.find(connection, made["token"], told.clock.now()) is None


@pytest.fixture
def added(settings: Settings, installation: Installation) -> Iterator[Shell]:
    """A shell on a ledger that the command itself has added."""
    shell = Shell(settings, "shop_two")
    said = shell("ledgers", "add", "shop_two", "--webhook-secrets", "whsec_a,whsec_b")
    assert said.out == "Ledger shop_two added; its webhook is /webhooks/stripe/shop_two.\n"
    yield shell
    with installation.database.connect_as_owner() as connection:
        schema = sql.Identifier(schema_of("shop_two"))
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
        connection.execute("DELETE FROM ledger_installation.ledgers WHERE name = 'shop_two'")


def test_a_ledger_is_added_listed_and_changed(added: Shell) -> None:
    first, again = added("ledgers", "list", "--json"), added("ledgers", "add", "shop_two")
    changed = added("ledgers", "set", "shop_two", "--mode", "live", "--json")
    empty = added("ledgers", "set", "shop_two")
    table = added("ledgers", "list").out

    (row,) = (one for one in first.json if one["name"] == "shop_two")
    assert (row["mode"], row["webhook_secrets"]) == ("test", 2)
    assert changed.json == {"name": "shop_two", "changed": True}
    assert [again.code, empty.code] == [1, 1]
    (line,) = (line for line in table.splitlines() if line.startswith("shop_two "))
    assert line.split()[1] == "live"
    assert "whsec_" not in first.out + table


@pytest.mark.parametrize("call", [("events",), ("doctor",), ("token", "list"), ("verify",)])
def test_a_command_that_only_reads_changes_no_database(tmp_path: Path, call: Call) -> None:
    shell = Shell(Settings(home=tmp_path / "new"), DEFAULT_LEDGER)

    said = shell(*call)

    assert (said.code, said.out) == (1, "")
    assert "`ledger migrate` brings it there" in said.err


def test_a_ledger_that_has_recorded_test_events_does_not_go_on_in_live_mode(
    ledger: Ledger,
) -> None:
    keep_mode(ledger, "live")
    keep_mode(ledger, "test")  # nothing was recorded yet
    record(ledger, event("customer.created", customer()))
    project(ledger)

    with pytest.raises(SettingsInvalid, match="has recorded test events"):
        keep_mode(ledger, "live")
    keep_mode(ledger, "test")


def test_another_bootstrap_token_ends_the_one_before(ledger: Ledger) -> None:
    now = ledger.clock.now()
    with ledger.pool.connection() as connection:
        tokens.preset(connection, "first")
        tokens.preset(connection, "second")
        assert tokens.find(connection, "first", now) is None
        assert tokens.find(connection, "second", now) is not None

        (known,) = tokens.listed(connection)
        tokens.revoke(connection, known["id"])
        tokens.preset(connection, "third")
        tokens.preset(connection, "second")
        assert tokens.find(connection, "second", now) is None  # revoked is revoked for good

        tokens.preset(connection, None)
        assert tokens.find(connection, "third", now) is None
        tokens.preset(connection, "third")
        found = tokens.find(connection, "third", now)
        assert found is not None
        assert found.may("people")


def test_migrating_what_is_migrated_does_nothing(shell: Shell) -> None:
    told, applied = shell.both("migrate")

    assert told == "Nothing to do: the database is up to date.\n"
    assert applied == {"applied": []}


# --- errors --------------------------------------------------------------------------------------

OTHER_KEY = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("call", "environ", "sentence"),
    [
        (("events",), {"LEDGER_MODE": "prod"}, "LEDGER_MODE is 'prod'"),
        (("events",), {"LEDGER_MASTER_KEY": "short"}, "LEDGER_MASTER_KEY must be 32 bytes"),
        (("events",), {"LEDGER_MASTER_KEY": OTHER_KEY}, "another master key"),
        (("events",), {"LEDGER_HOME": "/dev/null/home"}, "/dev/null/home"),
        (("show", "cus_nobody"), {}, "There is no stream 'cus_nobody'"),
        (("verify", "--against", "/nonexistent/seals"), {}, "/nonexistent/seals"),
        (("verify", "--against", __file__), {}, __file__),
        (("verify", "--export", "/nonexistent/seals"), {}, "/nonexistent/seals"),
        (("token", "revoke", "tok_none"), {}, "There is no token tok_none"),
        (("ledgers", "add", "No Name"), {}, "cannot be called 'No Name'"),
        (("ledgers", "set", "default", "--mode", "live"), {}, "LEDGER_MODE"),
    ],
    ids=str,
)
def test_what_a_person_can_mend_is_told_in_one_line(
    shell: Shell, call: Call, environ: dict[str, str], sentence: str
) -> None:
    said = shell(*call, **environ)

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("ledger: ")
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_a_process_tells_an_error_in_one_line_and_exits_with_1(shell: Shell) -> None:
    told = shell.processes(
        ("show", "cus_nobody"), ("serve", "--host", "192.0.2.1"), ("verify", "--against", "x")
    )

    for said in told:
        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
        assert said.err.startswith("ledger: ")


def test_an_unknown_ledger_is_told_with_the_way_to_find_the_known(settings: Settings) -> None:
    said = Shell(settings, "nowhere")("events")

    assert (said.code, said.out) == (1, "")
    assert said.err == (
        "ledger: There is no ledger 'nowhere' in this installation; `ledger ledgers list` shows"
        " them.\n"
    )


@pytest.mark.parametrize("call", [("conjure",), ("events", "--limit", "0"), ("show",)])
def test_a_call_that_makes_no_sense_exits_with_2_and_shows_the_usage(
    shell: Shell, call: Call
) -> None:
    said = shell(*call)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: ")


@pytest.mark.parametrize(
    "call", [("events", "--customer", "andi@example.test"), ("show", "Andi Wijaya")]
)
def test_a_person_typed_for_an_id_is_refused_before_postgresql_sees_it(
    shell: Shell, call: Call
) -> None:
    said = shell(*call)

    assert said.code == 2
    assert "this cannot be an id" in said.err


def test_the_seals_of_an_empty_log_can_be_checked(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    shell = Shell(settings, ledger.name)
    seals = str(tmp_path / "seals")

    assert shell("verify", "--export", seals).code == 0
    assert shell("verify", "--against", seals).code == 0


# --- as processes --------------------------------------------------------------------------------


def test_every_command_runs_as_a_process_of_its_own(shell: Shell) -> None:
    calls = (("events",), ("show", "sub_andi"), ("token", "list"), ("ledgers", "list"))
    in_json = (("verify", "--json"), ("doctor", "--json"), ("migrate", "--json"))

    said = shell.processes(*calls, *in_json)

    assert [(one.code, one.err) for one in said] == [(0, "")] * 7
    assert STORY[2]["id"] in said[0].out
    assert [isinstance(one.json, dict) for one in said[len(calls) :]] == [True] * 3


# --- beside a running server ---------------------------------------------------------------------


def test_the_command_works_beside_a_running_server(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
        body = json.dumps(STORY[0]).encode()
        connection.request("POST", "/webhooks/stripe", body, signed(body))
        assert connection.getresponse().status == 200
        connection.close()

        beside = [
            ledger_command(server.home, *call, "--json")
            for call in (("events",), ("verify",), ("token", "list"), ("migrate",))
        ]
        told = [json.loads(one.communicate(timeout=TIMEOUT_SECONDS)[0]) for one in beside]

        events, proof, listed, migrated = told
        assert [one["stripe_event_id"] for one in events] == [STORY[0]["id"]]
        assert proof["clean"]
        assert [one["name"] for one in listed] == ["bootstrap"]
        assert migrated == {"applied": []}
        assert server.is_ready()
        assert server.get("/v1/status")[0] == 200
        assert TOKEN not in json.dumps(told)


def test_changed_settings_count_from_the_next_start_on(
    settings: Settings, installation: Installation, ledger: Ledger
) -> None:
    change_settings(ledger, {"mode": "live"})

    assert ledger.settings.mode == "test"
    assert Shell(settings, ledger.name)("doctor", "--json").json["status"]["mode"] == "live"


def test_what_a_rebuild_would_take_can_be_asked(settings: Settings, ledger: Ledger) -> None:
    record(ledger, event("customer.created", customer()))
    shell = Shell(settings, ledger.name)

    (plan,) = json.loads(shell("rebuild", "crm", "crm", "--plan", "--json").out)

    assert (plan["projection"], plan["target"]) == ("crm", 1)
    assert plan["needed_bytes"] > 0
    project(ledger)
    (done,) = json.loads(shell("rebuild", "crm", "crm", "--json").out)
    assert (done["swapped"], done["differences"]) == (True, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rebuild", "crm", "--rollback", "--check"], "neither --check nor --plan"),
        (["diff", "cus_andi", "--from", "5", "--to", "2"], "--from 5 is after 2"),
        (["events", "--causes", "1", "--as-of", "2026-01-01"], "takes no filters"),
        (["show", "cus_andi", "--as-of", ""], "no instant"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    settings: Settings, ledger: Ledger, words: list[str], said: str
) -> None:
    record(ledger, event("customer.created", customer()))

    told = Shell(settings, ledger.name)(*words)

    assert told.code == 1
    assert said in told.err
