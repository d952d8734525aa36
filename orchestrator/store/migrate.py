"""The file becomes a store of this version: is it ours, is it newer, does it need a migration and a backup first.

Owns the file's identity (application_id, user_version, Alembic's revision) and the upgrade. Everything happens
inside one BEGIN IMMEDIATE: any number of processes may open an empty directory at the same time, and a kill in the
middle leaves what was there before. Never deletes anything.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect

from orchestrator.errors import StoreForeign, StoreMissing, StoreNewer
from orchestrator.store.engine import BUSY_TIMEOUT, connect, leave_wal, os_errors

if TYPE_CHECKING:
    from alembic.config import Config

APPLICATION_ID = 0x494E4E52
"""ASCII "INNR", in the file's header (offset 68)."""
_MAGIC = b"SQLite format 3\0"
_HEADER = 100


@dataclass(frozen=True)
class Schema:
    """The schema this code knows: `version` grows by one with each migration and is kept as user_version."""

    version: int
    head: str
    location: Path


CURRENT = Schema(version=1, head="0001", location=Path(__file__).parent / "migrations")

_alembic = threading.Lock()
"""Alembic's context is one per process."""


@dataclass(frozen=True)
class Identity:
    application_id: int
    user_version: int
    tables: frozenset[str]
    revision: str | None

    @property
    def empty(self) -> bool:
        return not self.tables and self.application_id == 0 and self.user_version == 0

    def current(self, schema: Schema) -> bool:
        ours = self.application_id == APPLICATION_ID
        return ours and self.user_version == schema.version and self.revision == schema.head


def prepare(path: Path, readers: Engine, writers: Engine, *, create: bool, now: datetime) -> None:
    """Make the store or bring it up to date. Raises StoreMissing, StoreForeign, StoreNewer."""
    with readers.connect() as connection:
        if not _work(_identity(connection), path, create=create):
            return
    with writers.begin() as connection:
        identity = _identity(connection)  # another process may have been first
        if not _work(identity, path, create=create):
            return
        if not identity.empty:
            backup(path, identity.user_version, now)
        _migrate(connection)
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version = {CURRENT.version}")


def check_header(path: Path, busy_timeout: float) -> None:
    """Before anything is set on the file. Its header tells, unless another process is just creating it: then the
    write lock is waited for. Raises StoreForeign, StoreNewer."""
    with os_errors(path), path.open("rb") as file:
        header = file.read(_HEADER)
    if not header:
        return
    if header.startswith(_MAGIC) and len(header) == _HEADER:
        application_id = int.from_bytes(header[68:72], "big")
        if application_id == APPLICATION_ID:
            version = int.from_bytes(header[60:64], "big")
            if version > CURRENT.version:
                raise _newer(path, f"schema {version}")
            leave_wal(path, header, busy_timeout)
            return
        if application_id != 0:
            raise StoreForeign(f"{path} is a database of another program.")
    with closing(connect(path, busy_timeout)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("ROLLBACK")
    if application_id != APPLICATION_ID and tables:
        raise StoreForeign(f"{path} is a database of another program.")
    leave_wal(path, header, busy_timeout)


def _work(identity: Identity, path: Path, *, create: bool) -> bool:
    """Is there a migration to run? Raises where the file must be left alone."""
    if identity.current(CURRENT):
        return False
    if identity.empty:
        if not create:
            raise StoreMissing(f"{path} is empty: there is no store in it.")
        return True
    if identity.application_id != APPLICATION_ID:
        raise StoreForeign(f"{path} is a database of another program.")
    if identity.user_version > CURRENT.version or not _known(identity.revision):
        raise _newer(path, f"schema {identity.user_version}, revision {identity.revision}")
    return True


def _newer(path: Path, what: str) -> StoreNewer:
    return StoreNewer(
        f"{path} was written by a newer version ({what}; this one knows schema {CURRENT.version}, "
        f"revision {CURRENT.head})."
    )


def _identity(connection: Connection) -> Identity:
    def pragma(name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    tables = frozenset(inspect(connection).get_table_names())
    revision = None
    if "alembic_version" in tables and pragma("application_id") == APPLICATION_ID:
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return Identity(pragma("application_id"), pragma("user_version"), tables, revision)


def _migrate(connection: Connection) -> None:
    from alembic import command  # at use: 0.2 s that every other start of a process saves

    with _alembic:
        command.upgrade(_config(connection), "head")


def _known(revision: str | None) -> bool:
    from alembic.script import ScriptDirectory

    revisions = ScriptDirectory.from_config(_config(None)).walk_revisions()
    return revision in {script.revision for script in revisions}


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(CURRENT.location).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


# ---- backups --------------------------------------------------------------------------------------------------


def backup(path: Path, version: int, now: datetime) -> Path:
    """A whole copy beside the store, named by its schema and time, complete before it has its name."""
    target = path.with_name(f"{path.name}.backup-{version}-{now:%Y%m%dT%H%M%S%f}")
    part = target.with_name(target.name + ".part")
    with os_errors(part):
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600))
    with closing(connect(path, BUSY_TIMEOUT)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
    with os_errors(target):
        _sync(part)
        part.replace(target)
        _sync(path.parent)
    return target


def newest_backup(path: Path) -> Path | None:
    found = [file for file in path.parent.glob(f"{path.name}.backup-*") if file.suffix != ".part"]
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)


def backup_hint(path: Path) -> str:
    newest = newest_backup(path)
    return f"The newest backup is {newest}." if newest else ""


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
