"""Reading rows as records, on a connection the caller opened.

Owns the queries both sides share: threads, paths, forks with their options and choices. Knows nothing of locks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Subquery, Table, and_, exists, func, select
from sqlalchemy.sql.selectable import CTE

from orchestrator.errors import UnknownFork, UnknownThought, UnknownThread
from orchestrator.store.records import (
    ChoiceRecord,
    ForkRecord,
    OptionRecord,
    Record,
    ThoughtRecord,
    ThreadRecord,
    ThreadSummary,
)
from orchestrator.store.tables import choice, fork, option, thought, thread
from orchestrator.text import one_line, scrub

R = TypeVar("R", bound=Record)
NEAREST = 5
_CHUNK = 500
"""Ids in one IN list: far under every database's limit of parameters."""


def fields(table: Table, record: type[Record]) -> list[ColumnElement[Any]]:
    """The columns of a table that its record shows."""
    return [column for column in table.c if column.name in record.model_fields]


@cache
def shown(table: Table, record: type[Record]) -> Select[Any]:
    """SELECT what the record shows. Built once: building costs more than running."""
    return select(*fields(table, record))


def records(connection: Connection, query: Select[Any], record: type[R]) -> list[R]:
    return [record.model_validate(dict(row)) for row in connection.execute(query).mappings()]


# ---- threads --------------------------------------------------------------------------------------------------


def get_thread(connection: Connection, thread_id: str) -> ThreadRecord:
    """By exact id. Raises UnknownThread."""
    query = shown(thread, ThreadRecord).where(thread.c.id == thread_id)
    found = records(connection, query, ThreadRecord)
    if not found:
        raise UnknownThread(thread_id, _lines(connection, select(thread)))
    return found[0]


def find_thread(connection: Connection, name: str) -> ThreadRecord:
    """By id, or by a beginning of it that no other thread has. Raises UnknownThread, which lists the nearest."""
    wanted = scrub(name).strip().lower()
    query = shown(thread, ThreadRecord)
    found = records(connection, query.where(thread.c.id == wanted), ThreadRecord)
    if not found and wanted:
        begins = func.substr(thread.c.id, 1, len(wanted)) == wanted
        found = records(connection, query.where(begins).limit(2), ThreadRecord)
        if len(found) > 1:
            lines = _lines(connection, select(thread).where(begins))
            raise UnknownThread(name, hint=f"Several begin so: {', '.join(lines)}. Give more of the id.")
    if not found:
        raise UnknownThread(name, _lines(connection, select(thread)))
    return found[0]


def _lines(connection: Connection, query: Select[Any]) -> list[str]:
    """The last active threads of a query, as id and title."""
    rows = connection.execute(query.order_by(thread.c.touched.desc()).limit(NEAREST)).mappings()
    return [f"{row['id']} ({one_line(row['title'], 40)})" for row in rows]


def summaries(connection: Connection, *, archived: bool, limit: int | None) -> list[ThreadSummary]:
    """Newest activity first. Root and depth are columns of the tip, so no path is walked."""
    chosen = thread.c.archived_at.is_not(None) if archived else thread.c.archived_at.is_(None)
    order = thread.c.touched.desc(), thread.c.seq.desc()
    return records(connection, _summary().where(chosen).order_by(*order).limit(limit), ThreadSummary)


@cache
def _summary() -> Select[Any]:
    tip, root = thought.alias("tip"), thought.alias("root")
    return (
        select(
            *fields(thread, ThreadRecord),
            root.c.text.label("opening"),
            tip.c.text.label("last"),
            tip.c.depth.label("n_thoughts"),
            has_open_fork().label("open_fork"),
        )
        .join(tip, tip.c.id == thread.c.tip)
        .join(root, root.c.id == tip.c.root_id)
    )


# ---- thoughts -------------------------------------------------------------------------------------------------


def walk(tip: str, *, above: int = 0) -> CTE:
    """From a thought up to the opening, or down to depth `above` + 1: id, parent_id, depth. Recursive."""
    start = select(thought.c.id, thought.c.parent_id, thought.c.depth).where(thought.c.id == tip)
    line = start.cte("line", recursive=True)
    step = (
        select(thought.c.id, thought.c.parent_id, thought.c.depth)
        .join(line, thought.c.id == line.c.parent_id)
        .where(thought.c.depth > above)
    )
    return line.union_all(step)


def get_path(connection: Connection, tip: str, last: int | None) -> list[ThoughtRecord]:
    above = 0
    if last is not None:
        above = max(0, get_thought(connection, tip).depth - max(1, last))
    line = walk(tip, above=above)
    query = shown(thought, ThoughtRecord).join(line, thought.c.id == line.c.id)
    return records(connection, query.order_by(thought.c.depth), ThoughtRecord)


def get_thought(connection: Connection, thought_id: str) -> ThoughtRecord:
    query = shown(thought, ThoughtRecord).where(thought.c.id == thought_id)
    found = records(connection, query, ThoughtRecord)
    if not found:
        raise UnknownThought(thought_id, hint="Its id is in `inner show THREAD --json`.")
    return found[0]


# ---- forks ----------------------------------------------------------------------------------------------------


@cache
def latest_attempts() -> Subquery:
    """One row for each thread that has a fork at its tip: the thread's id and the latest attempt there."""
    return (
        select(thread.c.id.label("thread_id"), func.max(fork.c.attempt).label("attempt"))
        .join(fork, and_(fork.c.thread_id == thread.c.id, fork.c.thought_id == thread.c.tip))
        .group_by(thread.c.id)
        .subquery("latest")
    )


@cache
def has_open_fork() -> ColumnElement[bool]:
    """For a query over thread: is its latest fork at the tip asked and without a choice?"""
    here, other = fork.alias("here"), fork.alias("other")
    latest = (
        select(func.max(other.c.attempt))
        .where(other.c.thread_id == here.c.thread_id, other.c.thought_id == here.c.thought_id)
        .scalar_subquery()
    )
    return exists().where(
        here.c.thread_id == thread.c.id,
        here.c.thought_id == thread.c.tip,
        here.c.attempt == latest,
        here.c.asked,
        ~exists().where(choice.c.fork_id == here.c.id),
    )


def latest_fork(connection: Connection, thread_id: str, thought_id: str) -> ForkRecord | None:
    """The last attempt at a thought in a thread, whatever its state."""
    query = select(fork).where(fork.c.thread_id == thread_id, fork.c.thought_id == thought_id)
    found = get_forks(connection, query.order_by(fork.c.attempt.desc()).limit(1))
    return found[0] if found else None


def get_fork(connection: Connection, fork_id: str) -> ForkRecord:
    found = get_forks(connection, select(fork).where(fork.c.id == fork_id))
    if not found:
        raise UnknownFork(fork_id, hint="Read the thread again: its open fork is another one.")
    return found[0]


def get_forks(connection: Connection, query: Select[Any]) -> list[ForkRecord]:
    """The forks of a query over fork, each with its options (in the order given) and its choice."""
    rows = [dict(row) for row in connection.execute(query).mappings()]
    ids = [row["id"] for row in rows]
    options: dict[str, list[OptionRecord]] = defaultdict(list)
    choices: dict[str, ChoiceRecord] = {}
    for chunk in _chunks(ids):
        told = shown(option, OptionRecord).where(option.c.fork_id.in_(chunk))
        for found in records(connection, told.order_by(option.c.seq), OptionRecord):
            options[found.fork_id].append(found)
        chosen = shown(choice, ChoiceRecord).where(choice.c.fork_id.in_(chunk))
        choices |= {found.fork_id: found for found in records(connection, chosen, ChoiceRecord)}
    return [
        ForkRecord.model_validate(
            {**row, "options": tuple(options[row["id"]]), "choice": choices.get(row["id"])}
        )
        for row in rows
    ]


def is_applied(connection: Connection, choice_id: str) -> bool:
    found = connection.execute(select(thought.c.seq).where(thought.c.choice_id == choice_id))
    return found.first() is not None


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
