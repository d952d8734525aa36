"""The file itself: who may read it, how it is written, and what happens when it cannot be."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event

from orchestrator.errors import (
    DiskFull,
    NotWritable,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreForeign,
    StoreMissing,
    StoreNewer,
)
from orchestrator.store import Store, engine, migrate
from tests.store.tools import ask, begun, go_on, texts


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestOpening:
    def test_file_and_directory_are_its_owners_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "home" / "inner.db"
        old = os.umask(0o022)
        try:
            with Store.open(path) as store:
                begun(store)
                assert {mode(file) for file in path.parent.iterdir()} == {0o600}
        finally:
            os.umask(old)
        assert mode(path.parent) == 0o700

    def test_it_is_marked_as_ours_in_its_header(self, path: Path) -> None:
        header = path.read_bytes()[:100]
        assert header[68:72] == b"INNR"
        assert int.from_bytes(header[60:64], "big") == migrate.CURRENT.version

    def test_opening_again_finds_everything(self, path: Path) -> None:
        with Store.open(path) as store:
            thread = begun(store)
            go_on(store, thread.id, "more")
            fork = ask(store, thread.id)
        with Store.open(path, create=False) as store:
            assert texts(store, thread.id) == ["I keep postponing the call.", "more"]
            assert store.open_fork(thread.id) == fork

    def test_a_path_may_hold_any_character(self, tmp_path: Path) -> None:
        for name in ("a b", "100%", "what?", "#1", "ä", "a'b"):
            path = tmp_path / name / "inner.db"
            with Store.open(path) as store:
                begun(store)
            assert path.exists()
            assert {file.name for file in path.parent.iterdir()} <= {"inner.db", "inner.db-journal"}

    def test_a_url_is_a_path_too(self, tmp_path: Path) -> None:
        with Store.open(f"sqlite:///{tmp_path}/inner.db") as store:
            begun(store)
        assert (tmp_path / "inner.db").exists()

    @pytest.mark.parametrize(
        "where", ["postgresql://localhost/x", "sqlite://", "sqlite:///:memory:", ":memory:", "", "x://:a:b"]
    )
    def test_what_is_not_a_file_is_refused_with_a_hint(self, where: str) -> None:
        with pytest.raises(StoreError) as caught:
            Store.open(where)
        assert "path" in caught.value.hint

    def test_without_create_nothing_is_made(self, tmp_path: Path) -> None:
        path = tmp_path / "inner.db"
        with pytest.raises(StoreMissing):
            Store.open(path, create=False)
        assert not path.exists()
        path.touch()
        with pytest.raises(StoreMissing):
            Store.open(path, create=False)

    def test_a_closed_store_says_so_and_may_be_closed_twice(self, path: Path) -> None:
        store = Store.open(path)
        store.close()
        store.close()
        for use in (store.threads, store.data_version, lambda: begun(store)):
            with pytest.raises(StoreError, match="closed"):
                use()


class TestTheJournal:
    @pytest.mark.parametrize(
        ("version", "expected"),
        [
            ((3, 6, 23), "wal"),
            ((3, 7, 0), "truncate"),
            ((3, 40, 1), "truncate"),
            ((3, 51, 2), "truncate"),
            ((3, 51, 3), "wal"),
            ((4, 0, 0), "wal"),
        ],
    )
    def test_its_mode_avoids_the_versions_with_the_wal_bug(
        self, version: tuple[int, int, int], expected: str
    ) -> None:
        chosen, why = engine.journal_for(version)
        assert chosen == expected
        assert ".".join(map(str, version)) in why
        assert why.endswith(".")
        assert why.count(". ") == 0

    def test_it_is_what_the_writer_uses(self, store: Store) -> None:
        begun(store)
        with store._writers.connect() as connection:
            used = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        assert store.journal() == (used, engine.journal_for(sqlite3.sqlite_version_info)[1])
        assert used == engine.journal_for(sqlite3.sqlite_version_info)[0]

    def test_with_a_sound_sqlite_it_is_wal_and_an_old_store_moves_to_it_and_back(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Store.open(path) as store:
            thread = begun(store)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "journal_for", lambda version: ("wal", "It is sound."))
            with Store.open(path) as store:
                go_on(store, thread.id, "in WAL")
                assert store.journal() == ("wal", "It is sound.")
                seen = store.data_version()
                go_on(store, thread.id, "in WAL too")
                assert store.data_version() != seen
        monkeypatch.setattr(engine, "journal_for", lambda version: ("truncate", "It is not."))
        with Store.open(path) as store:
            go_on(store, thread.id, "back")
            assert store.journal()[0] == "truncate"
            assert texts(store, thread.id)[1:] == ["in WAL", "in WAL too", "back"]

    def test_commits_wait_for_the_disk_and_keys_are_checked(self, path: Path) -> None:
        with Store.open(path) as store:
            begun(store)
            with store._writers.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
                assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1

    def test_readers_cannot_write(self, store: Store) -> None:
        with pytest.raises(NotWritable), store._read() as connection:
            connection.exec_driver_sql("DELETE FROM setting")


@contextmanager
def locked(path: Path, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(begin)
        yield other
        other.execute("ROLLBACK")


class TestLocked:
    def test_while_another_process_writes_reads_go_on_and_writes_say_busy(self, path: Path) -> None:
        with Store.open(path, busy_timeout=0.05) as store:
            thread = begun(store)
            fork = ask(store, thread.id)
            with locked(path):
                assert store.open_fork(thread.id) == fork
                assert len(store.threads()) == 1
                store.data_version()
                with pytest.raises(StoreBusy) as caught:
                    store.choose(fork.id, "none")
                assert caught.value.retryable
                assert "try again" in caught.value.hint
            assert store.open_fork(thread.id) == fork
            assert store.choose(fork.id, "none").won

    def test_a_store_can_be_opened_and_read_while_another_process_writes(self, path: Path) -> None:
        with locked(path), Store.open(path, busy_timeout=0.05) as store:
            assert store.threads() == []

    def test_a_commit_that_readers_hold_up_is_not_half_done(self, path: Path) -> None:
        with Store.open(path, busy_timeout=0.05) as store:
            thread = begun(store)
            fork = ask(store, thread.id)
            with locked(path, "BEGIN") as reading:
                reading.execute("SELECT * FROM thread").fetchone()
                with pytest.raises(StoreBusy):
                    store.choose(fork.id, "none")
            assert store.open_fork(thread.id) == fork
            assert store.choose(fork.id, "none").won

    def test_a_file_held_exclusively_cannot_even_be_opened(self, path: Path) -> None:
        with locked(path, "BEGIN EXCLUSIVE"), pytest.raises(StoreBusy):
            Store.open(path, busy_timeout=0.05)

    def test_threads_of_one_process_queue_and_each_step_is_whole(self, store: Store) -> None:
        threads = [begun(store, f"opening {n}", stride=100) for n in range(4)]
        start = threading.Barrier(4)

        def think(index: int) -> None:
            start.wait()
            for n in range(10):
                go_on(store, threads[index].id, f"{n}")
                store.path(threads[index].id)
                store.data_version()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(think, range(4)))
        for thread in threads:
            assert [thought.text for thought in store.path(thread.id)[1:]] == [f"{n}" for n in range(10)]
        assert store.integrity() == []


class TestDiskFull:
    def test_a_step_is_refused_whole_and_goes_through_once_there_is_room(self, path: Path) -> None:
        with Store.open(path) as store:
            thread = begun(store)
            fork = ask(store, thread.id)
            with limited(store):
                with pytest.raises(DiskFull) as caught:
                    fill(store)
                assert caught.value.retryable
                began = len(store.threads())
                with pytest.raises(DiskFull):
                    store.choose(fork.id, "own", text="y" * 20_000)
                assert store.open_fork(thread.id) == fork
                assert store.integrity() == []
            assert len(store.threads()) == began
            assert store.choose(fork.id, "own", text="y" * 20_000).won

    def test_a_full_disk_while_making_the_store_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect = engine.connect

        def small(path: Path, busy_timeout: float) -> sqlite3.Connection:
            connection = connect(path, busy_timeout)
            connection.execute("PRAGMA max_page_count = 10")
            return connection

        path = tmp_path / "inner.db"
        with monkeypatch.context() as patch:
            patch.setattr(engine, "connect", small)
            with pytest.raises(DiskFull):
                Store.open(path)
        with Store.open(path) as store:
            begun(store)
            assert store.integrity() == []


def fill(store: Store) -> None:
    for _ in range(1000):
        begun(store, "x" * 100)


@contextmanager
def limited(store: Store) -> Iterator[None]:
    """A disk with room for some pages more."""

    def limit(pages: int) -> None:
        with store._writers.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with store._writers.connect() as connection:
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    limit(pages + 8)
    yield
    limit(1_000_000)


class TestNotWritable:
    def test_a_path_below_a_file_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(NotWritable) as caught:
            Store.open(tmp_path / "file" / "inner.db")
        assert "INNER_HOME" in caught.value.hint

    def test_nothing_can_be_made_where_the_system_allows_no_files(self) -> None:
        with pytest.raises(NotWritable):
            Store.open("/proc/inner/inner.db")

    def test_a_directory_is_not_a_store(self, tmp_path: Path) -> None:
        with pytest.raises(NotWritable, match="directory"):
            Store.open(tmp_path)

    def test_a_file_opened_for_reading_only_is_not_writable(self, path: Path) -> None:
        with (
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection,
            pytest.raises(NotWritable),
            engine.store_errors(path),
        ):
            connection.execute("INSERT INTO setting VALUES ('a', '1')")

    def test_a_file_that_went_away_is_not_made_again(self, path: Path) -> None:
        path.unlink()
        with pytest.raises(NotWritable), engine.store_errors(path):
            engine.connect(path, 0.05)
        assert not path.exists()


class TestOtherFiles:
    """Refused, said, and not touched."""

    @pytest.mark.parametrize(
        "content", [b"hello", b"not a database\n" * 300, bytes(5000)], ids=["short", "text", "zeros"]
    )
    def test_what_is_no_database_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "inner.db"
        path.write_bytes(content)
        with pytest.raises(StoreForeign, match="not a database"):
            Store.open(path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("setup", ["PRAGMA application_id = 7", "PRAGMA user_version = 3", "SELECT 1"])
    @pytest.mark.parametrize("journal", ["DELETE", "WAL"])
    def test_another_programs_database_is_refused(self, tmp_path: Path, setup: str, journal: str) -> None:
        path = tmp_path / "inner.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("CREATE TABLE recipe (name TEXT)")
            connection.execute("INSERT INTO recipe VALUES ('soup')")
            connection.execute(setup)
            connection.commit()
        before = digest(path)
        with pytest.raises(StoreForeign):
            Store.open(path)
        assert digest(path) == before

    def test_a_database_without_anything_in_it_becomes_a_store(self, tmp_path: Path) -> None:
        path = tmp_path / "inner.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE x (y)")
            connection.execute("DROP TABLE x")
        with Store.open(path) as store:
            begun(store)

    @pytest.mark.parametrize(
        "change", ["PRAGMA user_version = 99", "UPDATE alembic_version SET version_num = 'ffff'"]
    )
    def test_a_store_of_a_newer_version_is_refused(self, path: Path, change: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(change)
        before = digest(path)
        with pytest.raises(StoreNewer, match="newer version") as caught:
            Store.open(path)
        assert "newer Inner Dialogue" in caught.value.hint
        assert digest(path) == before


class TestDamage:
    def fill(self, path: Path) -> str:
        with Store.open(path) as store:
            thread = begun(store)
            for n in range(30):
                go_on(store, thread.id, f"{n} " * 500)
        return thread.id

    def read_all(self, path: Path, thread: str) -> None:
        with Store.open(path) as store:
            store.tree(thread)

    def test_a_cut_off_file_is_said_to_be_damaged_and_is_kept(self, path: Path) -> None:
        self.fill(path)
        content = path.read_bytes()[: path.stat().st_size // 2]
        path.write_bytes(content)
        with pytest.raises(StoreCorrupt) as caught:
            Store.open(path)
        assert "not changed" in caught.value.hint
        assert path.read_bytes() == content

    def test_damage_inside_is_found_when_it_is_met_and_the_backup_is_named(self, path: Path) -> None:
        thread = self.fill(path)
        kept = migrate.backup(path, 1, datetime(2026, 5, 1, tzinfo=UTC))
        content = bytearray(path.read_bytes())
        content[len(content) // 3 :] = b"\xff" * (len(content) - len(content) // 3)
        path.write_bytes(content)
        with pytest.raises(StoreCorrupt, match="damaged") as caught:
            self.read_all(path, thread)
        assert kept.name in caught.value.hint
        with Store.open(kept) as store:
            assert len(store.path(thread)) == 31

    def test_integrity_tells_of_damage_it_can_read_past(self, path: Path) -> None:
        self.fill(path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("DELETE FROM sqlite_master WHERE name = 'ix_thought_parent_id'")
        with Store.open(path) as store:
            assert any(problem.startswith("file: ") for problem in store.integrity())


def test_no_error_of_the_database_leaves_the_store(store: Store) -> None:
    event.listen(store._writers, "before_cursor_execute", _break, retval=True)
    with pytest.raises(StoreError, match="no such table"):
        store.set_setting("a", 1)


def _break(connection: object, cursor: object, statement: str, *rest: object) -> tuple[str, object]:
    return statement.replace("setting", "nowhere"), rest[0]
