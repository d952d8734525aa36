"""Taking back a person's last decision: nothing is deleted, the tip goes back and the fork is opened again.

Owns the walk that finds the decision. A decision is a person's choice at a fork ("none of these" too), or own words
said where no fork was open; never the opening. A fork opened again points to the one it reopens, so what was undone
once is not found twice, and undo can be repeated down to the opening.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.sql.selectable import CTE

from orchestrator.errors import NothingToUndo
from orchestrator.store import applying, facts, queries
from orchestrator.store.base import Pen
from orchestrator.store.records import ForkRecord, NewFork, NewOption, ThreadRecord
from orchestrator.store.tables import choice, fork, thought


@dataclass(frozen=True)
class Said:
    """A thought on the path that is a person's decision: by a choice at `fork_id`, or said without a fork."""

    parent_id: str
    depth: int
    fork_id: str | None


def undo(pen: Pen, thread_id: str) -> ForkRecord | None:
    """The fork opened again, or None where own words outside a fork were taken back. Raises NothingToUndo."""
    at = queries.get_thread(pen.connection, thread_id)
    last = queries.latest_fork(pen.connection, at.id, at.tip)
    if last is not None and applying.apply(pen, last):  # chosen, not said yet: the choice to undo is this one
        at = queries.get_thread(pen.connection, thread_id)
    line = queries.walk(at.tip)
    said = _last_said(pen, at, line)
    refused = _last_refused(pen, at, line, above=said.depth if said else 0)
    if refused is not None:
        return _reopen(pen, at, refused)
    if said is None:
        asked = _last_asked(pen, at, line)
        if asked is None:
            raise NothingToUndo(f"There is no decision of yours to undo in {at.title!r}.")
        return _reopen(pen, at, asked)
    if said.fork_id is None:
        facts.move_tip(pen, at.id, at.tip, said.parent_id)
        return None
    return _reopen(pen, at, said.fork_id)


def _last_said(pen: Pen, at: ThreadRecord, line: CTE) -> Said | None:
    """The nearest thought of this thread, from the tip up, that a person decided."""
    query = (
        select(thought.c.parent_id, thought.c.depth, choice.c.fork_id)
        .join(line, thought.c.id == line.c.id)
        .outerjoin(choice, choice.c.id == thought.c.choice_id)
        .where(
            thought.c.thread_id == at.id,
            thought.c.parent_id.is_not(None),
            or_(choice.c.via != "auto", and_(choice.c.id.is_(None), thought.c.human)),
        )
        .order_by(thought.c.depth.desc())
        .limit(1)
    )
    row = pen.connection.execute(query).first()
    return None if row is None else Said(*row)


def _last_refused(pen: Pen, at: ThreadRecord, line: CTE, *, above: int) -> str | None:
    """The nearest fork a person refused whole and did not take back, at depth ≥ `above` (a refusal at a thought is
    later than the thought). Its id."""
    query = (
        select(line.c.id)
        .join(fork, and_(fork.c.thought_id == line.c.id, fork.c.thread_id == at.id))
        .join(choice, choice.c.fork_id == fork.c.id)
        .where(line.c.depth >= above, choice.c.kind == "none", choice.c.via != "auto")
        .group_by(line.c.id, line.c.depth)
        .order_by(line.c.depth.desc())
    )
    for (thought_id,) in pen.connection.execute(query).all():
        attempts = (
            select(fork.c.id, fork.c.attempt, fork.c.reopens, choice.c.kind, choice.c.via)
            .outerjoin(choice, choice.c.fork_id == fork.c.id)
            .where(fork.c.thread_id == at.id, fork.c.thought_id == thought_id)
            .order_by(fork.c.attempt)
        )
        found = _standing_refusal(pen.connection.execute(attempts).all())
        if found is not None:
            return found
    return None


def _standing_refusal(attempts: Sequence[Row[*tuple[Any, ...]]]) -> str | None:
    """Among the attempts at one thought, the last "none of these" that no later attempt reopened.

    An attempt that reopens another stands for it: what came between the two was undone.
    """
    index = {row.id: position for position, row in enumerate(attempts)}
    position = len(attempts) - 1
    while position >= 0:
        row = attempts[position]
        if row.kind == "none" and row.via != "auto":
            return str(row.id)
        while row.reopens is not None:
            row = attempts[index[row.reopens]]
        position = index[row.id] - 1
    return None


def _last_asked(pen: Pen, at: ThreadRecord, line: CTE) -> str | None:
    """The nearest asked fork on the path, for a thread in which no person decided anything. Its id."""
    query = (
        select(fork.c.id)
        .join(choice, choice.c.fork_id == fork.c.id)
        .join(thought, thought.c.choice_id == choice.c.id)
        .join(line, thought.c.id == line.c.id)
        .where(fork.c.thread_id == at.id, fork.c.asked)
        .order_by(thought.c.depth.desc())
        .limit(1)
    )
    found = pen.connection.execute(query).scalar()
    return None if found is None else str(found)


def _reopen(pen: Pen, at: ThreadRecord, fork_id: str) -> ForkRecord:
    """The tip back to the fork's thought, and a new attempt there with the same options in the same order."""
    old = queries.get_fork(pen.connection, fork_id)
    shown = set(NewOption.model_fields)
    opened = facts.insert_fork(
        pen,
        NewFork(asked=True, reason=old.reason, reading=old.reading, fork_point=old.fork_point),
        [NewOption.model_validate(option.model_dump(include=shown)) for option in old.options],
        thread_id=at.id,
        thought_id=old.thought_id,
        decision_id=old.decision_id,
        reopens=old.id,
    )
    facts.move_tip(pen, at.id, at.tip, old.thought_id)
    return opened
