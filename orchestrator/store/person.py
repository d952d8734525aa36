"""The person's side of the store: begin a thread, choose at its forks, say own words, undo.

Owns what the interface and the command line write. Knows nothing of voices, gates or engines: it meets the
orchestrator only in the rows.
"""

from __future__ import annotations

from typing import Any, get_args

from sqlalchemy import delete, insert, update

from orchestrator.errors import BadChoice, BadOpening, TipMoved, TooLong
from orchestrator.store import facts, queries, undoing
from orchestrator.store.base import Connected, Pen
from orchestrator.store.records import (
    Arbiter,
    ChoiceKind,
    ChoiceOutcome,
    ForkRecord,
    NewThought,
    ThoughtRecord,
    ThreadRecord,
    Via,
)
from orchestrator.store.tables import draft, setting, thread
from orchestrator.text import NAME_LIMIT, OPENING_LIMIT, TITLE_LIMIT, clean, one_line, scrub, words

TITLE_FROM_OPENING = 60
"""Characters of the opening that make a title nobody gave."""


class PersonSide(Connected):
    def begin(
        self,
        mode: str,
        opening: str,
        *,
        author: str = "Me",
        title: str | None = None,
        remaining: int | None = None,
        stride: int = 0,
        arbiter: Arbiter = "person",
    ) -> ThreadRecord:
        """A new thread whose first thought is the person's. `remaining` is `stride` unless given.

        Raises BadOpening, TooLong, EmptyWords (a blank mode, title or author).
        """
        said = clean(opening, what="The opening thought")
        if not said:
            raise BadOpening("The opening thought has no words in it.")
        values = {
            "mode": words(mode, NAME_LIMIT, what="The mode"),
            "title": one_line(said, TITLE_FROM_OPENING)
            if title is None
            else words(title, TITLE_LIMIT, what="The title"),
            "forked_from": None,
            "remaining": max(0, stride if remaining is None else remaining),
            "stride": max(0, stride),
            "arbiter": _one_of(arbiter, Arbiter, "arbiter"),
            "archived_at": None,
            "touched": facts.next_touch(),
        }
        with self._write() as pen:
            thread_id, tip = pen.new_id(), pen.new_id()
            times = {"created_at": pen.now, "updated_at": pen.now}
            pen.connection.execute(insert(thread).values(id=thread_id, tip=tip, **values, **times))
            first = NewThought(author=author, text=said, human=True, via="text")
            facts.insert_thought(pen, first, thread_id, None, thought_id=tip)
            return queries.get_thread(pen.connection, thread_id)

    def rename(self, thread_id: str, title: str) -> ThreadRecord:
        """Raises UnknownThread, EmptyWords, TooLong."""
        return self._change(thread_id, title=words(title, TITLE_LIMIT, what="The title"))

    def archive(self, thread_id: str, on: bool = True) -> ThreadRecord:
        """Out of the list, or back into it. Nothing is deleted, and nothing goes on by itself meanwhile."""
        return self._change(thread_id, archived_at=self._clock() if on else None)

    def set_remaining(self, thread_id: str, n: int) -> ThreadRecord:
        """How many thoughts may go on by themselves from here; 0 stops."""
        return self._change(thread_id, remaining=max(0, n))

    def set_stride(self, thread_id: str, n: int) -> ThreadRecord:
        """How many thoughts go on by themselves after each choice."""
        return self._change(thread_id, stride=max(0, n))

    def set_arbiter(self, thread_id: str, arbiter: Arbiter) -> ThreadRecord:
        return self._change(thread_id, arbiter=_one_of(arbiter, Arbiter, "arbiter"))

    # ---- at a fork, and between forks ----

    def choose(
        self,
        fork_id: str,
        kind: ChoiceKind,
        *,
        option_id: str | None = None,
        text: str | None = None,
        arbiter: str = "me",
        via: Via = "click",
        seconds: float = 0.0,
        seen: str = "",
    ) -> ChoiceOutcome:
        """The arbiter's answer. The first one stands; a later one gets it back with won=False.

        Raises UnknownFork, BadChoice, EmptyWords, TooLong, and TipMoved for a fork that was left: the thread is
        elsewhere, or another fork was opened there. Such an answer could have no effect.
        """
        with self._write() as pen:
            at = queries.get_fork(pen.connection, fork_id)
            if at.choice is not None:
                return ChoiceOutcome(choice=at.choice, won=False)
            said = _answer(at, kind, option_id, text)
            _one_of(via, Via, "way to choose")
            _check_current(pen, at)
            standing, won = facts.insert_choice(
                pen,
                fork_id,
                kind,
                option_id=option_id,
                text=said,
                arbiter=words(arbiter, NAME_LIMIT, what="The arbiter's name"),
                via=via,
                seconds=seconds,
                seen=seen,
            )
            return ChoiceOutcome(choice=standing, won=won)

    def say(
        self,
        thread_id: str,
        text: str,
        *,
        expected_tip: str,
        author: str = "Me",
        remaining: int | None = None,
        via: Via = "text",
        seconds: float = 0.0,
    ) -> ThoughtRecord:
        """Own words where no fork is open. Then `remaining` thoughts may go on, the thread's stride unless given.

        Raises EmptyWords, TooLong, TipMoved, and ForkOpen (a TipMoved): answer the fork with them instead.
        """
        said = words(text, what="What you said")
        with self._write() as pen:
            at = facts.check_tip(pen, thread_id, expected_tip)
            parent = queries.get_thought(pen.connection, at.tip)
            new = NewThought(author=author, text=said, human=True, via=via, seconds=seconds)
            spoken = facts.insert_thought(pen, new, at.id, parent)
            left = at.stride if remaining is None else max(0, remaining)
            facts.move_tip(pen, at.id, at.tip, spoken.id, remaining=left)
            return spoken

    def undo(self, thread_id: str) -> ForkRecord | None:
        """Take back the person's last decision. The fork opened again, with the same options; None where own words
        outside a fork were taken back. Raises NothingToUndo."""
        with self._write() as pen:
            return undoing.undo(pen, thread_id)

    # ---- settings and drafts ----

    def set_setting(self, key: str, value: Any) -> None:
        """Any JSON value; None is a value too."""
        with self._write() as pen:
            facts.put(pen.connection, setting, {"key": key}, {"value": value})

    def set_draft(self, thread_id: str, text: str) -> None:
        """Words typed and not yet said, as they are; none removes them. Raises TooLong."""
        typed = scrub(text)
        if len(typed) > OPENING_LIMIT:
            raise TooLong("The draft", len(typed), OPENING_LIMIT)
        with self._write() as pen:
            if typed:
                facts.put(pen.connection, draft, {"thread_id": thread_id}, {"text": typed})
            else:
                pen.connection.execute(delete(draft).where(draft.c.thread_id == thread_id))

    def _change(self, thread_id: str, **values: Any) -> ThreadRecord:
        with self._write() as pen:
            query = update(thread).where(thread.c.id == thread_id).values(updated_at=pen.now, **values)
            pen.connection.execute(query)
            return queries.get_thread(pen.connection, thread_id)


def _answer(at: ForkRecord, kind: ChoiceKind, option_id: str | None, text: str | None) -> str | None:
    """The choice's own text, if it has one. Raises BadChoice, EmptyWords, TooLong."""
    _one_of(kind, ChoiceKind, "choice")
    if kind in ("option", "edit"):
        if option_id not in {option.id for option in at.options}:
            raise BadChoice("That is not an option of this fork.")
    elif option_id is not None:
        raise BadChoice(f"A choice of kind {kind!r} names no option.")
    if kind in ("option", "none"):
        if text is not None:
            raise BadChoice(
                f"A choice of kind {kind!r} has no text.", "To change an option's words, edit it."
            )
        return None
    return words(text or "", what="What you wrote")


def _check_current(pen: Pen, at: ForkRecord) -> None:
    """Raises TipMoved for a fork that was left."""
    where = queries.get_thread(pen.connection, at.thread_id)
    last = queries.latest_fork(pen.connection, at.thread_id, at.thought_id)
    if where.tip != at.thought_id or last is None or last.id != at.id:
        raise TipMoved(f"This fork was left: the thread {where.title!r} went on elsewhere.")


def _one_of(value: str, allowed: Any, what: str) -> str:
    names = get_args(allowed)
    if value not in names:
        raise BadChoice(f"There is no {what} {value!r}.", f"One of: {', '.join(names)}.")
    return value
