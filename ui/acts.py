"""What a person does on the page, done in the store; each event once.

Owns idempotence (an event sent again gets its first answer), the drop of what does not belong to the open fork,
and the kind words for the loser of a race. Must not know sockets or pages. All calls are synchronous.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

from orchestrator.errors import InnerError, NothingToUndo, StoreError, TipMoved, UnknownFork
from orchestrator.store import ForkRecord, Store, ThoughtRecord
from ui import view
from ui.events import Ack, Choose, Draft, Earlier, Go, PageEvent, Rename, Say, Stop, Undo, Ways
from ui.scene import Scene, advance, before, ways_not_taken
from voices.role import ModeSpec

MEMORY = 4096
"""Answers and winners kept for events that are sent again: hours of one page's work."""
SAY_TRIES = 8
T = TypeVar("T")
log = logging.getLogger(__name__)


class Dropped(Exception):
    """The event belongs to something that is no longer on the page. Its text is said to the person."""


class Acts:
    """Answers events. One per process; safe from several threads."""

    def __init__(self, store: Store, modes: Mapping[str, ModeSpec]) -> None:
        self._store = store
        self._modes = modes
        self._answers: OrderedDict[str, Ack] = OrderedDict()
        self._winners: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        self.dropped = 0
        """Events that belonged to no open fork."""

    def winner(self, fork_id: str) -> str:
        """The page that answered a fork through this process; "" where unknown."""
        return self._winners.get(fork_id, "")

    def answer(self, event: PageEvent, page: str, scene: Scene) -> Ack:
        """Do it, once, and say how it went. Never raises: what went wrong is in the answer."""
        if isinstance(event, Earlier | Ways):  # only read; never waits for somebody's write
            return self._answered(event, page, scene)
        with self._lock:
            known = self._answers.get(event.id)
            if known is not None:
                return known.model_copy(update={"seq": event.seq})
            ack = self._answered(event, page, scene)
            if not ack.again:
                _remember(self._answers, event.id, ack)
            return ack

    def _answered(self, event: PageEvent, page: str, scene: Scene) -> Ack:
        try:
            message, data = self._do(event, page, scene)
            return Ack(id=event.id, seq=event.seq, ok=True, message=message, data=data)
        except Dropped as drop:
            self.dropped += 1
            return Ack(id=event.id, seq=event.seq, ok=False, message=str(drop))
        except InnerError as error:
            again = error.retryable and isinstance(error, StoreError)
            return Ack(id=event.id, seq=event.seq, ok=False, message=str(error), again=again)
        except Exception:
            log.exception("event %s of thread %s", event.type, scene.record.id)
            return Ack(
                id=event.id, seq=event.seq, ok=False, message="That went wrong here; it is in the log."
            )

    def _do(self, event: PageEvent, page: str, scene: Scene) -> tuple[str, view.Json]:
        thread = scene.record.id
        if isinstance(event, Choose):
            return self._choose(event, page, thread), {}
        if isinstance(event, Say):
            return self._say(event, page, thread), {}
        if isinstance(event, Undo):
            return self._undo(event, scene), {}
        if isinstance(event, Draft):
            self._store.set_draft(thread, event.text)
        elif isinstance(event, Rename):
            self._store.rename(thread, event.title)
        elif isinstance(event, Stop):
            self._store.set_remaining(thread, 0)
        elif isinstance(event, Go):
            self.go_on(thread)
        elif isinstance(event, Earlier):
            thoughts, earlier = before(self._store, event.before)
            return "", {"thoughts": [view.thought(one) for one in thoughts], "earlier": earlier}
        elif isinstance(event, Ways):
            return "", {"ways": self._ways(thread, event.thought)}
        return "", {}

    def go_on(self, thread: str) -> None:
        """Let the thread go on by itself, for as many thoughts as after a choice."""
        record = self._store.thread(thread)
        mode = self._modes.get(record.mode)
        self._store.set_remaining(record.id, record.stride or (mode.rest_after if mode else 1))

    # ---- the fork ---------------------------------------------------------------------------------------------

    def _choose(self, event: Choose, page: str, thread: str) -> str:
        fork = self._fork(event, thread)
        if fork.choice is None:
            outcome = self._store.choose(
                fork.id,
                event.kind,
                option_id=event.option,
                text=event.text,
                via=event.via,
                seconds=event.seconds,
                seen=event.seen,
            )
            if outcome.won:
                _remember(self._winners, fork.id, page)
                if event.kind == "own":
                    self._store.set_draft(thread, "")
                return ""
            fork = self._store.fork(fork.id)
        return self._second(event, page, fork)

    def _fork(self, event: Choose, thread: str) -> ForkRecord:
        """The fork an event answers, if it may still be answered or was. Raises Dropped."""
        try:
            fork = self._store.fork(event.fork)
        except UnknownFork as error:
            raise Dropped("That question is not known here any more. Nothing was chosen.") from error
        if fork.thread_id != thread:
            raise Dropped("That question belongs to another thread. Nothing was chosen.")
        if fork.choice is None:
            now = self._store.open_fork(thread)
            if now is None or now.id != fork.id:
                raise Dropped("The thread moved on meanwhile. Nothing was chosen.")
            if event.seen and event.seen != fork.seen:
                raise Dropped("The options had changed meanwhile. Nothing was chosen; please look again.")
        return fork

    def _second(self, event: Choose, page: str, fork: ForkRecord) -> str:
        """There is a choice already. The very same one, sent again, is answered as the first. Raises Dropped."""
        choice = fork.choice
        assert choice is not None
        same = (choice.kind, choice.option_id) == (event.kind, event.option) and (
            event.kind not in ("edit", "own") or (choice.text or "").strip() == (event.text or "").strip()
        )
        if same:
            return ""
        raise Dropped(view.told(fork, choice, mine=self.winner(fork.id) == page))

    # ---- own words, undo --------------------------------------------------------------------------------------

    def _say(self, event: Say, page: str, thread: str) -> str:
        """Put own words at the end of the thread, wherever that is by now: what a person wrote is never lost."""
        if self._said(event, thread):
            return ""
        for _ in range(SAY_TRIES):
            fork = self._store.open_fork(thread)
            if fork is not None:
                outcome = self._store.choose(fork.id, "own", text=event.text, via="text", seen=fork.seen)
                if outcome.won:
                    _remember(self._winners, fork.id, page)
                    break
                continue
            tip = self._store.thread(thread).tip
            try:
                self._store.say(thread, event.text, expected_tip=tip)
            except TipMoved:
                continue
            break
        else:
            raise TipMoved("The thread moves too fast for your words just now; they are kept in the box.", "")
        self._store.set_draft(thread, "")
        return ""

    def _said(self, event: Say, thread: str) -> bool:
        """True where these very words already follow the thought the page showed (sent again after a restart)."""
        for thought in self._since(thread, event.expected_tip):
            if thought.human and thought.text.strip() == event.text.strip():
                return True
        return False

    def _since(self, thread: str, known: str) -> list[ThoughtRecord]:
        found: list[ThoughtRecord] = []
        tip: str | None = self._store.thread(thread).tip
        while tip is not None and tip != known and len(found) < 64:
            found.append(self._store.thought(tip))
            tip = found[-1].parent_id
        return found if tip == known else []

    def _undo(self, event: Undo, scene: Scene) -> str:
        now, _ = advance(self._store, scene)
        if event.last != now.undo:
            raise Dropped(
                "Something else came in between. Nothing was undone; once more undoes what you see now."
            )
        if not now.undo:
            raise NothingToUndo("There is no decision of yours to undo yet.", "")
        self._store.undo(now.record.id)
        return ""

    def _ways(self, thread: str, thought_id: str) -> list[view.Json]:
        thought = self._store.thought(thought_id)
        forks = self._store.forks(thread)
        return [{"voices": list(voices), "text": text} for voices, text in ways_not_taken(forks, thought)]


def _remember(memory: OrderedDict[str, T], key: str, value: T) -> None:
    memory[key] = value
    while len(memory) > MEMORY:
        memory.popitem(last=False)
