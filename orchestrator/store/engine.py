"""Connections to one SQLite file: pragmas, journal mode, transactions, and SQLite's errors in our words.

Owns how a connection is opened and what its failures mean. Knows nothing of tables.
Writers say BEGIN IMMEDIATE, so that two never deadlock on an upgrade of their locks; readers may only query.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic_core import from_json
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from orchestrator.errors import (
    DiskFull,
    NotWritable,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreForeign,
)

BUSY_TIMEOUT = 5.0
"""Seconds a writer waits for another before StoreBusy."""
READERS = 5
MAX_READERS = 15

WAL_BUG = ((3, 7, 0), (3, 51, 2))
"""First and last SQLite with the WAL-reset bug: a checkpoint racing a writer can corrupt the file."""


def journal_for(version: tuple[int, int, int]) -> tuple[str, str]:
    """The journal mode for this SQLite, and one sentence that says why."""
    name = ".".join(map(str, version))
    if WAL_BUG[0] <= version <= WAL_BUG[1]:
        first, last = (".".join(map(str, bound)) for bound in WAL_BUG)
        return "truncate", (
            f"SQLite {name} has the WAL-reset bug ({first} to {last}), which can damage the file, "
            "so a rollback journal is used."
        )
    return "wal", f"SQLite {name} is free of the WAL-reset bug, so readers never wait for a writer."


def create_file(path: Path) -> None:
    """An empty file only its owner can read, in a directory only its owner can enter. Existing ones are kept."""
    with os_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_dir():
            raise NotWritable(f"{path} is a directory; the store is a file.")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return


def connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """A plain connection to an existing file. The driver begins and commits nothing by itself."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def writer(path: Path, busy_timeout: float) -> Engine:
    """One connection for all threads of this process: they queue here, processes queue at the file."""
    engine = _engine(path, busy_timeout, begin="BEGIN IMMEDIATE", size=1, overflow=0)
    mode, _ = journal_for(sqlite3.sqlite_version_info)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        set_journal(connection, mode, busy_timeout)
        connection.execute("PRAGMA synchronous = FULL")

    return engine


def reader(path: Path, busy_timeout: float) -> Engine:
    engine = _engine(path, busy_timeout, begin="BEGIN", size=READERS, overflow=MAX_READERS - READERS)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        connection.execute("PRAGMA query_only = ON")

    return engine


def set_journal(connection: sqlite3.Connection, mode: str, busy_timeout: float) -> None:
    """Changing to or from WAL needs the file alone, and SQLite does not wait for that by itself."""
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
            return
        except sqlite3.OperationalError as error:
            if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def leave_wal(path: Path, header: bytes, busy_timeout: float) -> None:
    """A store in WAL mode that this SQLite must not use so: changed before any of our connections holds the file.

    Byte 18 of the header is 2 for WAL. Raises StoreBusy while another process has it open.
    """
    mode, _ = journal_for(sqlite3.sqlite_version_info)
    if header[18:19] == b"\x02" and mode != "wal":
        with closing(connect(path, busy_timeout)) as connection:
            set_journal(connection, mode, busy_timeout)


def _engine(path: Path, busy_timeout: float, *, begin: str, size: int, overflow: int) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: connect(path, busy_timeout),
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=overflow,
        pool_timeout=busy_timeout,
        hide_parameters=True,
        json_deserializer=from_json,  # a path of 10,000 thoughts is 20,000 JSON columns
    )

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


# ---- errors ---------------------------------------------------------------------------------------------------


@contextmanager
def store_errors(path: Path, backup: Callable[[], str] = str) -> Iterator[None]:
    """Nothing of SQLAlchemy or sqlite3 leaves the store: their errors become StoreError and its kin."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy(f"Too much is going on at {path} in this process.") from error
    except DBAPIError as error:
        raise _explain(error.orig, path, backup) from error
    except sqlite3.Error as error:
        raise _explain(error, path, backup) from error
    except SQLAlchemyError as error:
        raise StoreError(f"The store at {path} cannot be used: {error}") from error


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"The disk is full: {path} cannot be written.") from error
        raise NotWritable(f"{path} cannot be used: {reason}.") from error


def _primary(error: BaseException | None) -> int:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else -1


def _explain(error: BaseException | None, path: Path, backup: Callable[[], str]) -> StoreError:
    code = _primary(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"Another process is writing to {path}.")
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(f"The disk is full: {path} cannot grow.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH):
        return NotWritable(f"{path} cannot be opened for writing ({error}).")
    if code == sqlite3.SQLITE_NOTADB:
        return StoreForeign(
            f"{path} is not a database: another program's file, or a store damaged at its first bytes.",
            f"{StoreForeign.default_hint} {backup()}".rstrip(),
        )
    if code == sqlite3.SQLITE_CORRUPT:
        hint = f"{StoreCorrupt.default_hint} {backup()}".rstrip()
        return StoreCorrupt(f"{path} is damaged ({error}).", hint)
    return StoreError(f"The store at {path} refused: {error}.")
