"""The orchestrator's side of the store: what it asks, how the dialogue goes on, what the recovery query finds.

Owns the loop's writes, each one transaction. Knows nothing of sockets or of how a step was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, select

from orchestrator.errors import BadChoice, UnknownChoice
from orchestrator.store import applying, facts, queries
from orchestrator.store.base import Connected, Pen
from orchestrator.store.records import (
    GATE,
    ForkRecord,
    NewDecision,
    NewFork,
    NewOption,
    NewReply,
    NewRequest,
    NewThought,
    Outcome,
    Pending,
    RequestRecord,
    ThoughtRecord,
    ThreadRecord,
)
from orchestrator.store.tables import choice, fork, model, prompt, reply, request, thought, thread
from orchestrator.text import scrub


class StepsSide(Connected):
    # ---- asking ----

    def note_requests(self, news: Sequence[NewRequest]) -> None:
        """Before the first is sent, all in one transaction: a fork asks seven times. Each id is noted once."""
        with self._write() as pen:
            for new in news:
                _ask(pen, new)

    def note_replies(self, news: Sequence[NewReply]) -> None:
        """How requests ended, in one transaction. The first end of each stands."""
        with self._write() as pen:
            for new in news:
                _end(pen, new.request_id, new.outcome, new.text, new.code)

    def open_requests(self) -> list[RequestRecord]:
        """Asked, and not ended in any way."""
        query = (
            queries.shown(request, RequestRecord)
            .where(~select(reply.c.seq).where(reply.c.request_id == request.c.id).exists())
            .order_by(request.c.seq)
        )
        with self._read() as connection:
            return queries.records(connection, query, RequestRecord)

    def lose_open_requests(self, code: str = "restart") -> int:
        """At start: whatever an earlier orchestrator asked will not be answered any more. How many."""
        lost = self.open_requests()
        with self._write() as pen:
            return sum(_end(pen, asked.id, "lost", "", code) for asked in lost)

    def keep_prompt(self, text: str) -> str:
        """Keep a prompt's text under its SHA-256, once. The digest."""
        kept = scrub(text)
        digest = hashlib.sha256(kept.encode()).hexdigest()
        with self._write() as pen:
            values = {"digest": digest, "text": kept, "created_at": pen.now}
            facts.insert_once(pen.connection, prompt, values, ["digest"])
        return digest

    def keep_model(self, digest: str, name: str, facts_of_it: dict[str, Any]) -> None:
        """Keep what is known of a model file, once."""
        with self._write() as pen:
            values = {"digest": digest, "name": name, "facts": facts_of_it, "created_at": pen.now}
            facts.insert_once(pen.connection, model, values, ["digest"])

    # ---- going on ----

    def commit_thought(
        self,
        thread_id: str,
        expected_tip: str,
        new: NewThought,
        decision: NewDecision | None,
        fork: NewFork | None = None,
        options: Sequence[NewOption] = (),
        *,
        chosen: int | None = None,
    ) -> ThoughtRecord:
        """The automatic step: the gate's decision, the fork it did not ask about with its choice, the thought, the
        tip, and one less remaining; all of it or nothing.

        `chosen` is the index of the option that became the thought; without it, the option with the thought's text.
        Raises TipMoved, ForkOpen, BadChoice.
        """
        with self._write() as pen:
            at = facts.check_tip(pen, thread_id, expected_tip)
            decision_id = facts.insert_decision(pen, decision, at, at.tip) if decision else None
            choice_id = None
            if fork is not None:
                choice_id = _choose_automatically(pen, at, new, fork, options, chosen, decision_id)
            parent = queries.get_thought(pen.connection, at.tip)
            said = facts.insert_thought(pen, new, at.id, parent, choice_id=choice_id, decision_id=decision_id)
            facts.move_tip(pen, at.id, at.tip, said.id, remaining=max(0, at.remaining - 1))
            return said

    def open_new_fork(
        self,
        thread_id: str,
        expected_tip: str,
        new: NewFork,
        options: Sequence[NewOption],
        decision: NewDecision | None,
    ) -> ForkRecord:
        """Put options before the arbiter; none is possible (then own words remain). The next attempt there.

        Raises TipMoved, and ForkOpen where one is open already.
        """
        if not new.asked:
            raise BadChoice("A fork that is not asked has a choice: commit it with its thought.")
        with self._write() as pen:
            at = facts.check_tip(pen, thread_id, expected_tip)
            decision_id = facts.insert_decision(pen, decision, at, at.tip) if decision else None
            opened = facts.insert_fork(
                pen, new, options, thread_id=at.id, thought_id=at.tip, decision_id=decision_id
            )
            facts.touch(pen, at.id)
            return opened

    # ---- choices without effect ----

    def pending(self) -> list[Pending]:
        """The recovery query, and the loop's: choices to apply, and refusals after which nothing was drawn yet.

        Oldest choice first. A choice waits at its thread's tip, at the last attempt there (nothing moves the tip
        past it), so this costs the same however long the threads are.
        """
        latest = queries.latest_attempts()
        query = (
            select(fork)
            .join(thread, and_(thread.c.id == fork.c.thread_id, thread.c.tip == fork.c.thought_id))
            .join(latest, and_(latest.c.thread_id == thread.c.id, latest.c.attempt == fork.c.attempt))
            .join(choice, choice.c.fork_id == fork.c.id)
            .outerjoin(thought, thought.c.choice_id == choice.c.id)
            .where(thought.c.id.is_(None))
            .order_by(choice.c.seq)
        )
        with self._read() as connection:
            return [
                Pending(choice=at.choice, fork=at, thread=queries.get_thread(connection, at.thread_id))
                for at in queries.get_forks(connection, query)
                if at.choice is not None
            ]

    def apply(self, choice_id: str) -> ThoughtRecord | None:
        """Say what was chosen, once. None: "none of these", or said already. Raises UnknownChoice."""
        with self._write() as pen:
            query = select(choice.c.fork_id).where(choice.c.id == choice_id)
            fork_id = pen.connection.execute(query).scalar()
            if fork_id is None:
                raise UnknownChoice(choice_id)
            return applying.apply(pen, queries.get_fork(pen.connection, fork_id))

    def runnable(self) -> list[ThreadRecord]:
        """Threads that may go on by themselves: something remains, no fork is open, not archived. The one that was
        left alone longest comes first."""
        query = (
            queries.shown(thread, ThreadRecord)
            .where(thread.c.remaining > 0, thread.c.archived_at.is_(None), ~queries.has_open_fork())
            .order_by(thread.c.touched)
        )
        with self._read() as connection:
            return queries.records(connection, query, ThreadRecord)


def _ask(pen: Pen, new: NewRequest) -> None:
    facts.insert_once(pen.connection, request, new.model_dump() | {"created_at": pen.now}, ["id"])


def _end(pen: Pen, request_id: str, outcome: Outcome, text: str, code: str) -> bool:
    values = {
        "request_id": request_id,
        "outcome": outcome,
        "text": text,
        "code": code,
        "created_at": pen.now,
    }
    return facts.insert_once(pen.connection, reply, values, ["request_id"])


def _choose_automatically(
    pen: Pen,
    at: ThreadRecord,
    new: NewThought,
    new_fork: NewFork,
    options: Sequence[NewOption],
    chosen: int | None,
    decision_id: str | None,
) -> str:
    """The fork, and the gate's choice at it. The choice's id."""
    if chosen is None:
        same = [i for i, option in enumerate(options) if scrub(option.text) == scrub(new.text)]
        spoken = [i for i in same if new.author in options[i].voices]
        chosen = next(iter(spoken + same), None)
    if chosen is None or not 0 <= chosen < len(options):
        raise BadChoice("The thought is none of the options of its fork.", "Say which one with `chosen`.")
    opened = facts.insert_fork(
        pen, new_fork, options, thread_id=at.id, thought_id=at.tip, decision_id=decision_id
    )
    standing, _ = facts.insert_choice(
        pen,
        opened.id,
        "option",
        option_id=opened.options[chosen].id,
        text=None,
        arbiter=GATE,
        via="auto",
        seconds=0.0,
        seen=opened.seen,
    )
    return standing.id
