"""A store's connections as three ways to work: write, read, and notice that something changed.

Owns opening and closing, and the pen (one transaction's connection, time and ids). Knows nothing of threads or forks.
May be used from several threads of a process: writers queue for the one writing connection, readers have a pool.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import uuid_utils
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from orchestrator.errors import StoreError, StoreMissing
from orchestrator.store import engine, migrate

Clock = Callable[[], datetime]
Ids = Callable[[], str]


def utc_now() -> datetime:
    return datetime.now(UTC)


def uuid7() -> str:
    return str(uuid_utils.uuid7())


@dataclass(frozen=True)
class Pen:
    """What one writing transaction needs: its connection, its time (one for all rows), and new ids."""

    connection: Connection
    now: datetime
    new_id: Ids


class Connected:
    def __init__(self, file: Path, readers: Engine, writers: Engine, clock: Clock, new_id: Ids) -> None:
        self.file = file
        self._readers = readers
        self._writers = writers
        self._clock = clock
        self._new_id = new_id
        self._watch: sqlite3.Connection | None = None
        self._watching = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        create: bool = True,
        busy_timeout: float = engine.BUSY_TIMEOUT,
        clock: Clock = utc_now,
        new_id: Ids = uuid7,
    ) -> Self:
        """Open the store at a path or a sqlite:/// URL; make it, or bring it up to date, where needed.

        Raises StoreMissing (create=False), StoreForeign, StoreCorrupt, StoreNewer, NotWritable, DiskFull, StoreBusy.
        """
        path = _path_of(where)
        if create:
            engine.create_file(path)
        elif not path.exists():
            raise StoreMissing(f"There is no store at {path}.")
        readers, writers = engine.reader(path, busy_timeout), engine.writer(path, busy_timeout)
        store = cls(path, readers, writers, clock, new_id)
        try:
            with store._errors():
                migrate.check_header(path, busy_timeout)
                migrate.prepare(path, readers, writers, create=create, now=clock())
                store._watch = engine.connect(path, busy_timeout)
                store._watch.execute("PRAGMA query_only = ON")
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close every connection. Closing twice is fine; using a closed store is a StoreError."""
        self._closed = True
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        self._readers.dispose()
        self._writers.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def journal(self) -> tuple[str, str]:
        """The journal mode in use, and why, in one sentence."""
        wanted, why = engine.journal_for(sqlite3.sqlite_version_info)
        with self._read() as connection:
            kept = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
        # The file itself only knows WAL or not; the rollback journal's kind is each writing connection's.
        return ("wal" if kept == "wal" else wanted), why

    def data_version(self) -> int:
        """A number that changes after every commit by any connection of any process; 4 µs, no query."""
        with self._errors(), self._watching:
            if self._watch is None:
                raise StoreError(f"The store at {self.file} is closed.", "Open it again.")
            return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _write(self) -> Iterator[Pen]:
        """One transaction under the write lock: commits at the end, rolls back on any error."""
        self._check_open()
        with self._errors(), self._writers.begin() as connection:
            yield Pen(connection, self._clock(), self._new_id)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """One consistent view; nothing can be written through it."""
        self._check_open()
        with self._errors(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with engine.store_errors(self.file, lambda: migrate.backup_hint(self.file)):
            yield

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"The store at {self.file} is closed.", "Open it again.")


def _path_of(where: str | Path) -> Path:
    if isinstance(where, str) and "://" in where:
        try:
            url = make_url(where)
        except (ArgumentError, ValueError) as error:
            raise StoreError(
                f"{where!r} is not a database address.", "Give a path or sqlite:///PATH."
            ) from error
        if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
            raise StoreError(
                f"A store cannot be opened at {url.render_as_string()}: it is a SQLite file for now.",
                "Give a path or sqlite:///PATH.",
            )
        where = url.database
    if str(where) in ("", ":memory:"):
        raise StoreError("A store is a file: several processes meet in it.", "Give a path.")
    try:
        return Path(where).expanduser()
    except (RuntimeError, ValueError) as error:
        raise StoreError(f"{str(where)!r} is not a path.", "Give a path.") from error
