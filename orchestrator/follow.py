"""Reads along: what became of a thread in the store, each thing once, in an order that makes sense.

Owns the cursor over thoughts, forks and choices. Must not know how they are shown, nor write anything. What it
tells comes from rows alone, so a crash of any process in between loses and doubles nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.store import ChoiceRecord, ForkRecord, Store, ThoughtRecord, ThreadRecord


@dataclass(frozen=True)
class Spoken:
    """A thought was said."""

    thought: ThoughtRecord


@dataclass(frozen=True)
class Forked:
    """The way forks: asked of a person, or decided by the gate (then a Chosen and a Spoken follow)."""

    fork: ForkRecord


@dataclass(frozen=True)
class Chosen:
    """A fork was answered."""

    fork: ForkRecord
    choice: ChoiceRecord


Happening = Spoken | Forked | Chosen


class Follower:
    """A cursor over one thread. What is there when it is made counts as known."""

    def __init__(self, store: Store, thread_id: str) -> None:
        self.thread_id = thread_id
        self._store = store
        self._version: int | None = None
        thoughts, forks = store.tree(thread_id), store.forks(thread_id)
        self._last_thought = max((thought.seq for thought in thoughts), default=0)
        self._last_fork = max((fork.seq for fork in forks), default=0)
        self._open = {fork.id: fork for fork in forks if fork.choice is None}
        self._known_thoughts = {thought.id for thought in thoughts}
        self._known_choices = {fork.choice.id for fork in forks if fork.choice is not None}
        self._thoughts: list[ThoughtRecord] = []
        self._forks: list[ForkRecord] = []
        self._unsettled = {
            waiting.choice.id: waiting.fork for waiting in store.pending() if waiting.thread.id == thread_id
        }

    def changed(self) -> bool:
        """True where the store changed since the last time this was asked; a few microseconds."""
        version = self._store.data_version()
        changed, self._version = version != self._version, version
        return changed

    def news(self) -> list[Happening]:
        """What happened since the last call: causes before effects, thoughts in the order they were said."""
        for thought in self._store.tree(self.thread_id, after=self._last_thought):
            self._last_thought = thought.seq
            if thought.thread_id == self.thread_id:
                self._thoughts.append(thought)
        # Read after the thoughts: every fork and choice a thought came from is seen.
        for fork in self._store.forks(self.thread_id, after=self._last_fork):
            self._last_fork = fork.seq
            self._forks.append(fork)
        return list(self._in_order())

    def _in_order(self) -> Iterator[Happening]:
        """Choices first, then what they led to, then the forks further on; what still lacks its cause waits."""
        yield from self._choices()
        while True:
            if self._thoughts and self._may_be_said(self._thoughts[0]):
                thought = self._thoughts.pop(0)
                self._known_thoughts.add(thought.id)
                self._unsettled.pop(thought.choice_id or "", None)
                yield Spoken(thought)
            elif self._forks and self._forks[0].thought_id in self._known_thoughts:
                fork = self._forks.pop(0)
                self._settle_before(fork)
                yield Forked(fork)
                if fork.choice is None:
                    self._open[fork.id] = fork
                else:
                    yield self._chosen(fork, fork.choice)
            else:
                return

    def _may_be_said(self, thought: ThoughtRecord) -> bool:
        return thought.choice_id is None or thought.choice_id in self._known_choices

    def _choices(self) -> Iterator[Chosen]:
        answered = [self._store.fork(fork_id) for fork_id in self._open]
        choices = [(fork.choice.seq, fork, fork.choice) for fork in answered if fork.choice is not None]
        for _, fork, choice in sorted(choices, key=lambda found: found[0]):
            del self._open[fork.id]
            yield self._chosen(fork, choice)

    def _chosen(self, fork: ForkRecord, choice: ChoiceRecord) -> Chosen:
        self._known_choices.add(choice.id)
        self._unsettled[choice.id] = fork
        return Chosen(fork, choice)

    def _settle_before(self, later: ForkRecord) -> None:
        """Another draw at the same thought is what "none of these" led to."""
        for choice_id, fork in list(self._unsettled.items()):
            if fork.thought_id == later.thought_id and fork.attempt < later.attempt:
                del self._unsettled[choice_id]

    @property
    def settled(self) -> bool:
        """False while a choice has not had its effect yet."""
        return not self._unsettled

    def thread(self) -> ThreadRecord:
        """The thread as it stands."""
        return self._store.thread(self.thread_id)

    def open_fork(self) -> ForkRecord | None:
        """What the person is asked now."""
        return self._store.open_fork(self.thread_id)
