"""The store against a model of it: any order of steps, choices, words and undos, on several threads.

The model is a list of events a thread. Undo in it is popping the last event of a person: another algorithm than the
store's walk over parents and reopened forks.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.errors import ForkOpen, NothingToUndo, TipMoved
from orchestrator.store import ForkRecord, NewFork, NewThought, Store
from tests.store.conftest import hurry
from tests.store.tools import OPTIONS, ask, decision, texts

WORDS = st.sampled_from(["yes", "no", "perhaps", "[Doubt]", "a\ud800b", "two\r\nlines"])


@dataclass
class Event:
    """Something that happened after the opening. `said` is None for a refusal."""

    said: str | None
    person: bool
    fork: str | None = None
    asked: bool = True


@dataclass
class Line:
    """The model of a thread."""

    opening: str
    remaining: int
    stride: int
    events: list[Event] = field(default_factory=list)
    open: str | None = None
    waiting: Event | None = None
    """A choice that was not applied, or a refusal after which nothing was drawn."""
    thoughts: int = 1
    forks: int = 0

    def texts(self) -> list[str]:
        return [self.opening, *(event.said for event in self.events if event.said is not None)]

    def apply(self) -> None:
        event = self.waiting
        assert event is not None
        self.waiting = None
        self.events.append(event)
        self.thoughts += 1
        self.remaining = self.stride if event.person else max(0, self.remaining - 1)

    def undo(self) -> Event:
        """Pop the last decision of a person, else the last asked fork. IndexError if there is none."""
        mine = [i for i, event in enumerate(self.events) if event.person]
        asked = [i for i, event in enumerate(self.events) if event.fork and event.asked]
        index = (mine or asked)[-1]
        event = self.events[index]
        del self.events[index:]
        return event


def cleaned(text: str) -> str:
    return text.replace("\ud800", "\ufffd").replace("\r\n", "\n")


class StoreMachine(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        path = Path(shutil.copy(self.template, Path(self.directory.name) / "inner.db"))
        self.store = Store.open(path)
        hurry(self.store)
        self.lines: dict[str, Line] = {}

    def teardown(self) -> None:
        try:
            assert self.store.integrity() == []
        finally:
            self.store.close()
            self.directory.cleanup()

    def pick(self, data: st.DataObject) -> tuple[str, Line]:
        name = data.draw(st.sampled_from(sorted(self.lines)))
        return name, self.lines[name]

    def tip(self, name: str) -> str:
        return self.store.thread(name).tip

    # ---- rules ----

    @initialize(opening=WORDS, stride=st.integers(0, 3))
    def first(self, opening: str, stride: int) -> None:
        self.begin(opening, stride)

    @precondition(lambda self: len(self.lines) < 2)
    @rule(opening=WORDS, stride=st.integers(0, 3))
    def begin(self, opening: str, stride: int) -> None:
        thread = self.store.begin("journal", opening, stride=stride)
        self.lines[thread.id] = Line(cleaned(opening), stride, stride)

    @rule(data=st.data(), with_fork=st.booleans())
    def go_on(self, data: st.DataObject, with_fork: bool) -> None:
        name, line = self.pick(data)
        new = NewThought(author="Echo", text=OPTIONS[0].text)
        fork, options = (NewFork(asked=False), OPTIONS) if with_fork else (None, ())

        def commit() -> None:
            self.store.commit_thought(name, self.tip(name), new, decision(), fork, options)

        if self.refused(line, commit):
            return
        self.settle_refusal(line)
        line.events.append(Event(new.text, person=False, fork="unasked" if with_fork else None, asked=False))
        line.thoughts += 1
        line.forks += with_fork
        line.remaining = max(0, line.remaining - 1)

    @rule(data=st.data())
    def open_fork(self, data: st.DataObject) -> None:
        name, line = self.pick(data)
        opened: list[ForkRecord] = []
        if self.refused(line, lambda: opened.append(ask(self.store, name))):
            return
        self.settle_refusal(line)
        line.open = opened[0].id
        line.forks += 1

    @rule(data=st.data(), text=WORDS)
    def say(self, data: st.DataObject, text: str) -> None:
        name, line = self.pick(data)
        if self.refused(line, lambda: self.store.say(name, text, expected_tip=self.tip(name))):
            return
        self.settle_refusal(line)
        line.events.append(Event(cleaned(text), person=True))
        line.thoughts += 1
        line.remaining = line.stride

    @precondition(lambda self: any(line.open for line in self.lines.values()))
    @rule(
        data=st.data(),
        kind=st.sampled_from(["option", "none", "edit", "none", "own"]),
        index=st.integers(0, 2),
        text=WORDS,
        auto=st.booleans(),
    )
    def choose(self, data: st.DataObject, kind: Any, index: int, text: str, auto: bool) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, line in self.lines.items() if line.open)))
        line = self.lines[name]
        assert line.open
        person = not (auto and kind == "option")
        given: dict[str, Any] = {"via": "key" if person else "auto"}
        if kind in ("option", "edit"):
            given["option_id"] = self.store.fork(line.open).options[index].id
        if kind in ("edit", "own"):
            given["text"] = text
        assert self.store.choose(line.open, kind, **given).won
        assert not self.store.choose(line.open, kind, **given).won
        said = {"option": OPTIONS[index].text, "none": None}.get(kind, cleaned(text))
        line.waiting = Event(said, person, line.open)
        line.open = None

    @precondition(lambda self: any(line.waiting for line in self.lines.values()))
    @rule(data=st.data())
    def apply(self, data: st.DataObject) -> None:
        pending = data.draw(st.sampled_from(self.store.pending()))
        line = self.lines[pending.thread.id]
        assert line.waiting
        said = self.store.apply(pending.choice.id)
        assert (said.text if said else None) == line.waiting.said
        if said is not None:
            line.apply()
        assert self.store.apply(pending.choice.id) is None

    @rule(data=st.data(), times=st.integers(1, 3))
    def undo(self, data: st.DataObject, times: int) -> None:
        name, line = self.pick(data)
        for _ in range(times):
            self.undo_once(name, line)

    def undo_once(self, name: str, line: Line) -> None:
        if line.waiting is not None and line.waiting.said is not None:
            line.apply()
        self.settle_refusal(line)
        try:
            event = line.undo()
        except IndexError:
            with pytest.raises(NothingToUndo):
                self.store.undo(name)
            return
        again = self.store.undo(name)
        line.open = None
        if event.fork is None:
            assert again is None
            self.unsettle_refusal(line)
            return
        assert again is not None
        assert again.reopens == event.fork
        assert [option.text for option in again.options] == [option.text for option in OPTIONS]
        line.open = again.id
        line.forks += 1

    @rule(data=st.data(), n=st.integers(0, 5))
    def set_remaining(self, data: st.DataObject, n: int) -> None:
        name, line = self.pick(data)
        self.store.set_remaining(name, n)
        line.remaining = n

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store.open(self.store.file)
        hurry(self.store)

    # ---- what the rules share ----

    def refused(self, line: Line, work: Any) -> bool:
        """Do the work; True if it had to be refused, and was."""
        if line.open is not None:
            with pytest.raises(ForkOpen):
                work()
            return True
        if line.waiting is not None and line.waiting.said is not None:
            with pytest.raises(TipMoved):
                work()
            return True
        work()
        return False

    def settle_refusal(self, line: Line) -> None:
        """Whatever follows a refusal makes it an event of the past."""
        if line.waiting is not None and line.waiting.said is None:
            line.events.append(line.waiting)
            line.waiting = None

    def unsettle_refusal(self, line: Line) -> None:
        """Own words said after a refusal were taken back: it waits for another draw again."""
        if line.events and line.events[-1].said is None:
            line.waiting = line.events.pop()

    # ---- what must hold after each ----

    @invariant()
    def each_thread_is_as_in_the_model(self) -> None:
        for name, line in self.lines.items():
            thread = self.store.thread(name)
            assert texts(self.store, name) == line.texts()
            assert thread.remaining == line.remaining
            assert len(self.store.tree(name)) == line.thoughts
            assert len(self.store.forks(name)) == line.forks
            fork = self.store.open_fork(name)
            assert (fork.id if fork else None) == line.open

    @invariant()
    def the_lists_are_as_in_the_model(self) -> None:
        pending = {one.thread.id for one in self.store.pending()}
        assert pending == {name for name, line in self.lines.items() if line.waiting}
        runnable = {thread.id for thread in self.store.runnable()}
        assert runnable == {name for name, line in self.lines.items() if line.remaining and not line.open}
        open_ = {thread.id for thread in self.store.threads() if thread.open_fork}
        assert open_ == {name for name, line in self.lines.items() if line.open}


def test_any_order_of_steps_gives_what_the_model_says(template: Path) -> None:
    StoreMachine.template = template
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
