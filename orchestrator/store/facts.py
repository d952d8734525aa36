"""Writing rows, inside a transaction the caller holds: thoughts, forks, choices, and the tip.

Owns how each fact is inserted and the compare-and-swap of the tip. Knows nothing of who asks: person.py and
steps.py decide what is written together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Table, func, insert, select, update
from sqlalchemy.dialects import sqlite

from orchestrator.errors import EmptyWords, ForkOpen, TipMoved
from orchestrator.store import queries
from orchestrator.store.base import Pen
from orchestrator.store.records import (
    ChoiceKind,
    ChoiceRecord,
    ForkRecord,
    NewDecision,
    NewFork,
    NewOption,
    NewThought,
    ThoughtRecord,
    ThreadRecord,
    Via,
    signals_of,
    thought_digest,
)
from orchestrator.store.tables import choice, decision, fork, option, thought, thread
from orchestrator.text import NAME_LIMIT, is_blank, scrub, words


def insert_once(connection: Connection, table: Table, values: dict[str, Any], unique: Sequence[str]) -> bool:
    """Insert unless a row with the same `unique` columns stands. True for the winner; RETURNING tells, because a
    row count is -1 on PostgreSQL."""
    statement = (
        _upsert(connection, table).values(**values).on_conflict_do_nothing(index_elements=list(unique))
    )
    return connection.execute(statement.returning(table.c[unique[0]])).first() is not None


def put(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Insert or overwrite a mutable row."""
    statement = _upsert(connection, table).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def _upsert(connection: Connection, table: Table) -> sqlite.Insert:
    """INSERT ... ON CONFLICT: the same clauses in both dialects, of which one process needs only one."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return cast(sqlite.Insert, postgresql.insert(table))
    return sqlite.insert(table)


def insert_thought(
    pen: Pen,
    new: NewThought,
    thread_id: str,
    parent: ThoughtRecord | None,
    *,
    choice_id: str | None = None,
    decision_id: str | None = None,
    thought_id: str | None = None,
) -> ThoughtRecord:
    text, author = scrub(new.text), words(new.author, NAME_LIMIT, what="A thought's author")
    if is_blank(text):
        raise EmptyWords("A thought without words was not kept.")
    thought_id = thought_id or pen.new_id()
    values = new.model_dump() | {
        "id": thought_id,
        "thread_id": thread_id,
        "parent_id": parent.id if parent else None,
        "root_id": parent.root_id if parent else thought_id,
        "depth": parent.depth + 1 if parent else 1,
        "author": author,
        "text": text,
        "digest": thought_digest(parent.digest if parent else "", author, text),
        "choice_id": choice_id,
        "decision_id": decision_id,
        "created_at": pen.now,
    }
    pen.connection.execute(insert(thought).values(**values))
    return queries.get_thought(pen.connection, thought_id)


def insert_decision(pen: Pen, new: NewDecision, at: ThreadRecord, thought_id: str) -> str:
    decision_id = pen.new_id()
    values = new.model_dump() | {
        "id": decision_id,
        "thread_id": at.id,
        "thought_id": thought_id,
        "mode": new.mode or at.mode,
        "created_at": pen.now,
    }
    pen.connection.execute(insert(decision).values(**values))
    return decision_id


def insert_fork(
    pen: Pen,
    new: NewFork,
    options: Iterable[NewOption],
    *,
    thread_id: str,
    thought_id: str,
    decision_id: str | None = None,
    reopens: str | None = None,
) -> ForkRecord:
    """The next attempt at this thought in this thread. Raises EmptyWords for an option nobody could read."""
    fork_id = pen.new_id()
    attempts = select(func.coalesce(func.max(fork.c.attempt), 0)).where(
        fork.c.thread_id == thread_id, fork.c.thought_id == thought_id
    )
    values = new.model_dump() | {
        "id": fork_id,
        "thread_id": thread_id,
        "thought_id": thought_id,
        "attempt": int(pen.connection.execute(attempts).scalar_one()) + 1,
        "decision_id": decision_id,
        "reopens": reopens,
        "created_at": pen.now,
    }
    pen.connection.execute(insert(fork).values(**values))
    for new_option in options:
        if is_blank(new_option.text):
            raise EmptyWords("An option without words cannot be offered.")
        told = new_option.model_dump() | {
            "id": pen.new_id(),
            "fork_id": fork_id,
            "voices": [words(voice, NAME_LIMIT, what="A voice's name") for voice in new_option.voices],
            "signals": new_option.signals or signals_of(new_option.statistics),
        }
        pen.connection.execute(insert(option).values(**told))
    return queries.get_fork(pen.connection, fork_id)


def insert_choice(
    pen: Pen,
    fork_id: str,
    kind: ChoiceKind,
    *,
    option_id: str | None,
    text: str | None,
    arbiter: str,
    via: Via,
    seconds: float,
    seen: str,
) -> tuple[ChoiceRecord, bool]:
    """The commit. The standing choice, and whether it is this one."""
    values = {
        "id": pen.new_id(),
        "fork_id": fork_id,
        "kind": kind,
        "option_id": option_id,
        "text": text,
        "arbiter": arbiter,
        "via": via,
        "seconds": seconds,
        "seen": seen,
        "created_at": pen.now,
    }
    won = insert_once(pen.connection, choice, values, ["fork_id"])
    query = queries.shown(choice, ChoiceRecord).where(choice.c.fork_id == fork_id)
    (standing,) = queries.records(pen.connection, query, ChoiceRecord)
    return standing, won


# ---- the tip --------------------------------------------------------------------------------------------------


def touch(pen: Pen, thread_id: str, **values: Any) -> None:
    """Change a thread's row and make it the last active one: by a counter, since clocks jump."""
    pen.connection.execute(
        update(thread)
        .where(thread.c.id == thread_id)
        .values(updated_at=pen.now, touched=next_touch(), **values)
    )


def move_tip(pen: Pen, thread_id: str, expected: str, to: str, **values: Any) -> None:
    """Compare-and-swap. Raises TipMoved, and with it the whole transaction is undone."""
    moved = pen.connection.execute(
        update(thread)
        .where(thread.c.id == thread_id, thread.c.tip == expected)
        .values(tip=to, updated_at=pen.now, touched=next_touch(), **values)
        .returning(thread.c.id)
    ).first()
    if moved is None:
        raise tip_moved(queries.get_thread(pen.connection, thread_id))


def check_tip(pen: Pen, thread_id: str, expected: str) -> ThreadRecord:
    """The thread, if work made for `expected` may still be written.

    Raises TipMoved if its tip is elsewhere, or about to be: a choice there waits to be applied. ForkOpen if the
    arbiter was asked meanwhile.
    """
    at = queries.get_thread(pen.connection, thread_id)
    if at.tip != expected:
        raise tip_moved(at)
    last = queries.latest_fork(pen.connection, thread_id, expected)
    if last is None:
        return at
    if last.choice is None and last.asked:
        raise ForkOpen(f"A fork is open in {at.title!r}.")
    if waits(pen.connection, last):
        raise tip_moved(at)
    return at


def waits(connection: Connection, last: ForkRecord) -> bool:
    """Is this fork's choice a thought that was not said yet?"""
    chosen = last.choice
    return chosen is not None and chosen.kind != "none" and not queries.is_applied(connection, chosen.id)


def tip_moved(at: ThreadRecord) -> TipMoved:
    return TipMoved(f"The thread {at.title!r} went on meanwhile.")


def next_touch() -> ColumnElement[int]:
    other = thread.alias("other")
    return select(func.coalesce(func.max(other.c.touched), 0) + 1).scalar_subquery()
