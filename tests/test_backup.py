"""Copies and the way back: what comes back is what was, but for whoever was erased since."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.aggregates.sending import Sending
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.database.embedded import EmbeddedServer
from ledger.decisions import Decisions
from ledger.errors import RequestInvalid
from ledger.history import opened_event
from ledger.log import Log
from ledger.log.seals import seal, verify
from ledger.people import tokens
from ledger.people.users import People
from ledger.privacy.sealed_file import (
    SealedFileDamaged,
    SealedFileForeign,
    SealedReader,
    SealedWriter,
)
from ledger.projections.rebuild import Rebuild
from ledger.recovery import drill
from ledger.recovery.copies import (
    DATA,
    KEYS,
    Copy,
    copies_in,
    read_register,
    register_of,
    remove_old,
    write_register,
)
from ledger.recovery.drill import (
    SCRATCH,
    Folders,
    back_up,
    clear_drills,
    keep_backed_up,
    last_verified,
)
from ledger.recovery.restore import erase_what_is_traced, restore
from ledger.settings import Settings
from tests.conftest import new_ledger
from tests.facts import customer, event, project, record
from tests.reactions import Reactor, andi, failed
from tests.test_cli import Shell
from tests.test_erasure import life_of_andi, life_of_budi
from tests.test_rebuild import rows as views

KEY, OTHER = b"k" * 32, b"o" * 32


# --- sealed files ---------------------------------------------------------------------------------


def sealed(*parts: bytes, key: bytes = KEY) -> bytes:
    out = io.BytesIO()
    writer = SealedWriter(out, key, {"kind": "test"})
    for part in parts:
        writer.write(part)
    writer.close()
    return out.getvalue()


def read(content: bytes, *keys: bytes) -> bytes:
    return b"".join(SealedReader(io.BytesIO(content), keys or (KEY,), "x").chunks())


@given(st.lists(st.binary(max_size=3_000), max_size=5))
def test_what_is_sealed_is_read_again(parts: list[bytes]) -> None:
    assert read(sealed(*parts)) == b"".join(parts)


def test_what_is_larger_than_a_frame_is_read_again() -> None:
    content = os.urandom(5 << 20)
    assert read(sealed(content, b"end"), OTHER, KEY) == content + b"end"
    assert content[:64] not in sealed(content)


@given(st.data())
def test_cut_off_or_changed_anywhere_it_is_refused(data: Any) -> None:
    whole = bytearray(sealed(b"one", b"two" * 500))
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises((SealedFileDamaged, SealedFileForeign)):
        read(bytes(whole[:at]))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((SealedFileDamaged, SealedFileForeign)):
        read(bytes(whole))


def test_frames_of_two_files_do_not_mix_and_nothing_may_follow() -> None:
    one, two = sealed(b"a" * 10), sealed(b"b" * 10)
    head = one.index(b"}") + 1
    with pytest.raises(SealedFileDamaged):
        read(one[:head] + two[two.index(b"}") + 1 :])
    with pytest.raises(SealedFileDamaged, match="follows"):
        read(one + b"x")


def test_under_another_master_key_it_is_said_which_is_needed() -> None:
    with pytest.raises(SealedFileForeign, match="another master key"):
        read(sealed(b"x"), OTHER)


# --- copies ---------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "data", tmp_path / "keys")


@pytest.fixture
def lived(ledger: Ledger) -> Ledger:
    """A ledger in which people lived, were written to, and of whom somebody is erased."""
    reactor = Reactor(ledger)
    reactor.told(*life_of_andi(), *life_of_budi())
    reactor.switch_on("stripe", campaign=None)
    reactor.told(event("customer.created", customer("cus_gone", name="Citra"), at=reactor.at()))
    ledger.erase_customer("cus_gone", reason="customer_request")
    People(ledger).add("eka@example.test", "Eka", "viewer", actor="t")
    with ledger.pool.connection() as connection:
        tokens.create(connection, ledger.name, "reader", ["read"])
        seal(connection)
    project(ledger)
    return ledger


@pytest.fixture
def empty(installation: Installation) -> Iterator[Ledger]:
    yield from new_ledger(installation)


def copied(settings: Settings, ledger: Ledger, folders: Folders) -> Copy:
    copy, _ = back_up(settings, ledger, folders, verified=False)
    return copy


def brought_back(installation: Installation, empty: Ledger, copy: Copy, *registers: Path) -> Ledger:
    restore(empty, copy.data, copy.keys, registers)
    empty.close()
    installation.forget(empty.name)
    again = installation.ledger(empty.name)
    project(again)
    erase_what_is_traced(again)
    project(again)
    return again


def told(ledger: Ledger, until: int) -> list[Any]:
    """Return every event as whoever may read everything reads it."""
    with ledger.pool.connection() as connection:
        events = [one for one in Log(connection).after(0, 1_000) if one.position <= until]
        return [opened_event(connection, ledger.keys, one) for one in events]


def words(ledger: Ledger, of: str | None = None) -> str:
    """Return all that can be read of somebody, or of everybody but Budi (who shares a card)."""
    events = told(ledger, 1_000)
    chosen = [one.data for one in events if (one.customer_id == of if of else
                                             one.customer_id != "cus_budi")]  # fmt: skip
    return json.dumps(chosen, default=str)


def test_what_comes_back_is_what_was(
    settings: Settings, lived: Ledger, empty: Ledger, installation: Installation, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    before = views(lived)
    again = brought_back(installation, empty, copy)

    assert told(again, copy.events) == told(lived, copy.events)
    with again.pool.connection() as connection:
        proven = verify(connection)
        released = [one.topic for one in Log(connection).after(copy.events, 10)]
    assert proven.is_clean
    assert proven.sealed_to > 0
    assert released == ["Sending.Released"]
    assert views(again) == before
    assert [one.email for one in People(again).listed()] == ["eka@example.test"]


def test_a_copy_tells_nothing_to_whoever_finds_it(
    settings: Settings, lived: Ledger, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    for file in (copy.data, copy.keys, register_of(folders.keys, lived.name)):
        content = file.read_bytes()
        for word in (b"Andi", b"andi@", b"customer.created", b"Budi"):
            assert word not in content
        assert file.stat().st_mode & 0o077 == 0
    assert folders.data.stat().st_mode & 0o777 == 0o700


def test_whoever_was_erased_since_is_nowhere(
    settings: Settings, lived: Ledger, empty: Ledger, installation: Installation, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    lived.erase_customer("cus_andi", reason="customer_request")
    write_register(lived, folders.keys)
    again = brought_back(installation, empty, copy, register_of(folders.keys, lived.name))

    assert "Andi" not in words(again)
    assert "andi@" not in words(again)
    assert "Budi" in words(again, "cus_budi")
    with again.pool.connection() as connection:
        rows = connection.execute(
            "SELECT wrapped_key FROM subject_keys WHERE subject = 'cus_andi'"
        ).fetchone()
        assert rows == (None,)
        assert verify(connection).is_clean
    late = event("customer.updated", customer(name="Andi Baru"))
    record(again, late)
    assert "Andi Baru" not in words(again)


def test_of_keys_that_are_older_than_the_erasure_none_comes_back_without_a_list_either(
    settings: Settings, lived: Ledger, empty: Ledger, installation: Installation, folders: Folders
) -> None:
    old = copied(settings, lived, folders)
    lived.erase_customer("cus_andi", reason="customer_request")
    lived.clock = Reactor(lived).clock
    lived.clock.at += timedelta(days=1)
    new = copied(settings, lived, folders)
    again = brought_back(installation, empty, replace(new, keys=old.keys))

    assert "Andi" not in words(again)


def test_without_keys_everything_comes_back_but_what_is_personal(
    settings: Settings, lived: Ledger, empty: Ledger, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    found = restore(empty, copy.data, None, [])

    assert found.keyless > 2
    everything = json.dumps([one.data for one in told(empty, copy.events)], default=str)
    assert "cus_andi" in everything
    assert "Andi" not in everything


def test_it_sends_nothing_until_somebody_claims_it(
    settings: Settings, lived: Ledger, empty: Ledger, installation: Installation, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    again = brought_back(installation, empty, copy)
    with again.pool.connection() as connection:
        sending = Decisions(connection, again.keys).find(Sending, Sending.STREAM)
    assert sending is not None
    assert sending.obstacle("stripe", "inst-test", "https://billing.example.test") == "not_claimed"
    reactor = Reactor(again)
    reactor.told(*andi(id_="cus_x"), *failed(reactor.at()))
    reactor.clock.at += timedelta(days=30)
    reactor.work()

    assert reactor.stripe.tasks == []


def test_a_ledger_that_is_not_empty_stays_as_it_is(
    settings: Settings, lived: Ledger, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    before = told(lived, 1_000)
    with pytest.raises(RequestInvalid, match="is not empty"):
        restore(lived, copy.data, copy.keys, [])

    assert told(lived, 1_000) == before


def test_what_cannot_be_used_changes_nothing(
    settings: Settings, lived: Ledger, empty: Ledger, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    content = copy.data.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-40] + b"x" * 40, b"nonsense"):
        copy.data.write_bytes(damaged)
        with pytest.raises(SealedFileDamaged):
            restore(empty, copy.data, copy.keys, [])
    with pytest.raises(RequestInvalid, match="not of data"):
        restore(empty, copy.keys, copy.keys, [])

    assert told(empty, 1_000) == []


def test_whoever_is_erased_is_written_down_wherever_keys_were_copied_to(
    settings: Settings, lived: Ledger, empty: Ledger, tmp_path: Path
) -> None:
    to = ("--to", str(tmp_path / "a"), "--keys-to", str(tmp_path / "b"))
    shell = Shell(settings, lived.name)
    made = shell("backup", *to, "--no-verify", "--json")
    assert shell("forget", "cus_andi", "--yes", "--json").json["state"] == "erased"
    back = Shell(settings, empty.name)
    keys = ("--keys", made.json["keys"])
    done = back("restore", made.json["data"], *keys, "--offline", "--json")

    assert done.code == 0, done.err
    assert "Andi" not in words(empty)
    assert "andi@" not in back("export", "customer", "cus_andi").out


def test_without_the_list_of_the_erased_nobody_comes_back(
    settings: Settings, lived: Ledger, empty: Ledger, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    register_of(folders.keys, lived.name).unlink()
    said = Shell(settings, empty.name)("restore", str(copy.data), "--keys", str(copy.keys))

    assert (said.code, "list of the erased" in said.err) == (1, True)
    assert told(empty, 1_000) == []


def test_a_folder_of_keys_that_is_away_is_named(
    settings: Settings, lived: Ledger, folders: Folders
) -> None:
    copied(settings, lived, folders)
    folders.keys.rename(folders.keys.with_name("unplugged"))
    said = Shell(settings, lived.name)("forget", "cus_andi", "--yes", "--later")

    assert (said.code, str(folders.keys) in said.err) == (0, True)


def test_a_copy_that_fails_its_trial_does_not_keep_old_keys(
    settings: Settings, lived: Ledger, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folders.keys / f"{lived.name}-20200101T000000Z{KEYS}"
    folders.keys.mkdir(parents=True)
    old.touch()

    def fails(*_: object) -> int:
        raise RequestInvalid("no room for a scratch server")

    monkeypatch.setattr(drill, "drill", fails)
    with pytest.raises(RequestInvalid, match="scratch"):
        back_up(settings, lived, folders)
    assert not old.exists()


def test_a_restore_that_was_cut_off_goes_on(
    settings: Settings, lived: Ledger, empty: Ledger, folders: Folders,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    copy = copied(settings, lived, folders)
    call = ("restore", str(copy.data), "--keys", str(copy.keys), "--offline", "--json")

    def dies(*_: object, **__: object) -> None:
        raise RequestInvalid("the power is gone")

    with monkeypatch.context() as broken:
        broken.setattr(Rebuild, "run", dies)
        assert Shell(settings, empty.name)(*call).code == 1
    assert "Andi" in words(empty)  # the log is back, the views are not
    done = Shell(settings, empty.name)(*call)

    assert (done.code, "going on" in done.err) == (0, True), done.err
    assert (done.json["events"], done.json["clean"]) == (copy.events, True)
    assert done.json["keys"] > 2
    assert "not empty" in Shell(settings, empty.name)(*call).err


def test_without_the_copys_master_key_nothing_is_made(
    settings: Settings, lived: Ledger, folders: Folders, tmp_path: Path
) -> None:
    copy = copied(settings, lived, folders)
    for key in ("", base64.b64encode(b"x" * 32).decode()):
        said = Shell(settings, "default")(
            "restore", str(copy.data), LEDGER_HOME=str(tmp_path / "new"), LEDGER_MASTER_KEY=key
        )
        assert (said.code, "master key" in said.err) == (1, True)
        assert not (tmp_path / "new").exists()


def test_a_damaged_head_or_list_is_said(
    settings: Settings, lived: Ledger, empty: Ledger, folders: Folders
) -> None:
    copy = copied(settings, lived, folders)
    whole = copy.data.read_bytes()
    for at in (20, 40, 130):
        copy.data.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises((SealedFileDamaged, SealedFileForeign)):
            restore(empty, copy.data, copy.keys, [])
    copy.data.write_bytes(whole)
    register_of(folders.keys, lived.name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestInvalid, match="damaged"):
        restore(empty, copy.data, copy.keys, [register_of(folders.keys, lived.name)])
    assert told(empty, 1_000) == []


def test_what_a_killed_drill_has_left_is_ended_and_removed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    alive, dead, young = (tmp_path / f"{SCRATCH}{name}" for name in ("alive", "dead", "young"))
    servers = {one: EmbeddedServer(one) for one in (alive, dead)}
    for server in servers.values():
        server.acquire()
    users, servers[dead]._users = servers[dead]._users, None
    assert users is not None
    users.close()  # as if its process were gone
    young.mkdir()
    for one in (alive, dead):
        os.utime(one, (1, 1))
    clear_drills(settings, datetime.now(UTC))

    assert {one.name for one in tmp_path.iterdir()} == {alive.name, young.name}
    assert not servers[dead].is_listening()
    servers[alive].release()


def test_all_copies_of_the_last_day_stay(tmp_path: Path) -> None:
    now = datetime(2026, 11, 28, 16, tzinfo=UTC)
    for minutes in (1, 9, 300):
        (tmp_path / f"main-{now - timedelta(minutes=minutes):%Y%m%dT%H%M%SZ}{DATA}").touch()

    assert remove_old("main", tmp_path, tmp_path / "k", now) == []


def test_keys_are_kept_apart(settings: Settings, lived: Ledger, tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="apart"):
        back_up(settings, lived, Folders(tmp_path, tmp_path))


# --- how long -------------------------------------------------------------------------------------


def test_keys_go_after_a_week_and_data_is_thinned_out(tmp_path: Path) -> None:
    folders, now = Folders(tmp_path / "d", tmp_path / "k"), datetime(2026, 11, 28, 3, tzinfo=UTC)
    for one in (folders.data, folders.keys):
        one.mkdir()
    for days in range(500):
        at = now - timedelta(days=days)
        (folders.data / f"main-{at:%Y%m%dT%H%M%SZ}{DATA}").touch()
        (folders.keys / f"main-{at:%Y%m%dT%H%M%SZ}{KEYS}").touch()
    (folders.data / f"main-2-20200101T000000Z{DATA}").touch()
    remove_old("main", folders.data, folders.keys, now)

    keys = [(now - at).days for at, _ in copies_in(folders.keys, "main", KEYS)]
    data = [(now - at).days for at, _ in copies_in(folders.data, "main", DATA)]
    assert keys == list(range(8))
    assert data[:8] == list(range(8))
    assert 10 <= len(data[8:]) <= 17
    assert max(data) <= 366
    assert (folders.data / f"main-2-20200101T000000Z{DATA}").exists()
    assert remove_old("main", folders.data, folders.keys, now) == []


def test_the_newest_stays_whatever_its_age(tmp_path: Path) -> None:
    old = tmp_path / f"main-20200101T000000Z{DATA}"
    old.touch()
    remove_old("main", tmp_path, tmp_path, datetime(2026, 1, 1, tzinfo=UTC))

    assert old.exists()


def test_who_is_written_down_as_erased_stays_so(ledger: Ledger, tmp_path: Path) -> None:
    register_of(tmp_path, ledger.name).write_text("cus_before\n")
    record(ledger, event("customer.created", customer()))
    ledger.erase_customer("cus_andi", reason="customer_request")
    write_register(ledger, tmp_path)

    assert read_register(register_of(tmp_path, ledger.name)) == {"cus_before", "cus_andi"}


# --- each night, and by hand ----------------------------------------------------------------------


def test_each_night_a_copy_is_made_and_tried(
    settings: Settings, lived: Ledger, tmp_path: Path
) -> None:
    own = replace(settings, backups=str(tmp_path / "d"), key_backups=str(tmp_path / "k"),
                  home=tmp_path)  # fmt: skip
    assert keep_backed_up(own, lived)
    assert not keep_backed_up(own, lived)  # there is one of today
    with lived.pool.connection() as connection:
        assert last_verified(connection) is not None
    assert {one.name for one in tmp_path.iterdir()} == {"d", "k"}  # the scratch server is gone
    assert not keep_backed_up(replace(own, backups="off"), lived)


def test_a_copy_whose_log_was_changed_fails_its_trial(
    settings: Settings, lived: Ledger, folders: Folders, tmp_path: Path
) -> None:
    with lived.database.connect_as_owner() as owner, owner.transaction():
        owner.execute("SET LOCAL session_replication_role = replica")
        owner.execute(f'UPDATE "{lived.schema}".events SET data = \'{{}}\' WHERE position = 2'
                      .encode())  # fmt: skip
    own = replace(settings, home=tmp_path / "home")
    with pytest.raises(RequestInvalid, match="edited at 2"):
        back_up(own, lived, folders)

    assert list(own.home.iterdir()) == []
    with lived.pool.connection() as connection:
        assert last_verified(connection) is None


def test_a_copy_with_events_or_keys_missing_fails_its_trial(
    settings: Settings, lived: Ledger, folders: Folders, tmp_path: Path
) -> None:
    own = replace(settings, home=tmp_path / "home")
    copy = copied(settings, lived, folders)
    with pytest.raises(RequestInvalid, match=f"holds {copy.events} events of {copy.events + 1}"):
        drill.drill(own, lived, replace(copy, events=copy.events + 1), lambda *_: None)
    copy.keys.write_bytes(copy.keys.read_bytes()[:-1])
    with pytest.raises(SealedFileDamaged):
        drill.drill(own, lived, copy, lambda *_: None)

    assert list(own.home.iterdir()) == []


def test_keys_alone_are_copied_too(settings: Settings, lived: Ledger, tmp_path: Path) -> None:
    said = Shell(settings, lived.name)("keys", "backup", "--to", str(tmp_path), "--json")

    assert said.code == 0, said.err
    assert Path(said.json["keys"]).read_bytes().startswith(b"LEDGERSEAL1")
    assert read_register(register_of(tmp_path, lived.name)) == {"cus_gone"}
    assert copies_in(tmp_path, lived.name, DATA) == []


def test_by_hand_there_and_back(
    settings: Settings, lived: Ledger, empty: Ledger, tmp_path: Path
) -> None:
    to = ("--to", str(tmp_path / "d"), "--keys-to", str(tmp_path / "k"))
    made = Shell(settings, lived.name)("backup", *to, "--no-verify", "--json")
    assert made.code == 0, made.err
    shell = Shell(settings, empty.name)
    refused = shell("restore", made.json["data"], "--keys-from", str(tmp_path / "nowhere"))
    back = shell("restore", made.json["data"], "--keys-from", str(tmp_path / "k"), "--json")
    again = shell("restore", made.json["data"], "--keys-from", str(tmp_path / "k"))

    assert (refused.code, "no file of keys" in refused.err) == (1, True)
    assert back.code == 0, back.err
    assert (back.json["events"], back.json["clean"]) == (made.json["events"], True)
    assert back.json["caught_up"] == "STRIPE_API_KEY is not set"
    assert (again.code, "not empty" in again.err) == (1, True)
    assert "cus_andi" in shell("events", "--customer", "cus_andi").out
