"""What the database itself refuses, whoever asks: the last defence of the facts."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.store import NewReply, NewRequest, Store
from orchestrator.store.tables import INSERT_ONLY, metadata
from tests.store.tools import ask, begun, go_on, take


@pytest.fixture(scope="module")
def filled(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a row in every table of facts."""
    path = Path(shutil.copy(template, tmp_path_factory.mktemp("filled") / "inner.db"))
    with Store.open(path) as store:
        thread = begun(store)
        go_on(store, thread.id)
        take(store, ask(store, thread.id))
        ask(store, thread.id)
        store.note_requests([NewRequest(id="r1", thread_id=thread.id, thought_id=thread.tip, voice="Echo")])
        store.note_replies([NewReply(request_id="r1", outcome="proposal")])
        store.keep_prompt("You are Echo.")
        store.keep_model("d1", "SmolLM2", {})
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path / "inner.db"))


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


@pytest.mark.parametrize("table", INSERT_ONLY)
def test_a_fact_cannot_be_changed_or_deleted(raw: sqlite3.Connection, table: str) -> None:
    column = next(iter(metadata.tables[table].c)).name
    rows = raw.execute(f"SELECT * FROM {table}").fetchall()
    assert rows
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
        with pytest.raises(sqlite3.IntegrityError, match=f"{table} is insert-only"):
            raw.execute(statement)
    assert raw.execute(f"SELECT * FROM {table}").fetchall() == rows


def test_only_threads_settings_and_drafts_are_mutable() -> None:
    assert set(metadata.tables) - set(INSERT_ONLY) == {"thread", "setting", "draft"}


def insert_choice(raw: sqlite3.Connection, **values: str | None) -> None:
    told = {
        "id": "c",
        "option_id": None,
        "text": None,
        "arbiter": "x",
        "via": "api",
        "seconds": "0",
        "seen": "",
        "created_at": "2026-01-01 00:00:00.000000",
    } | values
    names, marks = ", ".join(told), ", ".join("?" * len(told))
    raw.execute(f"INSERT INTO choice ({names}) VALUES ({marks})", list(told.values()))


def test_a_choice_can_only_name_an_option_of_its_own_fork(raw: sqlite3.Connection) -> None:
    chosen, open_ = (row[0] for row in raw.execute("SELECT id FROM fork ORDER BY seq"))
    (foreign,) = raw.execute("SELECT id FROM option WHERE fork_id = ?", (chosen,)).fetchone()
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        insert_choice(raw, fork_id=open_, kind="option", option_id=foreign)


def test_a_fork_has_one_choice(raw: sqlite3.Connection) -> None:
    (chosen,) = raw.execute("SELECT fork_id FROM choice").fetchone()
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*fork_id"):
        insert_choice(raw, fork_id=chosen, kind="none")


@pytest.mark.parametrize(
    ("kind", "with_option", "text"),
    [
        ("option", False, None),
        ("option", True, "words"),
        ("edit", True, None),
        ("edit", False, "words"),
        ("own", False, None),
        ("own", True, "words"),
        ("none", True, None),
        ("none", False, "words"),
        ("maybe", False, None),
    ],
)
def test_a_choice_has_exactly_what_its_kind_needs(
    raw: sqlite3.Connection, kind: str, with_option: bool, text: str | None
) -> None:
    (fork,) = raw.execute("SELECT id FROM fork ORDER BY seq DESC").fetchone()
    (option,) = raw.execute("SELECT id FROM option WHERE fork_id = ?", (fork,)).fetchone()
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        insert_choice(raw, fork_id=fork, kind=kind, option_id=option if with_option else None, text=text)


def test_a_choice_is_applied_once(raw: sqlite3.Connection) -> None:
    columns = [column.name for column in metadata.tables["thought"].c if column.name not in ("seq", "id")]
    names = ", ".join(columns)
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*choice_id"):
        raw.execute(
            f"INSERT INTO thought (id, {names}) SELECT 'again', {names} FROM thought WHERE choice_id IS NOT NULL"
        )


def test_a_tip_must_exist_when_the_transaction_ends(raw: sqlite3.Connection) -> None:
    raw.execute("UPDATE thread SET tip = 'nowhere'")
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        raw.commit()


def test_a_number_is_never_given_twice(raw: sqlite3.Connection) -> None:
    numbered = {row[0] for row in raw.execute("SELECT name FROM sqlite_sequence")}
    assert {table for table in metadata.tables if "seq" in metadata.tables[table].c} <= numbered


class TestIntegrity:
    """What the checks of the whole find where somebody went around the triggers."""

    def break_(self, raw: sqlite3.Connection, statement: str) -> None:
        raw.execute("PRAGMA foreign_keys = OFF")
        for table in INSERT_ONLY:
            raw.execute(f"DROP TRIGGER {table}_no_update")
            raw.execute(f"DROP TRIGGER {table}_no_delete")
        raw.execute(statement)
        raw.commit()

    @pytest.mark.parametrize(
        ("statement", "problem"),
        [
            ("UPDATE thought SET text = 'other' WHERE depth = 2", "digest"),
            ("UPDATE thought SET author = 'other' WHERE depth = 1", "digest"),
            ("UPDATE thought SET depth = 9 WHERE depth = 2", "depth or root"),
            ("UPDATE thought SET choice_id = NULL", "never applied"),
            (
                "UPDATE thought SET parent_id = root_id WHERE choice_id IS NOT NULL",
                "another thought than its fork's",
            ),
            ("UPDATE choice SET kind = 'none', option_id = NULL", "refused all options"),
            ("UPDATE fork SET asked = 0", "nobody was asked"),
            ("UPDATE thread SET tip = 'nowhere'", "does not exist"),
            ("DELETE FROM option", "does not exist"),
        ],
    )
    def test_it_names_what_is_wrong(
        self, store: Store, raw: sqlite3.Connection, statement: str, problem: str
    ) -> None:
        assert store.integrity() == []
        self.break_(raw, statement)
        found = store.integrity()
        assert found
        assert any(problem in told for told in found), found
