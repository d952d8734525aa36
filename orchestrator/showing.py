"""A thread from the store, for a person or a program.

Owns the two forms of `inner show`. Must not know the command line, nor anything that runs.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from orchestrator import paint
from orchestrator.export import option_fields
from orchestrator.store import ForkRecord, Store, ThoughtRecord, ThreadRecord
from orchestrator.visible import visible
from voices.role import ModeSpec


def as_json(store: Store, thread: ThreadRecord) -> dict[str, Any]:
    """{thread, path, branches (every thought of the tree), forks (with options and choice)}."""
    return {
        "thread": thread.model_dump(mode="json"),
        "path": [thought.model_dump(mode="json") for thought in store.path(thread.id)],
        "branches": [thought.model_dump(mode="json") for thought in store.tree(thread.id)],
        "forks": [_fork(fork) for fork in store.forks(thread.id)],
    }


def _fork(fork: ForkRecord) -> dict[str, Any]:
    fields = fork.model_dump(mode="json", exclude={"options"})
    return fields | {"options": [option_fields(option) for option in fork.options]}


def as_text(
    store: Store, thread: ThreadRecord, mode: ModeSpec | None, width: int, *, tree: bool
) -> RenderableType:
    """The path as it reads, or the tree with the path in bold. A mode that is gone costs only its colours."""
    palette = paint.Palette(mode, light=paint.on_light())
    head = Text.assemble(
        (visible(thread.title), "bold"), (f"   {thread.mode} · {paint.short_id(thread.id)}", paint.DIM)
    )
    path = store.path(thread.id)
    if tree:
        return Group(head, _tree(store.tree(thread.id), {thought.id for thought in path}, palette))
    rows = [paint.thought(palette, thought, width) for thought in path]
    fork = store.open_fork(thread.id)
    if fork is not None:
        rows.append(paint.fork(palette, fork, width, keys=False))
    return Group(head, Text(), *rows)


def _tree(thoughts: list[ThoughtRecord], path: set[str], palette: paint.Palette) -> Tree:
    """Only where the way parts the tree is indented: what follows without a parting is one node of many lines."""
    after: dict[str | None, list[ThoughtRecord]] = defaultdict(list)
    for thought in thoughts:
        after[thought.parent_id].append(thought)
    root = Tree(Text(), hide_root=True, guide_style=paint.DIM)
    places = [(root, thought) for thought in after[None]]
    while places:
        place, thought = places.pop()
        run = [thought]
        while len(after[run[-1].id]) == 1:
            run += after[run[-1].id]
        branch = place.add(Group(*(_leaf(said, palette, on_path=said.id in path) for said in run)))
        places += [(branch, later) for later in reversed(after[run[-1].id])]
    return root


def _leaf(thought: ThoughtRecord, palette: paint.Palette, *, on_path: bool) -> Text:
    tag = palette.tag(thought.author, human=thought.human)
    return Text.assemble(tag, " ", (visible(thought.text), "" if on_path else paint.DIM))
