"""The store: what the interface and the orchestrator both open, and all they share.

Owns reading and the check of the whole. The person's writes are in person.py, the orchestrator's in steps.py, the
connections in base.py.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from orchestrator.store import integrity, queries
from orchestrator.store.person import PersonSide
from orchestrator.store.records import (
    DecisionRecord,
    ForkRecord,
    ThoughtRecord,
    ThreadRecord,
    ThreadSummary,
)
from orchestrator.store.steps import StepsSide
from orchestrator.store.tables import decision, draft, fork, setting, thought


class Store(PersonSide, StepsSide):
    """Open with `Store.open(path)`; close it, or use it in a `with`."""

    # ---- threads and thoughts ----

    def thread(self, name: str) -> ThreadRecord:
        """By id or by a beginning of it that no other thread has. Raises UnknownThread, which lists the nearest."""
        with self._read() as connection:
            return queries.find_thread(connection, name)

    def threads(self, *, archived: bool = False, limit: int | None = None) -> list[ThreadSummary]:
        """Newest activity first; the archived ones only where asked for."""
        with self._read() as connection:
            return queries.summaries(connection, archived=archived, limit=limit)

    def path(self, thread_id: str, last: int | None = None) -> list[ThoughtRecord]:
        """From the opening to the tip, or only the last ones of it."""
        with self._read() as connection:
            return queries.get_path(connection, queries.get_thread(connection, thread_id).tip, last)

    def tree(self, thread_id: str, *, after: int = 0) -> list[ThoughtRecord]:
        """Every thought that has the thread's opening, on all branches, in the order they were said; only those
        with a `seq` over `after`, for who follows along."""
        with self._read() as connection:
            tip = queries.get_thought(connection, queries.get_thread(connection, thread_id).tip)
            of_it = (thought.c.root_id == tip.root_id, thought.c.seq > after)
            query = queries.shown(thought, ThoughtRecord).where(*of_it)
            return queries.records(connection, query.order_by(thought.c.seq), ThoughtRecord)

    def thought(self, thought_id: str) -> ThoughtRecord:
        """Raises UnknownThought."""
        with self._read() as connection:
            return queries.get_thought(connection, thought_id)

    # ---- forks and decisions ----

    def open_fork(self, thread_id: str) -> ForkRecord | None:
        """What the arbiter is asked now: the last attempt at the tip, asked and without a choice."""
        with self._read() as connection:
            tip = queries.get_thread(connection, thread_id).tip
            last = queries.latest_fork(connection, thread_id, tip)
            return last if last is not None and last.asked and last.choice is None else None

    def fork(self, fork_id: str) -> ForkRecord:
        """Raises UnknownFork."""
        with self._read() as connection:
            return queries.get_fork(connection, fork_id)

    def forks(self, thread_id: str, *, after: int = 0, at: str | None = None) -> list[ForkRecord]:
        """All of the thread, left ones too, in the order they were opened, with options and choices; only those
        with a `seq` over `after`, or only those about what follows the thought `at`."""
        with self._read() as connection:
            queries.get_thread(connection, thread_id)
            query = select(fork).where(fork.c.thread_id == thread_id, fork.c.seq > after).order_by(fork.c.seq)
            return queries.get_forks(
                connection, query if at is None else query.where(fork.c.thought_id == at)
            )

    def decisions(self, thread_id: str, last: int | None = None) -> list[DecisionRecord]:
        """The gate's, in the order they were made; all, or only the last ones."""
        with self._read() as connection:
            queries.get_thread(connection, thread_id)
            query = queries.shown(decision, DecisionRecord).where(decision.c.thread_id == thread_id)
            newest = query.order_by(decision.c.seq.desc()).limit(last)
            return queries.records(connection, newest, DecisionRecord)[::-1]

    # ---- settings, drafts, health ----

    def setting(self, key: str) -> Any:
        """A JSON value, or None."""
        with self._read() as connection:
            return connection.execute(select(setting.c.value).where(setting.c.key == key)).scalar()

    def draft(self, thread_id: str) -> str:
        with self._read() as connection:
            found = connection.execute(select(draft.c.text).where(draft.c.thread_id == thread_id)).scalar()
            return "" if found is None else str(found)

    def integrity(self) -> list[str]:
        """What is wrong with the whole store, one line a problem; nothing if it is sound."""
        return integrity.problems(self._read)
