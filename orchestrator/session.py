"""One sitting at a thread: what happens is shown, what a person types is done, until there is an end.

Owns when a sitting waits, for what, and when it ends. Must not know how it is shown (a View does), how the dialogue
is made (the orchestrator, in its own process), nor which processes there are. It meets the orchestrator only in the
store; the feed is for display.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from orchestrator import feed
from orchestrator.answers import (
    Answer,
    Choose,
    Edit,
    GoOn,
    Help,
    Own,
    Refuse,
    Stop,
    Unclear,
    Undo,
    read_answer,
)
from orchestrator.errors import ForkOpen, InnerError, StoreError, TipMoved
from orchestrator.follow import Follower, Forked, Happening, Spoken
from orchestrator.keyboard import EndOfInput, Input, Key, Keyboard, Line, LineEditor
from orchestrator.store import GATE, ChoiceKind, ForkRecord, Store, ThreadRecord, Via

POLL_S = 0.05
MOVED_TRIES = 5
DIGITS = frozenset("123456789")

ArbiterName = Literal["terminal", "web", "auto"]
Why = Literal["steps", "rest", "stopped", "input", "interrupted", "error"]


@dataclass(frozen=True)
class Plan:
    """Who chooses, and after how many thoughts the sitting ends (None: when the person ends it)."""

    arbiter: ArbiterName
    steps: int | None = None


@dataclass(frozen=True)
class Ending:
    """How a sitting ended, counted over the sitting alone."""

    thread: ThreadRecord
    why: Why
    thoughts: int
    forks: int
    asked: int
    decisions: int
    seconds: float

    @property
    def asked_rate(self) -> float:
        """Questions a decision of the gate."""
        return self.asked / self.decisions if self.decisions else 0.0


@dataclass(frozen=True)
class Thinking:
    """The dialogue goes on by itself."""


@dataclass(frozen=True)
class Resting:
    """Nothing goes on until somebody says so."""

    tip: str


@dataclass(frozen=True)
class Asking:
    """A fork is open."""

    fork: ForkRecord


Situation = Thinking | Resting | Asking


class View(Protocol):
    """What a sitting is shown by."""

    def happened(self, happening: Happening) -> None: ...
    def heard(self, event: feed.Event | feed.Gap) -> None: ...
    def situation(self, situation: Situation) -> None: ...
    def typed(self, editor: LineEditor) -> None: ...
    def say(self, text: str) -> None: ...
    def help(self) -> None: ...


class Session:
    """Follows a thread, answers for the person at the keyboard, and ends.

    `fallback` is how many thoughts go on where the thread itself does not say (its stride is 0).
    """

    def __init__(
        self,
        store: Store,
        thread_id: str,
        view: View,
        plan: Plan,
        *,
        fallback: int,
        keyboard: Keyboard | None = None,
        events: feed.Subscriber | None = None,
    ) -> None:
        self._store = store
        self._id = thread_id
        self._view = view
        self._plan = plan
        self._keyboard = keyboard
        self._events = events
        self._follower = Follower(store, thread_id)
        self._stride = store.thread(thread_id).stride or fallback
        self._decided = max((decision.seq for decision in store.decisions(thread_id)), default=0)
        self._begun = time.monotonic()
        self._thoughts = self._forks = 0
        self._situation: Situation | None = None
        self._asked_at = self._begun
        self._editing: int | None = None
        self._input_over = keyboard is None and plan.arbiter == "terminal"
        self._stopped = False

    async def run(self) -> Why:
        """Until the end; says why."""
        fork = self._follower.open_fork()
        if fork is not None:  # left open by an earlier sitting: it is what there is to answer
            self._tell(Forked(fork))
        async with self._pumped() as inputs:
            while True:
                self._look()
                if (why := self._over()) is not None:
                    return why
                with contextlib.suppress(TimeoutError):
                    self._take(await asyncio.wait_for(inputs.get(), POLL_S))
                while not inputs.empty():
                    self._take(inputs.get_nowait())

    def ending(self, why: Why) -> Ending:
        """The count. Nothing goes on by itself after a sitting: who resumes says so."""
        try:
            self._store.set_remaining(self._id, 0)
            self._store.set_stride(self._id, self._stride)
        except StoreError as error:  # a full disk, say: the count is still due
            self._view.say(f"{error.message} {error.hint}")
        self._look()
        decisions = [d for d in self._store.decisions(self._id) if d.seq > self._decided]
        return Ending(
            thread=self._follower.thread(),
            why=why,
            thoughts=self._thoughts,
            forks=self._forks,
            asked=sum(decision.asked for decision in decisions),
            decisions=len(decisions),
            seconds=time.monotonic() - self._begun,
        )

    def answers_at_once(self, key: str) -> bool:
        """Keys that need no Enter on an empty line."""
        if isinstance(self._situation, Asking):
            return key == "escape" or (key in DIGITS and int(key) in keys_of(self._situation.fork))
        return key == " " and isinstance(self._situation, Resting)

    @contextlib.asynccontextmanager
    async def _pumped(self) -> AsyncIterator[asyncio.Queue[object]]:
        """Keyboard and feed in one queue."""
        inputs: asyncio.Queue[object] = asyncio.Queue()

        async def from_feed(events: feed.Subscriber) -> None:
            async for event in events:
                inputs.put_nowait(event)

        async def from_keyboard(keyboard: Keyboard) -> None:
            while True:
                inputs.put_nowait(await keyboard.inputs.get())

        pumps = []
        if self._events is not None:
            pumps.append(asyncio.create_task(from_feed(self._events)))
        if self._keyboard is not None:
            pumps.append(asyncio.create_task(from_keyboard(self._keyboard)))
        try:
            yield inputs
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    # ---- what is going on ----

    def _look(self) -> None:
        """Read what is new, and see where that leaves us."""
        if not self._follower.changed() and self._situation is not None:
            return
        for happening in self._follower.news():
            self._tell(happening)
        thread, fork = self._follower.thread(), self._follower.open_fork()
        if fork is not None:
            self._become(Asking(fork))
        elif thread.remaining == 0 and self._follower.settled:
            self._become(Resting(thread.tip))
        else:
            self._become(Thinking())

    def _become(self, situation: Situation) -> None:
        if situation == self._situation:
            return
        self._situation = situation
        self._asked_at = time.monotonic()
        self._editing = None
        if isinstance(situation, Asking) and self._plan.steps is not None:
            # A person's choice lets `stride` thoughts go on: the choice itself is one of the steps.
            self._store.set_stride(self._id, max(0, self._plan.steps - self._thoughts - 1))
        self._view.situation(situation)

    def _tell(self, happening: Happening) -> None:
        self._thoughts += isinstance(happening, Spoken)
        self._forks += isinstance(happening, Forked)
        self._view.happened(happening)

    def _over(self) -> Why | None:
        if self._stopped:
            return "stopped"
        if self._plan.steps is not None and self._thoughts >= self._plan.steps:
            return "steps"
        if isinstance(self._situation, Thinking):
            return None
        if self._plan.arbiter == "auto":
            return self._go_on_without_a_person()
        return "input" if self._input_over else None

    def _go_on_without_a_person(self) -> Why | None:
        if isinstance(self._situation, Resting):
            return "rest"
        if isinstance(self._situation, Asking):  # opened by a sitting with a person
            if not self._situation.fork.shown:
                self._view.say("This fork has no options; only a person's own words lead on.")
                return "rest"
            self._choose(self._situation.fork.shown[0].key or 1, via="auto")
        return None

    # ---- what a person does ----

    def _take(self, said: object) -> None:
        if isinstance(said, Line | Key | EndOfInput):
            self._answer(said)
        elif self._keyboard is not None and isinstance(said, Input):
            self._view.typed(self._keyboard.editor)
        elif isinstance(said, feed.KINDS):
            self._view.heard(said)

    def _answer(self, said: Line | Key | EndOfInput) -> None:
        self._look()  # the answer is to what is there now
        if isinstance(said, EndOfInput):
            self._input_over = True
            return
        answer = self._meaning(said)
        if self._keyboard is not None:
            self._view.typed(self._keyboard.editor)
        if answer is None:
            return
        try:
            self._do(answer, "key" if isinstance(said, Key) else None)
        except InnerError as error:
            self._view.say(f"{error.message} {error.hint}".strip())

    def _meaning(self, said: Line | Key) -> Answer | None:
        if isinstance(said, Key):
            if said.name == "escape":
                return Refuse()
            return GoOn() if said.name == " " else Choose(int(said.name))
        if self._editing is not None and isinstance(self._situation, Asking):
            key, self._editing = self._editing, None
            return Edit(key, said.text) if said.text.strip() else None
        if isinstance(self._situation, Resting) and not said.text.strip():
            return GoOn()
        return read_answer(
            said.text, keys_of(self._situation.fork) if isinstance(self._situation, Asking) else ()
        )

    def _do(self, answer: Answer, via: Via | None) -> None:
        match answer:
            case Choose(key):
                self._choose(key, via=via or self._via("key"))
            case Edit(key, ""):
                self._begin_edit(key)
            case Edit(key, text):
                self._choose(key, via=self._via("text"), text=text)
            case Own(text):
                self._own(text)
            case Refuse():
                self._refuse()
            case Undo():
                self._undo()
            case GoOn():
                self._go_on()
            case Stop():
                self._stop()
            case Help():
                self._view.help()
            case Unclear(why):
                self._view.say(why)

    def _via(self, way: Via) -> Via:
        """A pipe is a program."""
        return way if self._keyboard is not None and self._keyboard.is_terminal else "api"

    def _fork(self) -> ForkRecord | None:
        return self._situation.fork if isinstance(self._situation, Asking) else None

    def _choose(self, key: int, *, via: Via, text: str | None = None) -> None:
        fork = self._fork()
        option = next((option for option in fork.shown if option.key == key), None) if fork else None
        if fork is None or option is None:
            self._view.say("There is no fork open here.")
            return
        kind: ChoiceKind = "option" if text is None or text.strip() == option.text.strip() else "edit"
        self._put(fork, kind, via, option_id=option.id, text=text if kind == "edit" else None)

    def _put(
        self,
        fork: ForkRecord,
        kind: ChoiceKind,
        via: Via,
        *,
        option_id: str | None = None,
        text: str | None = None,
    ) -> None:
        outcome = self._store.choose(
            fork.id,
            kind,
            option_id=option_id,
            text=text,
            arbiter=GATE if via == "auto" else "me",
            via=via,
            seconds=time.monotonic() - self._asked_at,
            seen=fork.seen,
        )
        if not outcome.won:
            self._view.say(f"{outcome.choice.arbiter} was a moment earlier: that choice stands.")

    def _begin_edit(self, key: int) -> None:
        fork = self._fork()
        option = next((option for option in fork.shown if option.key == key), None) if fork else None
        if option is None:
            self._view.say("There is no fork open here.")
        elif self._keyboard is None or not self._keyboard.is_terminal:
            self._view.say(f"Write the words after it: e {key} YOUR WORDS")
        else:
            self._editing = key
            self._keyboard.editor.set(option.text)
            self._view.typed(self._keyboard.editor)

    def _own(self, text: str) -> None:
        for _ in range(MOVED_TRIES):
            fork = self._store.open_fork(self._id)
            if fork is not None:
                self._put(fork, "own", self._via("text"), text=text)
                return
            left = None if self._plan.steps is None else max(0, self._plan.steps - self._thoughts - 1)
            with contextlib.suppress(ForkOpen, TipMoved):  # the dialogue went on while this was typed
                tip = self._follower.thread().tip
                self._store.say(
                    self._id,
                    text,
                    expected_tip=tip,
                    remaining=left,
                    author=self._person(),
                    via=self._via("text"),
                )
                return
        self._view.say("The dialogue went on faster than your words came in. Stop it first: s")

    def _person(self) -> str:
        return self._store.path(self._id)[0].author

    def _refuse(self) -> None:
        fork = self._fork()
        if fork is None:
            self._view.say("There is no fork open here: nothing to refuse.")
        else:
            self._put(fork, "none", self._via("key"))

    def _undo(self) -> None:
        if self._store.undo(self._id) is None:
            self._store.set_remaining(self._id, 0)  # others of one's own shall follow, not the voices
            self._view.say("your last words are taken back")

    def _go_on(self) -> None:
        fork = self._fork()
        if fork is not None and fork.shown:
            self._choose(fork.shown[0].key or 1, via=self._via("key"))
        elif isinstance(self._situation, Resting):
            left = self._stride if self._plan.steps is None else self._plan.steps - self._thoughts
            self._store.set_remaining(self._id, left)

    def _stop(self) -> None:
        if isinstance(self._situation, Thinking):
            self._store.set_remaining(self._id, 0)
        else:
            self._stopped = True


def keys_of(fork: ForkRecord) -> tuple[int, ...]:
    """The keys of the options on screen."""
    return tuple(option.key for option in fork.shown if option.key is not None)
