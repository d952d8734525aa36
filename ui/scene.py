"""A thread as the page sees it: read once whole, then advanced by what is new.

Owns the reading of one thread from the store into a `Scene`, and what changed between two of them. Must not know
who looks. A step costs the same at thought 100,000 as at 100: only the end of the path is kept, and advanced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.store import ForkRecord, Pending, Store, ThoughtRecord, ThreadRecord

TAIL = 200
"""Thoughts sent at once; earlier ones are loaded when asked for."""
RETRIES = 8


@dataclass(frozen=True)
class Mark:
    """What is known of the path up to a thought of the tail: questions asked, and the person's last thought."""

    asked: int
    person: str

    def then(self, thought: ThoughtRecord, thread_id: str) -> Mark:
        if thought.via == "auto" or thought.parent_id is None or thought.thread_id != thread_id:
            return self
        return Mark(self.asked + (thought.choice_id is not None), thought.id)


@dataclass
class Scene:
    """One moment of a thread: its row, the end of its path, the open fork, a choice that has no effect yet."""

    record: ThreadRecord
    tail: list[ThoughtRecord]
    marks: list[Mark]
    """One for each thought of the tail."""
    fork: ForkRecord | None = None
    kept: Pending | None = None

    @property
    def earlier(self) -> int:
        """Thoughts before the tail."""
        return self.tail[0].depth - 1

    @property
    def asked(self) -> int:
        """Questions put to a person on this path, the open one included."""
        return self.marks[-1].asked + (self.fork is not None)

    @property
    def steps(self) -> int:
        """Thoughts after the opening, the one asked for now included."""
        return self.tail[-1].depth - 1 + (self.fork is not None)

    @property
    def undo(self) -> str:
        """Names my last decision: "" where there is none. It changes when that decision is undone."""
        last = self.marks[-1].person
        if self.fork is None:
            kept = self.kept.fork.id if self.kept else ""
            return f"{last}:{kept}" if last or kept else ""
        # A first fork after nothing but automatic thoughts is no decision yet; a further attempt follows one.
        return f"{last}:{self.fork.id}" if last or self.fork.attempt > 1 else ""


@dataclass(frozen=True)
class Change:
    """What is new on the path: the thoughts after the first `keep`, or too much to say (`whole`)."""

    keep: int
    thoughts: tuple[ThoughtRecord, ...] = ()
    whole: bool = False


def read_scene(store: Store, thread_id: str) -> Scene:
    """The thread as it stands. Raises UnknownThread, StoreError."""
    record, path = store.thread(thread_id), store.path(thread_id)
    for _ in range(RETRIES):
        if path[-1].id == record.tip:
            break
        record, path = store.thread(thread_id), store.path(thread_id)
    mark, marks = Mark(0, ""), []
    for thought in path:
        mark = mark.then(thought, record.id)
        marks.append(mark)
    return _with_fork(store, Scene(record, list(path[-TAIL:]), marks[-TAIL:]))


def advance(store: Store, old: Scene) -> tuple[Scene, Change]:
    """The scene now, and what is new since `old`. Raises UnknownThread, StoreError."""
    record = store.thread(old.record.id)
    known = {thought.id: place for place, thought in enumerate(old.tail)}
    new: list[ThoughtRecord] = []
    tip: str | None = record.tip
    while tip is not None and tip not in known and len(new) < TAIL:
        new.append(store.thought(tip))
        tip = new[-1].parent_id
    if tip is None or tip not in known:
        return read_scene(store, old.record.id), Change(keep=0, whole=True)
    last = known[tip] + 1
    if (
        old.earlier and last + len(new) < TAIL // 2
    ):  # back beyond most of what was kept: a page wants more of it
        return read_scene(store, old.record.id), Change(keep=0, whole=True)
    tail, marks = old.tail[:last], old.marks[:last]
    for thought in reversed(new):
        tail.append(thought)
        marks.append(marks[-1].then(thought, record.id))
    scene = Scene(record, tail[-2 * TAIL :], marks[-2 * TAIL :])
    return _with_fork(store, scene), Change(keep=old.earlier + last, thoughts=tuple(reversed(new)))


def _with_fork(store: Store, scene: Scene) -> Scene:
    """Add the fork, if it belongs to the tip that was read; else the next change brings both."""
    fork = store.open_fork(scene.record.id)
    if fork is not None and fork.thought_id == scene.record.tip:
        scene.fork = fork
    elif fork is None:
        scene.kept = next((one for one in store.pending() if one.thread.id == scene.record.id), None)
    return scene


def before(store: Store, thought_id: str) -> tuple[list[ThoughtRecord], int]:
    """Up to TAIL thoughts that led to this one, and how many lie before those. Raises UnknownThought."""
    found: list[ThoughtRecord] = []
    parent = store.thought(thought_id).parent_id
    while parent is not None and len(found) < TAIL:
        found.append(store.thought(parent))
        parent = found[-1].parent_id
    found.reverse()
    return found, found[0].depth - 1 if found else 0


def ways_not_taken(forks: Sequence[ForkRecord], thought: ThoughtRecord) -> list[tuple[tuple[str, ...], str]]:
    """(voices, text) of the options that stood beside a thought, each text once."""
    ways: dict[str, tuple[str, ...]] = {}
    for fork in forks:
        if fork.thought_id == thought.parent_id:
            for option in fork.options:
                if option.text.strip() != thought.text.strip():
                    ways.setdefault(option.text.strip(), option.voices)
    return [(voices, text) for text, voices in ways.items()]
