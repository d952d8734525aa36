"""Is the whole store sound? What the constraints cannot say, checked row by row.

Owns the checks and their words. Only reads, and never for long at a time: with a rollback journal a reader keeps
every writer from committing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from orchestrator.store.records import thought_digest
from orchestrator.store.tables import choice, fork, thought, thread

_ROWS = 1_000
Read = Callable[[], AbstractContextManager[Connection]]


def problems(read: Read) -> list[str]:
    """One line a problem; nothing if the store is sound."""
    with read() as connection:
        if connection.dialect.name == "sqlite":
            found = list(_sqlite(connection))
            if found:
                return found  # a damaged file: what follows would only repeat it
    with read() as connection:
        found = [*_choices(connection), *_tips(connection)]
    return [*_digests(read), *found]


def _sqlite(connection: Connection) -> Iterator[str]:
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"file: {line}"
    for table, row, target, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"{table} row {row} points to a {target} that does not exist"


def _digests(read: Read) -> Iterator[str]:
    """Each digest follows from its parent's, its author and its text; depth and root follow from the parent.
    Thoughts never change, so they can be read a thousand at a time."""
    parent = thought.alias("parent")
    query = (
        select(
            thought.c.seq,
            thought.c.id,
            thought.c.author,
            thought.c.text,
            thought.c.digest,
            thought.c.depth,
            thought.c.root_id,
            parent.c.digest.label("parent_digest"),
            parent.c.depth.label("parent_depth"),
            parent.c.root_id.label("parent_root"),
        )
        .outerjoin(parent, parent.c.id == thought.c.parent_id)
        .order_by(thought.c.seq)
        .limit(_ROWS)
    )
    seen = 0
    while True:
        with read() as connection:
            rows = connection.execute(query.where(thought.c.seq > seen)).all()
        if not rows:
            return
        seen = rows[-1].seq
        for row in rows:
            yield from _unlike_its_parent(row)


def _unlike_its_parent(row: Row[*tuple[Any, ...]]) -> Iterator[str]:
    if row.digest != thought_digest(row.parent_digest or "", row.author, row.text):
        yield f"thought {row.id}: its digest does not follow from its parent, author and text"
    if row.depth != (row.parent_depth or 0) + 1 or row.root_id != (row.parent_root or row.id):
        yield f"thought {row.id}: its depth or root does not follow from its parent"


def _choices(connection: Connection) -> Iterator[str]:
    """A choice became a thought at its own fork, or waits at its thread's tip, or was "none of these"."""
    query = (
        select(choice.c.id, choice.c.kind, thought.c.id.label("said"), thought.c.parent_id, fork.c.thought_id)
        .join(fork, fork.c.id == choice.c.fork_id)
        .join(thread, thread.c.id == fork.c.thread_id)
        .outerjoin(thought, thought.c.choice_id == choice.c.id)
        .where(
            or_(
                and_(choice.c.kind == "none", thought.c.id.is_not(None)),
                and_(thought.c.id.is_not(None), thought.c.parent_id != fork.c.thought_id),
                and_(choice.c.kind != "none", thought.c.id.is_(None), thread.c.tip != fork.c.thought_id),
            )
        )
    )
    for row in connection.execute(query):
        if row.said is None:
            yield f"choice {row.id}: never applied, and its thread is elsewhere"
        elif row.kind == "none":
            yield f"choice {row.id}: refused all options, yet became thought {row.said}"
        else:
            yield f"choice {row.id}: applied at another thought than its fork's"
    twice = select(choice.c.fork_id).group_by(choice.c.fork_id).having(func.count() > 1)
    for (fork_id,) in connection.execute(twice):
        yield f"fork {fork_id}: has more than one choice"


def _tips(connection: Connection) -> Iterator[str]:
    """A tip exists (a deferred key, checked at commit), and forks not asked have their choice."""
    lost = select(thread.c.id).outerjoin(thought, thought.c.id == thread.c.tip).where(thought.c.id.is_(None))
    for (thread_id,) in connection.execute(lost):
        yield f"thread {thread_id}: its tip does not exist"
    silent = (
        select(fork.c.id)
        .outerjoin(choice, choice.c.fork_id == fork.c.id)
        .where(choice.c.id.is_(None), ~fork.c.asked)
    )
    for (fork_id,) in connection.execute(silent):
        yield f"fork {fork_id}: nobody was asked, and there is no choice"
