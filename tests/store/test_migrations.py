"""The schema over time: models and migrations agree, and an upgrade is whole, backed up, or did not happen."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from orchestrator.errors import StoreError, StoreNewer
from orchestrator.store import Store, migrate
from orchestrator.store.tables import metadata
from tests.store.tools import ask, begun, go_on, take, texts, worker

NEXT = """
from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

def upgrade():
    op.create_table("added", sa.Column("id", sa.Integer, primary_key=True))
    op.add_column("thread", sa.Column("mood", sa.Text))
    op.execute("UPDATE thread SET mood = 'calm'")
    {last}
"""


def schema(path: Path) -> dict[str, str]:
    """Every table and index of a file, as SQL with its white space folded."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger'"
            " AND name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'"
        )
        return {name: " ".join(sql.split()) for name, sql in rows}


def backups(path: Path) -> list[Path]:
    return sorted(file for file in path.parent.iterdir() if ".backup-" in file.name)


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """Migrations with one more than ours."""
    location = tmp_path / "migrations"
    shutil.copytree(migrate.CURRENT.location, location, ignore=shutil.ignore_patterns("__pycache__"))
    (location / "versions" / "0002_next.py").write_text(NEXT.format(last=""))
    return location


@pytest.fixture
def used(path: Path) -> str:
    """A store with a dialogue in it; the thread's id."""
    with Store.open(path) as store:
        thread = begun(store)
        take(store, ask(store, thread.id))
        go_on(store, thread.id, "the last")
    return thread.id


def as_next(monkeypatch: pytest.MonkeyPatch, location: Path) -> None:
    monkeypatch.setattr(migrate, "CURRENT", migrate.Schema(version=2, head="0002", location=location))


class TestAgreement:
    def test_alembic_finds_no_difference_between_models_and_migrations(self, path: Path) -> None:
        engine = create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
        engine.dispose()

    def test_checks_and_keys_are_the_same_too(self, path: Path, tmp_path: Path) -> None:
        made = tmp_path / "made.db"
        engine = create_engine(f"sqlite:///{made}")
        metadata.create_all(engine)
        engine.dispose()
        ours, theirs = schema(path), schema(made)
        assert ours.keys() == theirs.keys()
        for name, sql in ours.items():
            assert parts(sql) == parts(theirs[name])

    def test_the_head_and_the_version_known_to_the_code_are_those_of_the_files(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrate.CURRENT.location))
        script = ScriptDirectory.from_config(config)
        assert script.get_heads() == [migrate.CURRENT.head]
        assert len(list(script.walk_revisions())) == migrate.CURRENT.version


def parts(sql: str) -> set[str]:
    """The clauses of a CREATE TABLE, in any order."""
    return {clause.strip() for clause in sql[: sql.rindex(")")].split(", ")}


class TestUpgrading:
    def test_a_first_start_makes_no_backup(self, tmp_path: Path) -> None:
        path = tmp_path / "home" / "inner.db"
        Store.open(path).close()
        assert backups(path) == []

    def test_an_older_store_is_copied_and_then_upgraded_with_everything_in_it(
        self, path: Path, used: str, next_version: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        as_next(monkeypatch, next_version)
        with Store.open(path) as store:
            assert texts(store, used)[-1] == "the last"
            assert store.integrity() == []
        (copy,) = backups(path)
        assert copy.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT mood FROM thread").fetchall() == [("calm",)]
        with closing(sqlite3.connect(copy)) as connection:
            assert "mood" not in {row[1] for row in connection.execute("PRAGMA table_info(thread)")}
        Store.open(path).close()
        assert backups(path) == [copy]
        monkeypatch.undo()
        with pytest.raises(StoreNewer):
            Store.open(path)
        with Store.open(copy) as store:
            assert texts(store, used)[-1] == "the last"

    def test_a_migration_that_fails_leaves_the_store_as_it_was(
        self, path: Path, used: str, next_version: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = schema(path)
        with monkeypatch.context() as patch:
            as_next(patch, next_version)
            (next_version / "versions" / "0002_next.py").write_text(
                NEXT.format(last="op.drop_table('nowhere')")
            )
            with pytest.raises(StoreError):
                Store.open(path)
        assert schema(path) == before
        assert len(backups(path)) == 1
        with Store.open(path) as store:
            assert texts(store, used)[-1] == "the last"

    def test_a_migration_killed_half_way_is_done_whole_by_the_next_start(
        self, path: Path, used: str, next_version: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = schema(path)
        script = next_version / "versions" / "0002_next.py"
        script.write_text(NEXT.format(last="import os; os.kill(os.getpid(), 9)"))
        with worker("upgrade", path, next_version) as process:
            assert process.wait(timeout=60) == -9
        assert schema(path) == before
        script.write_text(NEXT.format(last=""))
        as_next(monkeypatch, next_version)
        with Store.open(path) as store:
            assert texts(store, used)[-1] == "the last"
            assert store.integrity() == []
        assert "added" in schema(path)
